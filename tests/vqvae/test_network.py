"""Shapes, sharing of the code book, and that the VQ-VAE learns pictures and both embeddings."""

from pathlib import Path
from typing import get_type_hints

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stages.config.vqvae import VqvaeConfig
from stages.errors import StageError
from stages.vqvae import VQVAE, Codes, VQVAESizes, load_vqvae, save_vqvae
from stages.vqvae.module import PictureBatch, VQVAEModule

P = 24
QUANTIZERS: tuple[str, ...] = get_type_hints(VqvaeConfig)["quantizer"].__args__


def sizes(side: int = 32, quantizer: str = "ema_restart", codebook_size: int = 32) -> VQVAESizes:
    return VQVAESizes(side, P, 16, 1, 8, 8, codebook_size, 4, quantizer, 0.9)


def batch(count: int = 16, side: int = 32, kinds: int = 8) -> PictureBatch:
    """Pictures of a few flat colours with a bright square somewhere, and embeddings that tell the kinds apart."""
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(kinds, 3, generator=generator) * 2 - 1
    embeddings = F.normalize(torch.randn(kinds, P, generator=generator), dim=-1)
    kind = torch.arange(count) % kinds
    image = colours[kind][:, :, None, None].repeat(1, 1, side, side)
    for i in range(count):
        y, x = torch.randint(0, side - 8, (2,), generator=generator).tolist()
        image[i, :, y : y + 8, x : x + 8] = 1.0
    return PictureBatch(image, embeddings[kind], embeddings[kind])


@pytest.mark.parametrize("side", [16, 32, 40])
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_shapes_and_ranges(side: int, quantizer: str) -> None:
    network = VQVAE(sizes(side, quantizer))
    data = batch(12, side)
    latents, captions = network.quantize(*data)
    assert latents.top.indices.shape == (12, side // 8, side // 8)
    assert latents.bottom.indices.shape == (12, side // 4, side // 4)
    assert captions.indices.shape == (12, 4)
    assert network.paint(latents.top.z_q, latents.bottom.z_q).shape == data.image.shape
    codes = network.eval().encode(data.image, data.image_embedding)
    for indices in (*codes, network.encode_text(data.text_embedding)):
        assert indices.dtype == torch.int64
        assert 0 <= int(indices.min()) <= int(indices.max()) < 32
    image = network.decode(codes)
    assert image.shape == data.image.shape
    assert image.abs().max() <= 1
    embedding = network.decode_picture_embedding(latents.top.z_q)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(12))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@torch.no_grad()
def test_encoding_in_use_is_encoding_in_training(quantizer: str) -> None:
    network = VQVAE(sizes(quantizer=quantizer)).train()
    data = batch()
    network.quantize(*data)  # k-means start
    network.eval()
    latents, captions = network.quantize(*data)
    codes = network.encode(data.image, data.image_embedding)
    assert torch.equal(codes.top, latents.top.indices)
    assert torch.equal(codes.bottom, latents.bottom.indices)
    assert torch.equal(network.encode_text(data.text_embedding), captions.indices)
    painted = network.paint(latents.top.z_q, latents.bottom.z_q).clamp(-1, 1)
    torch.testing.assert_close(network.decode(codes), painted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_captions_are_quantized_by_the_top_levels_book(quantizer: str) -> None:
    network = VQVAE(sizes(quantizer=quantizer)).train()
    network.quantize(*batch())
    network.eval()
    text = network.encode_text(batch().text_embedding)
    torch.testing.assert_close(network.embed_top(text), network.quantizer_top.codebook[text])
    assert not torch.allclose(network.quantizer_top.codebook, network.quantizer_bottom.codebook)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_every_part_gets_a_gradient(quantizer: str) -> None:
    """The commitment, both embeddings and the contrast are really in the loss."""
    module = VQVAEModule(VQVAE(sizes(quantizer=quantizer)), VqvaeConfig())
    module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    module._step(batch(), "train")
    module._step(batch(), "train").backward()
    for name, parameter in module.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("quantizer", "changed"), [("ema", "commitment"), ("lfq", "commitment"), ("lfq", "entropy")])
def test_the_quantizers_losses_are_in_the_loss_with_their_weights(quantizer: str, changed: str) -> None:
    losses = []
    for weight in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        config = VqvaeConfig(**{f"{changed}_weight": weight})  # type: ignore[arg-type]
        module = VQVAEModule(VQVAE(sizes(quantizer=quantizer)), config)
        logged: dict[str, Tensor] = {}
        module.log_dict = lambda values, seen=logged, **kwargs: seen.update(values)  # type: ignore[method-assign]
        losses.append(module._step(batch(), "train").item())
    assert logged[f"train/{changed}"] != 0
    assert losses[2] - losses[0] == pytest.approx(logged[f"train/{changed}"].item(), rel=1e-3)
    assert losses[1] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-3)


def _train(steps: int, quantizer: str = "ema_restart", count: int = 64) -> tuple[VQVAE, PictureBatch, list[float]]:
    torch.manual_seed(0)
    module = VQVAEModule(VQVAE(sizes(quantizer=quantizer)), VqvaeConfig(max_steps=steps))
    module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    data, losses = batch(count), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = module._step(data, "train")
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return module.network.eval(), data, losses


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_few_steps_lower_the_loss(quantizer: str) -> None:
    """And the held-out way of decoding has learnt: better than the mean picture."""
    network, data, losses = _train(40, quantizer, count=16)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    mean_picture = (data.image.mean(dim=0) - data.image).square().mean()
    assert (
        network.decode(network.encode(data.image, data.image_embedding)) - data.image
    ).square().mean() < mean_picture


def test_it_learns_pictures_embeddings_and_to_find_one_by_the_other() -> None:
    network, data, _ = _train(250)  # after 150 how far it is depends on the order of sums, such as that of one thread
    codes = network.encode(data.image, data.image_embedding)
    mean_picture = (data.image.mean(dim=0) - data.image).square().mean()
    assert (network.decode(codes) - data.image).square().mean() < 0.3 * mean_picture
    picture = network.decode_picture_embedding(network.embed_top(codes.top).movedim(-1, 1))
    caption = network.decode_text_embedding(network.embed_top(network.encode_text(data.text_embedding)))
    assert (picture * data.image_embedding).sum(-1).mean() > 0.6
    assert (caption * data.text_embedding).sum(-1).mean() > 0.8
    found = (caption[:8] @ picture[:8].T).argmax(dim=1)
    assert (found == torch.arange(8)).float().mean() >= 0.75


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_weights_round_trip_and_a_cut_file_is_named(tmp_path: Path, quantizer: str) -> None:
    network = VQVAE(sizes(quantizer=quantizer)).train()
    data = batch()
    network.quantize(*data)
    network.eval()
    save_vqvae(network, tmp_path)
    loaded = load_vqvae(tmp_path)
    codes = network.encode(data.image, data.image_embedding)
    again = loaded.encode(data.image, data.image_embedding)
    assert torch.equal(codes.top, again.top) and torch.equal(codes.bottom, again.bottom)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    path = tmp_path / "vqvae.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(StageError, match=r"vqvae\.safetensors cannot be loaded"):
        load_vqvae(tmp_path)


def test_decoding_depends_on_both_levels() -> None:
    network, data, _ = _train(60)
    codes = network.encode(data.image, data.image_embedding)

    def moved(other: Codes) -> Tensor:
        return (network.decode(other) - network.decode(codes)).abs().mean()

    assert moved(Codes(codes.top.roll(1, 0), codes.bottom)) > 1e-3
    assert moved(Codes(codes.top, codes.bottom.roll(1, 0))) > 1e-3
