"""Clusters and colourings: how many, which labels, and what is there without any."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data import PreparedSet, load_dataset
from stages.data.further import read_further
from stages.data.prepared import PreparedWriter
from stages.latents.clustering import find_clusters
from stages.latents.colourings import ABSENT, find_colourings
from stages.latents.points import LatentPoints


def blobs(count: int, each: int = 20) -> np.ndarray:
    """(count * each, 3): far-apart clusters on a circle."""
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(count) / count
    centres = 30 * np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1)
    return np.repeat(centres, each, axis=0) + rng.standard_normal((count * each, 3))


@pytest.mark.parametrize("count", [3, 5, 8])
def test_the_silhouette_finds_the_number_of_clusters(count: int) -> None:
    found = find_clusters(blobs(count), (2, 3, 4, 5, 6, 8, 10), seed=0)
    assert found.number == count and found.silhouettes[count] == max(found.silhouettes.values()) > 0.8
    for start in range(0, len(found.members), 20):
        assert len(set(found.members[start : start + 20].tolist())) == 1


def test_the_largest_cluster_is_the_first() -> None:
    cloud = np.concatenate([blobs(3)[:25], blobs(3)[40:]])  # 20, 5 and 20 points
    cloud = np.concatenate([cloud, blobs(3)[40:] + 0.1])  # 20, 5 and 40
    assert np.bincount(find_clusters(cloud, (3,), seed=1).members).tolist() == [40, 20, 5]


def test_points_that_cannot_be_clustered_are_one_cluster() -> None:
    assert find_clusters(np.ones((9, 3)), (2, 4), seed=0).number == 1
    assert find_clusters(blobs(2, 1), (2,), seed=0).number == 1
    assert find_clusters(blobs(2, 2), (2, 12), seed=0).silhouettes.keys() == {2}


def points_of(root: Path, rows: int, **fields: list[Any]) -> tuple[PreparedSet, LatentPoints]:
    """A prepared set whose records have these groups, attributes and MUSTI fields, and points of all of it."""
    writer = PreparedWriter(root, 8)
    writer.allocate(rows)[:] = 0
    for row in range(rows):
        given = {name: values[row] for name, values in fields.items()}
        group = given.pop("group", f"g{row}")
        attributes = given.pop("attributes", None)
        writer.add(row, "a", file_name=f"{row}", split="test", group=group, attributes=attributes, musti=given or None)
    writer.close()
    dataset = load_dataset(root)
    cloud = blobs(4, -(-rows // 4))[:rows]
    codes = np.zeros(rows, dtype=[("record_row", "<u4")])
    codes["record_row"] = np.arange(rows)
    return dataset, LatentPoints(cloud, cloud, cloud, dataset.records, codes, rows)


def test_smells_and_languages_where_there_are_no_attributes(tmp_path: Path) -> None:
    smells = [["tar"], ["rose", "blood"], [], ["tar"]] * 3
    dataset, points = points_of(tmp_path, 12, subtask2_labels=smells, language=["en", "de"] * 6)
    assert read_further(dataset, "language") == ["en", "de"] * 6 and read_further(dataset, "absent") == [None] * 12
    found = {colouring.name: colouring for colouring in find_colourings(dataset, points, (2, 4), 0)}
    assert list(found) == ["smell", "language", "cluster_top", "cluster_bottom"]
    assert found["smell"].order == ["blood + rose", "tar"]
    assert found["smell"].labels.tolist() == ["tar", "blood + rose", ABSENT, "tar"] * 3
    assert found["smell"].known.sum() == 9
    assert found["cluster_top"].order == [f"cluster {n}" for n in range(1, 5)]


def test_groups_colour_where_they_are_few_and_attributes_where_they_differ(tmp_path: Path) -> None:
    (tmp_path / "groups").mkdir()
    dataset, points = points_of(tmp_path / "groups", 12, group=["left", "right"] * 6)
    assert find_colourings(dataset, points, (2,), 0)[0].name == "group"
    (tmp_path / "true").mkdir()
    true = [{"subject": "ship", "sea": "calm"}, {"subject": "fish"}] * 6
    dataset, points = points_of(tmp_path / "true", 12, attributes=true)
    found = find_colourings(dataset, points, (2,), 0)
    assert [colouring.name for colouring in found] == ["subject", "cluster_top", "cluster_bottom"]  # `sea` is all calm
