"""Stage `codes`: every picture's and caption's codes, with caption and file name, into LMDB."""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from stages.blip import Features, load_features
from stages.codes.schema import CodeRecords, Schema
from stages.codes.views import VIEWS, shift_pictures
from stages.codes.writer import CodeWriter
from stages.config import RunConfig
from stages.data import PreparedSet, Split, load_dataset, to_tensor
from stages.vqvae import VQVAE, load_vqvae
from stages.workspace import Workspace

log = logging.getLogger("stages.codes")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Encodes every split in order."""
    dataset = load_dataset(workspace.require("data"))
    features = load_features(workspace.require("blip"))
    network = load_vqvae(workspace.require("vqvae"))
    sizes = network.sizes
    with workspace.publish("codes") as output:
        schema = Schema(
            sizes.top_side,
            sizes.bottom_side,
            sizes.text_codes,
            sizes.codebook_size,
            vqvae=workspace.digest("vqvae"),
            blip=workspace.digest("blip"),
        )
        writer = CodeWriter(output.directory / "lmdb", schema)
        total = len(dataset.records) + config.codes.shifted_views * len(dataset.split("train"))
        with tqdm(total=total, desc="codes", unit="pair", leave=False) as progress:
            for name, records in _encode(network, dataset, features, config):
                writer.append(name, records)
                progress.update(len(records))
        counts = writer.finish().counts
        (output.directory / "lmdb" / "lock.mdb").unlink(missing_ok=True)  # holds nothing once no one writes
        output.figures |= {"records": counts, "bytes_per_record": schema.row.itemsize}
    log.info("codes: %s records of %d bytes", f"{sum(counts.values()):,}", schema.row.itemsize)


def _encode(
    network: VQVAE, dataset: PreparedSet, features: Features, config: RunConfig
) -> Iterator[tuple[str, CodeRecords]]:
    """(split, records of it): every split in order, then the views of train."""
    section = config.codes
    for name in dataset.splits:
        for records in encode_split(network, dataset, features, dataset.split(name), section.batch_size):
            yield name, records
    train = dataset.split("train")
    for view in range(section.shifted_views):
        move = partial(shift_pictures, view=view, shift=section.shift, seed=config.seed)
        for records in encode_split(network, dataset, features, train, section.batch_size, move):
            yield VIEWS, records


@torch.no_grad()
def encode_split(
    network: VQVAE,
    dataset: PreparedSet,
    features: Features,
    split: Split,
    batch_size: int,
    move: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda pictures, rows: pictures,
) -> Iterator[CodeRecords]:
    """Records of a split in order, `batch_size` at a time.

    Args:
        move: pictures (B,H,W,3) uint8 and their rows in the prepared set -> the pictures to encode.
    """
    for start in range(0, len(split), batch_size):
        pictures = split.image_rows[start : start + batch_size]
        rows = split.record_rows[start : start + batch_size]
        image = to_tensor(move(dataset.images[pictures], pictures)).contiguous(memory_format=torch.channels_last)
        codes = network.encode(image, torch.from_numpy(np.asarray(features.image_pooled[pictures])))
        text = network.encode_text(torch.from_numpy(np.asarray(features.text_pooled[rows])))
        records = split.records[start : start + batch_size]
        yield CodeRecords(
            rows,
            codes.top.numpy(),
            codes.bottom.numpy(),
            text.numpy(),
            captions=[record.caption for record in records],
            file_names=[record.file_name for record in records],
        )
