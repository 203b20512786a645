"""Generated data sets in VOC layout that need no download: shapes or cutouts on photographs."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sppdet.errors import ConfigError, DataError
from sppdet.files.atomic import read_json, write_json
from sppdet.files.durable import new_folder
from sppdet.shapes.cutouts import THINGS, draw_cutouts, load_areas, load_cutouts
from sppdet.shapes.scene import SHAPES, Scene, draw_scene

BORDERS = (345, 355)  # columns of the photographs: training left of the first, test right of the second
Draw = Callable[[np.random.Generator, Sequence[str], Sequence[np.ndarray]], Scene]


class Kind(NamedTuple):
    """A kind of data set. version: of the drawing; another one gives other images for the same seed.

    most: objects per image; at least one. photographs: returns those of a split for `draw`.
    """

    name: str
    version: int
    classes: tuple[str, ...]
    most: int
    photographs: Callable[[str], list[np.ndarray]]
    draw: Draw


def generate_shapes(folder: str | PathLike[str], seed: int = 0, train: int = 200, test: int = 120) -> Path:
    """Generate the data set in `folder` (JPEGImages, Annotations, ImageSets/Main, as in VOC) and return its path.

    train: number of images in trainval; every fifth is in val, the others in train. test: number of images in test.
    Six classes differ in shape only: color, texture, size, aspect ratio and rotation do not depend on the class.
    Backgrounds are cut from scikit-learn's photographs, from disjoint areas for training and test.
    The same parameters give the same bytes. An existing set is kept if its shapes.json has the same parameters. An
    interrupted call leaves nothing in `folder`, and the next call starts again.
    Raises ConfigError for a number that is too small, DataError if `folder` holds anything else.
    """
    return _generate(Path(folder), Kind("shapes", 1, SHAPES, 4, _photographs, draw_scene), seed, train, test)


def generate_cutouts(folder: str | PathLike[str], seed: int = 0, train: int = 60, test: int = 30) -> Path:
    """Generate a data set of three things cut out of photographs, as `generate_shapes` does; see `draw_cutouts`.

    Test images show the same flower, pagoda and person at other places, in other sizes and light, and on other
    backgrounds than the training images, so they do not say how well another flower would be found.
    """
    draw = partial(draw_cutouts, cutouts=load_cutouts())
    return _generate(Path(folder), Kind("cutouts", 1, THINGS, 3, load_areas, draw), seed, train, test)


def _generate(folder: Path, kind: Kind, seed: int, train: int, test: int) -> Path:
    for name, value, least in (("seed", seed, 0), ("train", train, 5), ("test", test, 1)):
        if value < least:
            raise ConfigError("too small", field=name, expected=f"at least {least}", got=value)
    parameters = {"version": kind.version, "seed": seed, "train": train, "test": test}
    marker = folder / f"{kind.name}.json"
    if marker.is_file():
        if (found := read_json(marker)) == parameters:
            return folder
        raise DataError("another set; remove its folder or choose another", file=marker, expected=parameters, got=found)
    with new_folder(folder) as unfinished:
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (unfinished / part).mkdir(parents=True)
        _write_set(unfinished, kind, seed, train, test)
        write_json(unfinished / marker.name, parameters)
    return folder


def _write_set(folder: Path, kind: Kind, seed: int, train: int, test: int) -> None:
    lists: dict[str, list[str]] = {"train": [], "val": [], "trainval": [], "test": []}
    for stream, (split, images, first) in enumerate((("trainval", train, 1), ("test", test, train + 1))):
        rng = np.random.default_rng([seed, stream])
        photographs = kind.photographs(split)
        # Without end, each class once in every round, so that classes are balanced.
        classes = (kind.classes[i] for _ in count() for i in rng.permutation(len(kind.classes)))
        for i in range(images):
            names = [next(classes) for _ in range(rng.integers(1, kind.most + 1))]
            name = f"{first + i:06d}"
            _write_scene(folder, name, kind.draw(rng, names, photographs))
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
