"""Tables of figures with footnotes, and the same tables in Markdown."""

from dataclasses import dataclass, field

from stages.markdown import escape_markdown, markdown_table, one_line
from stages.report.metric import Kind, Metric, kind_of, write_detail, write_value


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, smaller text under it, and its footnotes' numbers."""

    text: str
    detail: str = ""
    notes: tuple[int, ...] = ()
    missing: bool = False
    best: bool = False
    wide: bool = False
    """Whether it holds running text rather than a figure."""


@dataclass
class Table:
    """A table under construction; rows start with their heading."""

    id: str
    title: str
    head: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remark: str = ""
    groups: list[tuple[str, int]] = field(default_factory=list)
    """Headings over the columns after the first, each with how many it spans; none: no such line."""

    def note(self, text: str) -> tuple[int, ...]:
        """The number of a footnote, the same for the same text; none for an empty text."""
        if not text:
            return ()
        if text not in self.notes:
            self.notes.append(text)
        return (self.notes.index(text) + 1,)

    def metric_cell(self, metric: Metric, kind: Kind, *, protocol: bool = True) -> Cell:
        """A metric with interval and n; its protocol, or why it is not available, as a footnote."""
        missing = metric.value is None
        note = metric.reason if missing else metric.protocol if protocol else ""
        detail = write_detail(metric, kind.unit)
        return Cell(write_value(metric, kind.unit), detail, self.note(note), missing)


def list_table(id: str, title: str, metrics: dict[str, Metric]) -> Table:
    """One metric per row."""
    table = Table(id, title, ["", "value"])
    for path, metric in metrics.items():
        kind = kind_of(path)
        table.rows.append([Cell(kind.label + arrow(kind)), table.metric_cell(metric, kind)])
    return table


def cross_table(
    id: str, title: str, corner: str, columns: dict[str, dict[str, Metric]], rows: dict[str, Kind]
) -> Table:
    """Metrics down, systems across. A protocol that all systems share stands at the metric's name."""
    table = Table(id, title, [corner, *columns])
    for path, kind in rows.items():
        found = [metrics.get(path) for metrics in columns.values()]
        protocols = {metric.protocol for metric in found if metric is not None and metric.value is not None}
        shared = len(protocols) == 1
        heading = Cell(kind.label + arrow(kind), notes=table.note(protocols.pop()) if shared else ())
        cells = [
            Cell("\N{EN DASH}", missing=True)
            if metric is None
            else table.metric_cell(metric, kind, protocol=not shared)
            for metric in found
        ]
        table.rows.append([heading, *cells])
    return table


def arrow(kind: Kind) -> str:
    """Which way is better, as an arrow."""
    return {1: " \N{UPWARDS ARROW}", -1: " \N{DOWNWARDS ARROW}"}.get(kind.better, "")


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown, footnotes as a list under it."""
    lines = [markdown_table(table.head, [[_markdown_cell(cell) for cell in row] for row in table.rows])]
    if not table.rows:
        lines = []
    if table.remark:
        lines += [escape_markdown(table.remark), ""]
    lines += [f"{number}. {escape_markdown(note)}" for number, note in enumerate(table.notes, start=1)]
    return "\n".join(lines).rstrip() + "\n"


def plain(table: Table) -> str:
    """The table in columns for the terminal, without its footnotes."""
    lines = [table.head, *([_plain_cell(cell) for cell in row] for row in table.rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.head))]
    padded = ("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _plain_cell(cell: Cell) -> str:
    return one_line(f"{cell.text} ({cell.detail})" if cell.detail else cell.text)


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    if cell.best:
        text = f"**{text}**"
    if cell.detail:
        text += f" ({escape_markdown(cell.detail)})"
    return text + "".join(f" [{number}]" for number in cell.notes)
