"""A generated data set in VOC layout that needs no download: shapes on photographs."""

from itertools import count
from os import PathLike
from pathlib import Path

import numpy as np

from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import new_folder, read_json, write_json
from sppdet.shapes.scene import SHAPES, Scene, draw_scene

VERSION = 1  # of the drawing: another version gives other images for the same seed
MOST_SHAPES = 4  # per image; at least one
BORDERS = (345, 355)  # columns of the photographs: training left of the first, test right of the second


def generate_shapes(folder: str | PathLike[str], seed: int = 0, train: int = 200, test: int = 120) -> Path:
    """Generate the data set in `folder` (JPEGImages, Annotations, ImageSets/Main, as in VOC) and return its path.

    train: number of images in trainval; every fifth is in val, the others in train. test: number of images in test.
    Six classes differ in shape only: color, texture, size, aspect ratio and rotation do not depend on the class.
    Backgrounds are cut from scikit-learn's photographs, from disjoint areas for training and test.
    The same parameters give the same bytes. An existing set is kept if its shapes.json has the same parameters. An
    interrupted call leaves nothing in `folder`, and the next call starts again.
    Raises ConfigError for a number that is too small, DataError if `folder` holds anything else.
    """
    for name, value, least in (("seed", seed, 0), ("train", train, 5), ("test", test, 1)):
        if value < least:
            raise ConfigError("too small", field=name, expected=f"at least {least}", got=value)
    folder = Path(folder)
    parameters = {"version": VERSION, "seed": seed, "train": train, "test": test}
    marker = folder / "shapes.json"
    if marker.is_file():
        if (found := read_json(marker)) == parameters:
            return folder
        raise DataError("another set; remove its folder or choose another", file=marker, expected=parameters, got=found)
    with new_folder(folder) as unfinished:
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (unfinished / part).mkdir(parents=True)
        _write_set(unfinished, seed, train, test)
        write_json(unfinished / "shapes.json", parameters)
    return folder


def _write_set(folder: Path, seed: int, train: int, test: int) -> None:
    lists: dict[str, list[str]] = {"train": [], "val": [], "trainval": [], "test": []}
    for stream, (split, images, first) in enumerate((("trainval", train, 1), ("test", test, train + 1))):
        rng = np.random.default_rng([seed, stream])
        photographs = _photographs(split)
        # Without end, each class once in every six, so that classes are balanced.
        classes = (SHAPES[i] for _ in count() for i in rng.permutation(len(SHAPES)))
        for i in range(images):
            names = [next(classes) for _ in range(rng.integers(1, MOST_SHAPES + 1))]
            name = f"{first + i:06d}"
            _write_scene(folder, name, draw_scene(rng, names, photographs))
            lists[split].append(name)
    lists["val"] = lists["trainval"][4::5]
    lists["train"] = [name for name in lists["trainval"] if name not in lists["val"]]
    for split, image_names in lists.items():
        text = "".join(f"{name}\n" for name in image_names)
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(text, encoding="utf-8", newline="\n")


def _photographs(split: str) -> list[np.ndarray]:
    """Return the area of each photograph that this split may use, uint8 (H, W, 3) RGB."""
    from sklearn.datasets import load_sample_images

    left, right = BORDERS
    area = slice(0, left) if split == "trainval" else slice(right, None)
    return [photograph[:, area] for photograph in load_sample_images().images]


def _write_scene(folder: Path, name: str, scene: Scene) -> None:
    from PIL import Image

    Image.fromarray(scene.image).save(folder / "JPEGImages" / f"{name}.jpg", quality=92)
    height, width, depth = scene.image.shape
    objects = ""
    for shape in scene.shapes:
        x1, y1, x2, y2 = shape.box
        corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        objects += (
            f"  <object>\n    <name>{shape.name}</name>\n    <truncated>{int(shape.truncated)}</truncated>\n"
            f"    <difficult>{int(shape.visible < 0.5)}</difficult>\n    <bndbox>{corners}</bndbox>\n  </object>\n"
        )
    text = (
        f"<annotation>\n  <filename>{name}.jpg</filename>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>\n"
        f"{objects}</annotation>\n"
    )
    (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8", newline="\n")
