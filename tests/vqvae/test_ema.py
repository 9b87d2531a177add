"""Averaged weights: code books are averaged as the encoder is, and what is no average stays whole."""

from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.vqvae import VqvaeConfig
from stages.training import Batches, Sweep, fit
from stages.vqvae import VQVAE, VQVAESizes
from stages.vqvae.module import PictureBatch, VQVAEModule
from stages.vqvae.quantizer import Quantized

P, K = 8, 64
QUANTIZERS: tuple[str, ...] = get_type_hints(VqvaeConfig)["quantizer"].__args__
DECAY = 0.9


class Watched(VQVAEModule):
    """Keeps its state after every step."""

    def on_train_start(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.states.append({name: value.clone() for name, value in self.state_dict().items()})


def batch(rows: np.ndarray) -> PictureBatch:
    generator = torch.Generator().manual_seed(int(rows[0]))
    embedding = F.normalize(torch.randn(len(rows), P, generator=generator), dim=-1)
    return PictureBatch(torch.rand(len(rows), 3, 32, 32, generator=generator) * 2 - 1, embedding, embedding)


def train(quantizer: str, scratch: Path) -> Watched:
    torch.manual_seed(0)
    network = VQVAE(VQVAESizes(32, P, 16, 1, 8, 8, K, 2, quantizer, 0.9))
    module = Watched(network, VqvaeConfig(max_steps=6, ema_decay=DECAY))
    fit(
        module,
        Batches(batch, 20, 8, seed=5),
        Sweep(batch, 8, 4),
        max_steps=6,
        val_every=2,  # in validation averages and weights change places, and back
        scratch=scratch,
        desc="vqvae",
        ema_decay=module.config.ema_decay,
    )
    return module


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_what_is_published_is_the_average_and_a_whole_network(quantizer: str, tmp_path: Path) -> None:
    module = train(quantizer, tmp_path)
    wanted = module.states[0]
    for state in module.states[1:]:
        wanted = {
            k: DECAY * v + (1 - DECAY) * state[k] if v.is_floating_point() else state[k] for k, v in wanted.items()
        }
    published = module.state_dict()
    for name, value in wanted.items():
        torch.testing.assert_close(published[name], value, atol=1e-6, rtol=1e-5)
    assert len(module.states) == 6
    moved = "to_top.weight" if quantizer in ("fsq", "lfq") else "quantizer_top.inner._codebook.embed"
    assert not torch.allclose(wanted[f"network.{moved}"], module.states[-1][f"network.{moved}"], atol=1e-5)
    data = batch(np.arange(8))
    latents, _ = module.network.quantize(*data)
    fresh = VQVAE(module.network.sizes)
    fresh.load_state_dict(module.network.state_dict())
    codes = fresh.eval().encode(data.image, data.image_embedding)
    assert torch.equal(codes.top, latents.top.indices) and torch.equal(codes.bottom, latents.bottom.indices)
    torch.testing.assert_close(fresh.embed_top(codes.top).movedim(-1, 1), latents.top.z_q, atol=1e-5, rtol=0)


def test_an_averaged_cosine_book_is_of_unit_vectors(tmp_path: Path) -> None:
    module = train("cosine", tmp_path)
    network = module.network.eval()
    raw = network.quantizer_top.inner._codebook.embed[0]
    assert raw.norm(dim=1).min() < 0.99  # an average of unit vectors is shorter
    data = batch(np.arange(8))
    latents, captions = network.quantize(*data)
    for level, book in (("top", network.quantizer_top.codebook), ("bottom", network.quantizer_bottom.codebook)):
        torch.testing.assert_close(book.norm(dim=1), torch.ones(K))
        found: Quantized = getattr(latents, level)
        assert torch.equal(found.z_q.movedim(1, -1), book[found.indices])
    codes = network.encode(data.image, data.image_embedding)
    assert torch.equal(codes.top, latents.top.indices) and torch.equal(codes.bottom, latents.bottom.indices)
    assert torch.equal(network.embed_top(network.encode_text(data.text_embedding)), captions.z_q)
    assert torch.equal(network.decode(codes), network.paint(latents.top.z_q, latents.bottom.z_q).clamp(-1, 1))
    # a code vector is the nearest to itself, whatever the length of its average
    for quantizer in (network.quantizer_top, network.quantizer_bottom):
        assert torch.equal(quantizer(quantizer.codebook[None]).indices[0], torch.arange(K))
