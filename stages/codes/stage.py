"""Stage `codes`: every picture's and caption's codes, with caption and file name, into LMDB.

What is encoded goes into rank files first, of which an ordinary run has one, and from there into the store. So a
stopped run goes on where it was, processes and machines can share the work, and the store has the same bytes whichever
way it came about.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from stages.blip import load_features
from stages.codes.encoder import Encoder, plan_batches
from stages.codes.schema import Schema
from stages.codes.shards import Shard, extract, join
from stages.config import RunConfig
from stages.data import load_dataset
from stages.errors import StageError
from stages.vqvae import load_vqvae
from stages.workspace import Workspace

log = logging.getLogger("stages.codes")


def run(config: RunConfig, workspace: Workspace) -> None:
    """Encodes every split in order and writes the store; or makes one shard of that; or merges shards."""
    section = config.codes
    network = load_vqvae(workspace.require("vqvae"))
    dataset, features = load_dataset(workspace.require("data")), load_features(workspace.require("blip"))
    encoder = Encoder(network, dataset, features, section, config.seed)
    number, count = section.place
    apart = section.shard or section.merge
    folder = workspace.directory("codes").with_name("codes-shards") if apart else workspace.scratch("codes")
    shards = _shards(config, workspace, encoder, folder, section.merge or count)
    if section.merge:
        _check_folder(folder, shards)
    else:
        extract(shards[number - 1], encoder.encode)
    if section.shard:
        log.info("codes: shard %s is complete: %s", section.shard, shards[number - 1].path)
        return
    with workspace.publish("codes") as output:
        schema = join(shards, output.directory / "lmdb")
        output.figures |= {"records": schema.counts, "bytes_per_record": schema.row.itemsize}
    log.info("codes: %s records of %d bytes", f"{sum(schema.counts.values()):,}", schema.row.itemsize)
    if section.merge:
        shutil.rmtree(folder)


def _shards(config: RunConfig, workspace: Workspace, encoder: Encoder, folder: Path, count: int) -> list[Shard]:
    sizes = encoder.network.sizes
    schema = Schema(
        sizes.top_side,
        sizes.bottom_side,
        sizes.text_codes,
        sizes.codebook_size,
        vqvae=workspace.digest("vqvae"),
        blip=workspace.digest("blip"),
    )
    settings = {f"codes.{name}": value for name, value in config.codes.fingerprint().items()}
    origin = {"data": workspace.digest("data"), "seed": config.seed} | settings
    batches = plan_batches(encoder.dataset, config.codes)
    return [
        Shard(
            folder / f"{number}-of-{count}.mdb",
            number,
            count,
            batches,
            schema,
            origin,
            remedy=f'make codes ARGS="--codes.shard {number}/{count}"'
            if config.codes.shard or config.codes.merge
            else "make codes",
        )
        for number in range(1, count + 1)
    ]


def _check_folder(folder: Path, shards: Sequence[Shard]) -> None:
    """Refuses rank files that would not be merged: of another division, or one more time."""
    names = {shard.path.name for shard in shards}
    for path in sorted(folder.glob("*.mdb")):
        if path.name not in names:
            raise StageError(
                f"{path} is none of the {len(shards)} shards to merge; remove it, or merge as many as it says"
            )
