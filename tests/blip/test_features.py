import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.blip.blip import Blip
from stages.blip.features import extract_features, load_features, weights_digest
from stages.blip.pretrained import save_network
from stages.data import PreparedSet, to_tensor
from stages.errors import StageError


@pytest.fixture
def published(blip: Blip, dataset: PreparedSet, tmp_path: Path) -> tuple[Path, int]:
    save_network(blip.network, blip.tokenizer, tmp_path)
    truncated = extract_features(blip, dataset, tmp_path / "features", weights_digest(tmp_path))
    return tmp_path, truncated


def test_shapes_types_and_padding(published: tuple[Path, int], dataset: PreparedSet, blip: Blip) -> None:
    features = load_features(published[0])
    longest = max(len(ids) for ids in blip.tokenizer([r.caption for r in dataset.records])["input_ids"])
    assert features.text_tokens.shape == (41, min(longest, blip.max_tokens), 32)
    assert features.text_tokens.dtype == np.float16 and features.text_mask.dtype == np.bool_
    assert features.text_pooled.shape == (41, 16) and features.text_pooled.dtype == np.float32
    assert features.image_pooled.shape == (40, 16) and features.image_pooled.dtype == np.float32
    assert not features.text_tokens[~features.text_mask].any()
    assert features.text_ids.shape == features.text_mask.shape and features.text_ids.dtype == np.int32
    assert features.words.shape == (len(blip.tokenizer), 32) and features.words.dtype == np.float16
    assert features.token_width == 128
    assert isinstance(features.text_tokens, np.memmap)
    np.testing.assert_allclose(np.linalg.norm(features.text_pooled, axis=1), 1, rtol=1e-5)


def test_computed_again_they_are_equal_to_the_bit(
    published: tuple[Path, int], blip: Blip, dataset: PreparedSet, tmp_path: Path
) -> None:
    extract_features(blip, dataset, tmp_path / "again" / "features", "same")
    first = load_features(published[0])
    for name in ("text_tokens", "text_ids", "words", "text_mask", "text_pooled", "image_pooled"):
        again = np.load(tmp_path / "again" / "features" / f"{name}.npy")
        assert np.array_equal(getattr(first, name), again), name


def test_they_are_what_the_encoders_say(published: tuple[Path, int], blip: Blip, dataset: PreparedSet) -> None:
    features = load_features(published[0])
    rows = [40, 3, 17]
    text = blip.encode_text([dataset.records[row].caption for row in rows])
    tokens, mask = features.text(np.array(rows))
    assert tokens.shape == text.tokens.shape == (3, int(text.mask.sum(1).max()), 128)
    torch.testing.assert_close(tokens, text.tokens, atol=2e-3, rtol=1e-3)
    assert torch.equal(mask, text.mask)
    torch.testing.assert_close(torch.from_numpy(features.text_pooled[rows]), text.pooled)
    torch.testing.assert_close(
        torch.from_numpy(features.image_pooled[rows[1:]]), blip.encode_images(to_tensor(dataset.images[rows[1:]]))
    )


def test_truncated_captions_are_counted(blip: Blip, dataset: PreparedSet, tmp_path: Path) -> None:
    blip.max_tokens = 9  # [CLS] a red patch on blue , left [SEP]
    truncated = extract_features(blip, dataset, tmp_path, "x")
    assert truncated == sum("old master" in r.caption or r.caption == "the first of them" for r in dataset.records)
    assert np.load(tmp_path / "text_tokens.npy").shape[1] == 9


def test_features_of_other_weights_are_refused(published: tuple[Path, int], blip: Blip) -> None:
    directory, _ = published
    with torch.no_grad():
        blip.network.retrieval.text_proj.bias += 1
    blip.network.retrieval.save_pretrained(directory / "retrieval")
    with pytest.raises(StageError, match="made with other weights"):
        load_features(directory)


def test_no_features_is_a_line_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="make blip"):
        load_features(tmp_path)


def test_the_description_names_the_weights(published: tuple[Path, int]) -> None:
    directory, truncated = published
    description = json.loads((directory / "features" / "features.json").read_text())
    assert description == {"weights_sha256": weights_digest(directory), "records": 41, "images": 40}
    assert truncated == 0
