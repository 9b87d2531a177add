"""What a killed run leaves in the cache is taken up again."""

from pathlib import Path

import pytest

from stages.data.musti.cache import forget_dead, open_cache, url_key
from stages.errors import StageError

URL = "http://museum.example/0000174.jpg"


def test_what_was_being_written_is_removed_and_what_was_kept_is_found(tmp_path: Path) -> None:
    with open_cache(tmp_path / "cache") as cache:
        cache.partial(URL).write_bytes(b"whole")
        kept = cache.keep(URL, ".jpg")
        cache.partial(URL + "2").write_bytes(b"ha")
    with open_cache(tmp_path / "cache") as cache:
        assert cache.find(URL) == kept == tmp_path / "cache" / f"{url_key(URL)}.jpg"
        assert kept.read_bytes() == b"whole" and cache.find(URL + "2") is None
        assert not cache.partial(URL + "2").exists()
        cache.drop(URL)
        assert cache.find(URL) is None and not kept.exists()


def test_a_list_of_dead_links_that_was_cut_is_gone_on_with(tmp_path: Path) -> None:
    with open_cache(tmp_path) as cache:
        cache.remember_dead("a", "HTTP 404")
        cache.remember_dead("b", "HTTP 410")
    path = tmp_path / "dead.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    for _ in range(2):
        with open_cache(tmp_path) as cache:
            assert cache.dead == {"a": "HTTP 404"}
    with open_cache(tmp_path) as cache:
        cache.remember_dead("c", "HTML page")
    with open_cache(tmp_path) as cache:
        assert cache.dead == {"a": "HTTP 404", "c": "HTML page"}
    forget_dead(tmp_path)
    with open_cache(tmp_path) as cache:
        assert not cache.dead


def test_the_cache_is_for_one_process(tmp_path: Path) -> None:
    with open_cache(tmp_path), pytest.raises(StageError, match="another process"), open_cache(tmp_path):
        pass
    with open_cache(tmp_path):
        pass
