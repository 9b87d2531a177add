"""Which weights are tuned, and that what was tuned is a checkpoint like any other."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, BertTokenizerFast, BlipForConditionalGeneration, BlipForImageTextRetrieval

from stages.blip.batch import Pairs
from stages.blip.module import BlipModule
from stages.blip.network import BlipNetwork, build_network
from stages.blip.pretrained import load_pretrained, save_network
from stages.blip.stage import prepare, tune
from stages.blip.tokenizer import encode_captions
from stages.blip.tuning import choose_tuned, merge_tuned
from stages.config.blip import BlipConfig
from stages.data import PreparedSet

Tuned = Literal["all", "last", "lora"]
MODES: tuple[Tuned, ...] = ("all", "last", "lora")


@pytest.fixture
def start(config: BlipConfig, checkpoint: Path) -> BlipConfig:
    """Tuning that starts from two checkpoints."""
    return dataclasses.replace(
        config,
        pretrained=str(checkpoint / "retrieval"),
        pretrained_captioner=str(checkpoint / "captioner"),
        last_layers=1,
        lora_rank=4,
        warmup_steps=1,
    )


def load(config: BlipConfig) -> BlipNetwork:
    assert config.pretrained is not None
    return load_pretrained(config.pretrained, config.pretrained_captioner)[0]


def gradients(network: BlipNetwork, config: BlipConfig, dataset: PreparedSet) -> dict[str, Tensor]:
    """Name -> gradient of every weight of the network that gets one."""
    tokenizer = BertTokenizerFast.from_pretrained(config.pretrained)
    module = BlipModule(network, config, seed=0).train()
    batch = Pairs(dataset, dataset.split("train"), tokenizer, 16).batch(np.arange(8))
    module.total(module.losses(batch, 0)[0]).backward()
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def linear_maps(network: nn.Module) -> set[str]:
    return {name for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def outputs(network: BlipNetwork, tokenizer: BertTokenizerFast, captions: list[str]) -> Iterator[Tensor]:
    """What each tower makes of some pictures and captions."""
    image = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoded = encode_captions(tokenizer, captions[:5], 16)
    inputs = encoded.input_ids, encoded.attention_mask
    with torch.no_grad():
        seen = network.encode_images(image)
        yield seen.pooled
        yield network.encode_text(*inputs).pooled
        yield network.match(seen.tokens, *inputs)
        yield network.caption_logits(seen.tokens, *inputs)


def test_all_weights_are_tuned_by_default(start: BlipConfig, dataset: PreparedSet) -> None:
    network = load(start)
    choose_tuned(network, start, 0)
    assert gradients(network, start, dataset).keys() == dict(network.named_parameters()).keys()


@pytest.mark.parametrize("layers", [1, 2, 5])  # of two
def test_last_layers_are_tuned_with_what_stands_behind_them(
    start: BlipConfig, dataset: PreparedSet, layers: int
) -> None:
    network = load(start)
    config = dataclasses.replace(start, tuned="last", last_layers=layers)
    choose_tuned(network, config, 0)
    places = (1,) if layers == 1 else (0, 1)
    wanted = (
        *(f"retrieval.vision_model.encoder.layers.{place}." for place in places),
        *(f"retrieval.text_encoder.encoder.layer.{place}." for place in places),
        *(f"captioner.text_decoder.bert.encoder.layer.{place}." for place in places),
        "retrieval.vision_model.post_layernorm.",
        "retrieval.vision_proj.",
        "retrieval.text_proj.",
        "retrieval.itm_head.",
        "captioner.text_decoder.cls.predictions.transform.",
    )
    named = {name for name, _ in network.named_parameters() if name.startswith(wanted)}
    assert all(any(name.startswith(prefix) for name in named) for prefix in wanted)
    assert gradients(network, config, dataset).keys() == named


def test_lora_tunes_two_matrices_beside_every_linear_map_and_nothing_else(
    start: BlipConfig, dataset: PreparedSet, tokenizer: BertTokenizerFast, captions: list[str]
) -> None:
    config = dataclasses.replace(start, tuned="lora")
    network = load(config)
    maps = linear_maps(network) - {"captioner.text_decoder.cls.predictions.decoder"}
    assert len(maps) > 40
    before = list(outputs(network.eval(), tokenizer, captions))
    choose_tuned(network, config, 0)
    found = gradients(network, config, dataset)
    assert found.keys() == {f"{name}.lora_{side}.default.weight" for name in maps for side in "AB"}
    for name, gradient in found.items():
        assert min(gradient.shape) <= 4  # the rank
        assert ".lora_A." in name or gradient.any(), name  # B starts at 0 and hides A from the first step
    after = outputs(network.eval(), tokenizer, captions)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_same_seed_gives_the_same_low_rank_matrices_and_leaves_global_chance_alone(start: BlipConfig) -> None:
    config = dataclasses.replace(start, tuned="lora")
    networks = [load(config) for _ in range(3)]
    state = torch.get_rng_state()
    for network, seed in zip(networks, (3, 3, 4), strict=True):
        choose_tuned(network, config, seed)
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (network.state_dict() for network in networks)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    drawn = [name for name in first if ".lora_A." in name]
    assert drawn and not any(torch.equal(first[name], other[name]) for name in drawn)


@pytest.mark.parametrize("tuned", ["last", "lora"])
@pytest.mark.parametrize("tower", ["retrieval", "captioner"])
def test_what_starts_afresh_is_tuned_whatever_the_mode(
    start: BlipConfig, dataset: PreparedSet, checkpoint: Path, tuned: Tuned, tower: str
) -> None:
    config = dataclasses.replace(start, pretrained=str(checkpoint / tower), pretrained_captioner=None, tuned=tuned)
    network = load(config)
    choose_tuned(network, config, 0)
    found = gradients(network, config, dataset)
    named = dict(network.named_parameters())
    fresh = {name for name in named if name.startswith(network.fresh)}
    assert fresh and fresh <= found.keys()
    assert not any(".lora_" in name for name in fresh)
    rest = named.keys() - fresh - {"captioner.text_decoder.bert.embeddings.word_embeddings.weight"}  # tied to cls
    assert not rest <= found.keys()
    if tuned == "lora":
        assert all(".lora_" in name for name in rest & found.keys())


@pytest.mark.parametrize("tuned", MODES)
def test_a_checkpoint_is_tuned_and_published_as_one_that_plain_transformers_loads(
    start: BlipConfig, dataset: PreparedSet, captions: list[str], tmp_path: Path, tuned: Tuned
) -> None:
    config = dataclasses.replace(start, tuned=tuned)
    module, tokenizer = prepare(config, dataset, seed=0)
    base = {name: value.clone() for name, value in load(start).state_dict().items()}
    tune(module, tokenizer, dataset, 0, tmp_path)
    tuned_outputs = list(outputs(module.network, tokenizer, captions))
    merge_tuned(module.network)
    save_network(module.network, tokenizer, tmp_path / "published")
    folder = tmp_path / "published"
    retrieval = BlipForImageTextRetrieval.from_pretrained(folder / "retrieval").eval()
    captioner = BlipForConditionalGeneration.from_pretrained(folder / "captioner").eval()
    plain = BlipNetwork(retrieval, captioner)
    its_tokenizer = AutoTokenizer.from_pretrained(folder / "retrieval")
    for ours, theirs, merged, untuned in zip(
        tuned_outputs,
        outputs(plain, its_tokenizer, captions),
        outputs(module.network, tokenizer, captions),
        outputs(load(start).eval(), tokenizer, captions),
        strict=True,
    ):
        assert torch.equal(theirs, merged)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
        assert float((ours - untuned).abs().max()) > 1e-3  # it learned something at all
    assert plain.state_dict().keys() == base.keys()
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not any("adapter" in name or name.endswith(".bin") for name in names)


@pytest.mark.parametrize("tuned", ["last", "lora"])
def test_what_is_not_tuned_stays_equal_to_the_bit(
    start: BlipConfig, dataset: PreparedSet, tmp_path: Path, tuned: Tuned
) -> None:
    config = dataclasses.replace(start, tuned=tuned, weight_decay=0.5)
    module, tokenizer = prepare(config, dataset, seed=0)
    base = load(start).state_dict()
    named = module.network.named_parameters(remove_duplicate=False)  # the picture encoder has two names
    trained = {name for name, weight in named if weight.requires_grad}
    tune(module, tokenizer, dataset, 0, tmp_path)
    after = module.network.state_dict()
    frozen = {name.replace(".base_layer", ""): name for name in after if name not in trained and ".lora_" not in name}
    assert len(frozen) > 30 and frozen.keys() <= base.keys()
    assert all(torch.equal(after[name], base[known]) for known, name in frozen.items())
    if tuned == "lora":
        assert frozen.keys() == base.keys()  # of the checkpoint's own weights, every one
        assert all(after[name].any() for name in after if ".lora_B." in name)  # and every update is at work


def test_merging_adds_the_update_as_written_out(start: BlipConfig) -> None:
    config = dataclasses.replace(start, tuned="lora", lora_rank=2, lora_alpha=6)
    network = load(config)
    choose_tuned(network, config, 0)
    name = "retrieval.text_encoder.encoder.layer.1.crossattention.self.query"
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for key, weight in weights.items():
            if ".lora_B." in key:
                weight.normal_(generator=torch.Generator().manual_seed(1))
    low, high = weights[f"{name}.lora_A.default.weight"], weights[f"{name}.lora_B.default.weight"]
    expected = weights[f"{name}.base_layer.weight"].detach() + 6 / 2 * (high @ low).detach()
    merge_tuned(network)
    torch.testing.assert_close(network.state_dict()[f"{name}.weight"], expected)
    assert linear_maps(network) == linear_maps(load(start))


def test_merging_leaves_a_network_without_low_rank_updates_as_it_is(network: BlipNetwork) -> None:
    before = copy.deepcopy(network.state_dict())
    merge_tuned(network)
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in before.items())


def test_layers_that_both_text_towers_share_have_one_update_and_stay_shared(
    start: BlipConfig, tokenizer: BertTokenizerFast, captions: list[str], dataset: PreparedSet
) -> None:
    config = dataclasses.replace(start, tuned="lora")
    network = build_network(config, tokenizer, 16, seed=1)
    encoder = network.retrieval.text_encoder.encoder.layer
    decoder = network.captioner.text_decoder.bert.encoder.layer
    choose_tuned(network, config, 0)
    shared = "retrieval.text_encoder.encoder.layer.0.output.dense"
    found = gradients(network, config, dataset)
    assert f"{shared}.lora_A.default.weight" in found
    assert not any("text_decoder" in name and ".attention." not in name and "cls" not in name for name in found)
    assert type(encoder[0].output.dense.base_layer) is nn.Linear  # not an update of an update
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if ".lora_B." in name:
                weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    unmerged = list(outputs(network.eval(), tokenizer, captions))
    merge_tuned(network)
    merged = list(outputs(network.eval(), tokenizer, captions))
    for one, other in zip(unmerged, merged, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    for own, other in zip(decoder, encoder, strict=True):
        assert own.output.dense is other.output.dense and isinstance(own.output.dense, nn.Linear)
        assert own.crossattention.self.query is other.crossattention.self.query


@pytest.mark.parametrize("tuned", MODES)
def test_gradient_checkpointing_computes_again_and_gives_the_same_gradients(
    start: BlipConfig, dataset: PreparedSet, tuned: Tuned
) -> None:
    config = dataclasses.replace(start, tuned=tuned)
    found, passes = [], []
    for checkpointing in (False, True):
        network = load(config)
        choose_tuned(network, dataclasses.replace(config, gradient_checkpointing=checkpointing), 0)
        with torch.no_grad():
            for name, weight in network.named_parameters():
                if ".lora_B." in name:
                    weight.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
        counted = [0, 0, 0]
        for place, layer in enumerate((
            network.retrieval.vision_model.encoder.layers[1],
            network.retrieval.text_encoder.encoder.layer[1],
            network.captioner.text_decoder.bert.encoder.layer[1],
        )):  # fmt: skip

            def count(module: nn.Module, inputs: object, place: int = place, counted: list[int] = counted) -> None:
                counted[place] += 1

            norm = next(one for one in layer.modules() if isinstance(one, nn.LayerNorm))
            norm.register_forward_pre_hook(count)
        found.append(gradients(network, config, dataset))
        passes.append(counted)
    assert passes[1] == [2 * count for count in passes[0]]  # each forward pass of a layer is done again going back
    assert found[0].keys() == found[1].keys() and len(found[0]) > 20
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=0, atol=1e-5)
