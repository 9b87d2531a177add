"""A checkpoint is found whole or refused in a line that names the key; its files tell it from others."""

import json
from pathlib import Path

import pytest

from stages.diffusion.pretrained.checkpoint import COMPONENTS, find_checkpoint
from stages.errors import StageError


def test_a_folder_is_found_with_its_licence(checkpoint: Path) -> None:
    found = find_checkpoint(str(checkpoint))
    assert (found.folder, found.name, found.revision) == (checkpoint, str(checkpoint), "")
    assert found.licence() == "creativeml-openrail-m"


@pytest.mark.parametrize("card", ["", "# no header\n", "---\ntags: [x]\n---\n", "---\nlicense: [\n---\n"])
def test_a_card_that_does_not_say_gives_no_licence(own_checkpoint: Path, card: str) -> None:
    (own_checkpoint / "README.md").write_text(card)
    assert find_checkpoint(str(own_checkpoint)).licence() is None


def test_a_licence_that_the_hub_has_no_name_for_is_given_by_its_own(own_checkpoint: Path) -> None:
    (own_checkpoint / "README.md").write_text("---\nlicense: other\nlicense_name: ours\n---\n")
    assert find_checkpoint(str(own_checkpoint)).licence() == "ours"
    (own_checkpoint / "README.md").unlink()
    assert find_checkpoint(str(own_checkpoint)).licence() is None


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nothing", "a/b/c"])
def test_a_missing_folder_is_one_line(name: str) -> None:
    with pytest.raises(StageError, match=f"diffusion.pretrained: there is no folder {name}"):
        find_checkpoint(name)


@pytest.mark.parametrize(
    "part",
    [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_part_is_named(own_checkpoint: Path, part: str) -> None:
    (own_checkpoint / part).unlink()
    with pytest.raises(StageError, match=rf"diffusion\.pretrained: .*own has no {part}; name a whole checkpoint"):
        find_checkpoint(str(own_checkpoint))


def test_a_tokenizer_is_one_file_or_two(own_checkpoint: Path) -> None:
    (own_checkpoint / "tokenizer" / "tokenizer.json").unlink()
    (own_checkpoint / "tokenizer" / "vocab.json").write_text("{}")
    with pytest.raises(StageError, match=r"has no tokenizer/vocab\.json"):
        find_checkpoint(str(own_checkpoint))
    (own_checkpoint / "tokenizer" / "merges.txt").write_text("")
    find_checkpoint(str(own_checkpoint))


def test_pickled_weights_are_no_weights(own_checkpoint: Path) -> None:
    weights = own_checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(StageError, match="in safetensors"):
        find_checkpoint(str(own_checkpoint))


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({"_class_name": "StableDiffusionXLPipeline"}, "is a StableDiffusionXLPipeline; name a checkpoint of a"),
        ({}, "is no index of a pipeline"),
        ("[", "is no index of a pipeline"),
    ],
)
def test_another_pipeline_is_refused(own_checkpoint: Path, index: object, reason: str) -> None:
    text = index if isinstance(index, str) else json.dumps(index)
    (own_checkpoint / "model_index.json").write_text(text)
    with pytest.raises(StageError, match=reason):
        find_checkpoint(str(own_checkpoint))


def test_a_folder_has_no_revisions(checkpoint: Path) -> None:
    with pytest.raises(StageError, match=r"diffusion\.pretrained_revision: .* is a folder"):
        find_checkpoint(str(checkpoint), "main")


@pytest.mark.parametrize("component", COMPONENTS)
def test_digests_tell_what_is_read_and_nothing_else(own_checkpoint: Path, component: str) -> None:
    before = find_checkpoint(str(own_checkpoint)).digests()
    (own_checkpoint / component / "weights.fp16.safetensors").write_bytes(b"a copy in another precision")
    (own_checkpoint / component / "pytorch_model.bin").write_bytes(b"a pickle")
    assert find_checkpoint(str(own_checkpoint)).digests() == before
    changed = next(path for path in sorted((own_checkpoint / component).iterdir()) if path.suffix == ".json")
    changed.write_text(changed.read_text() + "\n")
    after = find_checkpoint(str(own_checkpoint)).digests()
    assert {part for part in COMPONENTS if after[part] != before[part]} == {component}
