"""Stage `samples`: prompts in, PNGs and a labelled grid out. An output carries its prompt: in its name and in its file.

Paintings of earlier prompts stay in the folder; `grid.png` and the manifest are of the last call.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from stages.config import RunConfig
from stages.config.samples import SamplesConfig, digest
from stages.data import PreparedSet, load_dataset, to_uint8
from stages.errors import StageError
from stages.painter import Painter
from stages.samples.editing import read_editing
from stages.samples.grid import labelled_grid
from stages.samples.text_to_image import load_text_to_image
from stages.workspace import Workspace

log = logging.getLogger("stages.samples")
INDEX = "samples.jsonl"


def run(config: RunConfig, workspace: Workspace) -> None:
    """Paints `samples.prompt`, or `samples.prompts`, or some test captions."""
    section = config.samples
    dataset = load_dataset(workspace.require("data"))
    prompts = _prompts(section, dataset)
    editing = read_editing(section, dataset.image_size, config.data.pictures)
    paint = _load_painter(section.system, workspace)
    pictures = np.stack(
        [
            to_uint8(paint([prompt] * section.pictures, seed=section.seed, editing=editing))
            for prompt in tqdm(prompts, desc="samples", unit="prompt", leave=False)
        ]
    )  # (R,C,H,W,3)
    with workspace.publish("samples") as output:
        index = _keep_earlier(workspace.directory("samples"), output.directory)
        for row, prompt in enumerate(prompts):
            for number in range(section.pictures):
                about = {"prompt": prompt, "seed": section.seed, "number": number}
                about |= {section.system: workspace.digest(section.system)} | _edited(section)
                name = f"{file_stem(prompt)}-{section.seed}-{number}{_origin(section)}.png"
                _write_png(pictures[row, number], output.directory / name, about)
                index[name] = about
        lines = [json.dumps({"file_name": name, **about}, ensure_ascii=False) for name, about in index.items()]
        (output.directory / INDEX).write_text("\n".join(lines) + "\n", encoding="utf-8")
        labelled_grid(pictures, prompts).save(output.directory / "grid.png")
        output.figures |= {"prompts": prompts, "pictures": int(pictures.shape[0] * pictures.shape[1])}
    log.info("samples: %s: %s", describe(*pictures.shape[:2]), workspace.directory("samples") / "grid.png")


def _load_painter(system: str, workspace: Workspace) -> Painter:
    if system == "prior":
        return load_text_to_image(workspace)
    from stages.diffusion import load_diffusion

    return load_diffusion(workspace)


def _prompts(section: SamplesConfig, dataset: PreparedSet) -> list[str]:
    prompts = [section.prompt] if section.prompt else section.prompts
    if not prompts:
        captions = list(dict.fromkeys(dataset.split("test").captions))
        chosen = np.random.default_rng(section.seed).permutation(len(captions))[: section.captions]
        prompts = [captions[i] for i in chosen]
    for prompt in prompts:
        if not prompt.strip():
            raise StageError('samples.prompt is empty; give one, such as PROMPT="a red ship on a stormy sea at dusk"')
        if prompt != prompt.encode(errors="replace").decode():
            raise StageError(f"samples.prompt is not text in UTF-8: {prompt!r}")
    return prompts


def describe(prompts: int, pictures: int) -> str:
    """How much was painted, in words: so many prompts, so many pictures of each."""
    painted = f"{pictures} picture{'s' if pictures > 1 else ''}"
    return f"{painted} of 1 prompt" if prompts == 1 else f"{painted} of each of {prompts} prompts"


def slug(prompt: str) -> str:
    """What a file name can say of a prompt: lower case, words joined by `-`, at most 80 bytes."""
    plain = unicodedata.normalize("NFKD", prompt.lower())
    words = re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))
    return "-".join(words).encode()[:80].decode(errors="ignore").strip("-") or "prompt"


def _readable(path: str) -> str:
    """A file's name as text, whatever bytes the file system has it in."""
    return os.fsencode(path).decode(errors="replace")


def file_stem(prompt: str) -> str:
    """The slug; where it does not say all of the prompt, with six digits that tell it from others of the same slug."""
    said = slug(prompt)
    if said.replace("-", " ") == prompt:
        return said
    return f"{said}-{hashlib.sha256(prompt.encode()).hexdigest()[:6]}"


def _edited(section: SamplesConfig) -> dict[str, Any]:
    """What a picture's file says of the one that it was made from."""
    if not section.image:
        return {}
    how = {"mask": _readable(section.mask)} if section.mask else {"strength": section.strength}
    return {"image": _readable(section.image)} | how


def _origin(section: SamplesConfig) -> str:
    """What tells a picture's name from those painted by another system, into another picture or from one."""
    by = "" if section.system == "prior" else f"-{section.system}"
    if not section.image:
        return by
    stem, image = slug(Path(section.image).stem), digest(section.image)[:6]
    if section.mask:
        return f"{by}-in-{stem}-{image}-{digest(section.mask)[:6]}"
    return f"{by}-from-{stem}-{image}-{section.strength:g}"


def _keep_earlier(published: Path, folder: Path) -> dict[str, Any]:
    """Copies the paintings that are there already; returns their index by file name."""
    index: dict[str, Any] = {}
    if (published / INDEX).is_file():
        lines = (published / INDEX).read_text(encoding="utf-8").split("\n")  # `splitlines` would cut prompts as well
        for line in filter(None, lines):
            about = json.loads(line)
            name = about.pop("file_name")
            if (published / name).is_file():
                shutil.copy(published / name, folder / name)
                index[name] = about
    return index


def _write_png(picture: np.ndarray, path: Path, about: dict[str, Any]) -> None:
    text = PngInfo()
    for key, value in about.items():
        text.add_itxt(key, str(value))
    Image.fromarray(picture).save(path, pnginfo=text)
