"""The page's section BLIP: its decisions, scores, retrieval, mistakes and captions, each only where it was measured."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stages.report.facts import RunFacts
from stages.report.histograms import histogram_figure, read_histograms
from stages.report.metric import KINDS, Kind, Metric, kind_of, write_value
from stages.report.pictures import Figure
from stages.report.table import Cell, Table, arrow, cross_table, list_table

SCORES = {"itm": "ITM", "itc": "ITC"}
UNITS = {"itm": "ITM probability", "itc": "ITC cosine"}
JUDGED = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision")
DECISIONS = (*JUDGED, "threshold")
DECISION = re.compile(rf"(?P<protocol>published|(?:itm|itc)(?:_hard)?)_(?P<figure>{'|'.join(DECISIONS)})")
STATISTICS = {"mean": "mean", "median": "median", "std": "standard deviation"}
PAIRS = {"related": "related pairs", "unrelated": "unrelated pairs", "hard": "hard captions"}
SIMILARITY = re.compile(
    rf"(?P<score>itm|itc)_similarity_(?P<pairs>{'|'.join(PAIRS)})_(?P<statistic>{'|'.join(STATISTICS)})"
)
DIRECTIONS = {"text_to_image": "caption to picture", "image_to_text": "picture to caption"}
RETRIEVAL = re.compile(rf"(?P<direction>{'|'.join(DIRECTIONS)})_(?P<figure>r\d+|median_rank)")
ATTRIBUTE = re.compile(r"(?P<score>itm|itc)_hard_accuracy/(?P<attribute>.+)", flags=re.S)
CAPTION = re.compile(r"caption_(?P<figure>.+)")
SMELL = re.compile(r"smell_(?P<by>.+)_macro_f1")
SMELL_NAMES = {
    "itm": "ITM probability of picture and passage",
    "itc": "ITC cosine of picture and passage",
    "probe": "Probe on BLIP's embeddings",
    "probe_shuffled": "Probe, shuffled (control)",
    "majority": "Always the commoner answer",
}
SHOWN_APART = (DECISION, SIMILARITY, RETRIEVAL, ATTRIBUTE, CAPTION, SMELL)


@dataclass(frozen=True)
class BlipSection:
    """Everything the section shows, in its order."""

    guide: str
    """How to read the decisions, for who is new to them; empty without them."""
    decisions: Table | None
    histograms: list[Figure]
    tables: list[Table]
    """What comes after the histograms."""


def blip_section(facts: RunFacts) -> BlipSection:
    """What is there of BLIP's figures; a table of which nothing is available is left to the list of such things.

    Raises:
        StageError: the published histograms cannot be read.
    """
    metrics = facts.evaluation.section("blip")
    folder = facts.directories.get("blip")
    histograms = read_histograms(folder / "histograms.json") if folder else []
    decisions = decision_table(metrics)
    rest = {path: m for path, m in metrics.items() if not any(known.fullmatch(path) for known in SHOWN_APART)}
    tables = [
        score_table(metrics),
        retrieval_table(metrics),
        confusion_table(metrics),
        caption_table(metrics),
        smell_table(metrics),
        list_table("blip-others", "BLIP's other figures", rest),
    ]
    shown = [table for table in tables if _anything(table)]
    drawn = [histogram_figure(histogram) for histogram in histograms]
    if not _anything(decisions):
        return BlipSection("", None, drawn, shown)
    return BlipSection(_guide(metrics), decisions, drawn, shown)


def decision_table(metrics: dict[str, Metric]) -> Table:
    """Whether picture and caption belong together: against easy and hard captions, and as it was published."""
    kinds = {figure: KINDS[figure] for figure in DECISIONS}
    table = Table(
        "blip-decisions",
        "Does this picture belong to this caption?",
        ["protocol", *(kind.label + arrow(kind) for kind in kinds.values())],
    )
    hard = f"captions {'differing in one attribute' if _confusions(metrics) else 'nearest to the own'}"
    rows = {score: f"against shuffled captions, {name}" for score, name in SCORES.items()}
    rows |= {f"{score}_hard": f"against {hard}, {name}" for score, name in SCORES.items()}
    for protocol, name in (rows | {"published": "the published rule: related pairs only, ITM"}).items():
        found = {figure: metrics.get(f"{protocol}_{figure}") for figure in DECISIONS}
        if any(found.values()):
            table.rows.append(_decision_row(table, name, found, kinds))
    return table


def _decision_row(table: Table, name: str, found: dict[str, Metric | None], kinds: dict[str, Kind]) -> list[Cell]:
    """A row whose protocol, where all its figures but the threshold share it, stands at its name."""
    judged = [found[figure] for figure in JUDGED]
    protocols = {metric.protocol for metric in judged if metric is not None and metric.value is not None}
    shared = len(protocols) == 1
    row = [Cell(name, notes=table.note(protocols.pop()) if shared else ())]
    for figure, metric in found.items():
        if metric is None:
            row.append(Cell("\N{EN DASH}", missing=True))
        else:
            row.append(table.metric_cell(metric, kinds[figure], protocol=not shared or figure == "threshold"))
    return row


def _guide(metrics: dict[str, Metric]) -> str:
    """What the rows of the decisions are worth; says nothing of rows that are not there."""
    parts = []
    if _has(metrics, "itm_f1", "itc_f1"):
        parts.append(
            "F1 against shuffled captions is easy to come by: most of them describe quite another picture, and calling "
            "every pair related already scores 66.7 %."
        )
    if _has(metrics, "itm_hard_", "itc_hard_"):
        parts.append(
            "Captions that differ from the picture's own in one attribute are the honest test: only who sees that "
            "attribute tells them apart."
            if _confusions(metrics)
            else "The captions nearest to the picture's own are the honest test: only details tell them apart."
        )
    if _has(metrics, "published_"):
        parts.append("Over related pairs alone there are no false alarms, so precision is 1 whatever the network does.")
    return " ".join(parts)


def score_table(metrics: dict[str, Metric]) -> Table:
    """How the scores of related, unrelated and hard pairs are distributed."""
    columns: dict[str, dict[str, Metric]] = {name: {} for name in STATISTICS.values()}
    for match, metric in _matching(SIMILARITY, metrics):
        # the statistic is said by the column: with it in the protocol every cell would have a footnote of its own
        said = replace(metric, protocol=metric.protocol.removesuffix(f", {match['statistic']}"))
        columns[STATISTICS[match["statistic"]]][f"{match['score']}_{match['pairs']}"] = said
    rows = {
        f"{score}_{pairs}": Kind(f"{unit}, {name}", "score", 0)
        for score, unit in UNITS.items()
        for pairs, name in PAIRS.items()
        if any(f"{score}_{pairs}" in column for column in columns.values())
    }
    shown = {name: column for name, column in columns.items() if column}
    return cross_table("blip-scores", "Scores of related, unrelated and hard pairs", "score", shown, rows)


def retrieval_table(metrics: dict[str, Metric]) -> Table:
    """How well the own picture, or the own caption, is found among all of the split."""
    columns: dict[str, dict[str, Metric]] = {name: {} for name in DIRECTIONS.values()}
    for match, metric in _matching(RETRIEVAL, metrics):
        columns[DIRECTIONS[match["direction"]]][match["figure"]] = metric
    shown = {name: column for name, column in columns.items() if column}
    found = {figure for column in shown.values() for figure in column}
    ordered = sorted(found - {"median_rank"}, key=lambda figure: int(figure[1:])) + sorted(found & {"median_rank"})
    rows = {figure: kind_of(figure) for figure in ordered}
    table = cross_table("blip-retrieval", "Retrieval, both ways", "by ITC cosine", shown, rows)
    table.remark = (
        "R@k: the own one is among the first k. Median rank 1: it is the first in at least half of the cases."
    )
    return table


def confusion_table(metrics: dict[str, Metric]) -> Table:
    """Which attribute of a caption may be changed without BLIP noticing."""
    columns = _confusions(metrics)
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = {name: Kind(name.replace("_", " "), "percent", 0) for name in names}
    title = "Which attributes are confused: changed captions rightly called unrelated"
    table = cross_table("blip-confusions", title, "changed attribute", columns, rows)
    hardest = [_hardest(score, shares) for score, shares in columns.items()]
    table.remark = " ".join(["The lower, the more often another value passes for the true one.", *hardest])
    return table


def _confusions(metrics: dict[str, Metric]) -> dict[str, dict[str, Metric]]:
    """Shares by score and attribute; a score of which no share is available is left out."""
    found: dict[str, dict[str, Metric]] = {}
    for match, metric in _matching(ATTRIBUTE, metrics):
        found.setdefault(SCORES[match["score"]], {})[match["attribute"]] = metric
    return {score: shares for score, shares in found.items() if any(m.value is not None for m in shares.values())}


def _hardest(score: str, shares: dict[str, Metric]) -> str:
    known = {name: metric.value for name, metric in shares.items() if metric.value is not None}
    worst = min(known, key=lambda name: known[name])
    return f"Hardest for {score}: {worst.replace('_', ' ')}, {write_value(shares[worst], 'percent')}."


def caption_table(metrics: dict[str, Metric]) -> Table:
    """How near BLIP's captions of real pictures come to those pictures' own."""
    found = {match["figure"]: metric for match, metric in _matching(CAPTION, metrics)}
    rows = {figure: kind_of(figure) for figure in found}
    table = cross_table("blip-captions", "BLIP's captions of real pictures", "metric", {"value": found}, rows)
    table.remark = (
        "BLIP's captions of real test pictures against their own captions: the ceiling for what captions of generated "
        "pictures can score."
    )
    return table


def smell_table(metrics: dict[str, Metric]) -> Table:
    """MUSTI's subtask 1; on other data sets there is none."""
    found = {match["by"]: metric for match, metric in _matching(SMELL, metrics)}
    rows = {by: Kind(SMELL_NAMES.get(by) or by.replace("_", " "), "percent", 1) for by in found}
    title = "MUSTI subtask 1: do picture and passage evoke the same smell?"
    table = cross_table("blip-smell", title, "answered by", {KINDS["macro_f1"].label: found}, rows)
    table.remark = (
        "Macro F1 is the mean of the F1 of YES and of NO, so one and the same answer to everything stays at or below "
        "50 %."
    )
    return table


def _matching(known: re.Pattern[str], metrics: dict[str, Metric]) -> Iterator[tuple[re.Match[str], Metric]]:
    for path, metric in metrics.items():
        match = known.fullmatch(path)
        if match is not None:
            yield match, metric


def _has(metrics: dict[str, Metric], *prefixes: str) -> bool:
    return any(path.startswith(prefixes) and metric.value is not None for path, metric in metrics.items())


def _anything(table: Table) -> bool:
    return any(not cell.missing for row in table.rows for cell in row[1:])
