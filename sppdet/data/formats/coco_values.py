"""Values of a COCO annotation file: ids, boxes and segmentations, checked."""

import json
import math
from pathlib import Path
from typing import Any

from sppdet.data.formats.rle import surround_runs
from sppdet.data.formats.values import MOST_PIXELS, surround
from sppdet.data.records import Box
from sppdet.errors import DataError
from sppdet.structures import ImageId

SIDES = "[x, y, w, h]"


def get(path: Path, record: Any, key: str, kind: type, where: str = "") -> Any:
    """Return record[key]. Raises DataError if it is missing or of another type."""
    value = _value(path, record, key, kind.__name__, where)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _wrong_type(path, f"{where}.{key}" if where else key, kind.__name__, value)
    return value


def get_id(path: Path, record: Any, key: str, where: str, numbers_only: bool = False) -> Any:
    """Return an id: a number also where it is given as text or with a fraction of 0 ("7", 7.0), else text.

    Raises DataError if it is missing, of another type, or text with `numbers_only`.
    """
    value = _value(path, record, key, "int", where)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and len(value) < 19 and value.isdecimal() and str(int(value)) == value:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int if numbers_only else ImageId):
        raise _wrong_type(path, f"{where}.{key}", "int", value)
    return value


def read_box(path: Path, record: Any, where: str) -> Box:
    """Return the box x1 y1 x2 y2 of `bbox` or, if that is missing or empty, around the segmentation."""
    if not record.get("bbox") and record.get("segmentation"):
        return _surround(path, record["segmentation"], f"{where}.segmentation")
    box = get(path, record, "bbox", list, where)
    if len(box) != 4 or not all(map(is_number, box)):
        raise DataError(_reason(box, "not a box"), file=path, field=f"{where}.bbox", expected=SIDES, got=show(box))
    x, y, w, h = box
    return x, y, x + w, y + h


def _surround(path: Path, segmentation: Any, field: str) -> Box:
    """Return the box around polygons [[x, y, x, y, ...], ...] or a run-length encoding {counts, size}."""
    try:
        if isinstance(segmentation, dict):
            return surround_runs(segmentation)
        rows = segmentation if isinstance(segmentation[0], list) else [segmentation]
        xs, ys = ([value for row in rows for value in row[axis::2]] for axis in (0, 1))
        if all(map(is_number, (*xs, *ys))) and len(xs) == len(ys) > 0:
            return surround(xs, ys)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        pass
    reason = _reason(segmentation, "not polygons")
    raise DataError(reason, file=path, field=field, expected="[[x, y, ...], ...]", got=show(segmentation))


def _reason(value: Any, otherwise: str) -> str:
    rows = value if isinstance(value, list) else []
    numbers = [number for row in rows for number in (row if isinstance(row, list) else [row])]
    return "texts instead of numbers" if any(isinstance(number, str) for number in numbers) else otherwise


def _value(path: Path, record: Any, key: str, expected: str, where: str) -> Any:
    if not isinstance(record, dict):
        raise DataError("not an object", file=path, field=where or None, expected="{...}", got=type(record).__name__)
    if key not in record:
        raise DataError("missing", file=path, field=f"{where}.{key}" if where else key, expected=expected)
    return record[key]


def _wrong_type(path: Path, field: str, expected: str, got: object) -> DataError:
    return DataError("wrong type", file=path, field=field, expected=expected, got=show(got))


def show(value: object) -> str:
    """Return the beginning of a value as JSON has it."""
    return json.dumps(value, ensure_ascii=False)[:60]


def is_number(value: Any) -> bool:
    """Return True for a number of JSON that may be in an image; nan and infinities are left to the check of boxes."""
    return type(value) in (int, float) and not MOST_PIXELS < abs(value) < math.inf
