"""How a figure is read from JSON and written on the page."""

import math
from typing import Any

import pytest

from stages.report.metric import Metric, flatten, kind_of, parse_metric, write_detail, write_value


def test_a_whole_metric_is_written_with_unit_interval_and_n() -> None:
    metric = parse_metric({"value": 0.8612, "n": 500, "ci95": [0.85, 0.87], "protocol": "judge"})
    assert write_value(metric, "percent") == "86.1 %"
    assert write_detail(metric, "percent") == "85.0\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}87.0, n\N{NO-BREAK SPACE}500"


@pytest.mark.parametrize("raw", [None, {"value": None}, {"value": math.nan}, {"value": "0.5"}, {"value": True}])
def test_what_is_no_number_is_not_available_and_says_why(raw: Any) -> None:
    metric = parse_metric(raw)
    assert metric.value is None and metric.reason
    assert write_value(metric, "percent") == "not available"


def test_nested_json_is_flattened_by_path() -> None:
    found = flatten({"a": 1.5, "b": {"c": {"value": 2.0}, "d": None}, "note": "text", "list": [1]})
    assert {path: metric.value for path, metric in found.items()} == {"a": 1.5, "b/c": 2.0, "b/d": None}
    assert flatten(None) == {}


@pytest.mark.parametrize(
    ("path", "label", "unit", "better"),
    [
        ("attribute_accuracy", "Attribute accuracy", "percent", 1),
        ("itm_f1", "ITM F1", "percent", 1),
        ("text_to_image_r10", "Text to image R@10", "percent", 1),
        ("val_nll_bits_per_code", "Held-out NLL bits per code", "bits", -1),
        ("psnr_db_peak1", "PSNR (dB) peak1", "dB", 1),
        ("attribute_worst_compositions", "Worst attribute, new compositions", "percent", 1),
        ("rouge2", "ROUGE-2 F1", "score", 1),
        ("cider", "CIDEr-D", "score", 1),
        ("captions/bleu4_sentence", "Captions: BLEU-4 sentence", "score", 1),
        ("captions/cider", "Captions: CIDEr-D", "score", 1),
        ("captions/rougeL", "Captions: ROUGE-L F1", "score", 1),
        ("something_new", "Something new", "score", 0),
        ("itm_threshold", "ITM threshold", "score", 0),
        ("itc_roc_auc", "ITC ROC-AUC", "score", 1),
        ("itm_hard_average_precision", "ITM hard-caption average precision", "score", 1),
        ("itm_hard_accuracy/line_colour", "ITM hard-caption accuracy: line colour", "percent", 1),
        ("published_recall", "Related pairs only, recall", "percent", 1),
        ("image_to_text_median_rank", "Image to text median rank", "rank", -1),
        ("caption_bleu4_sentence", "Captions of real pictures, BLEU-4, mean over sentences", "score", 1),
        ("smell_probe_shuffled_macro_f1", "Same smell by shuffled probe, macro F1", "percent", 1),
    ],
)
def test_names_nobody_foresaw_are_still_readable(path: str, label: str, unit: str, better: int) -> None:
    assert kind_of(path) == (label, unit, better)


@pytest.mark.parametrize(("value", "text"), [(0.05, "0.050"), (0.0064, "0.0064"), (187.31, "187.3"), (0.0, "0.000")])
def test_digits(value: float, text: str) -> None:
    assert write_value(Metric(value), "score") == text


@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (2.5, "2.5"), (10.0, "10"), (1200.0, "1200")])
def test_a_rank_is_whole_or_half(value: float, text: str) -> None:
    assert write_value(Metric(value), "rank") == text
