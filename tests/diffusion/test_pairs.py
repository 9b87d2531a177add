"""What the baseline learns from."""

import numpy as np
import pytest

from stages.__main__ import parse_config
from stages.blip import load_features
from stages.codes import CodeStore
from stages.diffusion.stage import collect_latents
from stages.workspace import Workspace


@pytest.mark.parametrize("views", [True, False])
def test_it_learns_from_shifted_views_where_it_is_told_to(viewed_run: list[str], views: bool) -> None:
    run = Workspace(parse_config("diffusion", [*viewed_run, "--diffusion.shifted_views", str(views).lower()]))
    material = collect_latents(run, load_features(run.directory("blip")))
    store = CodeStore.open(run.directory("codes"))
    learnt = store.read_train() if views else store.read("train")
    assert np.array_equal(material.train.record_rows, learnt.record_rows)
    assert np.array_equal(material.val.record_rows, store.read("val").record_rows)
