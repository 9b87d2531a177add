"""What points are coloured by: the scene and other true attributes, MUSTI's labels, groups, k-means clusters."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from stages.data import PreparedSet
from stages.data.further import read_further
from stages.latents.clustering import find_clusters
from stages.latents.points import LatentPoints

SCENE = "subject"
"""The attribute that says what a picture of the default data set shows."""
ABSENT = "not applicable"
"""Label of a picture that has no value."""
MOST_GROUPS = 12


@dataclass(frozen=True)
class Colouring:
    """One way to label the points."""

    name: str
    """For columns and menus: `subject`, `cluster_top`, ..."""
    source: str
    """What the labels are, in words."""
    labels: np.ndarray
    """(N,) str; `ABSENT` where a picture has no value."""
    order: list[str]
    """Every label that occurs but `ABSENT`, in the order of the legend."""

    @property
    def known(self) -> np.ndarray:
        """(N,) bool: the points that have a value."""
        return self.labels != ABSENT


def find_colourings(
    dataset: PreparedSet, points: LatentPoints, candidates: tuple[int, ...], seed: int
) -> list[Colouring]:
    """Every colouring that there is for these points, the one that says most first: the scene, else MUSTI's labels,
    else groups, else clusters.

    Args:
        candidates: numbers of k-means clusters to try.
    """
    found = [*_attributes(dataset, points), *_musti_labels(dataset, points), *_groups(points)]
    for level, cloud in (("top", points.top), ("bottom", points.bottom)):
        found.append(_clusters(level, cloud, candidates, seed))
    return found


def _attributes(dataset: PreparedSet, points: LatentPoints) -> list[Colouring]:
    """The scene first, then the attributes that most pictures have."""
    true = [record.attributes or {} for record in points.records]
    counts = Counter(name for attributes in true for name in attributes)
    names = sorted(counts, key=lambda name: (name != SCENE, -counts[name], name))
    found = []
    for name in names:
        labels = np.array([attributes.get(name, ABSENT) for attributes in true])
        source = "the scene (true attribute 'subject')" if name == SCENE else f"the true attribute '{name}'"
        colouring = Colouring(name, source, labels, _present((dataset.attribute_values or {}).get(name, []), labels))
        if len(colouring.order) > 1:
            found.append(colouring)
    return found


def _musti_labels(dataset: PreparedSet, points: LatentPoints) -> list[Colouring]:
    """Smells and languages, of sets whose records have them and that have no true attributes to show instead."""
    if any(record.attributes for record in points.records):
        return []
    smells = read_further(dataset, "subtask2_labels")
    languages = read_further(dataset, "language")
    kinds = {
        "smell": ("MUSTI's label: the smells in the picture", [_joined(smells[row]) for row in points.record_rows]),
        "language": ("the caption's language", [str(languages[row] or ABSENT) for row in points.record_rows]),
    }
    found = [
        Colouring(name, source, np.array(labels), _present([], np.array(labels)))
        for name, (source, labels) in kinds.items()
    ]
    return [colouring for colouring in found if len(colouring.order) > 1]


def _joined(smells: object) -> str:
    if not isinstance(smells, list) or not smells:
        return ABSENT
    return " + ".join(sorted(map(str, smells)))


def _groups(points: LatentPoints) -> list[Colouring]:
    """The records' groups, where they are few enough to be told apart and hold several pictures each."""
    groups = np.array([record.group for record in points.records])
    if not 2 <= len(np.unique(groups)) <= min(MOST_GROUPS, len(groups) // 2):
        return []
    return [Colouring("group", "the records' groups", groups, _present([], groups))]


def _clusters(level: str, cloud: np.ndarray, candidates: tuple[int, ...], seed: int) -> Colouring:
    members, count, silhouettes = find_clusters(cloud, candidates, seed)
    tried = ", ".join(map(str, sorted(silhouettes)))
    judged = f", silhouette {silhouettes[count]:.2f}, the best of {tried}" if silhouettes else ""
    source = f"{count} k-means clusters of the pooled {level} z_q{judged}"
    order = [f"cluster {number + 1}" for number in range(count)]
    return Colouring(f"cluster_{level}", source, np.array(order)[members], order)


def _present(known: list[str], labels: np.ndarray) -> list[str]:
    """The labels that occur: the known ones in their order, then the others sorted."""
    there = set(labels.tolist()) - {ABSENT}
    return [label for label in known if label in there] + sorted(there - set(known))
