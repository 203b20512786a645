"""Predict what a training of another size takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from sppdet.comparison.forecast import Forecast

OF_SIZE = ("data.", "val", "seed", "memory_gb")  # settings that may differ, but for the classes


def plan(runs: list[str], *, images: int, nodes: int = 1, cache_gb: float | None = None) -> Forecast:
    """Predict hours, memory, disk and network of a training of another size, from what finished runs recorded.

    A line is fitted through the seconds of each stage against the images, so give runs of two or more sizes with the
    same settings, each trained by one process with an empty cache:
    `SPPDET_CACHE=new sppdet train … --data.max_images 200`. Nodes are machines like the one that was measured, started
    by torchrun; the check of the data is not divided between them.

    Example: sppdet plan runs/200 runs/800 --images 1000000 --nodes 8

    Args:
        runs: run folders of detectors
        images: images of the training to predict
        nodes: machines
        cache_gb: disk for the features; by default that of the first run
    """
    for field, number in {"images": images, "nodes": nodes}.items():
        if number < 1:
            raise ConfigError("out of range", field=field, expected="at least 1", got=number)

    from sppdet.comparison.forecast import Measured, forecast
    from sppdet.files.run_story import RunStory

    stories = [RunStory(run) for run in runs]
    for story in stories:
        rows = story.metrics.rows
        if any(row["session"] > 1 or "processes" in row for row in rows):
            expected = "a training of one process that was not interrupted"
            raise ConfigError("cannot be planned from", file=story.path, field="runs", expected=expected)
        if story.kind != "detector" or not story.finished or not rows:
            expected = "a detector whose training has finished"
            raise ConfigError("cannot be planned from", file=story.path, field="runs", expected=expected)
        for key, value in story.settings.items():
            first = stories[0].settings.get(key)
            if value != first and (key == "data.classes" or not key.startswith(OF_SIZE)):
                raise ConfigError("runs of other settings", file=story.path, field=key, expected=first, got=value)
    config = stories[0].config
    measured = [Measured.from_rows(story.metrics.rows) for story in stories]
    passes = int(stories[0].settings["svm.passes"]) if stories[0].settings["head"] == "svm" else 1
    room = float(config["cache_gb"]) if cache_gb is None else cache_gb
    most = int(stories[0].settings["svm.max_examples"])
    return forecast(measured, images, nodes, float(config["memory_gb"]), room, passes, most)
