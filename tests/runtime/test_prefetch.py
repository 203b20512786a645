import subprocess
import sys
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


BEGIN = """
import gc, threading
from sppdet.runtime.prefetch import prefetch

begun, lock, read_items = threading.Event(), threading.Lock(), []

def read(i):
    if i:
        begun.set()
        with lock:
            read_items.append(i)
        gc.collect()
    return i

def leave(items):
    for i in items:
        assert begun.wait(10)
        raise ValueError(i)
"""
END = """
for thread in set(threading.enumerate()) - {threading.main_thread()}:
    thread.join(10)
print(read_items)
"""


@pytest.mark.parametrize(
    "leave",
    [
        # The thread that reads waits for a lock of the caller, which leaves by an exception.
        """
with lock:
    try:
        leave(prefetch(range(9), read))
    except ValueError as error:
        print(error)
""",
        # The generator is garbage in a circle, which is collected in the thread that reads.
        """
gc.disable()
lock.acquire()
circle = {"items": prefetch(range(9), read)}
circle["circle"] = circle
print(next(circle["items"]))
assert begun.wait(10)
del circle
lock.release()
""",
    ],
)
def test_a_caller_that_leaves_early_does_not_hang(leave):
    """In another interpreter. Of the items read ahead only the one under way is finished."""
    done = subprocess.run([sys.executable, "-c", BEGIN + leave + END], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0\n[1]\n", "")
