"""The part of the images that one of several processes takes, on one machine or on many."""

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sppdet.errors import ConfigError

logger = logging.getLogger(__name__)

T = TypeVar("T")
EXPECTED = "i/n, i from 0 to n - 1: 0/4, 1/4, 2/4 and 3/4 for four processes"


@dataclass(frozen=True)
class Shard:
    """The images whose index is `index` modulo `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def name(self) -> str:
        """The name of its files and folders."""
        return f"shard-{self.index}-of-{self.count}"

    def select(self, items: Sequence[T]) -> list[T]:
        """Return the items of this shard; it has none if there are fewer items than shards."""
        return list(items[self.index :: self.count])


def read_shard(text: str | None, launched: bool = False) -> Shard | None:
    """Return the shard "i/n" of an option, None for all images.

    launched: without the option, take RANK and WORLD_SIZE, which launchers such as torchrun set, if they name more than
    one process. Raises ConfigError.
    """
    field = "shard"
    if text is None:
        rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
        if not launched or rank is None or size in (None, "1"):
            return None
        text, field = f"{rank}/{size}", "RANK/WORLD_SIZE"
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if not found or int(found[1]) >= int(found[2]):
        raise ConfigError("is not a shard", field=field, expected=EXPECTED, got=text)
    shard = Shard(int(found[1]), int(found[2]))
    logger.info(
        "shard %s: images %d, %d, ... only%s",
        shard,
        shard.index,
        shard.index + shard.count,
        "" if field == "shard" else f", by {field}; --shard 0/1 takes all",
    )
    return shard
