from pathlib import Path

import pytest

from stages.metrics import find_thesaurus
from stages.metrics.captions import meteor


@pytest.fixture
def small_wordnet(tmp_path: Path) -> Path:
    """A WordNet of one noun synset, {boat, raft}, in the plain format of wndb(5WN); the other files hold nothing."""
    for part in ("noun", "verb", "adj", "adv"):
        for name in (f"index.{part}", f"data.{part}", f"{part}.exc"):
            (tmp_path / name).write_text("")
    header = "  1 licence\n"
    offset = f"{len(header):08d}"
    (tmp_path / "data.noun").write_text(f"{header}{offset} 06 n 02 boat 0 raft 0 000 | floats  \n")
    (tmp_path / "index.noun").write_text("".join(f"{word} n 1 0 1 0 {offset}  \n" for word in ("boat", "raft")))
    return tmp_path


def test_synonyms_count_with_wordnet_and_not_without(
    small_wordnet: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reference, hypothesis = ["a small boat"], ["a small raft"]
    with_synonyms = find_thesaurus(small_wordnet)
    without = find_thesaurus(tmp_path_factory.mktemp("empty"))
    assert meteor(reference, hypothesis, with_synonyms) == pytest.approx([1 - 0.5 * (1 / 3) ** 3])  # 3 of 3, one chunk
    assert meteor(reference, hypothesis, without)[0] < 0.7
    assert "WordNet synonyms" in with_synonyms.description and str(small_wordnet) in with_synonyms.description
    assert without.description.startswith("exact + stem only")


def test_a_wordnet_that_is_not_whole_is_not_used(small_wordnet: Path) -> None:
    (small_wordnet / "data.verb").unlink()
    assert find_thesaurus(small_wordnet).description.startswith("exact + stem only")
