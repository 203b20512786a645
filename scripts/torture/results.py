"""Proposals and detections of other programs, and caches of proposals."""

import json
import random
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from contracts import assert_boxes, assert_detections
from factories import annotate
from scipy.io import savemat

from sppdet.data.formats.values import MOST_PIXELS
from sppdet.data.results.files import read_results
from sppdet.proposals.files import read_proposals
from sppdet.structures import Dataset
from torture.mutate import change_json, change_lines, corrupt
from torture.target import Case, Target

IDS = ("000005", "7", "none")
BOXES = {"000005": [[1, 2, 13, 14], [5, 5, 9, 30]], "7": [[1.5, 2, 3, 4]], "none": []}
SCORES = {"000005": [0.5, 0.25], "7": [1.0], "none": []}
ARRAYS = (
    *(np.zeros((2, 4), kind) for kind in ("?", "i1", "u8", "f2", "f4", ">f8", "c16", "S3", "U3", "M8[s]", "V8")),
    *(np.zeros(shape) for shape in ((), (4,), (0,), (0, 4), (3, 5), (2, 6), (1, 4, 1), (4, 0))),
    *(np.full((2, 4), value) for value in (np.nan, np.inf, -np.inf, 1e300, -1e7, 1e7 + 1, 5e-324)),
    np.array([[3.0, 3, 1, 1]]),
    np.array([(1, 2)], [("a", "i4"), ("b", "f8")]),
)


def targets() -> list[Target]:
    proposals = {"json": _json, "npz": _npz, "mat": _mat, "mat-packed": _packed_mat}
    return [
        *(
            Target(f"proposals-{name}", lambda folder, own=own: _proposals(folder, *own()))
            for name, own in proposals.items()
        ),
        Target("detections-coco", _coco_results),
        Target("detections-voc", _voc_results),
    ]


def _proposals(folder: Path, suffix: str, make: Callable[[random.Random], bytes]) -> Case:
    file = folder / f"p{suffix}"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        for boxes in read_proposals(file, IDS):
            assert_boxes(boxes)
            assert not len(boxes) or float(boxes.abs().max()) <= MOST_PIXELS + 1

    return Case(make, read)


def _json() -> tuple[str, Callable[[random.Random], bytes]]:
    annotations = [
        {"image_id": id, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for id in IDS
        for (x1, y1, x2, y2), score in zip(BOXES[id], SCORES[id], strict=True)
    ]
    text = json.dumps({"images": [{"id": id} for id in IDS], "annotations": annotations}).encode()
    return ".json", lambda rng: change_json(text, rng)


def _npz() -> tuple[str, Callable[[random.Random], bytes]]:
    arrays = {id: np.array(BOXES[id], np.float32).reshape(-1, 4) for id in IDS}
    stored, packed = BytesIO(), BytesIO()
    np.savez(stored, **arrays)
    np.savez_compressed(packed, **arrays)
    seeds = [stored.getvalue(), packed.getvalue()]

    def make(rng: random.Random) -> bytes:
        if rng.randrange(2):
            return corrupt(rng.choice(seeds), rng, seeds)
        content = BytesIO()
        with ZipFile(content, "w", rng.choice((0, ZIP_DEFLATED))) as archive:
            changed = rng.choice(IDS)
            for id in IDS:
                member = BytesIO()
                np.save(member, rng.choice(ARRAYS) if id == changed else arrays[id])
                data = corrupt(member.getvalue(), rng) if id == changed and rng.randrange(2) else member.getvalue()
                archive.writestr(f"{id}.npy", data)
        return content.getvalue()

    return ".npz", make


def _mat_file(compressed: bool) -> bytes:
    cells = np.empty((1, 3), object)
    for i, id in enumerate(IDS):
        cells[0, i] = np.array(BOXES[id], np.float64).reshape(-1, 4)
    content = BytesIO()
    savemat(content, {"boxes": cells, "images": np.array(IDS, object)[:, None]}, do_compression=compressed)
    return content.getvalue()


def _mat() -> tuple[str, Callable[[random.Random], bytes]]:
    seed = _mat_file(False)

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3):
            return corrupt(seed, rng)
        data = bytearray(seed)  # the tags of its elements are whole numbers at multiples of 4
        for _ in range(rng.choice((1, 1, 2))):
            at = 4 * rng.randrange(32, len(data) // 4)
            data[at : at + 4] = rng.choice((0, 1, 4, 6, 9, 14, 15, 2**31 - 1, 2**32 - 1, 8, 1 << 16)).to_bytes(
                4, "little"
            )
        return bytes(data)

    return ".mat", make


def _packed_mat() -> tuple[str, Callable[[random.Random], bytes]]:
    seed = _mat_file(True)

    def make(rng: random.Random) -> bytes:
        if rng.randrange(4) == 0:
            return corrupt(seed, rng)
        parts, at = [seed[:128]], 128
        while at < len(seed):
            length = int.from_bytes(seed[at + 4 : at + 8], "little")
            inner = zlib.decompress(seed[at + 8 : at + 8 + length])
            packed = zlib.compress(corrupt(inner, rng) if rng.randrange(2) else inner)
            parts.append((15).to_bytes(4, "little") + len(packed).to_bytes(4, "little") + packed)
            at += 8 + length
        return b"".join(parts)

    return ".mat", make


def _dataset() -> Dataset:
    return Dataset("set", ("cat", "dog"), tuple(annotate([[0, 0, 9, 9]], name=id) for id in IDS))


def _coco_results(folder: Path) -> Case:
    dataset, file = _dataset(), folder / "d.json"
    entries = [
        {"image_id": id, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for id in IDS
        for (x1, y1, x2, y2), score in zip(BOXES[id], SCORES[id], strict=True)
    ]
    text = json.dumps(entries).encode()

    def read(data: bytes) -> None:
        file.write_bytes(data)
        for found in read_results(file, dataset):
            assert_detections(found, 2)

    return Case(lambda rng: change_json(text, rng), read)


def _voc_results(folder: Path) -> Case:
    dataset, place = _dataset(), folder / "comp4"
    text = b"000005 0.5 2 3 13 14\n000005 0.25 6 6 9 30\n7 1.0 2.5 3 3 4\n"
    place.mkdir()
    (place / "comp4_det_test_dog.txt").write_bytes(text)

    def read(data: bytes) -> None:
        (place / "comp4_det_test_cat.txt").write_bytes(data)
        for found in read_results(place, dataset):
            assert_detections(found, 2)

    return Case(lambda rng: change_lines(text, rng), read)
