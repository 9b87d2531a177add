"""Ceilings: each prompt's own picture, rebuilt from its codes or as it is."""

import numpy as np
import torch

from stages.data import PreparedSet, to_tensor, to_uint8
from stages.evaluation.drawing import Draw
from stages.evaluation.prompts import Prompts
from stages.workspace import Workspace


def reconstruct(workspace: Workspace, dataset: PreparedSet, prompts: Prompts) -> Draw:
    """The prompt's own picture through the VQ-VAE."""
    from stages.blip import load_features
    from stages.vqvae import load_vqvae

    vqvae = load_vqvae(workspace.require("vqvae"))
    embeddings = load_features(workspace.require("blip")).image_pooled

    def draw(first: int, last: int) -> np.ndarray:
        rows = prompts.image_rows[first:last]
        embedding = torch.from_numpy(np.array(embeddings[rows], dtype=np.float32))
        return to_uint8(vqvae.decode(vqvae.encode(to_tensor(dataset.images[rows]), embedding)))

    return draw


def show_real(dataset: PreparedSet, prompts: Prompts) -> Draw:
    """The prompt's own picture."""
    return lambda first, last: np.asarray(dataset.images[prompts.image_rows[first:last]])
