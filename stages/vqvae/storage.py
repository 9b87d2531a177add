"""The VQ-VAE's artefact: `vqvae.safetensors`, `vqvae.json`."""

from pathlib import Path

import torch

from stages.vqvae.network import VQVAE, VQVAESizes
from stages.weights import load_sizes, load_weights, save_weights


def save_vqvae(network: VQVAE, directory: Path) -> None:
    """Writes weights and sizes."""
    save_weights(network, network.sizes, directory, "vqvae")


def load_vqvae(directory: Path) -> VQVAE:
    """The network of a published `vqvae` artefact, in eval mode, without gradients.

    Raises:
        StageError: a file is missing, cut short or of another network.
    """
    network = VQVAE(load_sizes(VQVAESizes, directory, "vqvae"))
    load_weights(network, directory, "vqvae")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
