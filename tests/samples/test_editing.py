"""Editing keeps what is outside the mask, paints what is inside, varies whole pictures, and says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.__main__ import main, parse_config
from stages.config.data import PicturesConfig
from stages.config.samples import SamplesConfig
from stages.data import load_dataset, to_tensor
from stages.diffusion import load_diffusion
from stages.errors import StageError
from stages.painter import Editing, Painter
from stages.prior import UNKNOWN
from stages.samples import load_text_to_image
from stages.samples.editing import read_editing
from stages.workspace import Workspace


@pytest.fixture
def workspace(tiny_run: Path) -> Workspace:
    return Workspace(parse_config("samples", ["--config", str(tiny_run)]))


@pytest.fixture
def files(workspace: Workspace, tmp_path: Path) -> tuple[Path, Path]:
    """A picture of the data set and a mask over its lower right quarter."""
    picture = load_dataset(workspace.directory("data")).images[0]
    mask = np.zeros(picture.shape[:2], dtype=np.uint8)
    mask[16:, 16:] = 255
    Image.fromarray(picture).save(tmp_path / "picture.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "picture.png", tmp_path / "mask.png"


def test_codes_under_the_mask_are_forgotten_and_no_others(workspace: Workspace) -> None:
    paint = load_text_to_image(workspace)
    image = to_tensor(load_dataset(workspace.directory("data")).images[:1])
    repaint = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    repaint[..., 9, 20] = True  # one pixel: row 1 of 4, column 2 of 4 on top; row 2 of 8, column 5 of 8 below
    known = paint.known_codes(Editing(image, repaint))
    whole = paint.vqvae.encode(image, paint.blip.encode_images(image))
    for level, codes, place in ((known.top, whole.top, (0, 1, 2)), (known.bottom, whole.bottom, (0, 2, 5))):
        assert level[place] == UNKNOWN
        assert int((level == UNKNOWN).sum()) == 1
        assert torch.equal(level[level != UNKNOWN], codes[level != UNKNOWN])


def edit(files: tuple[Path, Path], size: int = 32) -> Editing:
    editing = read_editing(SamplesConfig(image=str(files[0]), mask=str(files[1])), size, PicturesConfig())
    assert editing is not None
    return editing


@pytest.fixture(params=["prior", "diffusion"])
def painter(request: pytest.FixtureRequest, text_run: list[str], tiny_run: Path) -> Painter:
    """A system that paints; the prior reads the caption in each way that it can."""
    if request.param == "prior":
        return load_text_to_image(Workspace(parse_config("samples", text_run)))
    return load_diffusion(Workspace(parse_config("samples", ["--config", str(tiny_run)])))


def test_only_the_masked_part_is_painted(painter: Painter, files: tuple[Path, Path]) -> None:
    editing = edit(files)
    assert editing.repaint is not None
    painted = painter(["two ships", "two ships", "a windmill"], seed=3, editing=editing)
    outside = ~editing.repaint.expand_as(painted)
    assert torch.equal(painted[outside], editing.image.expand_as(painted)[outside])
    inside = painted[:, :, 16:, 16:]
    assert not torch.equal(inside[0], inside[1])  # another seed
    assert not torch.equal(inside[0], editing.image[0, :, 16:, 16:])


def test_a_mask_over_everything_paints_the_whole_picture(painter: Painter) -> None:
    everything = Editing(torch.zeros(1, 3, 32, 32), torch.ones(1, 1, 32, 32, dtype=torch.bool))
    prompts = ["two ships", "a windmill"]
    assert torch.equal(painter(prompts, seed=1, editing=everything), painter(prompts, seed=1))


def test_the_command_line_paints_into_a_picture(workspace: Workspace, tiny_run: Path, files: tuple[Path, Path]) -> None:
    options = ["--config", str(tiny_run), "--samples.image", str(files[0]), "--samples.mask", str(files[1])]
    assert main(["samples", *options, "--samples.prompt", "a red ship"]) == 0
    (painted,) = workspace.directory("samples").glob("a-red-ship-0-0-in-picture-*.png")
    pixels, given = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (painted, files[0]))
    assert np.abs(pixels - given)[:16].max() <= 1
    assert Image.open(painted).text["image"] == str(files[0])  # type: ignore[attr-defined]


def test_another_mask_of_the_same_name_is_painted(
    workspace: Workspace, tiny_run: Path, files: tuple[Path, Path]
) -> None:
    options = ["--config", str(tiny_run), "--samples.image", str(files[0]), "--samples.mask", str(files[1])]

    def painted() -> set[Path]:
        assert main(["samples", *options, "--samples.prompt", "a blue ship"]) == 0
        return set(workspace.directory("samples").glob("a-blue-ship-0-0-in-picture-*.png"))

    first = painted()
    assert painted() == first
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[:16] = 255
    Image.fromarray(mask).save(files[1])
    assert len(painted() - first) == 1


def test_the_command_line_varies_a_picture(workspace: Workspace, tiny_run: Path, files: tuple[Path, Path]) -> None:
    options = ["--config", str(tiny_run), "--samples.image", str(files[0]), "--samples.prompt", "a red ship"]
    assert main(["samples", *options, "--samples.system", "diffusion", "--samples.strength", "0.5"]) == 0
    (varied,) = workspace.directory("samples").glob("a-red-ship-0-0-diffusion-from-picture-*-0.5.png")
    assert Image.open(varied).text["strength"] == "0.5"  # type: ignore[attr-defined]


def test_the_prior_cannot_vary_a_whole_picture(
    tiny_run: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", str(tiny_run), "--samples.image", str(files[0]), "--samples.prompt", "a red ship"]
    assert main(["samples", *options]) == 2
    assert "samples.image is given without samples.mask" in capsys.readouterr().err


def test_a_photo_is_as_large_as_it_is_seen(files: tuple[Path, Path], tmp_path: Path) -> None:
    lying = Image.fromarray(np.full((32, 16, 3), 90, dtype=np.uint8))
    turn = Image.Exif()
    turn[0x0112] = 6  # shown turned by a quarter
    lying.save(tmp_path / "photo.jpg", exif=turn)
    mask = Image.new("L", (32, 16))
    mask.paste(255, (0, 0, 16, 16))
    mask.save(tmp_path / "mask.png")
    paths = str(tmp_path / "photo.jpg"), str(tmp_path / "mask.png")
    editing = read_editing(SamplesConfig(image=paths[0], mask=paths[1]), 32, PicturesConfig(resize="stretch"))
    assert editing is not None and editing.repaint is not None
    repaint = editing.repaint[0, 0]
    assert repaint[:, :14].all() and not repaint[:, 18:].any()


def test_what_cannot_be_used_is_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    picture, mask = map(str, files)
    Image.new("L", (32, 32)).save(tmp_path / "dark.png")
    Image.new("L", (30, 32), 255).save(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("no picture")
    for image, name, message in (
        ("", mask, "samples.mask is given without samples.image"),
        (picture, str(tmp_path / "none.png"), "samples.mask: .*none.png cannot be read"),
        (str(tmp_path / "text.png"), mask, "samples.image: .*text.png cannot be read"),
        (picture, str(tmp_path / "small.png"), r"small.png is \(30, 32\) but the picture \(32, 32\)"),
        (picture, str(tmp_path / "dark.png"), "dark.png has no bright pixel"),
    ):
        with pytest.raises(StageError, match=message):
            read_editing(SamplesConfig(image=image, mask=name), 32, PicturesConfig())
