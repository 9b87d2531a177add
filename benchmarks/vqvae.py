"""Training the VQ-VAE with `fit` against a plain PyTorch loop: the same network, losses and pictures, at 64 pixels.

The loop does what a first version does: float32, NCHW, Adam weight by weight, the loss read each step, the code book of
`vector-quantize-pytorch` as it comes. Ours is measured as `configs/paper.yaml` has it, in bfloat16 where the machine
multiplies it, and in float32; a last case gives the loop our code book, so that what is left is all but that.
"""

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from vector_quantize_pytorch.vector_quantize_pytorch import Codebook

from benchmarks.timing import compare
from stages.__main__ import parse_config
from stages.config.precision import Precision
from stages.config.vqvae import VqvaeConfig
from stages.training import Batches, fit
from stages.vqvae.module import PictureBatch, VQVAEModule
from stages.vqvae.network import VQVAE
from stages.vqvae.stage import sizes_of

PAPER = Path(__file__).parents[1] / "configs" / "paper.yaml"
SIDE, BATCH, WIDTH = 64, 32, 256
STEPS = 20
CASES: tuple[tuple[Precision, str], ...] = (("bfloat16", "library"), ("float32", "library"), ("float32", "ours"))


def cases() -> Iterator[dict[str, Any]]:
    """The sizes of `configs/paper.yaml`, 20 steps of 32 pictures in memory; `fit` from its start to its end."""
    published = dataclasses.replace(
        parse_config("vqvae", ["--config", str(PAPER)]).vqvae, batch_size=BATCH, max_steps=STEPS
    )
    data = _pictures()
    for precision, code_book in CASES:
        section = dataclasses.replace(published, precision=precision)
        settings = {"side": SIDE, "batch": BATCH, "steps": STEPS, "ours in": precision}
        case = compare(
            settings | {"reference's code book": code_book},
            lambda section=section: train(section, data),  # type: ignore[misc]
            lambda ours=code_book == "ours": loop(published, data, ours),  # type: ignore[misc]
            repeats=3,
        )
        pictures = STEPS * BATCH
        case |= {"ours_pictures_per_s": pictures / case["ours_s"], "cores": len(os.sched_getaffinity(0))}
        yield case | {"reference_pictures_per_s": pictures / case["reference_s"]}


def train(section: VqvaeConfig, data: list[PictureBatch]) -> None:
    """As stage `vqvae` trains, without validation."""
    torch.manual_seed(0)
    module = VQVAEModule(VQVAE(sizes_of(section, SIDE, WIDTH)), section)
    batches = Batches(lambda rows: data[int(rows[0]) % len(data)], len(data), 1, seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        fit(
            module,
            batches,
            None,
            max_steps=STEPS,
            val_every=STEPS,
            scratch=Path(scratch),
            desc="vqvae",
            precision=section.precision,
        )


def loop(section: VqvaeConfig, data: list[PictureBatch], our_code_book: bool) -> list[float]:
    """The losses of a plain loop."""
    torch.manual_seed(0)
    network = VQVAE(sizes_of(section, SIDE, WIDTH)).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if not our_code_book:
        for quantizer in (network.quantizer_top, network.quantizer_bottom):
            book = Codebook(
                section.embedding_dim, section.codebook_size, decay=section.decay, threshold_ema_dead_code=0
            )
            quantizer.inner._codebook = book
    optimizer = torch.optim.Adam(network.parameters(), lr=section.lr, foreach=False)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = _loss(network, data[step % len(data)], section)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def _loss(network: VQVAE, batch: PictureBatch, section: VqvaeConfig) -> Tensor:
    """What `VQVAEModule` adds up, in one piece."""
    latents, captions = network.quantize(batch.image, batch.image_embedding, batch.text_embedding)
    top = latents.top.z_q.contiguous()  # (B,D,h,w), NCHW
    mse = F.mse_loss(network.paint(top, latents.bottom.z_q.contiguous()), batch.image)
    coarse = F.mse_loss(network.paint_coarse(latents.decoded_top), F.avg_pool2d(batch.image, 4))
    commitment = latents.top.commitment_loss + latents.bottom.commitment_loss
    picture, caption = network.decode_picture_embedding(top), network.decode_text_embedding(captions.z_q)
    back = 2 - (picture * batch.image_embedding).sum(-1) - (caption * batch.text_embedding).sum(-1)
    logits, target = picture @ caption.T / 0.1, torch.arange(len(picture))
    alignment = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return (
        mse
        + section.coarse_weight * coarse
        + section.commitment_weight * commitment
        + section.embedding_weight * back.mean()
        + section.alignment_weight * alignment
    )


def _pictures() -> list[PictureBatch]:
    """Four batches of smooth random pictures with random embeddings."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(4):
        rough = torch.rand(BATCH, 3, 8, 8, generator=generator) * 2 - 1
        embeddings = F.normalize(torch.randn(2, BATCH, WIDTH, generator=generator), dim=-1)
        batches.append(PictureBatch(F.interpolate(rough, SIDE, mode="bicubic").clamp(-1, 1), *embeddings))
    return batches
