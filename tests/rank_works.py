"""What the ranks of tests do, in a module that spawned processes can import."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.optim.lr_scheduler import ConstantLR

from sppdet.errors import DataError
from sppdet.runtime import group, ranks
from sppdet.training.gradient_descent import Descent, History, Loss, descend

LIMIT = 3.0


def start(rank: int, world: int, port: int, log: Path, command: str, work: Callable[[], None] | None) -> None:
    environment = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in environment.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    torch.set_num_threads(1)
    busy = work in (exchanges, fails, ends_amid_beats)  # and the machine may be
    group.LIMIT, group.BEAT = 60 if busy else LIMIT, 0.2
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
    columns = torch.full((2, 3), ranks.rank() + 1.0).T
    ranks.add_up([columns])
    assert (columns == 6).all()
    several = [torch.tensor(ranks.rank() + 4), torch.full((2,), ranks.rank())]
    ranks.take_first(several)
    assert [each.tolist() for each in several] == [4, [0, 0]]
    descends()


def descends() -> None:
    """Each rank has a part of every batch, and none of the last; the steps are those of one process."""
    rows = torch.arange(22.0).reshape(11, 2) / 20

    def fit(divided: bool, file: Path) -> tuple[torch.Tensor, History]:
        model = torch.nn.Linear(2, 1)
        torch.nn.init.constant_(model.weight, 0.1)
        torch.nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=0.1)

        def losses(batch: torch.Tensor) -> Iterator[Loss]:
            for row in batch[ranks.rank() :: ranks.world()] if divided else batch:
                yield (model(row) - 1).square().sum() / len(batch), {"rows": 1}

        course = Descent("fit", 2, 3, 0, file, clip=0.5, divided=divided)
        history = descend(model, optimizer, ConstantLR(optimizer), lambda _: rows.split(5), losses, course)
        return model.weight.detach(), history

    with TemporaryDirectory() as folder:
        file = Path(folder, "divided.safetensors")
        weight, history = fit(True, file)
        assert file.is_file() == (ranks.rank() == 0)
        expected, same = fit(False, file.with_name("all.safetensors"))
    torch.testing.assert_close(weight, expected)
    assert [epoch["rows"] for epoch in history] == [epoch["rows"] for epoch in same] == [[5, 5, 1]] * 2


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


def ends_amid_beats() -> None:
    group.BEAT = 1e-5
    time.sleep(0.5)  # the watch waits for its last beat of the old length


def nothing() -> None:
    pass
