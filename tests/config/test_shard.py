"""`--shard i/n`: what is a shard, which items it takes, and when the launcher's variables count."""

import pytest

from sppdet.config.shard import Shard, read_shard
from sppdet.errors import ConfigError


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_shards_hold_every_item_once(count):
    parts = [Shard(i, count).select(range(10)) for i in range(count)]
    assert sorted(item for part in parts for item in part) == list(range(10))
    assert all(item % count == i for i, part in enumerate(parts) for item in part)


@pytest.mark.parametrize("text", ["", "1", "4/4", "0/0", "-1/4", "1/4/2", "a/b", "1.0/4", "٣/٤"])
def test_other_text_is_an_error_that_says_how_shards_are_written(text):
    with pytest.raises(ConfigError, match=r"shard: is not a shard .*i from 0 to n - 1: 0/4"):
        read_shard(text)


def test_the_variables_of_a_launcher_count_only_where_they_may_and_the_log_says_so(monkeypatch, caplog):
    caplog.set_level("INFO")
    assert read_shard(None, launched=True) is None
    for name, value in {"RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert read_shard(None) is None
    assert not caplog.text
    assert read_shard(None, launched=True) == Shard(1, 4)
    assert "shard 1/4: images 1, 5, ... only, by RANK/WORLD_SIZE; --shard 0/1 takes all" in caplog.text
    assert read_shard("0/2", launched=True) == Shard(0, 2)
    monkeypatch.setenv("RANK", "4")
    with pytest.raises(ConfigError, match="RANK/WORLD_SIZE: is not a shard"):
        read_shard(None, launched=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert read_shard(None, launched=True) is None
