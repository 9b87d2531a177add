"""The source `musti`: pairs of the task's files with the pictures that their urls still lead to.

Besides what every prepared set has it writes:

missing.csv    the links that led to no picture: url, host, reason, pairs lost
dropped.json   reason -> number of pairs that are not used
pairs.jsonl    every pair of a picture in the set with its label, for the matching task: a caption can stand for several
               pairs (one title, several texts), and the texts labelled NO are captions of nothing. `image` is the
               picture's name in records.jsonl, `official_split` the file that the pair is from
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from stages.config.data import DataConfig
from stages.data.assembly import assemble
from stages.data.entries import Caption, Entry
from stages.data.musti.cache import DEAD, forget_dead, url_key
from stages.data.musti.dropped import Dropped
from stages.data.musti.fetch import Fetched, fetch_pictures
from stages.data.musti.pairs import Pair, caption_of, choose_pairs, read_pairs
from stages.data.musti.summary import table, write_missing
from stages.data.prepared import DROPPED, MISSING, PAIRS, PreparedWriter
from stages.data.splitting import TooFewGroups
from stages.errors import StageError

logger = logging.getLogger("stages.data")


class MustiSource:
    """The pairs of MUSTI files, train and test pooled and split by picture."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.musti = config.musti
        self.official = config.splits.official

    def write(self, writer: PreparedWriter) -> None:
        """Reads the files, fetches the pictures and writes those that there are.

        Raises:
            StageError: a record that cannot be used, too many missing pictures, or too few for the splits.
        """
        writer.refuse_to_replace("data.musti.cache", self.musti.cache, self.config.name)
        dropped = Dropped()
        pairs = self._read(dropped)
        captioned = self._caption(pairs, dropped)
        urls = list(dict.fromkeys(pair.url for pair, _ in captioned))
        logger.info("data: pictures %d, captioned pairs %d", len(urls), len(captioned))
        fetched = fetch_pictures(urls, self.musti)
        self._tell(urls, fetched, captioned, dropped, writer)
        entries = self._entries(captioned, fetched, dropped)
        _write_pairs(writer.directory / PAIRS, pairs, fetched)
        (writer.directory / DROPPED).write_text(json.dumps(dropped.counts, indent=1) + "\n", encoding="utf-8")
        try:
            assemble(entries, writer, self.config.pictures, self.config.splits, self.seed)
        except TooFewGroups as error:
            raise StageError(f"{self.musti.train or self.musti.test}: {error}") from None
        forget_dead(Path(self.musti.cache))

    def _read(self, dropped: Dropped) -> list[Pair]:
        """The pairs of both files that are to be used."""
        if not self.musti.train and not self.musti.test:
            raise StageError("data.musti.train is empty: name the JSON file of training pairs that the task hands out")
        named = ((self.musti.train, "train"), (self.musti.test, "test"))
        pairs = [pair for path, split in named if path for pair in read_pairs(path, split)]
        chosen = choose_pairs(pairs, self.musti.languages, self.official, dropped)
        if not chosen:
            languages = ", ".join(self.musti.languages)
            raise StageError(f"data.musti.languages: none of the {len(pairs)} pairs is in {languages}: choose others")
        return chosen

    def _caption(self, pairs: Sequence[Pair], dropped: Dropped) -> list[tuple[Pair, str]]:
        """The pairs that have a caption, with it."""
        captions = [(pair, caption_of(pair, self.musti.caption, self.musti.labels, dropped)) for pair in pairs]
        for reason in dropped.counts:
            logger.info("data: %s", dropped.line(reason))
        captioned = [(pair, text) for pair, text in captions if text is not None]
        if not captioned:
            raise StageError(
                f"data.musti.caption: none of the {len(pairs)} pairs has a {self.musti.caption} that may be used: "
                "choose another caption, or other labels"
            )
        return captioned

    def _tell(
        self, urls: Sequence[str], fetched: Fetched, captioned: Iterable[tuple[Pair, str]], dropped: Dropped,
        writer: PreparedWriter,
    ) -> None:  # fmt: skip
        """Writes and logs what is missing; stops when it is too much."""
        logger.info("data: pictures by host\n%s", table(urls, fetched))
        if not fetched.dead:
            write_missing(writer.directory / MISSING, fetched, {})
            return
        lost = Counter(pair.url for pair, _ in captioned if pair.url in fetched.dead)
        for pair, _ in captioned:
            if pair.url in fetched.dead:
                dropped.add("picture missing", pair.place)
        share = len(fetched.dead) / len(urls)
        missing = f"{len(fetched.dead)} of {len(urls)} pictures are missing ({share:.0%})"
        if share > self.musti.max_missing or not fetched.files:
            kept = Path(self.musti.cache) / MISSING  # the prepared set will not be there
            write_missing(kept, fetched, lost)
            if not fetched.files:
                forget_dead(kept.parent)  # what answers for every host is no host
                raise StageError(f"no picture could be fetched, see {kept} for the reasons: check the network")
            limit = f"data.musti.max_missing {self.musti.max_missing:g}"
            again = f"remove {kept.with_name(DEAD)} to ask for them again"
            raise StageError(f"{missing}, more than {limit}: see {kept}; raise the limit, or {again}")
        write_missing(writer.directory / MISSING, fetched, lost)
        path = writer.directory.parent / self.config.name / MISSING
        logger.info("data: %s, which costs %d of the pairs; they are listed in %s", missing, lost.total(), path)

    def _entries(self, captioned: Iterable[tuple[Pair, str]], fetched: Fetched, dropped: Dropped) -> list[Entry]:
        """The pictures with their captions; a caption that several pairs of a picture share is there once."""
        reason = "caption is there already"
        entries: dict[str, Entry] = {}
        seen: set[tuple[str, str, str]] = set()
        for pair, text in captioned:
            if pair.url not in fetched.files:
                continue
            path = fetched.files[pair.url]
            entry = entries.setdefault(pair.url, Entry(_file_name(pair.url, path), path, pair.place))
            key = (pair.url, text, pair.split if self.official else "")
            if key in seen:
                dropped.add(reason, pair.place)
                continue
            seen.add(key)
            entry.captions.append(Caption(text, pair.fields, pair.split))
        if dropped.counts[reason]:
            logger.info("data: %s", dropped.line(reason))
        return list(entries.values())


def _file_name(url: str, path: PurePath) -> str:
    """A picture's name in the prepared set."""
    return url_key(url)[:16] + path.suffix


def _write_pairs(path: Path, pairs: Iterable[Pair], fetched: Fetched) -> None:
    with path.open("w", encoding="utf-8") as file:
        for pair in pairs:
            if pair.url in fetched.files:
                image = _file_name(pair.url, fetched.files[pair.url])
                record = {"image": image, **pair.fields, "official_split": pair.split}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
