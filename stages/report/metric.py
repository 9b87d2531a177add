"""One figure with its n, interval and protocol, as `evaluation/metrics.json` holds it, and how it is written."""

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from stages.evaluation import compared

NOT_AVAILABLE = "not available"


@dataclass(frozen=True)
class Metric:
    """A figure; `value` is None when it is not available, and `reason` then says why."""

    value: float | None
    n: int | None = None
    ci95: tuple[float, float] | None = None
    protocol: str = ""
    reason: str = ""


class Kind(NamedTuple):
    """How a metric is named and written."""

    label: str
    unit: str
    """percent, points (of a difference of percents), dB, bits, count, rank or score."""
    better: int
    """1: higher is better, -1: lower, 0: neither."""


KINDS = {
    "attribute_accuracy": Kind("Attribute accuracy", "percent", 1),
    "itc_cosine": Kind("BLIP ITC cosine", "score", 1),
    "itm_probability": Kind("BLIP ITM probability", "percent", 1),
    "attribute_worst": Kind("Worst attribute", "percent", 1),
    "attribute_exact": Kind("Every attribute right", "percent", 1),
    "accuracy": Kind("Accuracy", "percent", 1),
    "accuracy_mean": Kind("Accuracy, mean over attributes", "percent", 1),
    "accuracy_worst": Kind("Accuracy, worst attribute", "percent", 1),
    "accuracy_exact": Kind("Every attribute right", "percent", 1),
    "seconds_per_picture": Kind("Seconds per picture", "score", -1),
    "precision": Kind("Precision", "percent", 1),
    "recall": Kind("Recall", "percent", 1),
    "f1": Kind("F1", "percent", 1),
    "macro_f1": Kind("Macro F1", "percent", 1),
    "roc_auc": Kind("ROC-AUC", "score", 1),
    "average_precision": Kind("Average precision", "score", 1),
    "threshold": Kind("Threshold", "score", 0),
    "median_rank": Kind("Median rank", "rank", -1),
    "bleu1": Kind("BLEU-1", "score", 1),
    "bleu2": Kind("BLEU-2", "score", 1),
    "bleu3": Kind("BLEU-3", "score", 1),
    "bleu4": Kind("BLEU-4", "score", 1),
    **{f"bleu{n}_sentence": Kind(f"BLEU-{n}, mean over sentences", "score", 1) for n in (1, 2, 3, 4)},
    "meteor": Kind("METEOR", "score", 1),
    "rouge1": Kind("ROUGE-1 F1", "score", 1),
    "rouge2": Kind("ROUGE-2 F1", "score", 1),
    "rougeL": Kind("ROUGE-L F1", "score", 1),
    "cider": Kind("CIDEr-D", "score", 1),
    "r_precision": Kind("R-precision among 100 captions", "percent", 1),
    "lpips": Kind("LPIPS (AlexNet)", "score", -1),
    "lpips_vgg": Kind("LPIPS (VGG-16)", "score", -1),
    "mse": Kind("MSE, pictures in [-1,1]", "score", -1),
    "psnr_db": Kind("PSNR, true peak 2.0", "dB", 1),
    "psnr_db_as_published": Kind("PSNR, peak 1.0 as published", "dB", 1),
    "ssim": Kind("SSIM", "score", 1),
    "fid": Kind("FID", "score", -1),
    "kid": Kind("KID", "score", -1),
    "inception_score": Kind("Inception score", "score", 1),
    "frechet_blip": Kind("Fréchet distance in BLIP features", "score", -1),
    "mmd_blip": Kind("Squared MMD in BLIP features", "score", -1),
    "precision_blip": Kind("Fidelity (improved precision), BLIP features", "percent", 1),
    "recall_blip": Kind("Coverage (improved recall), BLIP features", "percent", 1),
    "diversity_pixels": Kind("Difference of pictures of one prompt, pixels", "score", 0),
    "diversity_blip": Kind("Difference of pictures of one prompt, BLIP features", "score", 0),
    "diversity_lpips": Kind("Difference of pictures of one prompt, LPIPS", "score", 0),
    "copied_blip": Kind("Suspiciously near to a train picture, BLIP features", "percent", -1),
    "copied_pixels": Kind("Suspiciously near to a train picture, pixels", "percent", -1),
    "nearest_train_blip": Kind("Distance to the nearest train picture, BLIP features", "score", 0),
    "nearest_train_pixels": Kind("Distance to the nearest train picture, pixels", "score", 0),
    "threshold_blip": Kind("Suspiciously near is below, BLIP features", "score", 0),
    "threshold_pixels": Kind("Suspiciously near is below, pixels", "score", 0),
    "usage_top": Kind("Code usage, top", "percent", 1),
    "usage_bottom": Kind("Code usage, bottom", "percent", 1),
    "perplexity_top": Kind("Perplexity of the codes, top", "score", 0),
    "perplexity_bottom": Kind("Perplexity of the codes, bottom", "score", 0),
    "text_code_retrieval_r10": Kind("Picture by its caption's codes, R@10", "percent", 1),
    "text_code_retrieval_chance": Kind("The same by chance", "percent", 0),
    "distinct_per_grid_top": Kind("Distinct codes in a picture's grid, top", "score", 0),
    "distinct_per_grid_bottom": Kind("Distinct codes in a picture's grid, bottom", "score", 0),
    "mse_other_top": Kind("MSE with another picture's top codes", "score", 0),
    "mse_other_bottom": Kind("MSE with another picture's bottom codes", "score", 0),
}
ACRONYMS = {
    **{word: word.upper() for word in ("itc", "itm", "blip", "nll", "mse", "fid", "kid", "lpips", "ssim", "f1")},
    **{"psnr": "PSNR", "db": "(dB)", "lr": "learning rate", "val": "held-out", "std": "standard deviation"},
    **{word: KINDS[word].label for word in ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "cider")},
    **{word: KINDS[word].label for word in ("rouge1", "rouge2", "rougeL")},
}
PREFIXES = {
    "itm_hard": "ITM hard-caption",
    "itc_hard": "ITC hard-caption",
    "published": "Related pairs only,",
    "caption": "Captions of real pictures,",
    "smell_itm": "Same smell by ITM,",
    "smell_itc": "Same smell by ITC,",
    "smell_probe": "Same smell by probe,",
    "smell_probe_shuffled": "Same smell by shuffled probe,",
    "smell_majority": "Same smell, always the commoner answer,",
}
"""What stands before a known name, where its words alone would not be understood."""
COMPOSITIONS = f"_{compared.COMPOSITIONS}"
"""Ends the name of a metric on the split whose combinations of attribute values no other split shows."""
PERCENT_WORDS = ("accuracy", "usage", "share", "recall", "precision", "retrieval", "f1")
RECALL_AT = re.compile(r"(^|_)r(ecall)?_?(at_?)?\d+$")
LOWER_WORDS = ("nll", "mse", "lpips", "loss", "frechet", "fid", "kid", "error")


def parse_metric(raw: Any) -> Metric:
    """A metric from JSON: a dict with `value`, or a bare number or null."""
    if not isinstance(raw, dict):
        raw = {"value": raw}
    value, interval = raw.get("value"), raw.get("ci95")
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    reason = str(raw.get("reason") or "")
    if not usable and not reason:
        reason = "no reason was given" if value is None else f"the value is {value!r}"
    whole = (
        isinstance(interval, list | tuple) and len(interval) == 2 and all(isinstance(x, int | float) for x in interval)
    )
    return Metric(
        value=float(value) if usable else None,
        n=int(raw["n"]) if isinstance(raw.get("n"), int | float) else None,
        ci95=(float(interval[0]), float(interval[1])) if whole else None,
        protocol=str(raw.get("protocol") or ""),
        reason=reason,
    )


def intervals_apart(first: Metric, second: Metric) -> bool | None:
    """Whether two 95 % intervals have nothing in common; None where one of them is not known."""
    if first.ci95 is None or second.ci95 is None:
        return None
    return first.ci95[1] < second.ci95[0] or second.ci95[1] < first.ci95[0]


def flatten(section: Any, prefix: str = "") -> dict[str, Metric]:
    """Every metric in nested JSON by its path, joined with "/"; text and lists beside them are left out."""
    found: dict[str, Metric] = {}
    section = section or {}
    for key, raw in section.items():
        path = f"{prefix}{key}"
        if isinstance(raw, dict) and "value" not in raw:
            found |= flatten(raw, path + "/")
        elif raw is None or isinstance(raw, dict | int | float):
            found[path] = parse_metric(raw)
    return found


def kind_of(path: str) -> Kind:
    """How the metric of this path is named and written; a name nobody foresaw is shown as it stands."""
    if path in KINDS:
        return KINDS[path]
    if path.endswith(COMPOSITIONS):
        kind = kind_of(path.removesuffix(COMPOSITIONS))
        return kind._replace(label=f"{kind.label}, new compositions")
    head, _, name = path.rpartition("/")
    if head.endswith(COMPOSITIONS):
        kind = kind_of(f"{head.removesuffix(COMPOSITIONS)}/{name}")
        return kind._replace(label=f"{kind.label}, new compositions")
    found = _kind_by_ending(head or path)
    if found is not None and not head:
        return found
    if found is not None and name not in KINDS:  # the share of the whole that one attribute has, say
        return found._replace(label=f"{found.label}: {name.replace('_', ' ')}")
    label = _readable(path)
    better = -1 if any(word in name for word in LOWER_WORDS) else 0
    if name in KINDS:
        return Kind(label, KINDS[name].unit, KINDS[name].better)
    if "_db" in name:
        return Kind(label, "dB", 1)
    if "bits" in name:
        return Kind(label, "bits", -1)
    if any(word in name for word in PERCENT_WORDS) or RECALL_AT.search(name) or "attribute" in path:
        return Kind(label, "percent", 1)
    return Kind(label, "score", better)


def _kind_by_ending(path: str) -> Kind | None:
    """The kind of a known name with words before it, "itm_roc_auc" as "roc_auc"; the longest such name counts."""
    if path in KINDS:
        return KINDS[path]
    name = max((name for name in KINDS if path.endswith(f"_{name}")), key=len, default=None)
    if name is None:
        return None
    prefix, kind = path.removesuffix(f"_{name}"), KINDS[name]
    label = kind.label
    if label[1:2].islower():  # not an acronym
        label = label[0].lower() + label[1:]
    return kind._replace(label=f"{PREFIXES.get(prefix) or _readable(prefix)} {label}")


def _readable(path: str) -> str:
    """A path as a person would write it: "itm_accuracy" -> "ITM accuracy", "image_r10" -> "Image R@10"."""
    words = [ACRONYMS.get(word, word) for word in path.replace("/", "_:_").split("_")]
    text = re.sub(r"\br(\d+)\b", r"R@\1", " ".join(words).replace(" :", ":"))
    return text[:1].upper() + text[1:]


def write_number(value: float, unit: str) -> str:
    """A number to the digits its unit deserves, without the unit."""
    if unit in ("percent", "points"):
        return f"{100 * value:.1f}"
    if unit == "dB":
        return f"{value:.2f}"
    if unit == "bits":
        return f"{value:.3f}"
    if unit == "rank":
        return f"{value:.1f}".removesuffix(".0")  # the median of an even number of ranks may lie between two
    if unit == "count" or (value == int(value) and abs(value) >= 10):
        return f"{value:,.0f}".replace(",", "\u202f")  # narrow no-break space
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def write_value(metric: Metric, unit: str) -> str:
    """The value with its unit, or "not available"."""
    if metric.value is None:
        return NOT_AVAILABLE
    suffix = {"percent": " %", "points": " points", "dB": " dB", "bits": " bits"}.get(unit, "")
    return write_number(metric.value, unit) + suffix


def write_detail(metric: Metric, unit: str) -> str:
    """Interval and n, as far as they are known: "91.2 to 93.4, n 500"."""
    parts = []
    if metric.value is not None and metric.ci95 is not None:
        parts.append("\u00a0to\u00a0".join(write_number(end, unit) for end in metric.ci95))
    if metric.value is not None and metric.n is not None:
        parts.append(f"n\u00a0{metric.n}")
    return ", ".join(parts)
