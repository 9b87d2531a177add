"""The few figures that go beyond the table: which are compared in pairs and over seeds, and what is logged."""

import logging
from typing import Any

from stages.evaluation.compared import COMPOSITIONS
from stages.evaluation.comparison import Scores

log = logging.getLogger("stages.evaluation")

HEADLINES = (
    "attribute_accuracy",
    "attribute_exact",
    f"attribute_accuracy_{COMPOSITIONS}",
    "itm_probability",
    "itc_cosine",
    "bleu4_sentence",
    "meteor",
    "rougeL",
    "lpips",
    "mse",
)
"""Metrics by which systems are compared in pairs and over seeds; each has a value for every sample."""

_IN_MANIFEST = {
    "prior": (
        "attribute_accuracy",
        "attribute_worst",
        "attribute_exact",
        f"attribute_accuracy_{COMPOSITIONS}",
        "bleu4",
    ),
    "diffusion": ("attribute_accuracy", "bleu4"),
    "prior_shuffled": ("attribute_accuracy", "bleu4"),
    "prior_uncaptioned": ("attribute_accuracy",),
    "retrieval": ("attribute_accuracy", f"attribute_accuracy_{COMPOSITIONS}", "bleu4"),
    "random_train": ("attribute_accuracy",),
    "mean_picture": ("attribute_accuracy",),
    "reconstruction": ("attribute_accuracy", "psnr_db"),
    "real": ("attribute_accuracy",),
}
_SAID = (
    ("attribute_accuracy", "attributes", 100, " %"),
    ("attribute_worst", "worst", 100, " %"),
    ("attribute_exact", "all right", 100, " %"),
    (f"attribute_accuracy_{COMPOSITIONS}", f"attributes on {COMPOSITIONS}", 100, " %"),
    ("bleu4", "BLEU-4", 1, ""),
    ("itm_probability", "ITM", 1, ""),
    ("psnr_db", "PSNR", 1, " dB"),
    ("seconds_per_picture", "seconds a picture", 1, ""),
)


def manifest_figures(systems: Scores, judge: dict[str, Any], prompts: int) -> dict[str, Any]:
    """What the manifest says of a comparison."""
    figures: dict[str, Any] = {"prompts": prompts, "judge_accuracy_mean": judge["accuracy_mean"]["value"]}
    for system, keys in _IN_MANIFEST.items():
        figures |= {f"{system}_{key}": systems[system][key].value for key in keys if key in systems[system]}
    return figures


def log_scores(systems: Scores) -> None:
    """A line for each system."""
    for name, found in systems.items():
        parts = [
            f"{label} {scale * value:.{1 if scale == 100 else 3}f}{unit}"
            for key, label, scale, unit in _SAID
            if key in found and (value := found[key].value) is not None
        ]
        reason = next((metric.reason for metric in found.values() if metric.reason), "")
        log.info("evaluation: %s: %s", name, ", ".join(parts) or f"not available ({reason})")
