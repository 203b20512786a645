"""The paths that a command is given, looked at before torch is loaded: mistakes in them are told at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sppdet.config.data import DataConfig
from sppdet.errors import DataError, ImageError
from sppdet.files.run_check import check_run

OTHER_SOURCE = re.compile(r"^\d+$|://|[*?[]")  # a webcam, a stream or a pattern


def check_paths(given: Mapping[str, Any]) -> None:
    """Raise the error of a path that is not there. given: the parameters of a command, by name.

    A path that the command may not need, such as the data of a training that is finished, is left to it, and so are
    images if some of them are there.
    """
    for run in _texts(given, "run", "runs"):
        if not _may_be_detections(Path(run)):
            check_run(run)
    images = given.get("images")
    if isinstance(images, list) and not any(Path(image).exists() or OTHER_SOURCE.search(image) for image in images):
        raise ImageError("image file not found", file=images[0])
    config = given.get("config")
    begun = config is not None and Path(config.output).exists()
    data = getattr(config, "data", given.get("data"))
    if isinstance(data, DataConfig) and data.root and not begun and not Path(data.root).exists():
        raise DataError("folder not found", file=data.root)


def _texts(given: Mapping[str, Any], *names: str) -> list[str]:
    values = [given.get(name) for name in names]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    return [text for text in texts if isinstance(text, str)]


def _may_be_detections(path: Path) -> bool:
    """Return True for a file, or a folder of detections of each class or of shards."""
    return path.is_file() or any(file for name in ("*det_*.txt", "shard-*-of-*.json") for file in path.glob(name))
