"""`python -m benchmarks [name ...]`: runs measurements, prints a table, writes `benchmarks/results/<name>.json`."""

import sys
from typing import Any

import torch

from benchmarks import features, folder, gpu, paper, prior, sampler, store, vqvae
from benchmarks.record import keep_results
from stages.errors import StageError

MEASUREMENTS = {
    "features": features.cases,
    "folder": folder.cases,
    "gpu": gpu.cases,
    "paper": paper.cases,
    "prior": prior.cases,
    "sampler": sampler.cases,
    "store": store.cases,
    "vqvae": vqvae.cases,
}


NEED_A_GPU = ("gpu", "paper")


def main(names: list[str]) -> int:
    """Runs the named measurements, or all that this machine can; 2 for one that is unknown or that it cannot."""
    try:
        for name in names:
            _check(name)
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    for name in names or _possible():
        measure(name)
    return 0


def measure(name: str) -> None:
    """Runs it, prints a line for each case, and keeps the results."""
    done = []
    for case in MEASUREMENTS[name]():
        done.append(case)
        print(f"{name}: {_in_words(case)}", flush=True)
        for who, values in case.get("mib", {}).items():
            print(f"  {who}: {values['anonymous']:.0f} MiB anonymous, {values['resident']:.0f} MiB resident")
    keep_results(name, done)


def _check(name: str) -> None:
    if name not in MEASUREMENTS:
        raise StageError(f"there is no measurement '{name}'; there are: {' '.join(MEASUREMENTS)}")
    if name in NEED_A_GPU and not torch.cuda.is_available():
        raise StageError(f"{name} is measured on a GPU, and torch finds none here")


def _possible() -> list[str]:
    return [name for name in MEASUREMENTS if name not in NEED_A_GPU or torch.cuda.is_available()]


def _in_words(case: dict[str, Any]) -> str:
    words = ", ".join(f"{key} {value}" for key, value in case["settings"].items()) + f": {case['ours_s']:.4g} s"
    if "reference_s" in case:
        words += f" against {case['reference_s']:.4g} s, {case['ratio']:.3g}x"
    if "largest_loss_gap" in case:
        words += f", losses at most {case['largest_loss_gap']:.2g} bits apart"
    if "exponent" in case:
        words += f", grows with the side to the power of {case['exponent']:.2g}"
    return words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
