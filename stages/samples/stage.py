"""Stage `samples`: prompts in, PNGs and a labelled grid out. An output carries its prompt: in its name and in its file.

Paintings of earlier prompts stay in the folder; `grid.png` and the manifest are of the last call.
"""

import hashlib
import json
import logging
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
from stages.config.samples import SamplesConfig
from stages.data import load_dataset, to_uint8
from stages.errors import StageError
from stages.samples.grid import labelled_grid
from stages.samples.inpainting import read_inpainting
from stages.samples.text_to_image import load_text_to_image
from stages.workspace import Workspace

log = logging.getLogger("stages.samples")
INDEX = "samples.jsonl"


def run(config: RunConfig, workspace: Workspace) -> None:
    """Paints `samples.prompt`, or `samples.prompts`, or some test captions."""
    section = config.samples
    prompts = _prompts(section, workspace)
    paint = load_text_to_image(workspace)
    inpainting = None
    if section.image or section.mask:
        inpainting = read_inpainting(section.image, section.mask, paint.vqvae.sizes.image_size, config.data.pictures)
    pictures = np.stack(
        [
            to_uint8(paint([prompt] * section.pictures, seed=section.seed, inpainting=inpainting))
            for prompt in tqdm(prompts, desc="samples", unit="prompt", leave=False)
        ]
    )  # (R,C,H,W,3)
    with workspace.publish("samples") as output:
        index = _keep_earlier(workspace.directory("samples"), output.directory)
        for row, prompt in enumerate(prompts):
            for number in range(section.pictures):
                about = {"prompt": prompt, "seed": section.seed, "number": number, "prior": workspace.digest("prior")}
                about |= {"image": section.image, "mask": section.mask} if inpainting else {}
                name = f"{slug(prompt)}-{section.seed}-{number}{_origin(section)}.png"
                _write_png(pictures[row, number], output.directory / name, about)
                index[name] = about
        lines = [json.dumps({"file_name": name, **about}, ensure_ascii=False) for name, about in index.items()]
        (output.directory / INDEX).write_text("\n".join(lines) + "\n")
        labelled_grid(pictures, prompts).save(output.directory / "grid.png")
        output.figures |= {"prompts": prompts, "pictures": int(pictures.shape[0] * pictures.shape[1])}
    log.info(
        "samples: %d pictures of %d prompts: %s", *pictures.shape[1::-1], workspace.directory("samples") / "grid.png"
    )


def _prompts(section: SamplesConfig, workspace: Workspace) -> list[str]:
    prompts = [section.prompt] if section.prompt else section.prompts
    if not prompts:
        captions = list(dict.fromkeys(load_dataset(workspace.require("data")).split("test").captions))
        chosen = np.random.default_rng(section.seed).permutation(len(captions))[: section.captions]
        prompts = [captions[i] for i in chosen]
    for prompt in prompts:
        if not prompt.strip():
            raise StageError('samples.prompt is empty; give one, such as PROMPT="a red ship on a stormy sea at dusk"')
    return prompts


def slug(prompt: str) -> str:
    """A file name that says the prompt: lower case, words joined by `-`, at most 80 characters."""
    plain = unicodedata.normalize("NFKD", prompt.lower())
    words = re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))
    return "-".join(words)[:80].strip("-") or "prompt"


def _origin(section: SamplesConfig) -> str:
    """What tells a part painted into a picture from a whole one, and from one painted into another picture."""
    if not section.image:
        return ""
    files = hashlib.sha256(Path(section.image).read_bytes() + Path(section.mask).read_bytes()).hexdigest()
    return f"-in-{slug(Path(section.image).stem)}-{files[:6]}"


def _keep_earlier(published: Path, folder: Path) -> dict[str, Any]:
    """Copies the paintings that are there already; returns their index by file name."""
    index: dict[str, Any] = {}
    if (published / INDEX).is_file():
        for line in (published / INDEX).read_text().splitlines():
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
