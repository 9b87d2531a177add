"""WordNet's plain files read by nltk; apart from `wordnet.py`, because a subclass needs nltk where it is defined."""

import io
from typing import Any

from nltk.corpus.reader import WordNetCorpusReader

_LEXICOGRAPHER_FILES = 45  # lexnames(5WN)


class WordNetFolder(WordNetCorpusReader):
    """nltk's reader over the plain WordNet files, as Debian ships them."""

    def open(self, file: str) -> Any:
        if file == "lexnames":  # not in Debian's package; synonyms need as many names, whatever they are
            return io.StringIO("".join(f"{number} {number} 0\n" for number in range(_LEXICOGRAPHER_FILES)))
        return super().open(file)

    def map_wn(self, version: str = "wordnet") -> None:
        """No map to other versions, for which there is no file: only other languages need it."""
