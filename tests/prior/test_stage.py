"""Each form of text is trained, measured and published; the weights of another form are refused in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.__main__ import main, parse_config
from stages.codes import CodeStore
from stages.data import load_dataset
from stages.errors import StageError
from stages.prior import load_prior
from stages.prior.stage import pictures_of
from stages.workspace import Workspace


def test_the_prior_says_which_form_it_reads_and_what_that_is_worth(text_run: list[str]) -> None:
    workspace = Workspace(parse_config("prior", text_run))
    text, directory = workspace.config.prior.text, workspace.require("prior")
    manifest = workspace.manifest("prior")
    assert manifest["config"]["text"] == text
    prior = load_prior(directory)
    assert prior.top.sizes.text == prior.bottom.sizes.text == text
    levels = [f"val_nll_bits_per_code_{level}{told}" for level in ("top", "bottom") for told in ("", "_shuffled")]
    assert all(manifest["figures"][name] > 0 for name in levels)
    table = json.loads((directory / "table.json").read_text())
    assert {name: row["value"] for name, row in table.items()}.items() <= manifest["figures"].items()
    counts = {split: {row["n"] for name, row in table.items() if name.startswith(split)} for split in ("val", "train")}
    store = CodeStore.open(workspace.require("codes"), blip=workspace.digest("blip"))
    assert counts == {"val": {len(store.read("val"))}, "train": {len(store.read_train())}}
    logged = [json.loads(line) for line in (directory / "curves.jsonl").read_text().splitlines()]
    assert {line["fit"] for line in logged if "val/nll_bits_per_code_shuffled" in line} == {"prior-top", "prior-bottom"}


def test_pairs_know_their_picture_in_whatever_view(tiny_run: Path) -> None:
    workspace = Workspace(parse_config("prior", ["--config", str(tiny_run)]))
    store, records = CodeStore.open(workspace.require("codes")), load_dataset(workspace.require("data")).records
    seen = store.read_train().record_rows
    rows = np.random.default_rng(0).permutation(np.concatenate([seen, seen]))[: len(seen)]  # some twice, as views are
    assert pictures_of(store, "train", rows) == [records[row].file_name for row in rows]


def test_another_form_is_another_prior(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--config", str(tiny_run), "--prior.text", "codes"]) == 2
    assert "prior.text: 'tokens' there, 'codes' asked for); run: make prior" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pooled", r"top\.safetensors cannot be loaded .*; run: make prior"),
        ("codes", r"top\.safetensors cannot be loaded .*; run: make prior"),
        ("words", r"top\.json does not describe a network \(text must be one of tokens, pooled, codes, got 'words'\)"),
    ],
)
def test_weights_of_another_form_are_refused(tiny_run: Path, tmp_path: Path, text: str, message: str) -> None:
    folder = tmp_path / "prior"
    shutil.copytree(tiny_run.parent / "checkpoints" / "tiny" / "prior", folder)
    sizes = json.loads((folder / "top.json").read_text())
    (folder / "top.json").write_text(json.dumps(sizes | {"text": text}))
    with pytest.raises(StageError, match=message):
        load_prior(folder)
