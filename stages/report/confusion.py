"""What was asked for and what is shown: a table for each attribute, and the confusions that are most frequent."""

from itertools import product

from stages.report.facts import Evaluation, system_name
from stages.report.table import Cell, Table

FREQUENT = 6
"""Confusions of each system in the table of the most frequent."""
NONE = "\N{MIDDLE DOT}"


def confusion_tables(evaluation: Evaluation) -> dict[str, list[Table]]:
    """By system a table for each attribute: pictures by the value asked for, down, and the value shown, across."""
    found: dict[str, list[Table]] = {}
    for system, attributes in evaluation.confusion.items():
        found[system_name(system)] = [
            _attribute_table(f"confusion-{system}-{name}", name, **counted) for name, counted in attributes.items()
        ]
    return found


def _attribute_table(id: str, attribute: str, asked: list[str], shown: list[str], counts: list[list[int]]) -> Table:
    table = Table(id, attribute.replace("_", " "), ["asked", *shown])
    for value, row in zip(asked, counts, strict=True):
        cells = [
            Cell(str(count) if count else NONE, best=value == seen) for seen, count in zip(shown, row, strict=True)
        ]
        table.rows.append([Cell(value), *cells])
    return table


def frequent_confusions(evaluation: Evaluation) -> Table:
    """The values that most often show as others, of each system."""
    table = Table("confused", "What is most often confused", ["system", "attribute", "asked", "shown", "pictures"])
    for system, attributes in evaluation.confusion.items():
        confused = [
            (counted["counts"][row][column], sum(counted["counts"][row]), name, asked, shown)
            for name, counted in attributes.items()
            for (row, asked), (column, shown) in product(enumerate(counted["asked"]), enumerate(counted["shown"]))
            if asked != shown and counted["counts"][row][column]
        ]
        for count, of, name, asked, shown in sorted(confused, key=lambda found: -found[0])[:FREQUENT]:
            words = [Cell(text) for text in (system_name(system), name.replace("_", " "), asked, shown)]
            table.rows.append([*words, Cell(f"{count} of {of}")])
    if table.rows:
        table.remark = (
            "Pictures whose prompt asks for one value and in which the judge sees another; of so many that ask for it."
        )
    return table
