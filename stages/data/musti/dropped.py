"""Counts the pairs that are not used, by reason."""

from collections import Counter


class Dropped:
    """Reason -> number of pairs, and where the first of them is."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, place: str) -> None:
        """Counts one pair; `place` is its file and record."""
        self.counts[reason] += 1
        self._first.setdefault(reason, place)

    def line(self, reason: str) -> str:
        """What is to be told of a reason."""
        count = self.counts[reason]
        return f"{count} {'pair' if count == 1 else 'pairs'} not used: {reason} (first: {self._first[reason]})"
