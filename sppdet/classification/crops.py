"""The annotated objects of a detection data set as images to classify, one folder per class."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from sppdet.boxes import clip_boxes
from sppdet.data.files import file_names, fits_file_name
from sppdet.drawing.detections import write_picture
from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import read_json, write_json
from sppdet.images import to_array
from sppdet.runtime.progress import progress
from sppdet.structures import Annotations, Dataset


def write_crops(dataset: Dataset, folder: Path, context: float = 0.0) -> int:
    """Write a crop of each object to FOLDER/CLASS/IMAGE_NUMBER.png, and return their number.

    context: the box is enlarged on each side by this fraction of its width or height, up to the image's border. Objects
    marked difficult are left out. crops.json in the folder records the data set. Raises ConfigError if the folder holds
    other crops, DataError if the name of a class cannot be that of a folder.
    """
    if context < 0:
        raise ConfigError("out of range", field="context", expected="0 or more", got=context)
    wrong = [name for name in dataset.classes if not fits_file_name(name) or not name.strip(". ")]
    if wrong:
        raise DataError("cannot be the name of a folder", field="class", got=wrong[0])
    record, contents = folder / "crops.json", {"data": dataset.name, "images": len(dataset), "context": context}
    files = file_names([str(image.id) for image in dataset.images])
    # crops.json marks the folder: a hidden folder in it would be a class to other programs.
    if folder.is_dir() and any(folder.iterdir()) and (not record.is_file() or read_json(record) != contents):
        raise ConfigError("holds something else; choose another folder or remove it", file=folder, field="output")
    write_json(record, contents)
    count = 0
    for file, image in zip(files, progress(dataset.images, "crops"), strict=True):
        for k, pixels in cut_objects(image, context):
            name = dataset.classes[int(image.labels[k]) - 1]
            write_picture(folder / name / f"{file}_{k + 1}.png", to_array(pixels))
            count += 1
    return count


def cut_objects(image: Annotations, context: float = 0.0) -> Iterator[tuple[int, Tensor]]:
    """Yield the index and pixels uint8 (3, h, w) of each object that is not difficult."""
    pixels, boxes = image.read(), image.boxes
    outward = context * torch.tensor([-1.0, -1.0, 1.0, 1.0])
    grown = clip_boxes(boxes + outward * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2), *pixels.shape[1:])
    corners = torch.cat([grown[:, :2].floor(), grown[:, 2:].ceil()], dim=1).int().tolist()
    for k, (x1, y1, x2, y2) in enumerate(corners):
        if image.difficult[k]:
            continue
        if x1 >= x2 or y1 >= y2:
            size = f"inside {pixels.shape[2]}x{pixels.shape[1]}"
            raise DataError("box outside the image", file=image.path, expected=size, got=boxes[k].tolist())
        yield k, pixels[:, y1:y2, x1:x2]
