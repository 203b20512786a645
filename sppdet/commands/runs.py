"""List runs with the settings that differ between them."""

from pathlib import Path
from typing import Any

from sppdet.commands.summary import Summary
from sppdet.errors import ConfigError, SppdetError

LONGEST = 32  # characters of a setting in the table


def runs(folder: str) -> Summary:
    """List the runs in a folder: the settings that differ between them, results, minutes and memory.

    Results are in percent: VOC mAP (11 points) of detectors, top-1 accuracy of classifiers.

    Example: sppdet runs runs

    Args:
        folder: folder of runs, at any depth
    """
    from sppdet.files.run_story import RunStory, find_runs

    rows, errors = list[tuple[RunStory, dict[str, Any]]](), list[SppdetError]()
    for path in find_runs(folder):
        try:
            story = RunStory(path)
            rows.append((story, story.as_dict()))  # reads results, which may be damaged as well
        except SppdetError as error:
            errors.append(error)
    stories = [story for story, _ in rows]
    if not stories and not errors:
        raise ConfigError("no runs in the folder", file=folder, field="folder", expected="runs of sppdet train")
    every = list(dict.fromkeys(key for story in stories for key in story.settings))
    settings = [key for key in every if len({str(story.settings.get(key)) for story in stories}) > 1]
    names = list(dict.fromkeys(name for story in stories for name in story.scores))
    values = {
        "folder": folder,
        "differ": settings,
        "runs": [{**row, "settings": {key: story.settings.get(key) for key in settings}} for story, row in rows],
    }
    return Summary(values, _table(Path(folder), stories, settings, names) if stories else "", errors)


def _table(folder: Path, stories: list[Any], settings: list[str], names: list[str]) -> str:
    from sppdet.drawing.tables import align, points

    rows = [["run", *settings, *(f"{name} (%)" for name in names), "minutes", "GB"]]
    for story in stories:
        place = story.path.relative_to(folder)
        cells = [_shorten(story.settings.get(key)) for key in settings]
        for name in names:
            score = story.scores.get(name)
            cells.append(points(score.values[score.main]) if score and score.main else "-")
        metrics = story.metrics
        minutes = f"{metrics.seconds / 60:.1f}" if metrics.rows else "-"
        memory = f"{metrics.memory_gb:.1f}" if metrics.memory_gb else "-"
        name = str(place) if str(place) != "." else str(folder)
        rows.append([name if story.finished else f"{name} (unfinished)", *cells, minutes, memory])
    return align(rows)


def _shorten(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= LONGEST else f"…{text[1 - LONGEST :]}"
