import threading
from collections.abc import Iterator

import pytest

from sppdet.runtime.prefetch import FIRST, prefetch, read_small_files


@pytest.mark.parametrize(("threads", "ahead"), [(1, None), (3, None), (2, 5)])
def test_items_come_in_order_whatever_the_threads(threads, ahead):
    assert list(prefetch(range(20), str, threads, ahead)) == [str(i) for i in range(20)]
    assert list(prefetch([], str, threads, ahead)) == []


def test_only_the_next_items_are_read_ahead():
    asked = []

    def items() -> Iterator[int]:
        for i in range(20):
            asked.append(i)
            yield i

    for i in prefetch(items(), int, threads=2, ahead=4):
        assert len(asked) == min(20, i + 5)


def test_the_next_item_is_read_while_the_caller_works():
    read = [threading.Event() for _ in range(3)]
    for i in prefetch(range(3), lambda i: read[i].set() or i):
        assert read[min(i + 1, 2)].wait(timeout=10)


def test_an_error_reaches_the_caller_in_its_place():
    def read(i: int) -> int:
        return 1 // (2 - i)

    results = prefetch(range(5), read)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(("worked", "threads"), [(1.0, True), (2.0, False)])
def test_small_files_are_read_by_threads_if_the_first_were_waited_for(worked, threads, monkeypatch):
    monkeypatch.setattr("sppdet.runtime.prefetch.perf_counter", iter([0.0, 3.0]).__next__)
    monkeypatch.setattr("sppdet.runtime.prefetch.thread_time", iter([0.0, worked]).__next__)
    readers = []

    def read(i: int) -> int:
        readers.append(threading.current_thread())
        return i

    assert list(read_small_files(range(2 * FIRST), read)) == list(range(2 * FIRST))
    mine = [reader is threading.current_thread() for reader in readers]
    assert mine == [True] * FIRST + [not threads] * FIRST


def test_there_may_be_no_small_files():
    assert list(read_small_files([], str)) == []
