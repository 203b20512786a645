"""What commands print, and where their log goes."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


def print_precision(result: dict[str, Any]) -> None:
    for name, numbers in result["per_class"].items():
        print(f"{name:16} {percent(numbers['ap_voc07'])} {percent(numbers['ap_area'])}")
    resamples = result["interval"]["resamples"] if "interval" in result else 0
    interval = f"; 95% of {resamples} resamples" if resamples else ""
    print(f"{'mAP':16} {format_maps(result)}   (VOC07 11 points, VOC10+ area{interval})")


def print_reliability(result: dict[str, Any]) -> None:
    print(f"{'probability':16} {'mean':>7} {'right':>7}   detections")
    for row in result["bins"]:
        name = f"{row['low']:.1f} to {row['high']:.1f}"
        print(f"{name:16} {percent(row['probability'])} {percent(row['right'])}   {row['detections']}")


def percent(value: float | None) -> str:
    return f"{'-':>7}" if value is None or value != value else f"{100 * value:6.2f}%"


def format_maps(numbers: dict[str, Any], sign: str = "") -> str:
    """Both mAPs in percent, or with sign "+" their differences in points, with the intervals where there are any."""
    texts = []
    for key in ("map_voc07", "map_area"):
        text = f"{100 * numbers[key]:+6.2f} " if sign else percent(numbers[key])
        if "interval" in numbers and numbers[key] == numbers[key]:
            low, high = (f"{100 * end:{sign}.1f}" for end in numbers["interval"][key])
            text = f"{text.rstrip()} ({low} to {high})" if sign else f"{text} ({low}-{high})"
        texts.append(text)
    return " ".join(texts)


def print_json(result: Any) -> None:
    from sppdet.files.atomic import json_ready

    print(json.dumps(json_ready(result), indent=1, allow_nan=False))


def print_error(text: str) -> None:
    print(f"sppdet: error: {text}", file=sys.stderr)


class _ProgressHandler(logging.Handler):
    """Writes log lines above the progress bars; a warning once, though its file be read twice, for train and val."""

    def __init__(self) -> None:
        super().__init__()
        self.warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        line = self.format(record)
        if line not in self.warned:
            tqdm.write(line, file=sys.stderr)
        if record.levelno >= logging.WARNING:
            self.warned.add(line)


def log_to_stderr() -> None:
    log = logging.getLogger("sppdet")
    if not log.handlers:
        log.addHandler(_ProgressHandler())
        log.setLevel(logging.INFO)
