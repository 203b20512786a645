"""A scene of the generated data set of real things: cutouts of photographs, on parts of photographs without them.

The photographs come with scikit-learn (a pagoda and a dahlia) and matplotlib (Grace Hopper, by the US Navy).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from sppdet.images import read_image, to_array
from sppdet.shapes.scene import OVERHANG, Cover, Scene, background, compose

SIDES = (64.0, 150.0)  # geometric mean of a thing's width and height, in pixels
ASPECTS = (0.85, 1.18)  # stretching of its width against its height
ANGLES = (-15.0, 15.0)  # degrees
ENLARGED = 3  # smoothly: `background` enlarges further without interpolation
# Outlines in the photographs: corners x, y.
OUTLINES = {
    "flower": (
        *((319, 85), (291, 91), (285, 97), (263, 95), (249, 99), (229, 113), (214, 116), (207, 124), (204, 134)),
        *((191, 142), (187, 151), (188, 169), (180, 170), (176, 176), (177, 195), (170, 200), (169, 208), (170, 232)),
        *((173, 236), (172, 262), (178, 268), (187, 295), (197, 304), (202, 316), (219, 332), (232, 337), (248, 351)),
        *((267, 349), (290, 359), (335, 357), (348, 350), (370, 344), (384, 333), (397, 330), (405, 322), (408, 309)),
        *((426, 287), (437, 254), (443, 245), (445, 212), (440, 192), (432, 183), (432, 166), (426, 146), (411, 133)),
        *((410, 125), (399, 114), (388, 113), (382, 104), (372, 99), (358, 98), (348, 92), (332, 92)),
    ),
    "pagoda": (
        *((199, 30), (192, 64), (173, 81), (135, 100), (97, 106), (94, 131), (117, 141), (119, 158), (86, 168)),
        *((85, 185), (97, 190), (98, 229), (92, 231), (92, 242), (70, 252), (63, 274), (80, 279), (81, 308), (73, 332)),
        *((101, 336), (144, 331), (160, 341), (158, 357), (197, 363), (215, 376), (217, 384), (240, 389), (289, 383)),
        *((309, 370), (329, 375), (363, 350), (366, 337), (356, 332), (348, 307), (340, 304), (339, 274), (351, 250)),
        *((337, 247), (328, 238), (327, 227), (319, 225), (319, 185), (329, 179), (329, 172), (293, 159), (294, 139)),
        *((319, 126), (319, 119), (267, 101), (217, 65), (211, 52), (213, 32)),
    ),
    "person": (
        *((232, 24), (270, 24), (299, 41), (335, 56), (352, 86), (369, 103), (371, 135), (368, 182), (375, 207)),
        *((367, 227), (361, 262), (336, 285), (330, 313), (365, 342), (422, 366), (461, 376), (492, 393), (504, 427)),
        *((511, 560), (12, 560), (27, 460), (36, 405), (48, 375), (100, 355), (160, 335), (200, 318), (196, 305)),
        *((166, 290), (160, 250), (156, 210), (162, 180), (157, 140), (160, 115), (174, 80), (181, 60), (200, 45)),
    ),
}
THINGS = tuple(sorted(OUTLINES))
# Areas without the things, for training and for test: left, top, right and bottom in the photograph.
AREAS = {
    "trainval": (("pagoda", (370, 0, 505, 427)), ("flower", (0, 0, 160, 427))),
    "test": (("pagoda", (505, 0, 640, 427)), ("flower", (455, 0, 640, 370))),
}


def load_photographs() -> dict[str, np.ndarray]:
    """Return the photograph of each thing, uint8 (H, W, 3) RGB."""
    from matplotlib import get_data_path
    from sklearn.datasets import load_sample_image

    navy = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return {
        "flower": load_sample_image("flower.jpg"),
        "pagoda": load_sample_image("china.jpg"),
        "person": to_array(read_image(navy)),
    }


def load_cutouts() -> dict[str, np.ndarray]:
    """Return each thing, float32 (h, w, 4): RGB and coverage in 0..1."""
    cutouts = {}
    for name, photograph in load_photographs().items():
        mask = np.zeros(photograph.shape[:2], np.uint8)
        outline = np.array(OUTLINES[name], np.int32)
        cv2.fillPoly(mask, [outline], 255)
        coverage = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0)
        left, top, width, height = cv2.boundingRect(outline)
        whole = np.dstack([photograph.astype(np.float32), coverage])
        cutouts[name] = whole[top : top + height, left : left + width]
    return cutouts


def load_areas(split: str) -> list[np.ndarray]:
    """Return enlarged parts of the photographs without the things, uint8 (H, W, 3); those of test are no others'."""
    photographs = load_photographs()
    areas = [photographs[name][top:bottom, left:right] for name, (left, top, right, bottom) in AREAS[split]]
    return [cv2.resize(area, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC) for area in areas]


def draw_cutouts(
    rng: np.random.Generator, names: Sequence[str], areas: Sequence[np.ndarray], cutouts: Mapping[str, np.ndarray]
) -> Scene:
    """Draw a scene with these things, later ones in front. A thing without a free position is left out."""
    height, width = int(rng.integers(240, 273)), int(rng.integers(320, 361))

    def draw(name: str) -> Cover:
        return _draw(rng, cutouts[name], height, width)

    def paint(_canvas: np.ndarray, cover: Cover) -> np.ndarray:
        assert cover.pixels is not None
        return cover.pixels

    return compose(background(rng, areas, height, width), names, draw, paint)


def _draw(rng: np.random.Generator, cutout: np.ndarray, height: int, width: int) -> Cover:
    """Put a thing at a random size, aspect ratio, rotation and position, mirrored or not, in another light."""
    h, w = cutout.shape[:2]
    side, stretch = np.exp(rng.uniform(*np.log(SIDES))), np.exp(rng.uniform(*np.log(ASPECTS)) / 2)
    scale = side / np.sqrt(h * w)
    size = np.maximum(np.round([w * scale * stretch, h * scale / stretch]), 1).astype(int)
    small = cv2.resize(cutout, size.tolist(), interpolation=cv2.INTER_AREA)
    small = small[:, ::-1] if rng.random() < 0.5 else small
    turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), rng.uniform(*ANGLES), 1.0)
    corner = rng.uniform(-OVERHANG * size, np.array([width, height]) - (1 - OVERHANG) * size)
    turn[:, 2] = turn[:, 2] + corner
    moved = cv2.warpAffine(np.ascontiguousarray(small), turn, (width, height), flags=cv2.INTER_LINEAR)
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.95, 1.05, 3)
    pixels = ((moved[:, :, :3] - 128) * gain + 128 + rng.uniform(-20, 20)).astype(np.float32)
    alpha = moved[:, :, 3]
    truncated = bool((corner < 0).any() or (corner + size > [width, height]).any())
    return Cover(alpha, alpha.copy(), float(small[:, :, 3].sum()), truncated, pixels)
