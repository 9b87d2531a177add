"""Artefacts of a run as the other stages publish them, small, with figures that a demo could have."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.config import RunConfig
from stages.data.prepared import PreparedWriter
from stages.latents import maps, scatter
from stages.latents.colourings import Colouring
from stages.latents.views import View
from stages.report.compare.command import compare_runs
from stages.workspace import Workspace

SIZE = 64
LEVELS = {
    **{"prior": 0.86, "diffusion": 0.81, "prior_shuffled": 0.31, "prior_uncaptioned": 0.3, "retrieval": 0.74},
    **{"random_train": 0.29, "mean_picture": 0.2, "reconstruction": 0.975, "real": 0.991},
}
"""Attribute accuracy of each system."""
SUBJECTS = ["ship", "fruit", "vase", "fish", "candle", "windmill"]
COLOURS = {"red": (190, 50, 40), "green": (60, 120, 60), "blue": (50, 80, 160), "white": (225, 220, 205)}


def metric(value: float | None, n: int = 500, protocol: str = "", reason: str | None = None) -> dict[str, Any]:
    """A figure as `metrics.json` holds it, with a narrow interval."""
    interval = None if value is None else [0.98 * value, value + 0.01 * min(value, abs(1 - value))]
    entry = {"value": value, "n": n if value is not None else 0, "ci95": interval, "protocol": protocol}
    return entry if reason is None else entry | {"reason": reason}


def paint(rng: np.random.Generator, colour: tuple[int, int, int]) -> np.ndarray:
    """A small picture (H,W,3) uint8: sky, table and a disc of the colour."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    ground = np.where(y[..., None] > 0.62, (120, 85, 55), (90, 105, 125)) * (0.8 + 0.3 * y[..., None])
    centre, radius = rng.uniform(0.35, 0.65, 2), rng.uniform(0.15, 0.25)
    disc = ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2)[..., None]
    noise = rng.normal(0, 8, (SIZE, SIZE, 1))
    return np.clip(np.where(disc, colour, ground) + noise, 0, 255).astype(np.uint8)


class Tree:
    """A run's folder under construction."""

    def __init__(self, root: Path, attributes: bool = True) -> None:
        self.config = RunConfig(run="demo", checkpoints=str(root / "checkpoints"), datasets=str(root / "data"))
        self.workspace = Workspace(self.config)
        self.attributes = attributes
        self.captions: list[str] = []
        self.metrics: dict[str, Any] = {}

    def manifest(self, stage: str, figures: dict[str, Any], seconds: float = 60.0) -> Path:
        folder = self.workspace.directory(stage)
        folder.mkdir(parents=True, exist_ok=True)
        entry = {
            "stage": stage,
            "run": "demo",
            "config": {"name": "scenes", "source": "scenes"} if stage == "data" else {"max_steps": 900, "lr": 1e-3},
            "seed": 0,
            "inputs": {},
            "figures": figures,
            "device": "x86_64 CPU, 2 threads",
            "versions": {"python": "3.11.4", "torch": "2.13.0", "numpy": "2.4.6"},
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "created": "2026-01-02T03:04:05+00:00",
            "wall_seconds": seconds,
            "peak_memory_bytes": int(1.4 * 2**30),
            "files": {},
        }
        (folder / "manifest.json").write_text(json.dumps(entry))
        return folder

    def remove(self, *stages: str) -> None:
        """Takes stages away, as if they had never been run."""
        for stage in stages:
            shutil.rmtree(self.workspace.directory(stage))

    def add_data(self, count: int = 24) -> None:
        rng = np.random.default_rng(0)
        folder = self.workspace.directory("data")
        folder.mkdir(parents=True)
        writer = PreparedWriter(folder, SIZE)
        images = writer.allocate(count)
        for row in range(count):
            colour, subject = list(COLOURS)[row % 4], SUBJECTS[row % 6]
            images[row] = paint(rng, COLOURS[colour])
            caption = f"An old picture of a {colour} {subject} before a grey wall, painted at dusk, number {row}"
            split = ("train", "train", "val", "test")[row % 4] if row < count - 8 else "test"
            true = {"subject": subject, "colour": colour} if self.attributes else None
            writer.add(row, caption, file_name=f"{row:05d}.png", split=split, group=str(row), attributes=true)
            if split == "test":
                self.captions.append(caption)
        values = {"subject": SUBJECTS, "colour": list(COLOURS)} if self.attributes else None
        writer.close(values)
        self.manifest("data", {"pictures": count}, 31.2)

    def add_training(self) -> None:
        rng = np.random.default_rng(1)
        fits = {
            "blip": ["blip"],
            "vqvae": ["vqvae"],
            "prior": ["prior top", "prior bottom"],
            "diffusion": ["diffusion"],
        }
        for stage, names in fits.items():
            sizes = {"_top": 1_913_344, "_bottom": 1_102_080} if stage == "prior" else {"": 2_204_160}
            figures = {f"parameters{level}": size for level, size in sizes.items()}
            folder = self.manifest(stage, figures, 171.0)
            with (folder / "curves.jsonl").open("w") as handle:
                for name in names:
                    for step in range(10, 900, 10):
                        values = {
                            "fit": name,
                            "step": step,
                            "train/loss": 3 * np.exp(-step / 200) + rng.uniform(0.3, 0.4),
                        }
                        if step % 100 == 0:
                            values |= {"val/loss": 3 * np.exp(-step / 200) + 0.4, "val/usage_top": 0.97}
                        handle.write(json.dumps(values) + "\n")
        self.manifest("codes", {"pairs": 24}, 9.0)
        (self.workspace.directory("blip") / "histograms.json").write_text(json.dumps(blip_histograms()))

    def add_latents(self) -> None:
        rng = np.random.default_rng(2)
        labels = np.repeat(SUBJECTS, 40)
        view = rng.standard_normal((240, 2)) + 4 * rng.standard_normal((6, 2)).repeat(40, axis=0)
        figures = {
            "trustworthiness": 0.962,
            "knn_agreement": 0.72,
            "label_agreement_top": 0.83,
            "explained_variance_2_top": 0.41,
            "retrieval_r10": 0.34,
            "retrieval_r10_chance": 0.02,
            "label_source": "the true attribute 'subject'",
            "interactive": "interactive.html",
            "plots": [
                {"file": "pca_top.png", "caption": "PCA of pooled z_q, top level"},
                {"file": "tsne_joint.png", "caption": "t-SNE of pictures and captions together"},
                {"file": "explained_variance.png", "caption": "Variance explained"},
                {"file": "code_usage.png", "caption": "Code usage"},
            ],
        }
        folder = self.manifest("latents", figures, 8.0)
        (folder / "interactive.html").write_text("<!doctype html><title>latents</title>")
        colouring = Colouring("subject", "the scene", labels, SUBJECTS)
        pca = View("top", None, None, view, 0.9, 0.3, 10, ("component 1", "component 2"))
        both = np.concatenate([view, view + 0.5])
        tsne = View("joint", 30.0, 30.0, both, 0.96, 0.7, 10, ("t-SNE 1", "t-SNE 2"))
        scatter.plot_view(folder / "pca_top.png", pca, colouring, drawn="240 pictures", seed=0)
        near = rng.random(240) < 0.5
        said = {"drawn": "240 pictures", "found": "Half are found."}
        scatter.plot_joint(folder / "tsne_joint.png", tsne, colouring, seed=0, nearest=near, **said)
        share = 0.7 ** np.arange(16)
        variance = {"top": share / share.sum(), "bottom": share / share.sum()}
        maps.plot_explained_variance(folder / "explained_variance.png", variance, drawn="240 pictures")
        counts = {level: rng.geometric(0.02, 256) for level in ("top", "bottom")}
        varied = {level: 1 + 7 * rng.random((8, 8)) for level in counts}
        maps.plot_code_usage(folder / "code_usage.png", counts, varied, pairs="n = 24 pairs", drawn="24 pictures")

    def add_evaluation(
        self, prior: float = 0.86, diffusion: float = 0.81, itc: tuple[float, float] = (0.41, 0.36)
    ) -> None:
        rng = np.random.default_rng(3)
        folder = self.manifest("evaluation", {}, 55.0)
        (folder / "pictures").mkdir()
        for system in LEVELS:
            pictures = np.stack(
                [paint(rng, COLOURS[c]) for _, c in zip(self.captions, 9 * list(COLOURS), strict=False)]
            )
            np.save(folder / "pictures" / f"{system}.npy", pictures)
        records = [{"row": row, "prompt": caption, "seed": 10_000} for row, caption in enumerate(self.captions)]
        (folder / "pictures" / "records.json").write_text(json.dumps(records))
        (folder / "copying").mkdir()
        Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8)).save(folder / "copying" / "prior.png")
        self.metrics = evaluation_metrics(self.attributes, prior, diffusion, itc)
        self.write_metrics()

    def write_metrics(self) -> None:
        """Writes `self.metrics`, as they were or as a test has changed them."""
        (self.workspace.directory("evaluation") / "metrics.json").write_text(json.dumps(self.metrics))


def evaluation_metrics(attributes: bool, prior: float, diffusion: float, itc: tuple[float, float]) -> dict[str, Any]:
    """A whole `metrics.json`."""
    missing = (
        "the ImageNet weights of the backbone 'alex' are not at /cache/alexnet-owt-7be5be79.pth; run: make evaluation"
    )
    none = "this data set has no true attributes"
    levels = LEVELS | {"prior": prior, "diffusion": diffusion}
    cosines = {system: 0.55 * level for system, level in LEVELS.items()} | {"prior": itc[0], "diffusion": itc[1]}
    systems: dict[str, Any] = {}
    for system, level in levels.items():
        judged = "judge sees the captioned value, mean over attributes"
        systems[system] = {
            name: metric(level - less, 500, judged) if attributes else metric(None, protocol=judged, reason=none)
            for name, less in (("attribute_accuracy", 0.0), ("attribute_worst", 0.2), ("attribute_exact", 0.3))
        }
        if attributes:
            scenes = {"ship": level - 0.1, "fruit": min(1.0, level + 0.05)}
            systems[system] |= {f"attribute_accuracy_scene/{name}": metric(v, 84) for name, v in scenes.items()}
            by_attribute = {"subject": min(1.0, level + 0.1), "colour": level - 0.05, "count": level - 0.2}
            systems[system] |= {f"attribute_accuracy/{name}": metric(value) for name, value in by_attribute.items()}
            for whole, parts in (("attribute_accuracy_scene", scenes), ("attribute_accuracy", by_attribute)):
                new = {f"{whole}_compositions/{name}": metric(max(0.0, v - 0.1), 250) for name, v in parts.items()}
                systems[system] |= new
            systems[system]["attribute_accuracy_compositions"] = metric(level - 0.1, 250, judged)
        captions = "BLIP captions of 200 pictures against the prompts; lower-cased words"
        systems[system] |= {
            "bleu4": metric(0.31 * level, 200, f"corpus BLEU-4, nltk; {captions}"),
            "meteor": metric(0.5 * level, 200, f"METEOR, exact + stem; {captions}"),
            "rouge1": metric(0.6 * level, 200, f"ROUGE-1 F1, rouge-score; {captions}"),
            "rougeL": metric(0.5 * level, 200, f"ROUGE-L F1, rouge-score; {captions}"),
            "copied_pixels": metric(0.002, 500, "share nearer to a train picture than 99 % of real ones"),
            "nearest_train_pixels": metric(0.201, 500, "mean distance to the nearest of 6000 train pictures"),
            "itc_cosine": metric(cosines[system], 500, "mean cosine of BLIP's embeddings of picture and caption"),
            "lpips": metric(None, protocol="LPIPS v0.1", reason=missing),
            "seconds_per_picture": metric(None, reason="real pictures are not drawn by a system")
            if system == "real"
            else metric(0.031, protocol="seconds to draw a picture, in batches"),
        }
    judge: dict[str, Any] = {"accuracy_mean": metric(None, reason=none)}
    if attributes:
        judge = {"accuracy": {"subject": metric(1.0), "count": metric(0.97)}, "accuracy_mean": metric(0.988)}
        judge["accuracy_compositions"] = {"subject": metric(1.0), "count": metric(0.96)}
        judge |= {"accuracy_worst": metric(0.97), "accuracy_mean_compositions": metric(0.981), "train_pictures": 6000}
    return {
        "run": "demo",
        "split": "test",
        "prompts": {"count": 500, "pictures_in_train": 0},
        "systems": systems,
        "paired": {other: paired(systems["prior"], systems[other]) for other in list(LEVELS)[1:7]},
        "seeds": {"reason": "evaluation.seeds is 1"},
        "vqvae": {
            "mse": metric(0.0064),
            "psnr_db": metric(27.96),
            "usage_top": metric(0.98),
            "usage_bottom": metric(None, reason="not measured here"),
        },
        "blip": blip_metrics(attributes),
        "prior": {
            f"val_nll_bits_per_code{level}{told}": metric(bits, protocol="mean over pairs, in bits a code")
            for level in ("", "_top", "_bottom")
            for told, bits in (("", 2.31), ("_shuffled", 3.47), ("_uncaptioned", 3.02))
        },
        "sweep": {
            score: {
                f"guidance {scale}": {
                    f"temperature {temperature}": metric(0.5 + 0.1 * scale - 0.2 * abs(temperature - 0.85), 100)
                    for temperature in (0.7, 0.85, 1)
                }
                for scale in (1, 1.5, 2)
            }
            for score in ("attribute_accuracy", "itm_probability")
        },
        "judge": judge,
        "copying": {"threshold_pixels": metric(0.0594, 500, "distance that 1 % of real pictures are nearer than")},
        "confusion": confusion_tables() if attributes else {"reason": none},
    }


def paired(ours: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """The differences of two systems as `metrics.json` holds them, with intervals of 0.02 to each side."""
    found = {}
    for name in ("attribute_accuracy", "meteor", "itc_cosine", "lpips"):
        pair = ours[name]["value"], others[name]["value"]
        if pair[0] is None or pair[1] is None:
            found[name] = metric(None, protocol="the prior's minus the other's", reason=ours[name]["reason"])
        else:
            gap = pair[0] - pair[1]
            found[name] = {"value": gap, "n": ours[name]["n"], "ci95": [gap - 0.02, gap + 0.02], "protocol": "paired"}
    return found


def confusion_tables() -> dict[str, Any]:
    """What the judge sees of counts and colours."""
    counted = {"asked": ["one", "two"], "shown": ["one", "two", "none seen"], "counts": [[69, 13, 2], [0, 57, 19]]}
    coloured = {"asked": ["red", "blue"], "shown": ["red", "blue", "none seen"], "counts": [[80, 3, 0], [0, 77, 0]]}
    return {"prior": {"count": counted, "colour": coloured}, "diffusion": {"count": counted}}


def blip_metrics(attributes: bool) -> dict[str, Any]:
    """The whole section `blip`: hard captions change one attribute where there are attributes; not MUSTI."""
    names = {"itm": "matching probability (ITM)", "itc": "cosine of the embeddings (ITC)"}
    hard = "captions that differ in one attribute" if attributes else "the nearest other caption"
    quality = {
        "accuracy": 0.95,
        "precision": 0.94,
        "recall": 0.96,
        "f1": 0.95,
        "roc_auc": 0.987,
        "average_precision": 0.981,
    }
    found = {
        f"published_{name}": metric(0.97, protocol="as published: related pairs only, > 50 %")
        for name in list(quality)[:4]
    }
    for score, name in names.items():
        for kind, less, against in (("", 0.0, "as many unrelated ones"), ("_hard", 0.22, hard)):
            protocol = f"test pairs against {against}, {name}, threshold of the best F1 on val"
            found |= {
                f"{score}{kind}_{figure}": metric(value - less, 500, protocol) for figure, value in quality.items()
            }
            found[f"{score}{kind}_threshold"] = metric(0.42 + less, 300, "best F1 on val pairs")
        for pairs, level in (("related", 0.93), ("unrelated", 0.11), ("hard", 0.38)):
            found |= {
                f"{score}_similarity_{pairs}_{statistic}": metric(
                    level, 500, f"{name} of {pairs} test pairs, {statistic}"
                )
                for statistic in ("mean", "median", "std")
            }
        if attributes:
            shares = {"subject": 0.91, "colour": 0.84, "line_count": 0.61}
            protocol = "captions with another value of this attribute, called unrelated"
            found |= {
                f"{score}_hard_accuracy/{attribute}": metric(value, 160, protocol)
                for attribute, value in shares.items()
            }
    for direction, whose in (("text_to_image", "caption's own picture"), ("image_to_text", "picture's own caption")):
        for k, value in ((1, 0.31), (5, 0.72), (10, 0.88)):
            found[f"{direction}_r{k}"] = metric(value, 500, f"{whose} among the first {k} of 500 by cosine (ITC)")
        found[f"{direction}_median_rank"] = metric(2.5, 500, f"median rank of the {whose} among 500 by cosine (ITC)")
    captions = {"bleu1": 0.71, "bleu4": 0.41, "bleu4_sentence": 0.39, "meteor": 0.44, "rougeL": 0.58, "cider": 1.83}
    protocol = "BLIP captions of 200 real test pictures against their own captions"
    found |= {f"caption_{figure}": metric(value, 200, protocol) for figure, value in captions.items()}
    smell = {"value": None, "n": 0, "ci95": None, "protocol": None, "reason": "only MUSTI has passages and smells"}
    systems = ("itm", "itc", "probe", "probe_shuffled", "majority")
    return found | {f"smell_{by}_macro_f1": dict(smell) for by in systems}


def blip_histograms() -> dict[str, Any]:
    """A `histograms.json` such as a network makes that sees most, but not all, of what captions say."""
    rng = np.random.default_rng(4)
    scores = {
        "itm": {"related": rng.beta(6, 0.5, 500), "unrelated": rng.beta(0.3, 6, 500), "hard": rng.beta(0.5, 0.7, 480)},
        "itc": {
            "related": rng.normal(0.62, 0.07, 500),
            "unrelated": rng.normal(0.12, 0.12, 500),
            "hard": rng.normal(0.5, 0.1, 480),
        },
    }
    found: dict[str, Any] = {}
    for score, by_pairs in scores.items():
        edges = np.linspace(0, 1, 41) if score == "itm" else np.linspace(-0.3, 0.9, 41)
        found[score] = {"edges": edges.tolist(), "threshold": 0.42, "hard_threshold": 0.64 if score == "itm" else 0.47}
        found[score] |= {pairs: np.histogram(values, edges)[0].tolist() for pairs, values in by_pairs.items()}
    return found


class Pair:
    """Two runs of one data set: `tree`, and `other`, which shares BLIP, VQ-VAE and diffusion with it."""

    def __init__(self, tree: Tree, other: str) -> None:
        self.tree, self.name = tree, other
        self.other = tree.workspace.root.parent / other
        shutil.copytree(tree.workspace.root, self.other)
        digest = hashlib.sha256((tree.workspace.directory("data") / "manifest.json").read_bytes()).hexdigest()
        for run in (tree.workspace.root, self.other):
            edit_json(run / "blip" / "manifest.json", inputs={"data": digest})
        for stage in ("prior", "evaluation"):
            edit_json(self.other / stage / "manifest.json", run=other)
        edit_json(self.other / "prior" / "manifest.json", config={"max_steps": 400, "lr": 1e-3}, wall_seconds=80.0)
        curves = self.other / "prior" / "curves.jsonl"
        curves.write_text(curves.read_text().replace("0.4", "0.9"))
        self.metrics = evaluation_metrics(tree.attributes, 0.7, 0.81, (0.41, 0.36))
        self.write_metrics()

    def write_metrics(self) -> None:
        """Writes the other's `metrics`, as they were or as a test has changed them."""
        (self.other / "evaluation" / "metrics.json").write_text(json.dumps(self.metrics))

    def compare(self) -> Path:
        """The folder of the page that sets the other beside the first."""
        compare_runs(["demo", self.name], self.tree.config)
        return self.other.parent / f"compare-demo-{self.name}"


def edit_json(path: Path, **changes: Any) -> None:
    """Replaces values at the top of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="session")
def training_and_latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artefacts that are the same in every test."""
    tree = Tree(tmp_path_factory.mktemp("base"))
    tree.add_training()
    tree.add_latents()
    return tree.workspace.root


@pytest.fixture()
def make_tree(tmp_path: Path, training_and_latents: Path) -> Callable[..., Tree]:
    """Makes a whole run's artefacts; arguments go to `Tree` and `Tree.add_evaluation`."""

    def make(attributes: bool = True, **scores: Any) -> Tree:
        tree = Tree(tmp_path, attributes)
        shutil.copytree(training_and_latents, tree.workspace.root)
        tree.add_data()
        tree.add_evaluation(**scores)
        return tree

    return make


@pytest.fixture()
def make_pair(make_tree: Callable[..., Tree]) -> Callable[..., Pair]:
    """Makes two runs; arguments are the other's name, and those of `make_tree`."""

    def make(other: str = "other", **arguments: Any) -> Pair:
        return Pair(make_tree(**arguments), other)

    return make
