"""The data card's figures in words: one sentence and a few tables of plain text, for Markdown and for the page."""

from dataclasses import dataclass, field

from stages.data.card.captions import Spread
from stages.data.card.figures import CardFigures

VALUES_SHOWN = 40
REASONS_SHOWN = 20
LONGEST_WORD = 30
"""Characters of an example above which it is cut: some captions are addresses."""
DASH = "\N{EN DASH}"


@dataclass(frozen=True)
class CardTable:
    """One part of the card. Without rows the remark says all there is to say."""

    id: str
    title: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)
    """Cells of plain text, not escaped."""
    remark: str = ""
    wide: bool = False
    """Whether the last column holds running text."""


def card_sentence(figures: CardFigures, name: str, source: str) -> str:
    """The data set in one sentence."""
    words = figures.captions.words
    side = figures.image_size
    return (
        f"Data set '{name}', source '{source}': {_count(figures.pictures, 'picture')} of {side} x {side} pixels, "
        f"{_count(figures.pairs, 'caption')} of {words.least:g} to {words.most:g} words (median {words.median:g})."
    )


def card_tables(figures: CardFigures) -> list[CardTable]:
    """Every part of the card, in the order of reading."""
    tables = [_splits(figures), _lengths(figures), _vocabulary(figures), _common(figures), _levels(figures)]
    tables += [_duplicates(figures), _dropped(figures)]
    if figures.attributes is not None:
        tables.append(_attributes(figures.attributes))
    return tables


def _splits(figures: CardFigures) -> CardTable:
    head = ["split", "pairs", "pictures", "captions per picture", "groups", "largest group"]
    table = CardTable(
        "splits",
        "Splits",
        [*head, "pictures also in train", "captions also in train"],
        remark=f"A pair is a picture with one of its captions. {_groups(figures)} The largest of the "
        f"{figures.groups:,} groups has {_count(figures.largest_group, 'picture')}. A caption that train has too, case "
        "aside, asks for nothing that was never seen.",
    )
    for name, split in figures.splits.items():
        repeated = figures.captions.splits[name].repeated
        counts = [split.groups, split.largest_group, split.shared]
        table.rows.append(
            [name, f"{split.pairs:,}", f"{split.pictures:,}", f"{split.pairs / split.pictures:.3g}"]
            + [DASH if count is None else f"{count:,}" for count in counts]
            + [DASH if repeated is None else _share(repeated, split.pairs)]
        )
    return table


def _groups(figures: CardFigures) -> str:
    if figures.notes.official:
        return "The splits are the source's own: pictures of one group may lie in several."
    return "Pictures of one group are all in one split, unless a list of file names takes some of them out."


def _lengths(figures: CardFigures) -> CardTable:
    def row(name: str, spread: Spread) -> list[str]:
        values = (spread.least, spread.median, spread.percentile_95, spread.most)
        return [name, *(f"{round(value, 1):,g}" for value in values)]

    captions = figures.captions
    rows = [row("words in a caption", captions.words), row("characters in a caption", captions.characters)]
    rows.append(row("captions of a picture", captions.per_picture))
    head = ["", "least", "median", "95th percentile", "most"]
    return CardTable("lengths", "Caption lengths", head, rows, "A word is what stands between spaces.")


def _vocabulary(figures: CardFigures) -> CardTable:
    table = CardTable(
        "vocabulary",
        "Vocabulary",
        ["split", "distinct words", "words in all", "distinct, never in train", "in all, never in train", "such words"],
        remark=f"The whole set has {_count(figures.captions.vocabulary, 'distinct word')}, lower-cased, without "
        "punctuation at their ends. The most frequent words come first.",
        wide=True,
    )
    for name, words in figures.captions.splits.items():
        unseen = [DASH] * 3
        if words.new is not None:
            unseen = [_share(words.new, words.distinct), _share(words.new_running, words.running)]
            more = f" and {words.new - len(words.examples):,} more" if words.new > len(words.examples) else ""
            shown = [word if len(word) <= LONGEST_WORD else word[:LONGEST_WORD] + "…" for word in words.examples]
            unseen.append(", ".join(shown) + more or DASH)
        table.rows.append([name, f"{words.distinct:,}", f"{words.running:,}", *unseen])
    return table


def _common(figures: CardFigures) -> CardTable:
    captions = figures.captions
    remark = f"The {_count(figures.pairs, 'pair')} have {_count(captions.distinct, 'distinct caption')}."
    if not captions.common:
        remark = f"No caption occurs twice among {_count(figures.pairs, 'pair')}."
    rows = [[f"{count:,}", caption] for caption, count in captions.common]
    return CardTable("common", "Most common captions", ["pairs", "caption"], rows, remark, wide=True)


def _levels(figures: CardFigures) -> CardTable:
    levels = figures.levels
    which = "all pictures" if levels.pictures == figures.pictures else f"{levels.pictures:,} pictures spread evenly"
    pixels = f", every {levels.every}th pixel each way" if levels.every > 1 else ""
    rows = [
        [channel, f"{mean:.1f}", f"{std:.1f}"]
        for channel, mean, std in zip(("red", "green", "blue"), levels.mean, levels.std, strict=True)
    ]
    remark = f"Levels from 0 to 255, over {which}{pixels}."
    return CardTable("levels", "Levels of the pixels", ["channel", "mean", "standard deviation"], rows, remark)


def _duplicates(figures: CardFigures) -> CardTable:
    notes, found = figures.notes, figures.duplicates
    near = "not looked for" if notes.near_duplicates is None else f"{notes.near_duplicates:,}"
    equal = notes.exact_duplicates if found is None else found.extra
    rows = [["pictures that equal an earlier one, pixel by pixel", f"{equal:,}"], ["near duplicates", near]]
    if found is not None:
        rows.append(["equal pictures that lie in different splits", f"{found.across_splits:,}"])
    if notes.official is not None:
        rows.append(["splits", "the source's official ones" if notes.official else "made here"])
    rows += [[f"overlap: {name}", text] for name, text in notes.overlap.items()]
    return CardTable("duplicates", "Duplicates and splits", ["", "found"], rows, wide=True)


def _dropped(figures: CardFigures) -> CardTable:
    notes = figures.notes
    rows = [[reason, count] for reason, count in notes.dropped.items()]
    rows += [[f"could not be got: {reason}", f"{count:,}"] for reason, count in notes.missing.items()]
    left = len(rows) - REASONS_SHOWN
    remark = "" if rows else "Nothing was dropped: the source noted nothing that it left out."
    if left > 0:
        remark = f"{_count(left, 'further reason')} not shown."
    head = ["what was left out, and why", "how many"]
    return CardTable("dropped", "Dropped", head, rows[:REASONS_SHOWN], remark)


def _attributes(attributes: dict[str, dict[str, int]]) -> CardTable:
    rows = []
    for name, values in attributes.items():
        shown = [f"{value} {count:,}" for value, count in list(values.items())[:VALUES_SHOWN]]
        more = f" and {len(values) - VALUES_SHOWN:,} more" if len(values) > VALUES_SHOWN else ""
        rows.append([name.replace("_", " "), f"{sum(values.values()):,}", ", ".join(shown) + more])
    head = ["attribute", "pictures", "values, with the pictures that show them"]
    return CardTable("attributes", "True attributes", head, rows, wide=True)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _share(part: int, whole: int) -> str:
    """A part of a whole, with the percentage."""
    return f"{part:,} of {whole:,} ({100 * part / whole:.1f} %)" if whole else "0 of 0"
