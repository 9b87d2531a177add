import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.__main__ import main, parse_config
from stages.blip import load_blip
from stages.data import load_dataset, to_tensor
from stages.evaluation import load_judge
from stages.evaluation.ceilings import reconstruct
from stages.evaluation.headlines import HEADLINES
from stages.evaluation.prompts import choose_prompts
from stages.evaluation.published import SCORES
from stages.evaluation.stage import run
from stages.workspace import Workspace
from tests.evaluation.schema import violations

SMALL = [
    *(
        "--evaluation.judge_examples",
        "12",
        "--evaluation.judge_steps",
        "4",
        "--evaluation.judge_width",
        "4",
        "--evaluation.judge_batch_size",
        "8",
    ),
    *("--evaluation.max_prompts", "6", "--evaluation.max_captions", "4", "--evaluation.max_compositions", "3"),
    *("--evaluation.batch_size", "4", "--evaluation.bootstrap_repeats", "100"),
    *("--evaluation.published_prompts", "5"),
]
SYSTEMS = [
    *("prior", "diffusion"),
    *("prior_shuffled", "prior_uncaptioned", "retrieval", "random_train", "mean_picture"),
    *("reconstruction", "real"),
]
NAMES = [
    *("attribute_accuracy", "attribute_worst", "attribute_exact", "attribute_accuracy/subject"),
    *(f"bleu{order}{level}" for order in (1, 2, 3, 4) for level in ("", "_sentence")),
    *("meteor", "rouge1", "rouge2", "rougeL", "cider"),
    *("mse", "psnr_db", "psnr_db_as_published", "lpips", "itm_probability", "itc_cosine", "seconds_per_picture"),
    *("r_precision", "ssim", "lpips_vgg", "frechet_blip", "mmd_blip", "precision_blip", "recall_blip"),
    *("fid", "kid", "inception_score", "copied_blip", "copied_pixels", "nearest_train_blip", "nearest_train_pixels"),
]


@pytest.fixture(scope="module")
def artefact(tiny_run: Path) -> Path:
    """The published artefact of a run of a few steps."""
    assert main(["evaluation", "--config", str(tiny_run), *SMALL]) == 0
    return tiny_run.parent / "checkpoints" / "tiny" / "evaluation"


@pytest.fixture(scope="module")
def metrics(artefact: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((artefact / "metrics.json").read_text())
    return loaded


def check_metric(name: str, metric: dict[str, Any]) -> None:
    """One entry of `systems.<system>` follows the schema."""
    assert {"value", "n", "ci95", "protocol"} <= set(metric) <= {"value", "n", "ci95", "protocol", "reason"}, name
    assert isinstance(metric["n"], int) and isinstance(metric["protocol"], str) and metric["protocol"], name
    if metric["value"] is None:
        assert metric["reason"] and metric["ci95"] is None, name
    else:
        assert isinstance(metric["value"], float) and metric["n"] > 0 and "reason" not in metric, name
        assert metric["ci95"] is None or metric["ci95"][0] <= metric["value"] <= metric["ci95"][1], name


def test_metrics_json_follows_the_schema(metrics: dict[str, Any]) -> None:
    assert violations(metrics) == []
    assert metrics["run"] == "tiny" and metrics["split"] == "test"
    assert list(metrics["systems"]) == SYSTEMS
    for system, found in metrics["systems"].items():
        assert set(NAMES) <= set(found), system
        for name, metric in found.items():
            check_metric(f"{system}.{name}", metric)
    vqvae = metrics["vqvae"]
    assert {"mse", "psnr_db", "psnr_db_as_published", "usage_top", "usage_bottom"} <= set(vqvae)
    bits = [f"val_nll_bits_per_code{level}{told}" for level in ("", "_top", "_bottom") for told in ("", "_shuffled")]
    assert all(metrics["prior"][name]["value"] > 0 for name in bits)
    assert metrics["blip"]
    assert set(metrics["judge"]["accuracy"]) == set(json_attributes(metrics)) and "accuracy_worst" in metrics["judge"]
    check_metric("judge", metrics["judge"]["accuracy_mean_compositions"])
    for name in ("attribute_accuracy", "attribute_accuracy_scene"):
        parts = {path.split("/")[1] for path in metrics["systems"]["prior"] if path.startswith(f"{name}/")}
        assert parts and parts == {
            path.split("/")[1] for path in metrics["systems"]["prior"] if path.startswith(f"{name}_compositions/")
        }


def metrics_in(content: dict[str, Any], place: str = "") -> dict[str, dict[str, Any]]:
    """Every figure with a protocol, by where it stands."""
    found: dict[str, dict[str, Any]] = {}
    for key, inner in content.items():
        if isinstance(inner, dict):
            here = f"{place}/{key}"
            found |= {here: inner} if "protocol" in inner else metrics_in(inner, here)
    return found


def test_every_mean_has_n_and_an_interval(metrics: dict[str, Any]) -> None:
    found = {place: figure for place, figure in metrics_in(metrics).items() if figure["value"] is not None}
    for section in ("systems", "vqvae", "blip", "prior", "published", "judge", "sweep", "budgets"):
        assert any(place.startswith(f"/{section}/") for place in found), section
    no_mean = re.compile(r"/vqvae/(usage|perplexity)_|/vqvae/text_code_retrieval_chance|/blip/it._(hard_)?threshold")
    continuous = re.compile(
        r"/(mse|psnr_db|ssim|it._(probability|cosine)|\w+_similarity_\w+_mean|\w+_nll_bits_per_code|mmd_blip)$"
    )
    for place, figure in found.items():
        check_metric(place, figure)
        if no_mean.match(place):
            assert figure["ci95"] is None, place
        elif continuous.search(place) and figure["n"] > 1 and not place.startswith("/paired/"):
            assert figure["ci95"] is not None, place  # no two samples are alike
    assert sum(bool(continuous.search(place)) for place in found) > 30


def json_attributes(metrics: dict[str, Any]) -> list[str]:
    """Names of the attributes that have a figure of their own."""
    return [name.split("/")[1] for name in metrics["systems"]["real"] if name.startswith("attribute_accuracy/")]


def test_every_system_is_scored_on_the_same_prompts(metrics: dict[str, Any]) -> None:
    systems = metrics["systems"]
    assert {found["itc_cosine"]["n"] for found in systems.values()} == {6}
    assert {found["bleu4"]["n"] for found in systems.values()} == {4}
    assert systems["real"]["mse"]["value"] is None and systems["prior"]["mse"]["value"] > 0
    assert systems["prior_shuffled"]["seconds_per_picture"]["reason"] == "the pictures are those of 'prior'"
    assert {found["attribute_accuracy_compositions"]["n"] for found in systems.values()} == {3}
    for copies in ("retrieval", "random_train", "real"):
        reason = systems[copies]["seconds_per_picture"]["reason"]
        assert reason == "its pictures are the data set's own, which no system draws"
    assert systems["prior_uncaptioned"]["seconds_per_picture"]["value"] > 0


def test_the_prior_is_compared_in_pairs_with_the_baseline_and_each_control(metrics: dict[str, Any]) -> None:
    systems, paired = metrics["systems"], metrics["paired"]
    assert list(paired) == SYSTEMS[1:7]
    for other, found in paired.items():
        assert list(found) == list(HEADLINES)
        for name, difference in found.items():
            check_metric(f"{other}.{name}", difference)
            if difference["value"] is not None:
                apart = systems["prior"][name]["value"] - systems[other][name]["value"]
                assert difference["value"] == pytest.approx(apart) and difference["n"] == systems["prior"][name]["n"]
    assert paired["diffusion"]["lpips"]["reason"] == systems["prior"]["lpips"]["reason"]
    assert paired["diffusion"]["mse"]["value"] is not None


def test_one_seed_is_no_spread(metrics: dict[str, Any]) -> None:
    assert metrics["seeds"] == {"reason": "evaluation.seeds is 1"}
    assert metrics["prompts"] == {"count": 6, "pictures_in_train": 0}


def test_the_published_protocol_is_of_pictures_that_were_trained_on(metrics: dict[str, Any], tiny_run: Path) -> None:
    found = metrics["published"]
    assert list(found) == ["prior", "reconstruction", "blip"]
    workspace = Workspace(parse_config("evaluation", ["--config", str(tiny_run), *SMALL]))
    dataset = load_dataset(workspace.directory("data"))
    prompts = choose_prompts(dataset.split("train"), 5, 0)
    rebuilt = reconstruct(workspace, dataset, prompts)(0, 5)
    error = ((rebuilt / 127.5 - dataset.images[prompts.image_rows] / 127.5) ** 2).mean()
    assert found["reconstruction"]["mse"]["value"] == pytest.approx(error, rel=1e-4)
    assert {name: tuple(scores) for name, scores in found.items()} == SCORES
    for scores in found.values():
        said = [f"{metric['n']} pairs of train" in metric["protocol"] for metric in scores.values() if metric["n"]]
        assert all(said) and said
    assert found["prior"]["meteor"]["n"] == 4 and found["blip"]["precision"]["n"] == 5
    matched = load_blip(workspace.directory("blip")).match(to_tensor(dataset.images[prompts.image_rows]), prompts.texts)
    assert found["blip"]["recall"]["value"] == float((matched > 0.5).double().mean())
    assert found["blip"]["similarity_mean"]["value"] == pytest.approx(float(matched.mean()), abs=1e-5)


def test_pictures_are_compared_as_sets_and_with_train(metrics: dict[str, Any], artefact: Path) -> None:
    systems = metrics["systems"]
    assert systems["real"]["frechet_blip"]["n"] == 6 and "6 real ones of 'val'" in str(systems["real"]["frechet_blip"])
    assert systems["prior_shuffled"]["recall_blip"]["reason"] == "the pictures are those of 'prior'"
    assert systems["prior"]["diversity_pixels"]["n"] == 6 and "diversity_pixels" not in systems["reconstruction"]
    assert metrics["copying"]["threshold_pixels"]["value"] > 0
    assert {path.name for path in (artefact / "copying").iterdir()} == {"prior.png", "diffusion.png"}
    for system in ("prior", "diffusion"):
        subject = metrics["confusion"][system]["subject"]
        assert sum(map(sum, subject["counts"])) == 6 and len(subject["counts"][0]) == len(subject["asked"]) + 1


def test_guidance_and_temperature_are_swept_on_val(metrics: dict[str, Any], artefact: Path) -> None:
    sweep = metrics["sweep"]
    assert set(sweep) == {"attribute_accuracy", "attribute_worst", "attribute_exact", "itm_probability"}
    for name, rows in sweep.items():
        assert list(rows) == ["guidance 1", "guidance 2"]
        for row in rows.values():
            assert list(row) == ["temperature 0", "temperature 1"]
            for metric in row.values():
                check_metric(name, metric)
                assert metric["n"] == 4
    itm = sweep["itm_probability"]["guidance 1"]
    assert itm["temperature 0"]["value"] != itm["temperature 1"]["value"]


def test_an_output_carries_its_prompt(artefact: Path, tiny_run: Path) -> None:
    dataset = load_dataset(tiny_run.parent / "data" / "tiny")
    records = json.loads((artefact / "pictures" / "records.json").read_text())
    real = np.load(artefact / "pictures" / "real.npy")
    prior = np.load(artefact / "pictures" / "prior.npy")
    assert prior.shape == real.shape == (6, 32, 32, 3) and prior.dtype == np.uint8
    for entry, picture in zip(records, real, strict=True):
        record = dataset.records[entry["row"]]
        assert record.caption == entry["prompt"] and record.split == "test" and entry["seed"] == 10_000
        assert np.array_equal(picture, dataset.images[record.image])
        assert records[entry["other_index"]]["prompt"] != entry["prompt"]
    captions = json.loads((artefact / "pictures" / "captions.json").read_text())
    assert {name: len(texts) for name, texts in captions.items()} == dict.fromkeys(set(SYSTEMS) - {"prior_shuffled"}, 4)
    assert len(np.load(artefact / "pictures" / "compositions" / "prior.npy")) == 3
    mean = np.load(artefact / "pictures" / "mean_picture.npy")
    assert np.array_equal(mean[0], mean[5]) and len(set(captions["mean_picture"])) == 1
    train = {dataset.images[row].tobytes() for row in dataset.split("train").unique_images}
    for copies in ("retrieval", "random_train"):
        assert all(picture.tobytes() in train for picture in np.load(artefact / "pictures" / f"{copies}.npy"))


def test_the_judge_is_published(artefact: Path, tiny_run: Path) -> None:
    values = load_dataset(tiny_run.parent / "data" / "tiny").attribute_values
    assert load_judge(artefact).sizes.attribute_values == values
    figures = json.loads((artefact / "manifest.json").read_text())["figures"]
    assert 0 <= figures["prior_attribute_accuracy"] <= 1 and figures["reconstruction_psnr_db"] > 0


def test_a_system_that_is_not_there_is_null_with_a_reason(artefact: Path, tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(artefact.parent, tmp_path / "tiny", ignore=shutil.ignore_patterns("evaluation", "diffusion"))
    config = parse_config("evaluation", ["--config", str(tiny_run), "--checkpoints", str(tmp_path), *SMALL])
    run(config, Workspace(config))
    systems = json.loads((tmp_path / "tiny" / "evaluation" / "metrics.json").read_text())["systems"]
    assert list(systems) == SYSTEMS and set(NAMES) <= set(systems["diffusion"])
    assert all(metric["value"] is None and "diffusion" in metric["reason"] for metric in systems["diffusion"].values())
    assert systems["prior"]["itc_cosine"]["value"] is not None


def test_further_seeds_paint_other_pictures_and_leave_the_rest_as_it_is(
    artefact: Path, metrics: dict[str, Any], tiny_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(artefact.parent, tmp_path / "tiny", ignore=shutil.ignore_patterns("evaluation"))
    options = ["--config", str(tiny_run), "--checkpoints", str(tmp_path), *SMALL, "--evaluation.seeds", "3"]
    config = parse_config("evaluation", options)
    run(config, Workspace(config))
    found = json.loads((tmp_path / "tiny" / "evaluation" / "metrics.json").read_text())
    assert list(found["seeds"]) == ["prior", "diffusion"]
    for system, spreads in found["seeds"].items():
        assert set(spreads) == set(HEADLINES) - {"lpips", "attribute_accuracy_compositions"}
        for name, spread in spreads.items():
            values = spread["values"]
            assert list(values) == ["10000", "10001", "10002"]
            assert values["10000"] == found["systems"][system][name]["value"]
            check_metric(name, spread["mean"])
            assert spread["mean"]["value"] == pytest.approx(np.mean(list(values.values())))
            assert spread["mean"]["ci95"] is not None or spread["mean"]["value"] in (0, 1)
            assert "mean over 3 seeds" in spread["mean"]["protocol"]
            assert spread["standard_deviation"] == pytest.approx(np.std(list(values.values()), ddof=1))
        assert len(set(spreads["mse"]["values"].values())) == 3
    unchanged = ("attribute_accuracy", "itm_probability", "mse")
    for system, scores in metrics["systems"].items():
        assert all(found["systems"][system][name] == scores[name] for name in unchanged)


def test_on_val_nothing_is_swept_and_on_compositions_nothing_is_drawn_twice(
    artefact: Path, tiny_run: Path, tmp_path: Path
) -> None:
    for split in ("val", "compositions"):
        shutil.copytree(artefact.parent, tmp_path / split / "tiny", ignore=shutil.ignore_patterns("evaluation"))
        options = ["--config", str(tiny_run), "--checkpoints", str(tmp_path / split), *SMALL]
        config = parse_config("evaluation", [*options, "--evaluation.split", split])
        run(config, Workspace(config))
    found = {
        split: json.loads((tmp_path / split / "tiny" / "evaluation" / "metrics.json").read_text())
        for split in ("val", "compositions")
    }
    assert "would flatter the prior" in found["val"]["sweep"]["reason"]
    assert "attribute_accuracy_compositions" in found["val"]["systems"]["prior"]
    assert "itm_probability" in found["compositions"]["sweep"]
    assert "attribute_accuracy_compositions" not in found["compositions"]["systems"]["prior"]


def test_without_a_prior_the_sweep_has_a_reason(artefact: Path, tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(artefact.parent, tmp_path / "tiny", ignore=shutil.ignore_patterns("evaluation", "prior"))
    config = parse_config("evaluation", ["--config", str(tiny_run), "--checkpoints", str(tmp_path), *SMALL])
    run(config, Workspace(config))
    metrics = json.loads((tmp_path / "tiny" / "evaluation" / "metrics.json").read_text())
    assert list(metrics["sweep"]) == ["reason"] and "prior" in metrics["sweep"]["reason"]
