"""Checkpoints in Hugging Face layout: from one or two, at any picture side, and back into plain transformers."""

import dataclasses
import logging
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    BertTokenizerFast,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
)

from stages.blip.network import BlipNetwork, build_network, pixel_values
from stages.blip.pretrained import load_network, load_pretrained, save_network
from stages.blip.tokenizer import encode_captions
from stages.config.blip import BlipConfig
from stages.errors import StageError


@pytest.fixture
def image() -> Tensor:
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_published_checkpoint_loads_in_plain_transformers_with_the_same_outputs(
    network: BlipNetwork, tokenizer: BertTokenizerFast, captions: list[str], image: Tensor, tmp_path: Path
) -> None:
    save_network(network, tokenizer, tmp_path)
    encoded = encode_captions(tokenizer, captions[:5], 16)
    retrieval = BlipForImageTextRetrieval.from_pretrained(tmp_path / "retrieval")
    captioner = BlipForConditionalGeneration.from_pretrained(tmp_path / "captioner")
    plain_tokens = AutoTokenizer.from_pretrained(tmp_path / "retrieval")(
        captions[:5], padding=True, return_tensors="pt"
    )
    assert torch.equal(plain_tokens["input_ids"], encoded.input_ids)
    inputs = {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask, "pixel_values": image}
    with torch.no_grad():
        plain, ours = retrieval(**inputs).itm_score, network.retrieval(**inputs).itm_score
        generated = captioner.generate(image, max_length=12, do_sample=False)
    assert torch.equal(plain, ours)
    assert torch.equal(generated, network.generate(image, 12))


def test_a_published_checkpoint_can_be_tuned_further(
    network: BlipNetwork, tokenizer: BertTokenizerFast, captions: list[str], image: Tensor, tmp_path: Path
) -> None:
    save_network(network, tokenizer, tmp_path)
    loaded, its_tokenizer = load_network(tmp_path)
    again = loaded.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    assert its_tokenizer(captions)["input_ids"] == tokenizer(captions)["input_ids"]
    assert (loaded.mean, loaded.std) == (network.mean, network.std)


def test_a_checkpoint_with_one_text_tower_gives_it_to_both(
    network: BlipNetwork, tokenizer: BertTokenizerFast, image: Tensor, tmp_path: Path
) -> None:
    save_network(network, tokenizer, tmp_path)
    from_retrieval, _ = load_pretrained(str(tmp_path / "retrieval"))
    from_captioner, _ = load_pretrained(str(tmp_path / "captioner"))
    for loaded, source in (
        (from_retrieval, network.retrieval.text_encoder),
        (from_captioner, network.captioner.text_decoder.bert),
    ):
        for tower in (loaded.retrieval.text_encoder, loaded.captioner.text_decoder.bert):
            assert all(torch.equal(value, source.state_dict()[name]) for name, value in tower.state_dict().items())
        assert loaded.captioner.vision_model is loaded.retrieval.vision_model
    torch.testing.assert_close(from_captioner.generate(image, 8), network.generate(image, 8))


def test_a_missing_checkpoint_is_a_line_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"blip\.pretrained: cannot load .*nothing.*make weights"):
        load_pretrained(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match="make weights"):
        load_pretrained(str(tmp_path / "empty"))


def test_two_checkpoints_that_do_not_fit_are_refused(
    network: BlipNetwork, tokenizer: BertTokenizerFast, config: BlipConfig, tmp_path: Path
) -> None:
    save_network(network, tokenizer, tmp_path / "small")
    wide = build_network(dataclasses.replace(config, vision_width=48), tokenizer, 16, seed=0)
    save_network(wide, tokenizer, tmp_path / "wide")
    with pytest.raises(StageError, match="picture width 48 there, 32 here"):
        load_pretrained(str(tmp_path / "small" / "retrieval"), str(tmp_path / "wide" / "captioner"))


def test_two_checkpoints_of_different_sides_are_published_as_one(
    network: BlipNetwork, tokenizer: BertTokenizerFast, config: BlipConfig, image: Tensor, tmp_path: Path
) -> None:
    save_network(network, tokenizer, tmp_path / "small")
    save_network(build_network(config, tokenizer, 32, seed=0), tokenizer, tmp_path / "large")
    mixed, _ = load_pretrained(str(tmp_path / "small" / "retrieval"), str(tmp_path / "large" / "captioner"))
    save_network(mixed, tokenizer, tmp_path / "mixed")
    again, _ = load_network(tmp_path / "mixed")
    assert again.image_size == again.captioner.config.vision_config.image_size == 16
    assert torch.equal(again.generate(image, 8), mixed.generate(image, 8))


def test_what_no_checkpoint_has_starts_afresh_and_is_named(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    heads = ("retrieval.itm_head", "retrieval.text_proj", "retrieval.vision_proj")
    with caplog.at_level(logging.WARNING, logger="stages.blip"):
        assert load_pretrained(str(checkpoint / "captioner"))[0].fresh == heads
        assert load_pretrained(str(checkpoint / "retrieval"))[0].fresh == ("captioner.text_decoder.cls",)
        both, _ = load_pretrained(str(checkpoint / "retrieval"), str(checkpoint / "captioner"))
    assert both.fresh == ()
    lines = [record.message for record in caplog.records if record.name == "stages.blip"]
    assert len(lines) == 2
    assert lines[0] == f"{checkpoint / 'captioner'} has no {', '.join(heads)}: trained from scratch"


def test_what_starts_afresh_follows_the_seed_and_leaves_global_chance_alone(checkpoint: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = (load_pretrained(str(checkpoint / "captioner"), seed=seed)[0] for seed in (3, 3, 4))
    weights = [network.retrieval.vision_proj.weight for network in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_captioner_that_starts_afresh_finds_no_word_likelier_than_another(checkpoint: Path) -> None:
    """transformers leaves weights that are missing and are no module's own as the memory was that they got."""
    network, _ = load_pretrained(str(checkpoint / "retrieval"))
    predictions = network.captioner.text_decoder.cls.predictions
    assert not predictions.bias.any() and predictions.decoder.bias is predictions.bias
    words = network.captioner.text_decoder.bert.embeddings.word_embeddings.weight
    assert predictions.decoder.weight is words
    assert torch.equal(words, network.retrieval.text_encoder.embeddings.word_embeddings.weight)


def test_positions_are_interpolated_to_another_side_as_transformers_does(checkpoint: Path, image: Tensor) -> None:
    name = str(checkpoint / "retrieval")
    own, _ = load_pretrained(name)
    larger, _ = load_pretrained(name, image_size=32)
    assert (own.image_size, larger.image_size) == (16, 32)
    values = pixel_values(image, 32, own.mean, own.std)
    with torch.no_grad():
        expected = own.retrieval.vision_model(pixel_values=values, interpolate_pos_encoding=True).last_hidden_state
        ours = larger.encode_images(image).tokens
    assert ours.shape == (5, 17, 32)  # (32 / 8)^2 and the first
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("side", [8, 32])
def test_a_checkpoint_at_another_side_is_published_at_that_side(
    checkpoint: Path, side: int, image: Tensor, captions: list[str], tmp_path: Path
) -> None:
    network, tokenizer = load_pretrained(str(checkpoint / "retrieval"), str(checkpoint / "captioner"), image_size=side)
    save_network(network.eval(), tokenizer, tmp_path / "again")
    retrieval = BlipForImageTextRetrieval.from_pretrained(tmp_path / "again" / "retrieval")
    captioner = BlipForConditionalGeneration.from_pretrained(tmp_path / "again" / "captioner")
    for model in (retrieval, captioner):
        assert model.config.vision_config.image_size == side
        assert model.vision_model.embeddings.position_embedding.shape == (1, (side // 8) ** 2 + 1, 32)
    processor = BlipImageProcessor.from_pretrained(tmp_path / "again" / "retrieval")
    assert dict(processor.size) == {"height": side, "width": side}
    encoded = encode_captions(tokenizer, captions[:5], 16)
    values = network.pixel_values(image)
    with torch.no_grad():
        plain = retrieval(
            input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, pixel_values=values
        ).itm_score
        tokens = network.encode_images(image).tokens
        assert torch.equal(plain, network.match(tokens, encoded.input_ids, encoded.attention_mask))
        assert torch.equal(captioner.generate(values, max_length=12, do_sample=False), network.generate(image, 12))
    assert load_network(tmp_path / "again")[0].image_size == side


def test_its_own_side_changes_nothing(checkpoint: Path) -> None:
    own, same = (load_pretrained(str(checkpoint / "retrieval"), image_size=side)[0].state_dict() for side in (None, 16))
    assert own.keys() == same.keys() and all(torch.equal(value, same[name]) for name, value in own.items())


def test_a_side_that_the_patches_of_a_checkpoint_do_not_divide_is_refused(checkpoint: Path) -> None:
    with pytest.raises(StageError, match=r"blip\.image_size must be a multiple of the checkpoint's 8, got 20"):
        load_pretrained(str(checkpoint / "retrieval"), image_size=20)


def test_pictures_are_normalised_as_the_processor_says_and_as_clip_without_one(checkpoint: Path) -> None:
    folder = checkpoint / "retrieval"
    assert load_pretrained(str(folder))[0].mean == (0.5, 0.5, 0.5)
    (folder / "preprocessor_config.json").unlink()
    processor = BlipImageProcessor()  # transformers' own defaults
    network, _ = load_pretrained(str(folder))
    assert network.mean == pytest.approx(tuple(processor.image_mean))
    assert network.std == pytest.approx(tuple(processor.image_std))


@pytest.mark.parametrize("broken", ["no model.safetensors", "half of model.safetensors", "config.json"])
def test_a_broken_checkpoint_is_a_line_with_the_command(checkpoint: Path, broken: str) -> None:
    path = checkpoint / "captioner" / broken.split()[-1]
    if broken.startswith("no "):
        path.unlink()
    elif broken.startswith("half "):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.write_text(path.read_text().replace('"hidden_size": 32', '"hidden_size": 48'))  # fits no weight
    with pytest.raises(StageError, match=r"blip\.pretrained_captioner: cannot load .*make weights") as caught:
        load_pretrained(str(checkpoint / "retrieval"), str(checkpoint / "captioner"))
    assert "\n" not in str(caught.value)


def test_another_network_is_no_blip(checkpoint: Path, tmp_path: Path) -> None:
    """A folder with a config of ours and the weights of something else."""
    from safetensors.torch import save_file

    shutil.copytree(checkpoint / "retrieval", tmp_path / "other")
    save_file({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="has no BLIP weights"):
        load_pretrained(str(tmp_path / "other"))
