"""What the ranks of tests do, in a module that spawned processes can import."""

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sppdet.errors import DataError
from sppdet.runtime import ranks

LIMIT = 3.0


def start(rank: int, world: int, port: int, log: Path, command: str, work: Callable[[], None] | None) -> None:
    environment = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in environment.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    torch.set_num_threads(1)
    ranks.LIMIT, ranks.BEAT = LIMIT, 0.2
    if work is None:
        os._exit(1)
    with ranks.joined(command):
        work()


def exchanges() -> None:
    assert ranks.world() == 3
    assert (logging.getLogger("sppdet").level == logging.CRITICAL) == (ranks.rank() > 0)
    for count in (0, 1, 3, 8, 29):
        rows = list(ranks.spread(range(count), lambda i: (torch.arange(i), torch.tensor(i).half(), torch.zeros(0, i))))
        assert [(len(a), float(b), tuple(c.shape), b.dtype) for a, b, c in rows] == [
            (i, i, (0, i), torch.float16) for i in range(count)
        ]
    asked: list[int] = []
    list(ranks.spread(range(29), lambda i: (torch.tensor(asked.append(i) or i),)))
    assert asked == list(range(ranks.rank(), 29, 3))
    assert int(ranks.of_first(torch.tensor(ranks.rank() + 5))) == 5
    assert [int(each["rank"]) for each in ranks.exchange({"rank": torch.tensor(ranks.rank())})] == [0, 1, 2]


def fails() -> None:
    if ranks.rank() == 1:
        raise DataError("no objects", field="data")
    ranks.meet()


def is_killed() -> None:
    if ranks.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.meet()


def takes_long() -> None:
    if ranks.rank() == 1:
        time.sleep(LIMIT + 2)
    ranks.meet()


def nothing() -> None:
    pass
