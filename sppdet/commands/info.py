"""Show a run."""

from sppdet.commands.summary import Summary


def info(run: str) -> Summary:
    """Show a run: settings, data, results, minutes, memory and files.

    A training that is still going on, or was interrupted, is shown as far as it has come.

    Example: sppdet info runs/mine

    Args:
        run: run folder
    """
    from sppdet.drawing.tables import align, with_interval
    from sppdet.files.run_story import RunStory
    from sppdet.wording import counted

    story = RunStory(run)
    of = f" of {counted(len(story.classes), 'class')}: {', '.join(story.classes)}" if story.classes else ""
    lines = [f"{run}: {story.kind}{of}", "" if story.finished else "not finished: repeat its command to resume it"]
    own = [[f"  {key}", str(value)] for key, value in story.own_settings.items()]
    lines += ["", "settings that are not the default", align(own, 2)] if own else []
    shown = {"map_voc07": "mAP, 11 points", "map_area": "mAP, area"}
    shown = {"top1": "top 1"} if story.kind == "classifier" else shown
    rows = [["results (%)", "images", *shown.values()]]
    for name, score in story.scores.items():
        cells = [with_interval(score.values.get(key), score.intervals.get(key)) for key in shown]
        rows.append([name, "-" if score.images is None else str(score.images), *cells])
    lines += ["", align(rows)] if len(rows) > 1 else []
    metrics = story.metrics
    if metrics.rows:
        memory = f", {metrics.memory_gb:.1f} GB of memory" if metrics.memory_gb else ""
        sessions = f" in {counted(metrics.session - 1, 'session')}" if metrics.session > 2 else ""
        last = metrics.rows[-1]
        lines += ["", f"training: {metrics.seconds / 60:.1f} minutes{sessions}{memory}"]
        lines += [] if story.finished else [f"last row: {last['step']}, {last['kind']} {last['number']}"]
    files = [[f"  {name}", "" if name.endswith("/") else _size(size), text] for name, size, text in story.files()]
    lines += ["", "files", align(files, 3)]
    text = "\n".join(lines).replace("\n\n\n", "\n\n")
    return Summary(story.as_dict(), text)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
