"""Whether the cached sampler of a trained prior draws the codes of the full forward, all of them.

`make compare-codes CONFIG=configs/demo.yaml`: codes are drawn for the captions of val and test, as `samples.sampling`
says and in two other ways. Then one full forward over them says what it would have drawn at each position, given the
codes before it: where that is everywhere the same, the full forward draws these codes. Two codes that are level within
the rounding of float32 may change places, once in about a million; `level within` says how level they were, in nats. Of
a code that rounding takes over a cut-off, `top_k` or `top_p`, it says more than that: how far apart the two draws are.
"""

import sys
from typing import Any

import torch
from torch import Tensor

from benchmarks.record import keep_results
from stages.__main__ import parse_config
from stages.config.samples import SamplingConfig, SamplingOptions
from stages.data import load_dataset
from stages.errors import StageError
from stages.markdown import markdown_table
from stages.prior import Captions, Prior
from stages.prior.drawing import draw, guide
from stages.prior.pixelsnail import Conditioning, PixelSNAIL
from stages.prior.sampler import convolving_in_float32
from stages.samples import TextToImage, load_text_to_image
from stages.workspace import Workspace

BATCH = 100
LEVEL = 1e-4
"""Nats by which the samplers' logits may differ from the full forward's."""
OTHER_WAYS = {
    "as it is": SamplingConfig(SamplingOptions(), SamplingOptions()),
    "guided, cut off": SamplingConfig(
        SamplingOptions(top_p=0.9, guidance_scale=3.0), SamplingOptions(top_k=50, guidance_scale=3.0)
    ),
}


def main(options: list[str]) -> int:
    """Draws, counts, prints the table, writes `benchmarks/results/codes.json`; 1 where unlevel codes differ."""
    try:
        run = Workspace(parse_config("samples", options))
        dataset = load_dataset(run.require("data"))
        paint = load_text_to_image(run)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    captions = dataset.split("val").captions + dataset.split("test").captions
    found = {
        name: compare(paint, captions, way) for name, way in {"as in the run": paint.sampling, **OTHER_WAYS}.items()
    }
    rows = [
        [name, f"{len(captions):,}", f"{counts['codes']:,}", f"{counts['other']:,}", f"{counts['level_within']:.1g}"]
        for name, counts in found.items()
    ]
    head = ["codes are drawn", "captions", "codes", "other than the full forward's", "level within"]
    print(markdown_table(head, rows))
    keep_results("codes", {"run": run.config.run, "captions": len(captions), "ways": found})
    return int(any(counts["level_within"] > LEVEL for counts in found.values()))


def compare(paint: TextToImage, captions: list[str], sampling: SamplingConfig) -> dict[str, Any]:
    """How many `codes` are drawn on both levels, how many of them are `other` than what the full forward draws, and
    within how many nats these were level for it."""
    counts: dict[str, Any] = {"codes": 0, "other": 0, "level_within": 0.0}
    for start in range(0, len(captions), BATCH):
        read = paint.read(captions[start : start + BATCH])
        seeds = list(range(start, start + len(read.tokens)))
        codes = paint.prior.sample(read, seeds, sampling.top, sampling.bottom)
        _count(paint.prior, "top", read, None, seeds, sampling.top, codes.top, counts)
        _count(paint.prior, "bottom", read, codes.top, seeds, sampling.bottom, codes.bottom, counts)
    return counts


@torch.inference_mode()
@convolving_in_float32()
def full_forward(network: PixelSNAIL, conditioning: Conditioning, codes: Tensor, guidance_scale: float) -> Tensor:
    """Guided logits (B N,K) at each position of codes (B,H,W), given the codes before it; conditioning of B or 2B."""
    logits = network(codes.repeat(conditioning.batch_size // len(codes), 1, 1), conditioning)
    return guide(logits.flatten(2).transpose(1, 2).flatten(0, 1), guidance_scale)


def nats_apart(logits: Tensor, noise: Tensor, options: SamplingOptions, codes: Tensor, others: Tensor) -> Tensor:
    """How level two draws (N) were for logits (N,K) with noise (N,K): (N), 0 where they are the same."""
    scores = logits / (options.temperature or 1) + (noise if options.temperature else 0)
    return (scores.gather(1, others[:, None]) - scores.gather(1, codes[:, None])).abs()[:, 0]


@torch.inference_mode()
def _count(
    prior: Prior,
    level: str,
    captions: Captions,
    context: Tensor | None,
    seeds: list[int],
    options: SamplingOptions,
    drawn: Tensor,
    counts: dict[str, Any],
) -> None:
    """Adds to the counts those of the codes (B,H,W) that were drawn on a level."""
    conditioning, noise = prior.given(level, captions, context, seeds, options.guidance_scale)
    drawn, noise = drawn.to(noise.device), noise.flatten(0, 1)
    guided = full_forward(getattr(prior, level), conditioning, drawn, options.guidance_scale)
    ours, full = drawn.flatten(), draw(guided, noise, options)
    counts["codes"] += len(ours)
    counts["other"] += int((full != ours).sum())
    apart = nats_apart(guided, noise, options, ours, full)
    counts["level_within"] = max(counts["level_within"], float(apart.max()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
