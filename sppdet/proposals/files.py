"""Proposal files of other programs, read and written by image id.

| suffix | content                                                                                                 |
|--------|---------------------------------------------------------------------------------------------------------|
| .json  | COCO style: a list of {image_id, bbox: [x, y, width, height], score (optional)}, or a dict with that     |
|        | list as `annotations` and, for images that may have none, `images`: [{id}]                              |
| .npz   | one array per image, named by its id: (N, 4), x1 y1 x2 y2, 0-based, half-open; or (N, 5), score last    |
| .mat   | as in R-CNN: cell arrays `images` (ids) and `boxes` ((N, 4), y1 x1 y2 x2, 1-based and inclusive)        |

Ids are compared as text: an id 42 is "42" in a file. Boxes with scores are sorted, best first; others keep the order of
the file.
"""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor

from sppdet.data.formats.values import MOST_PIXELS
from sppdet.errors import DataError
from sppdet.files.atomic import read_json
from sppdet.proposals.mat import CELL, MatFile
from sppdet.runtime.limits import check_bytes
from sppdet.structures import ImageId

# Boxes float64 (N, 4), or (N, 5) with the score, of each id.
BoxesOfId = dict[str, np.ndarray]


def read_proposals(file: Path, ids: Sequence[ImageId]) -> list[Tensor]:
    """Read the boxes float32 (N, 4) of each id, x1 y1 x2 y2, 0-based and half-open, in pixels of the original image.

    Raises DataError that names file, image and field if an image is missing or its boxes are unusable; SppdetError if
    the file cannot be read.
    """
    readers = {".json": _read_json, ".npz": _read_npz, ".mat": _read_mat}
    if file.suffix not in readers:
        raise DataError("unknown format of proposals", file=file, expected=tuple(readers), got=file.suffix)
    if not file.is_file():
        raise DataError("file not found", file=file)
    boxes_of_id = readers[file.suffix](file, {str(id) for id in ids})
    for id in ids:
        if str(id) not in boxes_of_id:
            raise DataError("has no proposals in this file", file=file, field=f"image {id}")
    tensors = {id: _finish(boxes, file, id) for id, boxes in boxes_of_id.items()}
    return [tensors[str(id)] for id in ids]


def _read_json(file: Path, wanted: set[str]) -> BoxesOfId:
    content = read_json(file)
    rows: dict[str, list[list[Any]]] = {}
    try:
        if isinstance(content, dict):
            rows |= {str(image["id"]): [] for image in content.get("images", [])}
        for entry in content["annotations"] if isinstance(content, dict) else content:
            id, box = str(entry["image_id"]), entry["bbox"]
            if not isinstance(box, list) or len(box) != 4:
                _refuse("wrong shape", file, id, "bbox", "[x, y, width, height]", box)
            rows.setdefault(id, []).append([*box, entry["score"]] if "score" in entry else box)
    except (TypeError, KeyError) as error:
        expected = "a list of {image_id, bbox, score}, or a dict with it as annotations"
        raise DataError("is not COCO-style", file=file, expected=expected, got=repr(error)) from error
    arrays = {id: _as_array(rows[id], file, id, "bbox") for id in wanted & rows.keys()}
    for boxes in arrays.values():
        boxes[:, 2:4] += boxes[:, :2]
    return arrays


def _read_npz(file: Path, wanted: set[str]) -> BoxesOfId:
    content = {}
    try:
        with ZipFile(file) as archive:
            infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            check_bytes(sum(infos[id].file_size for id in wanted & infos.keys()), file)
            for id, info in infos.items():
                if id in wanted:
                    content[id] = np.lib.format.read_array(BytesIO(archive.read(info)), allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # damaged files make these readers raise errors of many kinds
        raise DataError(f"is not a readable .npz file: {error}", file=file) from error
    return {id: _as_array(boxes, file, id, "boxes") for id, boxes in content.items()}


def _read_mat(file: Path, wanted: set[str]) -> BoxesOfId:
    try:
        mat = MatFile(file, ("images", "boxes"))
        is_cells = mat.variables["images"][0] == CELL
        images = [mat.array(cell) for cell in mat.cells("images")] if is_cells else [mat.array(mat.variables["images"])]
        names = [_read_id(value) for image in images for value in ([image] if is_cells else np.asarray(image).flat)]
        cells = mat.cells("boxes")
        if len(names) != len(cells):
            message = "differs in length from images"
            raise DataError(message, file=file, field="boxes", expected=len(names), got=len(cells))
        content = {id: mat.array(cell) for id, cell in zip(names, cells, strict=True) if id in wanted}
    except KeyError as error:
        name = str(error.args[0])
        raise DataError("variable not found", file=file, field=name, expected="images and boxes") from error
    except (ValueError, OSError, OverflowError, struct.error, zlib.error) as error:
        raise DataError(f"is not a readable .mat file: {error}", file=file) from error
    arrays = {id: _as_array(cell, file, id, "boxes") for id, cell in content.items()}
    return {id: np.hstack([boxes[:, [1, 0]] - 1, boxes[:, [3, 2]], boxes[:, 4:]]) for id, boxes in arrays.items()}


def _read_id(cell: object) -> str:
    """Return the id in a cell: text, or a number, which MATLAB stores as a double."""
    value = np.asarray(cell).item()
    return str(int(value)) if isinstance(value, float) else str(value)


def _as_array(value: Any, file: Path, id: str, name: str) -> np.ndarray:
    """Return a copy as float64 (N, 4) or (N, 5); anything empty has no boxes."""
    try:
        array = np.array(value)
    except ValueError:
        expected = "4 numbers per box, and a score for all boxes or none"
        _refuse("not an array", file, id, name, expected, "rows that differ")
    if array.size == 0:
        return np.zeros((0, 4))
    if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] not in (4, 5):
        _refuse("wrong type or shape", file, id, name, "numbers (N, 4)", f"{array.dtype} {array.shape}")
    return array.astype(np.float64)


def _finish(boxes: np.ndarray, file: Path, id: str) -> Tensor:
    """Check rows x1 y1 x2 y2 (score) and return their boxes float32 (N, 4), best first."""
    with np.errstate(over="ignore", invalid="ignore"):  # a signaling NaN
        single = boxes.astype(np.float32)
    if not np.isfinite(single).all():
        _refuse("not finite", file, id, "boxes", "finite numbers", boxes[~np.isfinite(single).all(axis=1)][0].tolist())
    huge = (abs(boxes[:, :4]) > MOST_PIXELS).any(axis=1)
    if huge.any():
        expected = f"up to {MOST_PIXELS} pixels"
        _refuse("out of range", file, id, "boxes", expected, boxes[huge][0, :4].tolist())
    wrong = (single[:, 2:4] < single[:, :2]).any(axis=1)
    if wrong.any():
        _refuse("corners in the wrong order", file, id, "boxes", "x1 <= x2, y1 <= y2", boxes[wrong][0, :4].tolist())
    if boxes.shape[1] == 5:
        single = single[np.argsort(-boxes[:, 4], kind="stable")]
    return torch.from_numpy(np.ascontiguousarray(single[:, :4]))


def _refuse(message: str, file: Path, id: str, name: str, expected: str, got: object) -> NoReturn:
    raise DataError(message, file=file, field=f"image {id}, {name}", expected=expected, got=got)
