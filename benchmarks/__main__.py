"""`python -m benchmarks [name ...]`: runs measurements, prints a table, writes `benchmarks/results/<name>.json`."""

import sys

from benchmarks import features, folder, prior, sampler, store, vqvae
from benchmarks.record import keep_results

MEASUREMENTS = {
    "features": features.cases,
    "folder": folder.cases,
    "prior": prior.cases,
    "sampler": sampler.cases,
    "store": store.cases,
    "vqvae": vqvae.cases,
}


def main(names: list[str]) -> int:
    """Runs the named measurements, or all; 2 for an unknown name."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        print(f"error: there is no measurement '{unknown[0]}'; there are: {' '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    for name in names or MEASUREMENTS:
        done = []
        for case in MEASUREMENTS[name]():
            done.append(case)
            settings = ", ".join(f"{key} {value}" for key, value in case["settings"].items())
            print(
                f"{name}: {settings}: {case['ours_s']:.4g} s against {case['reference_s']:.4g} s, {case['ratio']:.3g}x"
            )
            if "exponent" in case:
                print(f"  grows with the side to the power of {case['exponent']:.2g}")
            for who, values in case.get("mib", {}).items():
                print(f"  {who}: {values['anonymous']:.0f} MiB anonymous, {values['resident']:.0f} MiB resident")
        keep_results(name, done)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
