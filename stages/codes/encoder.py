"""Pictures and captions in, codes out, in batches that are the same for every run of the same settings."""

import numpy as np
import torch

from stages.blip import Features
from stages.codes.schema import CodeRecords
from stages.codes.shards import Batch
from stages.codes.views import shift_pictures
from stages.config.codes import CodesConfig
from stages.data import PreparedSet, Split, pictures_at_once, to_tensor
from stages.vqvae import VQVAE


def plan_batches(dataset: PreparedSet, section: CodesConfig) -> list[Batch]:
    """All batches of a run: every split in order, then the views of train."""
    counts = {name: len(dataset.split(name)) for name in dataset.splits}
    parts: list[tuple[str, int | None]] = [(name, None) for name in counts]
    parts += [("train", view) for view in range(section.shifted_views)]
    size = pictures_at_once(dataset.image_size, section.batch_size)
    batches: list[Batch] = []
    for split, view in parts:
        for start in range(0, counts[split], size):
            stop = min(start + size, counts[split])
            batches.append(Batch(len(batches), split, view, start, stop))
    return batches


class Encoder:
    """Codes of a prepared set's pairs, a batch at a time."""

    def __init__(
        self, network: VQVAE, dataset: PreparedSet, features: Features, section: CodesConfig, seed: int
    ) -> None:
        self.network, self.dataset, self.features = network, dataset, features
        self.section, self.seed = section, seed
        self._splits: dict[str, Split] = {}

    @torch.no_grad()
    def encode(self, batch: Batch) -> CodeRecords:
        """The pairs of a batch."""
        if batch.split not in self._splits:
            self._splits[batch.split] = self.dataset.split(batch.split)
        split, chosen = self._splits[batch.split], slice(batch.start, batch.stop)
        numbers, rows = split.image_rows[chosen], split.record_rows[chosen]
        pictures = self.dataset.images[numbers]
        if batch.view is not None:
            pictures = shift_pictures(pictures, numbers, batch.view, self.section.shift, self.seed)
        image = to_tensor(pictures).contiguous(memory_format=torch.channels_last)
        codes = self.network.encode(image, torch.from_numpy(np.asarray(self.features.image_pooled[numbers])))
        text = self.network.encode_text(torch.from_numpy(np.asarray(self.features.text_pooled[rows])))
        records = split.records[chosen]
        return CodeRecords(
            rows,
            codes.top.numpy(),
            codes.bottom.numpy(),
            text.numpy(),
            captions=[record.caption for record in records],
            file_names=[record.file_name for record in records],
        )
