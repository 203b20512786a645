"""The connection of the ranks of one command: a store that all reach, collectives by gloo, and signs of life."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NoReturn

from sppdet.errors import SppdetError
from sppdet.runtime.interface import find_interface
from sppdet.wording import printable

if TYPE_CHECKING:
    from torch import Tensor

LIMIT, BEAT = 120.0, 2.0  # seconds without a sign of life, and between two


class Group:
    """The ranks as torchrun's environment describes them, and the store that all of them reach."""

    def __init__(self) -> None:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # traces of connections that end

        from torch.distributed import PrefixStore, TCPStore

        environment = os.environ
        self.rank, self.world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        place = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
        serves = self.rank == 0 and environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self.met, self.beats = 0, 0
        self.ended = Event()
        self.watches = [Thread(target=each, daemon=True) for each in (self._watch, self._watch_store)]

        def reach(serves: bool) -> Any:
            store = TCPStore(
                *place, is_master=serves, timeout=timedelta(seconds=LIMIT), wait_for_workers=False, use_libuv=True
            )
            return PrefixStore(f"sppdet/{environment.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)

        try:
            self.store, self.watched = reach(serves), reach(False)
        except RuntimeError as error:
            where = "{}:{}".format(*place)
            raise SppdetError(f"rank {self.rank}: rank 0 was not found within {LIMIT:.0f} s", got=where) from error
        self.store.set(f"beat/{self.rank}", "0")

    def connect(self) -> None:
        """Wait for all ranks to start, and connect them."""
        import torch
        import torch.distributed as dist

        until = time.monotonic() + LIMIT
        for other in range(self.world):
            try:
                self.store.wait([f"beat/{other}"], timedelta(seconds=max(0.1, until - time.monotonic())))
            except RuntimeError as error:
                raise SppdetError(f"rank {other} did not start within {LIMIT:.0f} s") from error
        for watch in self.watches:
            watch.start()
        if name := find_interface():
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        self._communicate(
            lambda: dist.init_process_group(
                "gloo", store=self.store, rank=self.rank, world_size=self.world, timeout=timedelta(seconds=LIMIT)
            )
        )

    def meet(self) -> None:
        """Wait until every rank is here; the watch ends this process if one of them does not live."""
        self.met += 1
        if self.store.add(f"met/{self.met}", 1) == self.world:
            self.store.set(f"all/{self.met}", "")
        self._communicate(lambda: self.store.wait([f"all/{self.met}"], timedelta(days=30)))

    def exchange(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        import torch
        import torch.distributed as dist
        from safetensors.torch import load, save

        own = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
        self.meet()
        sizes = list(torch.zeros(self.world, 1, dtype=torch.int64))
        self._communicate(lambda: dist.all_gather(sizes, torch.tensor([len(own)])))
        most = int(max(sizes))
        padded = torch.frombuffer(bytearray(own.ljust(most, b" ")), dtype=torch.uint8)
        parts = list(torch.empty(self.world, most, dtype=torch.uint8))
        self._communicate(lambda: dist.all_gather(parts, padded))
        return [load(part[: int(size)].numpy().tobytes()) for part, size in zip(parts, sizes, strict=True)]

    def combine(self, tensors: Iterable[Tensor], collective: str, **options: int) -> None:
        import torch.distributed as dist

        self.meet()
        for tensor in tensors:
            combined = tensor.detach().cpu().contiguous()  # the tensor itself, where that is so
            self._communicate(partial(getattr(dist, collective), combined, **options))
            tensor.detach().copy_(combined)

    def end(self) -> None:
        """End the watch, and wait for it: a thread that comes out of C++ while the interpreter exits aborts it."""
        self.ended.set()
        for watch in self.watches:
            if watch.is_alive():
                watch.join(5)  # seconds; without a cable it may wait in the store for longer

    def fail(self, error: BaseException) -> None:
        """End the others; the first error is told, and the rank that it is of. Returns if it is to be raised."""
        self.ended.set()
        try:
            if isinstance(error, SppdetError):
                self._tell(self.store, f"rank {self.rank}: {' '.join(str(error).split())}")
                raise SystemExit(1) from None
            if not self._claim(self.store) or (isinstance(error, KeyboardInterrupt) and self.rank):
                raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None
            self.store.set("told", "")
        finally:
            self.end()

    def _communicate(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except RuntimeError as error:  # of a connection: the watch finds out whose, and ends this process
            time.sleep(LIMIT + 3 * BEAT)
            raise SppdetError("the connection to another rank is lost") from error

    def _claim(self, store: Any) -> bool:
        """Return True on the first rank that fails."""
        with suppress(RuntimeError):
            return bool(store.add("failed", 1) == 1)
        return True

    def _tell(self, store: Any, text: str) -> None:
        """store: the connection of this thread; the other one may wait in its own."""
        with suppress(RuntimeError):
            if self._claim(store):
                _write_error(text)
                store.set("told", "")
            else:
                store.wait(["told"], timedelta(seconds=BEAT))

    def _watch(self) -> None:
        """Give signs of life, and end this process after a rank that failed, or one that gives none."""
        beats = dict.fromkeys(range(self.world), b"")
        silent = dict.fromkeys(beats, 0.0)  # seconds, but not those in which this process was stopped
        while not self.ended.wait(BEAT):
            try:
                self.watched.set(f"beat/{self.rank}", str(self.beats + 1))
                if self.watched.check(["failed"]):
                    if self.ended.is_set():  # by this process, which leaves in its own way
                        return
                    with suppress(RuntimeError):
                        self.watched.wait(["told"], timedelta(seconds=BEAT))
                    _end()
                for other in beats:
                    beat = self.watched.get(f"beat/{other}")
                    silent[other] = silent[other] + BEAT if beat == beats[other] else 0
                    beats[other] = beat
                    if silent[other] > LIMIT:
                        resume = "repeat the command to resume"
                        self._tell(self.watched, f"rank {other} gave no sign of life for {LIMIT:.0f} s; {resume}")
                        _end()
                self.beats += 1
            except RuntimeError:
                if not self.ended.wait(BEAT):
                    _write_error(f"rank {self.rank}: rank 0, or the process that launched it, ended")
                    _end()

    def _watch_store(self) -> None:
        """End this process if the store gives no answer: without a cable, a call waits until the system gives up."""
        silent, beats = 0.0, 0
        while not self.ended.wait(BEAT):
            silent = silent + BEAT if self.beats == beats else 0
            beats = self.beats
            if silent > LIMIT:
                _write_error(
                    f"rank {self.rank}: no answer from the others for {LIMIT:.0f} s; repeat the command to resume"
                )
                _end()


def _write_error(text: str) -> None:
    with suppress(OSError):  # in one piece, as other ranks may write to the same terminal
        os.write(2, f"sppdet: error: {printable(text)}\n".encode())


def _end() -> NoReturn:
    os._exit(1)  # the main thread may wait in C code; files are renamed into place, so none is half written
