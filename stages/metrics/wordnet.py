"""Where METEOR's synonyms come from: a WordNet database that is already on this machine; nothing is downloaded."""

import io
import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import nltk
from nltk.corpus.reader import WordNetCorpusReader
from nltk.data import FileSystemPathPointer

DEBIAN_WORDNET = Path("/usr/share/wordnet")
HOW_TO_GET = 'for synonyms: nltk.download("wordnet") with a network, or Debian\'s package wordnet-base'
_NEEDED = [f"{kind}.{part}" for kind in ("index", "data") for part in ("noun", "verb", "adj", "adv")]
_LEXICOGRAPHER_FILES = 45  # lexnames(5WN)


class Thesaurus(NamedTuple):
    """What gives METEOR a word's synonyms."""

    reader: Any
    """Has `synsets(word)`, as nltk's WordNet reader."""
    description: str
    """What the protocol says of it."""


class _NoSynonyms:
    def synsets(self, word: str) -> list[Any]:
        return []


class _WordNetFolder(WordNetCorpusReader):
    """nltk's reader over the plain WordNet files, as Debian ships them."""

    def open(self, file: str) -> Any:
        if file == "lexnames":  # not in Debian's package; synonyms need as many names, whatever they are
            return io.StringIO("".join(f"{number} {number} 0\n" for number in range(_LEXICOGRAPHER_FILES)))
        return super().open(file)

    def map_wn(self, version: str = "wordnet") -> None:
        """No map to other versions, for which there is no file: only other languages need it."""


def find_thesaurus(folder: Path | None = None) -> Thesaurus:
    """nltk's WordNet, else the WordNet files of `folder`, else no synonyms at all, which the description says.

    Args:
        folder: WordNet's plain files; by default `$WNSEARCHDIR` or where Debian's `wordnet-base` puts them.
    """
    if folder is None and _has_nltk_wordnet():
        from nltk.corpus import wordnet

        return Thesaurus(wordnet, "with WordNet synonyms (nltk data)")
    folder = folder or Path(os.environ.get("WNSEARCHDIR", DEBIAN_WORDNET))
    if all((folder / name).is_file() for name in _NEEDED):
        return Thesaurus(_read_folder(folder), f"with WordNet synonyms ({folder})")
    return Thesaurus(_NoSynonyms(), f"exact + stem only, no WordNet here ({HOW_TO_GET})")


def _has_nltk_wordnet() -> bool:
    for name in ("corpora/wordnet", "corpora/wordnet.zip"):
        try:
            nltk.data.find(name)
        except LookupError:
            continue
        return True
    return False


@cache
def _read_folder(folder: Path) -> WordNetCorpusReader:
    nltk.data.path.append(str(folder))  # nltk opens nothing outside the folders named there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # other languages are not asked for
        return _WordNetFolder(FileSystemPathPointer(str(folder)), None)
