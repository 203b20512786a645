"""Reading ahead of small files."""

from pathlib import Path
from threading import Event
from time import sleep

import pytest

from sppdet.data.formats.source import Source
from sppdet.data.problems import Problems
from sppdet.data.records import AnnotatedImage
from sppdet.errors import DataError
from sppdet.runtime.prefetch import FIRST


def read_three(problems: Problems) -> list[bool]:
    """Of the last three of many images, which are waited for, the first is read after the second, which has an error;
    these have a warning."""
    second = Event()

    def read(number: int, own: Problems) -> AnnotatedImage:
        i = number - FIRST
        if i < 0:
            sleep(0.005)
            return AnnotatedImage(str(i), Path("image"), Path("label"), None, ())
        own.warn("doubt", f"doubt {i}", "file")
        if i == 0:
            assert second.wait(timeout=10)
        if i == 1:
            second.set()
            raise DataError("fault", file=f"file {i}")
        return AnnotatedImage(str(i), Path("image"), Path("label"), None, ())

    return [image is not None for _, image in Source._read_each(range(FIRST + 3), read, problems)][FIRST:]


def test_problems_are_in_the_order_of_the_images():
    problems = Problems(strict=False)
    assert read_three(problems) == [True, False, True]
    assert [one.message for one in problems.found] == ["doubt 0", "doubt 1", "fault", "doubt 2"]


def test_a_strict_reader_raises_the_error():
    problems = Problems()
    with pytest.raises(DataError, match="fault"):
        read_three(problems)
    assert [one.message for one in problems.found] == ["doubt 0", "doubt 1"]
