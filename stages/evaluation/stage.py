"""Stage `evaluation`: every system's pictures for the same held-out captions, scored alike, into `metrics.json`.

run, split  what was evaluated, on which split
prompts     `count`, and `pictures_in_train`: prompts whose picture train has too
systems     system of `COMPARED` -> metric -> figure with n, interval and protocol, or the reason why there is none
paired      other system -> headline metric -> the prior's figure minus the other's, prompt by prompt
seeds       painting system -> headline metric -> `mean`, `standard_deviation`, `values` by seed; or a `reason`
budgets     painting system -> weights, pictures seen and seconds of training, and headline metrics; rivals too
vqvae, blip, prior  what those stages measured
published   `prior`, `reconstruction` and `blip` -> metric -> figure by the publication's protocol
copying     `threshold_blip`, `threshold_pixels`: nearer to a train picture than that counts as copied
confusion   painting system -> attribute -> `asked`, `shown` and `counts`; or a `reason`
sweep       score -> guidance -> temperature -> figure, on `val`; or a `reason`
judge       how often the judge of the attributes is right on real pictures

`metrics.schema.json` describes every key of it.
"""

import logging
from pathlib import Path
from typing import Any

from stages.blip import Blip, load_blip, load_features
from stages.config import RunConfig
from stages.data import PreparedSet, load_dataset
from stages.evaluation import copying
from stages.evaluation.budgets import budgets_section
from stages.evaluation.compared import COMPOSITIONS
from stages.evaluation.comparison import Comparison, Scores, write_json
from stages.evaluation.confusion import confusion_section
from stages.evaluation.diversity import add_diversity
from stages.evaluation.gallery import Gallery, open_galleries
from stages.evaluation.headlines import log_scores, manifest_figures
from stages.evaluation.judge import Judge, save_judge
from stages.evaluation.judging import judge_figures, train_judge
from stages.evaluation.painters import require_what_is_named
from stages.evaluation.paired import paired_differences
from stages.evaluation.prompts import Prompts, choose_prompts, count_seen
from stages.evaluation.published import published_section
from stages.evaluation.realism import add_realism, choose_reference
from stages.evaluation.scores import Instruments, pool_captions
from stages.evaluation.sections import measured_section
from stages.evaluation.seeds import seeds_section
from stages.evaluation.sweep import sweep_section
from stages.metrics import Resampling, find_thesaurus
from stages.metrics.inception import load_inception
from stages.metrics.perceptual import lpips_for
from stages.workspace import Output, Workspace

log = logging.getLogger("stages.evaluation")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Draws with every system, scores, and publishes `metrics.json`, the pictures and the judge.

    Raises:
        StageError: an input, one of `evaluation.rivals` or `samples.device` is not there, or `evaluation.split` is not.
    """
    for needed in ("data", "blip", "vqvae", "codes"):
        workspace.require(needed)
    require_what_is_named(workspace)
    dataset = load_dataset(workspace.require("data"))
    prompts = choose_prompts(dataset.split(config.evaluation.split), config.evaluation.max_prompts, config.seed)
    seen = count_seen(prompts, dataset)
    if seen:
        log.warning("evaluation: %d of %d prompts have a picture that is in train too", seen, len(prompts))
    judge = train_judge(dataset, config, workspace.scratch("evaluation"))
    instruments = _instruments(config, dataset, load_blip(workspace.require("blip")), judge)
    comparison = Comparison(config, workspace, dataset, instruments)
    with workspace.publish("evaluation") as output:
        systems = comparison.score_systems(prompts, output.directory / "pictures")
        _add_compositions(systems, comparison, prompts, output.directory / "pictures" / COMPOSITIONS)
        galleries = open_galleries(output.directory / "pictures", systems, instruments.blip, instruments.batch_size)
        beside = _compare_sets(systems, galleries, prompts, comparison, output)
        metrics: dict[str, Any] = {
            "run": config.run,
            "split": config.evaluation.split,
            "prompts": {"count": len(prompts), "pictures_in_train": seen},
            "systems": _to_json(systems),
            "paired": _to_json(paired_differences(systems, instruments.resampling)),
            "seeds": seeds_section(comparison, prompts, systems),
            "budgets": budgets_section(workspace, comparison, prompts, systems),
            **{stage: measured_section(workspace, stage) for stage in ("vqvae", "blip", "prior")},
            "published": published_section(comparison),
            **beside,
            "sweep": sweep_section(config, workspace, dataset, instruments),
            "judge": judge_figures(judge, dataset, config.evaluation.split, instruments.resampling),
        }
        write_json(output.directory / "metrics.json", metrics)
        if judge is not None:
            save_judge(judge, output.directory)
        output.figures |= manifest_figures(systems, metrics["judge"], len(prompts))
    log_scores(systems)


def _compare_sets(
    systems: Scores, galleries: dict[str, Gallery], prompts: Prompts, comparison: Comparison, output: Output
) -> dict[str, Any]:
    """Adds the metrics of pictures as sets, and of copies; returns the sections beside the systems."""
    dataset, instruments = comparison.dataset, comparison.instruments
    features = load_features(comparison.workspace.require("blip")).image_pooled
    reference = choose_reference(dataset, prompts.split, features, len(prompts), comparison.seed)
    add_realism(systems, galleries, reference, load_inception(), instruments.resampling)
    scratch = comparison.workspace.scratch("evaluation")
    add_diversity(systems, comparison.systems, prompts, dataset, instruments, comparison.section, scratch)
    sheets = output.directory / copying.FOLDER
    copied = copying.add_copying(systems, galleries, dataset, features, prompts.texts, instruments.resampling, sheets)
    labels = prompts.labels(dataset.attribute_values or {})
    return {
        "copying": {name: metric.to_json() for name, metric in copied.items()},
        "confusion": confusion_section(galleries, labels, instruments.judge, instruments.batch_size),
    }


def _instruments(config: RunConfig, dataset: PreparedSet, blip: Blip, judge: Judge | None) -> Instruments:
    section = config.evaluation
    return Instruments(
        blip=blip,
        judge=judge,
        perceptuals={backbone: lpips_for(backbone, dataset.image_size) for backbone in section.lpips_backbones},
        pool=pool_captions(blip, dataset.split(section.split), section.caption_batch_size),
        thesaurus=find_thesaurus(),
        resampling=Resampling(section.bootstrap_repeats, config.seed),
        batch_size=section.caption_batch_size,
    )


def _add_compositions(systems: Scores, comparison: Comparison, compared: Prompts, folder: Path) -> None:
    """Adds `attribute_accuracy_compositions` and its like, where there is such a split beside the compared one.

    Of single attributes and scenes they are called `attribute_accuracy_compositions/count`, say.
    """
    count, dataset = comparison.section.max_compositions, comparison.dataset
    if count == 0 or COMPOSITIONS not in dataset.splits or comparison.instruments.judge is None:
        return
    if compared.split == COMPOSITIONS:
        return
    prompts = choose_prompts(dataset.split(COMPOSITIONS), count, comparison.seed)
    for name, found in comparison.score_attributes(prompts, folder).items():
        for key, metric in found.items():
            whole, slash, part = key.partition("/")
            systems[name][f"{whole}_{COMPOSITIONS}{slash}{part}"] = metric


def _to_json(scores: Scores) -> dict[str, Any]:
    return {name: {key: metric.to_json() for key, metric in found.items()} for name, found in scores.items()}
