import subprocess
import sys


def test_the_room_is_imported_without_torch_and_nltk() -> None:
    code = (
        "import sys, stages.metrics; sys.exit(not {'torch', 'nltk', 'sklearn', 'rouge_score'}.isdisjoint(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
