"""Which weights of a BLIP are tuned: all, those of the last layers, or low-rank updates beside them (LoRA)."""

from typing import Any

import torch
from torch import nn

from stages.blip.network import BlipNetwork
from stages.config.blip import BlipConfig

_LAYERS = (
    "retrieval.vision_model.encoder.layers",
    "retrieval.text_encoder.encoder.layer",
    "captioner.text_decoder.bert.encoder.layer",
)
_HEADS = (
    "retrieval.vision_model.post_layernorm",
    "retrieval.vision_proj",
    "retrieval.text_proj",
    "retrieval.itm_head",
    "captioner.text_decoder.cls.predictions.transform",
)
"""What stands behind the layers."""


def choose_tuned(network: BlipNetwork, config: BlipConfig, seed: int) -> None:
    """Prepares a network for tuning as the config says, in place: what is not tuned gets no gradient.

    Modules that a checkpoint did not bring (`network.fresh`) are tuned whatever the config says.

    Args:
        seed: of the low-rank matrices.
    """
    if config.gradient_checkpointing:
        for model in (network.retrieval, network.captioner):
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.disable_input_require_grads()  # only reentrant ones need it, and BLIP's embeddings cannot bear it
    if config.tuned == "last":
        _tune_last(network, config.last_layers)
    elif config.tuned == "lora":
        with torch.random.fork_rng(devices=[]):  # peft draws from the global generator
            torch.manual_seed(seed)
            _add_lora(network, config)
    if config.tuned != "all":
        for name in network.fresh:
            network.get_submodule(name).requires_grad_(True)


def _tune_last(network: BlipNetwork, count: int) -> None:
    network.requires_grad_(False)
    for name in _LAYERS:
        layers = network.get_submodule(name)
        assert isinstance(layers, nn.ModuleList)
        for layer in layers[-count:]:
            layer.requires_grad_(True)
    for name in _HEADS:
        network.get_submodule(name).requires_grad_(True)


def _add_lora(network: BlipNetwork, config: BlipConfig) -> None:
    """Puts a low-rank update beside every linear map of the network (arXiv:2106.09685), and freezes all else."""
    from peft import LoraConfig, inject_adapter_in_model

    linear = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(network.fresh) and not name.endswith(".decoder")
    ]  # all but the captioner's map to words, which is tied to the word embeddings
    lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=0.0, target_modules=linear)
    inject_adapter_in_model(lora, network)


def merge_tuned(network: BlipNetwork) -> None:
    """Adds low-rank updates, where there are any, to the weights they stand beside, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.merge(safe_merge=True)
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], layer.get_base_layer())
