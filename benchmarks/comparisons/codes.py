"""Whether the cached sampler of a trained prior draws the codes of the full forward, all of them.

`make compare-codes CONFIG=configs/demo.yaml`: codes are drawn for the captions of val and test, as `samples.sampling`
says and in two other ways. Then one full forward over them says what it would have drawn at each position, given the
codes before it: where that is everywhere the same, the full forward draws these codes. What is level within the
rounding of float32 both ask of the network in float64; beside it stands how many codes that were, and how many of the
full forward's are others if it is float32's alone.
"""

import sys
from typing import Any

from torch import Tensor

from benchmarks.record import keep_results
from stages.__main__ import parse_config
from stages.config.samples import SamplingConfig, SamplingOptions
from stages.data import load_dataset
from stages.errors import StageError
from stages.markdown import markdown_table
from stages.prior import Captions, Prior
from stages.prior.sampler import convolving_in_float32
from stages.samples import TextToImage, load_text_to_image
from stages.vqvae import Codes
from stages.workspace import Workspace

BATCH = 100
OTHER_WAYS = {
    "as it is": SamplingConfig(SamplingOptions(), SamplingOptions()),
    "guided, cut off": SamplingConfig(
        SamplingOptions(top_p=0.9, guidance_scale=3.0), SamplingOptions(top_k=50, guidance_scale=3.0)
    ),
}
COUNTS = {
    "codes": "codes",
    "other": "other than the full forward's",
    "in_doubt": "asked of float64",
    "other_in_float32": "other than its float32's alone",
}


def main(options: list[str]) -> int:
    """Draws, counts, prints the table, writes `benchmarks/results/codes.json`; 1 where any codes differ."""
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
    rows = [[name, f"{len(captions):,}", *(f"{counts[count]:,}" for count in COUNTS)] for name, counts in found.items()]
    print(markdown_table(["codes are drawn", "captions", *COUNTS.values()], rows))
    keep_results("codes", {"run": run.config.run, "captions": len(captions), "ways": found})
    return int(any(counts["other"] for counts in found.values()))


def compare(paint: TextToImage, captions: list[str], sampling: SamplingConfig) -> dict[str, Any]:
    """Counts of both levels' codes, named as in `COUNTS`."""
    counts: dict[str, Any] = dict.fromkeys(COUNTS, 0)
    for start in range(0, len(captions), BATCH):
        read = paint.read(captions[start : start + BATCH])
        seeds = list(range(start, start + len(read.tokens)))
        codes = paint.prior.sample(read, seeds, sampling.top, sampling.bottom)
        for level, context, options in (("top", None, sampling.top), ("bottom", codes.top, sampling.bottom)):
            _count(paint.prior, level, read, context, seeds, options, codes, counts)
    return counts


@convolving_in_float32()
def _count(
    prior: Prior,
    level: str,
    captions: Captions,
    context: Tensor | None,
    seeds: list[int],
    options: SamplingOptions,
    codes: Codes,
    counts: dict[str, Any],
) -> None:
    """Adds to the counts those of the codes that were drawn on a level."""
    conditioning, noise = prior.given(level, captions, context, seeds, options.guidance_scale)
    ours, settler = getattr(codes, level).to(noise.device), prior.samplers[level].settler
    redrawn = settler.redraw(conditioning, noise, options, ours)
    counts["codes"] += ours.numel()
    counts["other"] += int((redrawn.codes != ours).sum())
    counts["in_doubt"] += int(redrawn.in_doubt.sum())
    counts["other_in_float32"] += int((redrawn.in_float32 != ours).sum())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
