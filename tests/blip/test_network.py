import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertTokenizerFast, BlipImageProcessor

from stages.blip.batch import Pairs
from stages.blip.blip import DESCRIPTION, Blip, load_blip
from stages.blip.losses import lm_loss
from stages.blip.module import BlipModule
from stages.blip.network import BlipNetwork, build_network, pixel_values
from stages.blip.pretrained import save_network
from stages.blip.scores import embed_texts
from stages.blip.tokenizer import encode_captions
from stages.config.blip import BlipConfig
from stages.data import PreparedSet, to_tensor
from stages.errors import StageError
from stages.metrics.matching import itc_cosine


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_both_models_share_one_picture_encoder(network: BlipNetwork) -> None:
    assert network.captioner.vision_model is network.retrieval.vision_model


def test_shared_text_layers_differ_in_self_attention_only(
    network: BlipNetwork, config: BlipConfig, tokenizer: BertTokenizerFast
) -> None:
    encoder, decoder = network.retrieval.text_encoder, network.captioner.text_decoder
    shared = {id(p) for p in encoder.parameters()}
    own = [name for name, p in decoder.named_parameters() if id(p) not in shared]
    assert all(".attention." in name or name.startswith("cls.predictions") for name in own)
    assert any(".attention." in name for name in own)
    assert decoder.cls.predictions.decoder.weight is encoder.embeddings.word_embeddings.weight


def test_special_tokens_come_from_the_tokenizer(network: BlipNetwork, tokenizer: BertTokenizerFast) -> None:
    text = network.captioner.config.text_config
    assert (text.bos_token_id, text.pad_token_id) == (tokenizer.bos_token_id, tokenizer.pad_token_id)
    assert (text.eos_token_id, text.sep_token_id) == (tokenizer.sep_token_id, tokenizer.sep_token_id)


def test_outputs_are_those_of_transformers(
    network: BlipNetwork, tokenizer: BertTokenizerFast, captions: list[str], image: Tensor
) -> None:
    encoded = encode_captions(tokenizer, captions[:5], 16)
    tokens, pooled = network.encode_images(image)
    text = network.encode_text(encoded.input_ids, encoded.attention_mask)
    inputs = {"input_ids": encoded.input_ids, "attention_mask": encoded.attention_mask, "pixel_values": image}
    with torch.no_grad():
        cosine = network.retrieval(**inputs, use_itm_head=False).itm_score
        matching = network.retrieval(**inputs).itm_score
    torch.testing.assert_close(pooled @ text.pooled.T, cosine)
    assert torch.equal(network.embed_text(encoded.input_ids, encoded.attention_mask), text.pooled)
    torch.testing.assert_close(network.match(tokens, encoded.input_ids, encoded.attention_mask), matching)


def test_text_tokens_are_the_mean_of_all_layers(
    network: BlipNetwork, tokenizer: BertTokenizerFast, captions: list[str]
) -> None:
    encoded = encode_captions(tokenizer, captions[:5], 16)
    encoder = network.retrieval.text_encoder
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        for layer in (encoder.embeddings, *encoder.encoder.layer)
    ]
    with torch.no_grad():
        text = network.encode_text(encoded.input_ids, encoded.attention_mask)
    for hook in hooks:
        hook.remove()
    assert len(seen) == 3
    torch.testing.assert_close(text.tokens, (seen[0] + seen[1] + seen[2]) / 3)


def test_who_needs_no_text_tokens_does_not_pay_for_them(blip: Blip, dataset: PreparedSet) -> None:
    asked: list[bool] = []

    def note(_module: object, _inputs: object, given: dict[str, object]) -> None:
        asked.append(bool(given.get("output_hidden_states")))

    blip.network.retrieval.text_encoder.register_forward_pre_hook(note, with_kwargs=True)
    texts = dataset.split("test").captions
    image = to_tensor(dataset.images[dataset.split("test").image_rows])
    embedded = embed_texts(blip, texts)
    itc_cosine(blip, image, texts)
    pairs = Pairs(dataset, dataset.split("test"), blip.tokenizer, blip.max_tokens)
    config = BlipConfig(queue_size=8, batch_size=4, max_tokens=16)
    BlipModule(blip.network, config, seed=0).losses(pairs.batch(np.arange(4)), 0)
    assert len(asked) > 4 and not any(asked)
    assert np.array_equal(embedded, blip.encode_text(texts).pooled.numpy()) and asked[-1]


def test_caption_loss_is_that_of_transformers(
    network: BlipNetwork, tokenizer: BertTokenizerFast, captions: list[str], image: Tensor
) -> None:
    encoded = encode_captions(tokenizer, captions[:5], 16)
    logits = network.caption_logits(network.encode_images(image).tokens, encoded.input_ids, encoded.attention_mask)
    opened = encoded.input_ids.clone()
    opened[:, 0] = tokenizer.bos_token_id
    reference = network.captioner(
        pixel_values=image,
        input_ids=opened,
        attention_mask=encoded.attention_mask,
        labels=opened.masked_fill(encoded.attention_mask == 0, -100),
    ).loss
    torch.testing.assert_close(lm_loss(logits, encoded.input_ids, encoded.attention_mask), reference)


def test_the_same_seed_gives_the_same_weights_and_leaves_global_chance_alone(
    config: BlipConfig, tokenizer: BertTokenizerFast
) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second = (build_network(config, tokenizer, 16, seed=3).state_dict() for _ in range(2))
    other = build_network(config, tokenizer, 16, seed=4).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["retrieval.vision_proj.weight"], other["retrieval.vision_proj.weight"])


def test_a_checkpoint_of_another_size_gets_pictures_as_its_processor_makes_them() -> None:
    ramp = torch.linspace(0.1, 0.9, 20)
    image = torch.stack([ramp[:, None] * ramp, ramp.flip(0)[:, None] * ramp**2, ramp[None].expand(20, 20)])[None]
    processor = BlipImageProcessor(size={"height": 32, "width": 32})
    expected = processor((image * 255).round().to(torch.uint8), return_tensors="pt")["pixel_values"]
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    ours = pixel_values((image * 255).round() / 127.5 - 1, 32, mean, std)
    assert float((ours - expected).abs().max()) < 0.03  # the processor rounds to uint8 after resizing


def test_pictures_of_the_network_own_size_are_left_alone(image: Tensor) -> None:
    assert pixel_values(image, 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)) is image


def test_a_side_that_patches_do_not_divide_is_refused(config: BlipConfig, tokenizer: BertTokenizerFast) -> None:
    with pytest.raises(StageError, match=r"blip\.patch_size \(8\) does not divide the picture side 20"):
        build_network(config, tokenizer, image_size=20, seed=0)


def test_load_blip(blip: Blip, captions: list[str], image: Tensor, tmp_path: Path) -> None:
    save_network(blip.network, blip.tokenizer, tmp_path)
    with pytest.raises(StageError, match="make blip"):
        load_blip(tmp_path)
    (tmp_path / DESCRIPTION).write_text(json.dumps({"max_tokens": 9}))
    loaded = load_blip(tmp_path)
    assert (loaded.max_tokens, loaded.text_width, loaded.embedding_width) == (9, 32, 16)
    assert torch.equal(loaded.encode_text(captions[:2]).pooled, blip.encode_text(captions[:2]).pooled)
    assert not any(p.requires_grad for p in loaded.network.parameters())


def test_a_caption_features_do_not_depend_on_its_neighbours(blip: Blip) -> None:
    alone = blip.encode_text(["a red patch"])
    beside = blip.encode_text(["a red patch", "a blue patch on green, in the style of an old master"])
    length = alone.tokens.shape[1]
    assert beside.tokens.shape[1] > length
    torch.testing.assert_close(beside.tokens[:1, :length], alone.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(beside.pooled[:1], alone.pooled, rtol=0, atol=1e-5)
    assert not beside.tokens[0, length:].any() and not beside.mask[0, length:].any()


def test_embeddings_have_unit_norm_and_matches_are_probabilities(
    blip: Blip, captions: list[str], image: Tensor
) -> None:
    for pooled in (blip.encode_images(image), blip.encode_text(captions[:5]).pooled):
        assert pooled.shape == (5, 16)
        torch.testing.assert_close(pooled.norm(dim=1), torch.ones(5))
    matching = blip.match(image, captions[:5])
    assert matching.shape == (5,) and bool(((matching >= 0) & (matching <= 1)).all())
    swapped = blip.match(image, captions[5:10])
    assert not torch.allclose(matching, swapped)


def test_long_captions_are_truncated_with_a_count_in_the_log(blip: Blip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="stages.blip"):
        features = blip.encode_text(["a red patch on blue " * 8, "a red patch"])
    assert features.tokens.shape[1] == blip.max_tokens
    assert "1 of 2 captions truncated to 16 tokens" in caplog.text


def test_captions_are_text_of_bounded_length(blip: Blip, image: Tensor) -> None:
    written = blip.caption(image)
    assert len(written) == 5 and all(isinstance(caption, str) for caption in written)
    assert not any("[" in caption for caption in written)


def test_text_width_may_differ_from_vision_width(
    config: BlipConfig, tokenizer: BertTokenizerFast, captions: list[str], image: Tensor
) -> None:
    network = build_network(dataclasses.replace(config, vision_width=48), tokenizer, 16, seed=0)
    encoded = encode_captions(tokenizer, captions[:5], 16)
    logits = network.match(network.encode_images(image).tokens, encoded.input_ids, encoded.attention_mask)
    assert logits.shape == (5, 2) and torch.isfinite(F.log_softmax(logits, 1)).all()
