"""Stage `evaluation`: every system's pictures for the same held-out captions, scored alike, into `metrics.json`."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from stages.blip import Blip, load_blip
from stages.config import RunConfig
from stages.data import PreparedSet, load_dataset
from stages.errors import StageError
from stages.evaluation.judge import Judge, save_judge
from stages.evaluation.judging import judge_figures, train_judge
from stages.evaluation.prompts import Prompts, choose_prompts, derange
from stages.evaluation.scores import Case, Instruments, attribute_scores, score, unavailable_scores, write_captions
from stages.evaluation.sections import blip_section, prior_section, vqvae_section
from stages.evaluation.sweep import sweep_prior
from stages.evaluation.systems import Drawn, System, draw_pictures, systems_of
from stages.metrics import Metric, Resampling, find_thesaurus
from stages.metrics.perceptual import load_lpips
from stages.workspace import Output, Workspace

log = logging.getLogger("stages.evaluation")

COMPOSITIONS = "compositions"
ON_COMPOSITIONS = ("prior", "reconstruction", "real")
NO_OTHER_CAPTION = "every prompt has the same words or picture, so there is no other caption to score against"
Metrics = dict[str, dict[str, Metric]]


def run(config: RunConfig, workspace: Workspace) -> None:
    """Draws with every system, scores, and publishes `metrics.json`, the pictures and the judge.

    Raises:
        StageError: an input is not there, or `evaluation.split` is not.
    """
    for needed in ("data", "blip", "vqvae", "codes"):
        workspace.require(needed)
    dataset = load_dataset(workspace.require("data"))
    prompts = choose_prompts(dataset.split(config.evaluation.split), config.evaluation.max_prompts, config.seed)
    judge = train_judge(dataset, config, workspace.scratch("evaluation"))
    instruments = _instruments(config, load_blip(workspace.require("blip")), judge)
    evaluation = Evaluation(config, workspace, dataset, instruments)
    with workspace.publish("evaluation") as output:
        systems = evaluation.score_split(prompts, output)
        _add_compositions(systems, evaluation, output)
        metrics: dict[str, Any] = {
            "run": config.run,
            "split": config.evaluation.split,
            "systems": {
                name: {key: metric.to_json() for key, metric in found.items()} for name, found in systems.items()
            },
            "vqvae": vqvae_section(workspace),
            "blip": blip_section(workspace),
            "prior": prior_section(workspace),
            "sweep": _sweep(config, workspace, dataset, instruments),
            "judge": judge_figures(judge, dataset, config.evaluation.split, instruments.resampling),
        }
        write_json(output.directory / "metrics.json", metrics)
        if judge is not None:
            save_judge(judge, output.directory)
        output.figures |= _headlines(systems, metrics["judge"], len(prompts))
    for name, found in systems.items():
        _say(name, found)


def _sweep(config: RunConfig, workspace: Workspace, dataset: PreparedSet, instruments: Instruments) -> dict[str, Any]:
    seed, scratch = config.seed + config.evaluation.seed_offset, workspace.scratch("evaluation") / "sweep"
    found = sweep_prior(config.evaluation.sweep, workspace, dataset, instruments, seed, scratch)
    if isinstance(found, str):
        return {"reason": found}
    return {
        name: {
            guidance: {temperature: metric.to_json() for temperature, metric in row.items()}
            for guidance, row in rows.items()
        }
        for name, rows in found.items()
    }


class Evaluation:
    """What stays the same from system to system."""

    def __init__(self, config: RunConfig, workspace: Workspace, dataset: PreparedSet, instruments: Instruments) -> None:
        self.section, self.dataset, self.instruments = config.evaluation, dataset, instruments
        self.seed = config.seed
        self.drawing_seed = config.seed + config.evaluation.seed_offset
        self.scratch = workspace.scratch("evaluation") / "pictures"
        self.systems = systems_of(workspace, dataset, self.drawing_seed)

    def score_split(self, prompts: Prompts, output: Output) -> Metrics:
        """Every metric of every system on the same prompts; pictures, prompts and captions go into `output`."""
        folder = output.directory / "pictures"
        folder.mkdir()
        others = derange(prompts, self.seed)
        write_json(folder / "records.json", prompts.to_json(self.drawing_seed, others))
        metrics: Metrics = {}
        captions: dict[str, list[str]] = {}
        reasons: dict[str, str] = {}
        for system in self.systems:
            drawn = self._draw(system, prompts, folder)
            if isinstance(drawn, str):
                reasons[system.name] = drawn
                metrics[system.name] = {}
                continue
            captions[system.name] = self._captions(drawn.pictures, system.name)
            case = self._case(drawn.pictures, captions[system.name], prompts)
            metrics[system.name] = score(case, self.instruments) | _seconds(system, drawn)
            if system.name == "prior":
                metrics["prior_shuffled"] = {} if others is None else score(case.against(others), self.instruments)
        write_json(folder / "captions.json", captions)
        reasons.setdefault("prior_shuffled", reasons.get("prior", NO_OTHER_CAPTION))
        return _whole(metrics, reasons)

    def score_attributes(self, prompts: Prompts, output: Output, names: tuple[str, ...]) -> Metrics:
        """The attribute metrics of some systems on the prompts of another split."""
        folder = output.directory / "pictures" / prompts.split
        folder.mkdir()
        write_json(folder / "records.json", prompts.to_json(self.drawing_seed, None))
        metrics: Metrics = {}
        for system in self.systems:
            if system.name in names:
                drawn = self._draw(system, prompts, folder)
                if not isinstance(drawn, str):
                    metrics[system.name] = attribute_scores(drawn.pictures, self._labels(prompts), self.instruments)
        return metrics

    def _draw(self, system: System, prompts: Prompts, folder: Path) -> Drawn | str:
        """The pictures of a system, also written to `folder`; the reason in words if it is not there."""
        scratch = self.scratch / prompts.split / system.name
        try:
            draw = system.open(prompts)
        except StageError as error:
            return str(error)
        drawn = draw_pictures(
            draw, len(prompts), self.section.batch_size, scratch, f"{system.name} paints {prompts.split}"
        )
        np.save(folder / f"{system.name}.npy", drawn.pictures, allow_pickle=False)
        return drawn

    def _captions(self, pictures: np.ndarray, name: str) -> list[str]:
        pictures, size = pictures[: self.section.max_captions], self.section.caption_batch_size
        batches = write_captions(self.instruments.blip, pictures, size)
        total = -(-len(pictures) // size)
        shown = tqdm(batches, total=total, desc=f"captions of {name}", unit="batch", leave=False, dynamic_ncols=True)
        return [caption for batch in shown for caption in batch]

    def _case(self, pictures: np.ndarray, captions: list[str], prompts: Prompts) -> Case:
        targets = np.asarray(self.dataset.images[prompts.image_rows])
        return Case(pictures, captions, prompts.texts, targets, self._labels(prompts))

    def _labels(self, prompts: Prompts) -> np.ndarray:
        return prompts.labels(self.dataset.attribute_values or {})


def write_json(path: Path, content: Any) -> None:
    """Writes JSON; a number that is not finite is a mistake here and refused."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _instruments(config: RunConfig, blip: Blip, judge: Judge | None) -> Instruments:
    section = config.evaluation
    return Instruments(
        blip=blip,
        judge=judge,
        perceptual=load_lpips(section.lpips_backbone),
        lpips_backbone=section.lpips_backbone,
        thesaurus=find_thesaurus(),
        resampling=Resampling(section.bootstrap_repeats, config.seed),
        batch_size=section.caption_batch_size,
    )


def _add_compositions(systems: Metrics, evaluation: Evaluation, output: Output) -> None:
    """Adds `attribute_accuracy_compositions` and its like, where there is such a split."""
    count, dataset = evaluation.section.max_compositions, evaluation.dataset
    if count == 0 or COMPOSITIONS not in dataset.splits or evaluation.instruments.judge is None:
        return
    prompts = choose_prompts(dataset.split(COMPOSITIONS), count, evaluation.seed)
    for name, found in evaluation.score_attributes(prompts, output, ON_COMPOSITIONS).items():
        systems[name] |= {f"{key}_{COMPOSITIONS}": metric for key, metric in found.items() if "/" not in key}


def _seconds(system: System, drawn: Drawn) -> dict[str, Metric]:
    protocol = f"seconds to draw a picture, mean over {len(drawn.pictures)}, in batches, loading not counted"
    if system.is_real:
        return {"seconds_per_picture": Metric.unavailable("real pictures are not drawn by a system", protocol)}
    return {"seconds_per_picture": Metric(drawn.seconds_per_picture, len(drawn.pictures), None, protocol)}


def _whole(metrics: Metrics, reasons: dict[str, str]) -> Metrics:
    """The same metrics for every system, in order; what could not be drawn has its reason instead."""
    names = next((list(found) for found in metrics.values() if "seconds_per_picture" in found), [])
    order = ["prior", "prior_shuffled", "diffusion", "reconstruction", "real"]
    whole: Metrics = {}
    for system in order:
        found = metrics.get(system, {})
        missing = [name for name in names if name not in found]
        reason = "the pictures are those of 'prior'" if found else reasons.get(system, NO_OTHER_CAPTION)
        whole[system] = found | unavailable_scores(reason, missing)
    return whole


def _headlines(systems: Metrics, judge: dict[str, Any], prompts: int) -> dict[str, Any]:
    """Figures for the manifest."""
    wanted = {
        "prior": (
            "attribute_accuracy",
            "attribute_worst",
            "attribute_exact",
            "attribute_accuracy_compositions",
            "bleu4",
        ),
        "prior_shuffled": ("attribute_accuracy", "bleu4"),
        "diffusion": ("attribute_accuracy", "bleu4"),
        "reconstruction": ("attribute_accuracy", "psnr_db"),
        "real": ("attribute_accuracy",),
    }
    figures: dict[str, Any] = {"prompts": prompts, "judge_accuracy_mean": judge["accuracy_mean"]["value"]}
    for system, keys in wanted.items():
        figures |= {f"{system}_{key}": systems[system][key].value for key in keys if key in systems[system]}
    return figures


def _say(name: str, found: dict[str, Metric]) -> None:
    parts = []
    for key, label, scale, unit in (
        ("attribute_accuracy", "attributes", 100, " %"),
        ("attribute_worst", "worst", 100, " %"),
        ("attribute_exact", "all right", 100, " %"),
        ("attribute_accuracy_compositions", "attributes on compositions", 100, " %"),
        ("bleu4", "BLEU-4", 1, ""),
        ("itm_probability", "ITM", 1, ""),
        ("psnr_db", "PSNR", 1, " dB"),
        ("seconds_per_picture", "seconds a picture", 1, ""),
    ):
        value = found[key].value if key in found else None
        if value is not None:
            parts.append(f"{label} {scale * value:.{1 if scale == 100 else 3}f}{unit}")
    reason = next((metric.reason for metric in found.values() if metric.reason), "")
    log.info("evaluation: %s: %s", name, ", ".join(parts) or f"not available ({reason})")
