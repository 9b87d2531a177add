"""Prompts become files that carry them; the grid is labelled; earlier paintings stay."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.__main__ import main, parse_config
from stages.codes import CodeStore
from stages.data import load_dataset
from stages.samples import load_text_to_image
from stages.samples.grid import labelled_grid
from stages.samples.stage import describe, file_stem, slug
from stages.seeding import drawn_seeds, picture_seeds
from stages.workspace import Workspace


def test_slug_says_the_prompt() -> None:
    assert slug("A red ship, on a stormy sea!") == "a-red-ship-on-a-stormy-sea"
    assert slug("Nature morte à l'été / ../../x") == "nature-morte-a-l-ete-x"
    assert slug("***") == "prompt"
    assert slug("船") == "船"
    assert len(slug("word " * 100)) <= 80
    assert len(slug("語" * 200).encode()) <= 80


def test_prompts_that_differ_have_files_of_their_own() -> None:
    assert file_stem("a red ship") == "a-red-ship"
    alike = [
        "a red ship",
        "a red ship.",
        "A red ship",
        "a red-ship",
        "😀",
        "🙂",
        "नदी",
        "नदा",
        "a " * 60,
        "a " * 61,
        "prompt",
    ]
    assert len({file_stem(prompt) for prompt in alike}) == len(alike)


def test_picture_seeds_do_not_depend_on_how_a_list_is_cut() -> None:
    assert picture_seeds(3, 10)[4:] == picture_seeds(3, 6, start=4)
    assert len(set(picture_seeds(0, 500) + picture_seeds(1, 500))) == 1000


def test_seeds_from_a_generator_go_on_where_it_stands() -> None:
    generator, again = (torch.Generator().manual_seed(5) for _ in range(2))
    first, then = drawn_seeds(generator, 3), drawn_seeds(generator, 2)
    assert first + then == drawn_seeds(again, 5) and len(set(first + then)) == 5


def test_a_generator_paints_other_pictures_each_time_and_the_same_again(text_run: list[str]) -> None:
    paint = load_text_to_image(Workspace(parse_config("samples", text_run)))
    prompts = ["a red patch on blue"] * 2
    generator = torch.Generator().manual_seed(7)
    first, other = paint(prompts, generator=generator), paint(prompts, generator=generator)
    assert torch.equal(paint(prompts, generator=torch.Generator().manual_seed(7)), first)
    assert not torch.equal(first, other) and not torch.equal(first[0], first[1])


@pytest.mark.parametrize("what", ["prompt", "image"])
def test_what_is_no_text_is_refused_or_written_as_near_as_it_can_be(
    what: str, tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = os.fsdecode(b"caf\xe9")
    options = ["--samples.prompt", strange if what == "prompt" else "a red patch"]
    if what == "image":
        path = str(tmp_path / f"{strange}.png")
        Image.new("RGB", (16, 16)).save(path)
        options += ["--samples.image", path, "--samples.mask", path]
        Image.new("L", (16, 16), 255).save(path)
    code = main(["samples", "--config", str(tiny_run), *options])
    said = capsys.readouterr().err
    assert "Traceback" not in said and code == (2 if what == "prompt" else 0)


def test_the_grid_has_a_row_for_each_prompt() -> None:
    pictures = np.full((2, 3, 32, 32, 3), 200, dtype=np.uint8)
    pictures[1, 2] = (255, 0, 0)
    sheet = np.asarray(labelled_grid(pictures, ["a short one", "a very long prompt " * 20]))
    reds = (sheet == (255, 0, 0)).all(axis=-1)
    assert reds.sum() > 150 * 150
    assert np.flatnonzero(reds.any(axis=1)).min() > sheet.shape[0] / 2
    assert (sheet.max(axis=-1) < 80).sum() > 100  # there is writing


def test_pictures_are_the_same_in_any_batch(text_run: list[str]) -> None:
    paint = load_text_to_image(Workspace(parse_config("samples", text_run)))
    prompts = [
        "two ships",
        "a candle and a book by a grey wall",
        "a red ship on a stormy sea at dusk",
        "a windmill",
    ] * 8
    together = paint(prompts, seed=5)
    assert together.shape == (32, 3, 32, 32)
    assert together.abs().max() <= 1
    parts = torch.cat([paint(prompts[:1], seed=5), paint(prompts[1:], seed=5, start=1, batch_size=3)])
    assert torch.equal(parts, together)
    assert not torch.equal(paint(prompts[:1], seed=6), together[:1])


def test_without_a_prompt_what_is_painted_is_what_the_prior_learned_of_dropped_captions(text_run: list[str]) -> None:
    paint = load_text_to_image(Workspace(parse_config("samples", text_run)))
    torch.manual_seed(0)
    for network in (paint.prior.top, paint.prior.bottom):  # a few steps of training leave the caption without a say
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    prompts = ["two ships", "a candle and a book by a grey wall"]
    none = paint([None, None], seed=5)
    unguided = paint.sampling.without_guidance()
    dropped = paint.prior.sample(paint.read(prompts).drop(), picture_seeds(5, 2), unguided.top, unguided.bottom)
    torch.testing.assert_close(none, paint.vqvae.decode(dropped), atol=1e-5, rtol=0)
    mixed = paint([prompts[0], None], seed=5)
    torch.testing.assert_close(mixed[1], none[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[:1], paint(prompts[:1], seed=5), atol=1e-5, rtol=0)
    assert (paint(prompts, seed=5) - none).abs().amax(
        dim=(1, 2, 3)
    ).min() > 1e-3  # its decoder has hardly learned to tell codes apart


def test_a_prompt_has_the_codes_that_its_caption_has_in_the_store(tiny_run: Path) -> None:
    workspace = Workspace(parse_config("samples", ["--config", str(tiny_run)]))
    store, dataset = CodeStore.open(workspace.directory("codes")), load_dataset(workspace.directory("data"))
    read = load_text_to_image(workspace).read(dataset.split("test").captions)
    assert np.array_equal(read.codes.numpy(), store.read("test").text)


def test_a_prompt_becomes_a_file_that_carries_it(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Workspace(parse_config("samples", ["--config", str(tiny_run)])).directory("samples")
    prompt = "a red ship, “on” a stormy sea at dusk"
    assert main(["samples", "--config", str(tiny_run), "--samples.prompt", prompt]) == 0
    assert main(["samples", "--config", str(tiny_run), "--samples.prompt", "a windmill", "--samples.seed", "3"]) == 0
    first = folder / f"{file_stem(prompt)}-0-0.png"
    assert first.name.startswith("a-red-ship-on-a-stormy-sea-at-dusk-")
    assert Image.open(first).text["prompt"] == prompt  # type: ignore[attr-defined]
    assert (folder / "a-windmill-3-1.png").is_file()
    assert (folder / "grid.png").is_file()
    index = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert {line["prompt"] for line in index} >= {prompt, "a windmill"}
    assert {line["file_name"] for line in index} == {p.name for p in folder.glob("*.png")} - {"grid.png"}


def test_a_prompt_of_several_lines_leaves_the_folder_readable(tiny_run: Path) -> None:
    folder = Workspace(parse_config("samples", ["--config", str(tiny_run)])).directory("samples")
    broken = "a mill\u2028by\u0085the\nsea"
    assert main(["samples", "--config", str(tiny_run), "--samples.prompt", broken]) == 0
    assert main(["samples", "--config", str(tiny_run), "--samples.prompt", "a windmill"]) == 0
    kept = [json.loads(line) for line in (folder / "samples.jsonl").read_text("utf-8").rstrip("\n").split("\n")]
    assert {broken, "a windmill"} <= {line["prompt"] for line in kept}


@pytest.mark.parametrize(
    ("prompts", "pictures", "said"),
    [
        (1, 1, "1 picture of 1 prompt"),
        (1, 2, "2 pictures of 1 prompt"),
        (8, 1, "1 picture of each of 8 prompts"),
        (8, 4, "4 pictures of each of 8 prompts"),
    ],
)
def test_what_was_painted_is_said_in_good_grammar(prompts: int, pictures: int, said: str) -> None:
    assert describe(prompts, pictures) == said


def test_a_gpu_that_is_not_there_is_one_line(
    tiny_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["samples", "--config", str(tiny_run), "--samples.device", "cuda"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: samples.device is 'cuda', but torch finds no GPU here") and said.count("\n") == 1


def test_a_blank_prompt_is_refused(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "--config", str(tiny_run), "--samples.prompt", "  "]) == 2
    assert "samples.prompt is empty" in capsys.readouterr().err
