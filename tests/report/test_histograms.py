"""The histograms of BLIP's scores: read, drawn, and left out where they are none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from stages.errors import StageError
from stages.report import stage
from stages.report.histograms import Histogram, describe, draw_histogram, read_histograms

RAW: dict[str, Any] = {
    "edges": [0.0, 0.25, 0.5, 0.75, 1.0],
    "related": [0, 1, 1, 8],
    "unrelated": [15, 3, 1, 1],
    "hard": [1, 2, 1, 0],
    "threshold": 0.4,
    "hard_threshold": 0.6,
}


def read(folder: Path, raw: Any) -> list[Histogram]:
    path = folder / "histograms.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return read_histograms(path)


def blip_section_of(tree: Any) -> str:
    stage.run(tree.config, tree.workspace)
    html = (tree.workspace.directory("report") / "index.html").read_text()
    start = html.index('<section id="blip">')
    return html[start : html.index("</section>", start)]


def test_the_drawing_holds_three_outlines_and_both_thresholds(tmp_path: Path) -> None:
    (histogram,) = read(tmp_path, {"itm": RAW})
    (axes,) = draw_histogram(histogram).axes
    outlines = {patch.get_label(): patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)}
    assert {pairs: data.values.tolist() for pairs, data in outlines.items()} == {
        "related": [0, 10, 10, 80],
        "unrelated": [75, 15, 5, 5],
        "hard": [25, 50, 25, 0],
    }
    assert all(data.edges.tolist() == RAW["edges"] for data in outlines.values())
    looks = {(patch.get_edgecolor(), str(patch.get_linestyle())) for patch in axes.patches}
    assert len(looks) == 3 and len({colour for colour, _ in looks}) == len({dashes for _, dashes in looks}) == 3
    assert [line.get_xdata() for line in axes.lines] == [[0.4, 0.4], [0.6, 0.6]]
    assert [text.get_text() for text in axes.texts] == ["threshold 0.40", "hard threshold 0.60"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["related", "unrelated", "hard"]


@pytest.mark.parametrize(
    ("threshold", "hard"), [(0.4, 0.6), (0.6, 0.4), (0.02, 0.03), (0.98, 0.97), (0.5, 0.5), (-0.2, 1.3)]
)
def test_labels_stay_within_the_axes_and_apart(tmp_path: Path, threshold: float, hard: float) -> None:
    (histogram,) = read(tmp_path, {"itm": RAW | {"threshold": threshold, "hard_threshold": hard}})
    plot = draw_histogram(histogram)
    plot.canvas.draw()
    (axes,) = plot.axes
    frame = axes.get_window_extent()
    first, second = (text.get_window_extent() for text in axes.texts)
    assert not first.overlaps(second)
    highest = max(patch.get_data().values.max() for patch in axes.patches)
    top = axes.transData.transform((0, highest))[1]
    for label in (first, second):
        assert frame.x0 <= label.x0 and label.x1 <= frame.x1 and top <= label.y0 and label.y1 <= frame.y1


def test_one_tall_bin_does_not_flatten_the_others(tmp_path: Path) -> None:
    (tall,) = read(tmp_path, {"itm": RAW})
    flat = Histogram("itc", np.linspace(0, 1, 11), {"related": np.full(10, 5.0)}, {})
    assert [draw_histogram(each).axes[0].get_yscale() for each in (tall, flat)] == ["function", "linear"]
    assert "root scale" in draw_histogram(tall).axes[0].get_ylabel()
    (axes,) = draw_histogram(tall).axes
    heights = axes.transAxes.inverted().transform(axes.transData.transform([(0, 5), (0, 80)]))[:, 1]
    assert heights[0] == pytest.approx(heights[1] / 4)  # the root of 5/80


def test_the_description_says_where_each_kind_of_pairs_lies(tmp_path: Path) -> None:
    (histogram,) = read(tmp_path, {"itc": RAW | {"threshold": None}})
    assert describe(histogram) == (
        "Histogram of ITC cosine: 10 related pairs, their median between 0.75 and 1.00; 20 unrelated pairs, their "
        "median between 0.00 and 0.25; 4 hard pairs, their median between 0.25 and 0.50; hard threshold 0.60"
    )


def test_kinds_of_pairs_that_are_missing_or_empty_are_not_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = {"edges": RAW["edges"], "related": RAW["related"], "unrelated": [0, 0, 0, 0], "hard": None}
    (histogram,) = read(tmp_path, {"itm": some})
    assert list(histogram.counts) == ["related"] and histogram.thresholds == {}
    assert read(tmp_path, {"itm": {"edges": RAW["edges"]}}) == []
    assert read_histograms(tmp_path / "nowhere.json") == [] and not caplog.records


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [0.0, 0.5, 0.5, 0.75, 1.0]},
        {"edges": [0.0, 1.0]},
        {"edges": "0 1"},
        {"related": [1, 2, 3]},
        {"hard": [1, -2, 3, 4]},
        {"hard": [1, "<script>", 3, 4]},
        {"unrelated": [1, float("nan"), 0, 0]},
        {"related": {"a": 1}},
    ],
)
def test_what_is_no_histogram_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any]
) -> None:
    found = read(tmp_path, {"itm": RAW | change, "itc": RAW, "other": RAW})
    assert [histogram.score for histogram in found] == ["itc"]
    assert "'itm' is no histogram" in caplog.text


def test_what_is_not_json_is_refused(tmp_path: Path) -> None:
    assert read(tmp_path, "[]") == []
    with pytest.raises(StageError, match=r"histograms.json cannot be read"):
        read(tmp_path, '{"itm": ')


def test_both_drawings_are_on_the_page_between_decisions_and_scores(make_tree: Callable[..., Any]) -> None:
    html = blip_section_of(make_tree())
    images = re.findall(r'<img src="(data:image/png[^"]+)" width="\d+" height="\d+" alt="([^"]+)"', html)
    assert [alt[:28] for _, alt in images] == ["Histogram of ITM probability", "Histogram of ITC cosine: 500"]
    assert all(len(source) < 80_000 for source, _ in images)
    ids = [html.index(f'id="blip-{name}"') for name in ("decisions", "histograms", "scores")]
    assert ids == sorted(ids) and ids[1] < html.index("<img") < ids[2]


def test_a_run_without_histograms_has_its_tables_all_the_same(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    (tree.workspace.directory("blip") / "histograms.json").unlink()
    html = blip_section_of(tree)
    assert "blip-histograms" not in html and "<img" not in html and 'id="blip-decisions"' in html


def test_histograms_alone_are_shown_too(make_tree: Callable[..., Any]) -> None:
    tree = make_tree()
    tree.metrics["blip"] = {}
    tree.write_metrics()
    html = blip_section_of(tree)
    assert html.count("<img") == 2 and "No BLIP figure is available" not in html
