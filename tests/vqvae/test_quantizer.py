"""All six quantizers behind one interface, and that looking codes up by number is the library's quantizing."""

from typing import get_type_hints

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize
from vector_quantize_pytorch.vector_quantize_pytorch import Codebook

from stages.config.vqvae import VqvaeConfig, fsq_levels
from stages.vqvae.quantizer import _BOOKS, LearntCodes, LookupFree, Quantized, VectorQuantizer, build_quantizer

KINDS: tuple[str, ...] = get_type_hints(VqvaeConfig)["quantizer"].__args__
K, D = 32, 6


def vectors(count: int = 40, seed: int = 0) -> Tensor:
    """(8,count,D), two values to a scalar on average."""
    return torch.randn(8, count, D, generator=torch.Generator().manual_seed(seed))


def trained(kind: str) -> VectorQuantizer:
    torch.manual_seed(0)
    quantizer = build_quantizer(kind, D, K, 0.9).train()
    for seed in range(3):
        quantizer(vectors(seed=seed))
    return quantizer


def test_there_are_six() -> None:
    assert len(KINDS) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_codes_embed_to_what_was_quantized(kind: str) -> None:
    quantizer = trained(kind).eval()
    found = quantizer(vectors())
    assert found.z_q.shape == (8, 40, D) and found.indices.shape == (8, 40)
    assert found.indices.dtype == torch.int64
    assert 0 <= int(found.indices.min()) < int(found.indices.max()) < K
    assert quantizer.codebook.shape == (K, D)
    torch.testing.assert_close(quantizer.embed(found.indices), found.z_q, atol=1e-6, rtol=0)
    grid = found.indices.view(8, 5, 8)
    torch.testing.assert_close(quantizer.embed(grid), found.z_q.view(8, 5, 8, D), atol=1e-6, rtol=0)
    assert len(quantizer.codebook.unique(dim=0)) == K  # no two codes are one


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_goes_through(kind: str) -> None:
    quantizer = trained(kind)
    z_e = vectors().requires_grad_()
    quantizer(z_e).z_q.square().sum().backward()
    assert z_e.grad is not None and z_e.grad.abs().sum(-1).min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_those_of_float32_whatever_the_precision_around(kind: str) -> None:
    alone, within = trained(kind), trained(kind)
    expected = alone(vectors())
    with torch.autocast("cpu", torch.bfloat16):
        found = within(vectors())
    assert found.z_q.dtype == found.commitment_loss.dtype == torch.float32
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, within.state_dict()[name]), name


def test_which_quantizer_has_which_loss() -> None:
    for kind in KINDS:
        found: Quantized = trained(kind)(vectors())
        assert (found.commitment_loss > 0) == (kind != "fsq"), kind
        assert (found.entropy_loss != 0) == (kind == "lfq"), kind


def test_lfqs_losses_by_hand() -> None:
    quantizer = trained("lfq")
    assert isinstance(quantizer, LookupFree)
    quantizer.inner.codebook.mul_(0.01)  # affinities that are unsure
    found = quantizer(vectors())
    flat = quantizer.scalars(vectors()).flatten(0, 1)
    torch.testing.assert_close(flat.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    signs = torch.where(flat > 0, 1.0, -1.0)
    torch.testing.assert_close(found.commitment_loss, (flat - signs).square().mean())
    shares = torch.softmax(2 * 100 * flat @ quantizer.inner.codebook.T, dim=1)
    single = torch.special.entr(shares).sum(1).mean()
    mean = torch.special.entr(shares.mean(0)).sum()
    torch.testing.assert_close(found.entropy_loss, single - mean, atol=1e-3, rtol=0)  # the library clips logs at 1e-5


@pytest.mark.parametrize("kind", ["fsq", "lfq"])
def test_a_large_bias_does_not_make_all_codes_one(kind: str) -> None:
    torch.manual_seed(0)
    quantizer = build_quantizer(kind, D, K, 0.9).train()
    found = quantizer(0.01 * vectors() + 5.0)
    assert len(found.indices.unique()) > K / 2


@pytest.mark.parametrize("kind", _BOOKS)
def test_lookup_by_number_is_the_librarys_quantizing(kind: str) -> None:
    """Same codes, code books and gradients as the library's own code book, over steps with k-means and restarts."""
    book = {"dim": D, "codebook_size": K, "decay": 0.9, **_BOOKS[kind]}
    ours = LearntCodes(kind, D, K, 0.9)
    library = VectorQuantize(rotation_trick=kind == "rotation", commitment_weight=1.0, **book)
    assert type(library._codebook) is Codebook
    library.load_state_dict(ours.inner.state_dict())
    for step in range(6):
        data = vectors(seed=step) * (1 + step)  # moves, so that codes die
        results = []
        for quantizer in (ours, library):
            torch.manual_seed(step)
            z_e = data.clone().requires_grad_()
            z_q, indices, loss = tuple(quantizer(z_e))[:3]
            (z_q.square().sum() + loss.sum()).backward()
            results.append((z_q, indices, loss.reshape(()), z_e.grad))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        for name, value in ours.inner.state_dict().items():
            torch.testing.assert_close(value, library.state_dict()[name], atol=1e-5, rtol=1e-5)
    ours.eval(), library.eval()
    assert torch.equal(ours(vectors()).indices, library(vectors())[1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_book_is_searched_in_little_memory(kind: str) -> None:
    torch.manual_seed(0)
    quantizer = build_quantizer(kind, D, 65536, 0.9).eval()
    if isinstance(quantizer, LearntCodes):
        quantizer.inner._codebook.initted.fill_(True)
        quantizer.inner._codebook.embed.copy_(torch.randn(1, 65536, D))
    z_e = vectors(512)  # 4,096 vectors: their distances to all codes are 1 GiB
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        found = quantizer(z_e)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < 100 << 20
    if isinstance(quantizer, LearntCodes):
        few = z_e[:, :16]
        away = torch.cdist(F.normalize(few, dim=-1) if kind == "cosine" else few, quantizer.codebook[None])
        torch.testing.assert_close(away.gather(2, found.indices[:, :16, None])[..., 0], away.amin(2))


def test_levels_are_those_that_fsqs_authors_recommend() -> None:
    table = {240: (8, 6, 5), 1000: (8, 5, 5, 5), 4375: (7, 5, 5, 5, 5), 15360: (8, 8, 8, 6, 5)}
    table |= {64000: (8, 8, 8, 5, 5, 5)}  # Table 1 of arXiv:2309.15505
    assert {size: fsq_levels(size) for size in table} == table
    assert fsq_levels(128) == (8, 4, 4) and fsq_levels(512) == (8, 8, 8)


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("fsq", 500 + 9, r"levels from 3 to 8 .*fsq, got 509; the nearest: 504 and 512"),
        ("fsq", 2, r"got 2; the nearest: 3"),
        ("fsq", 65535, r"got 65535; the nearest: \d+ and 65536"),
        ("lfq", 100, r"power of two .*lfq, got 100; the nearest are 64 and 128"),
    ],
)
def test_a_size_that_cannot_be_had_is_refused_with_those_that_can(kind: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=r"vqvae\.codebook_size must be a " + r".*" + message):
        VqvaeConfig(quantizer=kind, codebook_size=size)  # type: ignore[arg-type]
