"""A real HTTP server for each test, and settings with short waits between attempts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.config.musti import MustiConfig
from tests.data.musti.server import PictureServer


@pytest.fixture
def server() -> Iterator[PictureServer]:
    server = PictureServer()
    yield server
    server.close()


@pytest.fixture
def config(tmp_path: Path) -> MustiConfig:
    return MustiConfig(
        cache=str(tmp_path / "cache"),
        allow_private_addresses=True,
        timeout_s=3.0,
        deadline_s=10.0,
        retries=2,
        backoff_s=0.01,
        max_wait_s=2.0,
        max_bytes=200_000,
        max_pixels=1_000_000,
    )
