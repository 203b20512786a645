"""Detectors are timed on the same boxes, in turns, and the warm-up does not count."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from factories import as_boxes, image_file, random_image
from hypothesis import given, strategies as st

from sppdet.boxes import box_area
from sppdet.comparison import timing
from sppdet.comparison.timing import measure_growth, propose_exactly, random_boxes, take_turns, time_detectors
from sppdet.config.data import ProposalConfig
from sppdet.errors import InputError
from sppdet.proposals.cache import propose_image
from sppdet.runtime import stopwatch
from sppdet.structures import Annotations, Detections

SEARCH = ProposalConfig(width=None, min_side=5)  # width 500 would enlarge these images, and take its time


class ScriptedDetector:
    """Claims that the seconds of `script` have gone by, one value a call, and writes down what it was called with."""

    def __init__(self, name: str, script: list[float], calls: list) -> None:
        self.name, self.script, self.calls = name, iter(script), calls
        self.backbone = SimpleNamespace(device=torch.device("cpu"))

    def detect(self, image, boxes) -> Detections:
        self.calls.append((self.name, image, boxes))
        clock = stopwatch._running.get()
        if clock is not None:
            seconds = next(self.script)
            clock.seconds["conv"] += seconds
            clock.seconds["nms"] += 1.0
        return Detections.empty()


@pytest.fixture
def images(tmp_path) -> list[Annotations]:
    files = [image_file(tmp_path / f"{i}.png", 40 + i, 60, i) for i in range(4)]
    return [Annotations(file, as_boxes([]), torch.zeros(0, dtype=torch.int64)) for file in files]


def test_each_contestant_goes_first_in_its_turn() -> None:
    rounds = take_turns("abc", 4)
    assert [(turn, "".join(order)) for turn, order in rounds] == [
        *((-1, "abc"), (0, "abc"), (1, "bca"), (2, "cab"), (3, "abc"))
    ]
    # Without a warm-up every round counts.
    assert [turn for turn, _ in take_turns([1, 2], 3, warmup=0)] == [0, 1, 2]


def test_takes_turns_and_leaves_the_warmup_out(images) -> None:
    calls: list = []
    slow = ScriptedDetector("slow", [1000.0, 40.0, 10.0, 20.0, 30.0], calls)
    fast = ScriptedDetector("fast", [2000.0, 4.0, 1.0, 2.0, 3.0], calls)
    timings = time_detectors({"slow": slow, "fast": fast}, images, SEARCH, regions=5)
    assert [name for name, *_ in calls] == ["slow", "fast"] * 2 + ["fast", "slow"] + ["slow", "fast"] + ["fast", "slow"]
    assert timings.seconds["slow"]["conv"] == [40, 10, 20, 30]
    assert timings.seconds["fast"]["conv"] == [4, 1, 2, 3]
    assert timings.medians["slow"]["conv"] == 25
    assert timings.spread["fast"]["conv"] == [1.75, 3.25]
    assert timings.medians["fast"]["without_proposals"] == 3.5
    assert [len(found) for found in timings.detections.values()] == [4, 4]


def test_both_see_exactly_the_same_regions_and_the_search_counts_once(images) -> None:
    calls: list = []
    pair = {name: ScriptedDetector(name, [1.0] * 9, calls) for name in "ab"}
    timings = time_detectors(pair, images, SEARCH, regions=500)
    for i in range(0, len(calls), 2):
        (first, image, boxes), (second, other_image, other_boxes) = calls[i : i + 2]
        assert {first, second} == {"a", "b"}
        assert torch.equal(image, other_image)
        assert torch.equal(boxes, other_boxes)
        assert len(boxes) == 500
    assert 0 < timings.topped_up < 4 * 500
    seconds = timings.seconds
    assert seconds["a"]["proposals"] == seconds["b"]["proposals"]
    assert min(seconds["a"]["proposals"]) > 0
    for i, total in enumerate(seconds["a"]["total"]):
        assert total == seconds["a"]["proposals"][i] + seconds["a"]["without_proposals"][i]


def test_regions_are_the_search_and_then_random_boxes() -> None:
    image = random_image(90, 120, seed=1)
    searched = propose_image(image, SEARCH)
    few, many = propose_exactly(image, 3, SEARCH), propose_exactly(image, len(searched) + 7, SEARCH)
    assert torch.equal(few.boxes, searched[:3])
    assert few.added == 0
    assert torch.equal(many.boxes[: len(searched)], searched)
    assert many.added == 7
    assert torch.equal(many.boxes, propose_exactly(image, len(searched) + 7, SEARCH).boxes)
    limited = propose_exactly(image, 6, replace(SEARCH, limit=2))  # the configuration's limit does not bind
    assert torch.equal(limited.boxes, propose_exactly(image, 6, SEARCH).boxes)
    with pytest.raises(InputError, match="regions"):
        propose_exactly(image, 0, SEARCH)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 30))
def test_random_boxes_lie_in_the_image(height, width, count) -> None:
    boxes = random_boxes((height, width), count, seed=count)
    assert boxes.shape == (count, 4)
    assert boxes.dtype == torch.float32
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= width * (1 + 1e-6)).all()
    assert (boxes[:, 3] <= height * (1 + 1e-6)).all()
    assert (box_area(boxes) > 0).all()


def test_growth_repeats_what_is_short_only(monkeypatch) -> None:
    monkeypatch.setattr(timing, "MAX_REPEATED_SECONDS", 10.0)
    calls: list = []
    short, long = ScriptedDetector("short", [3.0, 9.0, 5.0] * 2, calls), ScriptedDetector("long", [50.0, 70.0], calls)
    image, boxes = torch.zeros(3, 40, 60, dtype=torch.uint8), random_boxes((40, 60), 8)
    growth = measure_growth({"short": short, "long": long}, image, boxes, (8, 2))
    assert growth == {"short": {2: 6.0, 8: 6.0}, "long": {2: 51.0, 8: 71.0}}
    assert [len(b) for name, _, b in calls if name == "short"] == [2, 2, 2, 2, 8, 8, 8]
    assert all(torch.equal(b, boxes[: len(b)]) for _, _, b in calls)


@pytest.mark.parametrize("counts", [(), (0, 3), (3, 9)])
def test_no_images_and_growth_beyond_the_boxes_are_errors(counts) -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        time_detectors({"a": ScriptedDetector("a", [], [])}, [], SEARCH)
    with pytest.raises(InputError, match="regions"):
        measure_growth({}, torch.zeros(3, 40, 60, dtype=torch.uint8), random_boxes((40, 60), 8), counts)
