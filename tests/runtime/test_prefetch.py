import threading
from collections.abc import Iterator

import pytest

from sppdet.runtime.prefetch import prefetch


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
