"""Where METEOR's synonyms come from: a WordNet database that is already on this machine; nothing is downloaded."""

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

DEBIAN_WORDNET = Path("/usr/share/wordnet")
HOW_TO_GET = 'for synonyms: nltk.download("wordnet") with a network, or Debian\'s package wordnet-base'
_NEEDED = [f"{kind}.{part}" for kind in ("index", "data") for part in ("noun", "verb", "adj", "adv")]


class Thesaurus(NamedTuple):
    """What gives METEOR a word's synonyms."""

    reader: Any
    """Has `synsets(word)`, as nltk's WordNet reader."""
    description: str
    """What the protocol says of it."""


class _NoSynonyms:
    def synsets(self, word: str) -> list[Any]:
        return []


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
    import nltk

    for name in ("corpora/wordnet", "corpora/wordnet.zip"):
        try:
            nltk.data.find(name)
        except LookupError:
            continue
        return True
    return False


@cache
def _read_folder(folder: Path) -> Any:
    import nltk
    from nltk.data import FileSystemPathPointer

    from stages.metrics.wordnet_folder import WordNetFolder

    nltk.data.path.append(str(folder))  # nltk opens nothing outside the folders named there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # other languages are not asked for
        return WordNetFolder(FileSystemPathPointer(str(folder)), None)
