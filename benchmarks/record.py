"""Where figures are kept."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def keep_results(name: str, results: Any) -> None:
    """Writes `benchmarks/results/<name>.json`; a ValueError for a figure that is not finite."""
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text)
