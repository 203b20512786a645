"""A scene of the generated data set: shapes on a crop of a photograph.

No random choice but the outline depends on the class, so classes differ in shape only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

SUPERSAMPLING = 4
SIDES = (34.0, 95.0)  # geometric mean of a shape's width and height, in pixels
ASPECTS = (0.6, 1.6)  # width / height
OVERHANG = 0.08  # fraction of a side that may be outside the image
LEAST_VISIBLE = 0.65  # least fraction of a shape's area that is inside the image and not hidden
LEAST_CONTRAST = 42.0  # Lab distance between a shape's color and nine tenths of its surroundings
ATTEMPTS = 60


@dataclass(frozen=True)
class Shape:
    """A drawn object. box: x1 y1 x2 y2, pixels of the scene, 0-based and half-open, tight around the whole shape."""

    name: str
    box: tuple[int, int, int, int]
    truncated: bool
    visible: float


@dataclass(frozen=True)
class Scene:
    """A generated image uint8 (H, W, 3) RGB and its objects."""

    image: np.ndarray
    shapes: tuple[Shape, ...]


def outline(name: str, angle: float) -> list[np.ndarray]:
    """Return the closed contours (M, 2) of a shape, rotated by `angle` radians and stretched to fill the unit square.

    A second contour is a hole. The stretching makes a box's size and aspect ratio independent of the class.
    """
    contours = _CONTOURS[name]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = [contour @ turn.T for contour in contours]
    low, high = turned[0].min(axis=0), turned[0].max(axis=0)
    return [(contour - low) / (high - low) for contour in turned]


def _polygon(radii: Sequence[float], corners: int) -> np.ndarray:
    """Return a closed contour through `corners` points at equal angles, with the radii in turn."""
    angles = 2 * np.pi * np.arange(corners) / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.resize(radii, corners)[:, None]


def _cross(arm: float) -> np.ndarray:
    quarter = np.array([[1, -arm], [1, arm], [arm, arm]])
    turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([quarter @ turn.T for turn in turns])


_CONTOURS: dict[str, list[np.ndarray]] = {
    "cross": [_cross(0.34)],
    "disc": [_polygon([1], 72)],
    "ring": [_polygon([1], 72), _polygon([0.58], 72)],
    "square": [_polygon([1], 4)],
    "star": [_polygon([1, 0.42], 10)],
    "triangle": [_polygon([1], 3)],
}
SHAPES = tuple(_CONTOURS)


def draw_scene(rng: np.random.Generator, names: Sequence[str], photographs: Sequence[np.ndarray]) -> Scene:
    """Draw a scene with these shapes, later ones in front. A shape without a free position is left out.

    photographs: uint8 (H, W, 3) RGB areas for background and textures.
    """
    height, width = int(rng.integers(168, 193)), int(rng.integers(224, 257))

    def draw(name: str) -> Cover:
        return _draw(rng, name, height, width)

    def paint(canvas: np.ndarray, cover: Cover) -> np.ndarray:
        return _fill(rng, _contrasting_color(rng, canvas, cover.alpha), photographs, height, width)

    return compose(background(rng, photographs, height, width), names, draw, paint)


def compose(
    canvas: np.ndarray,
    names: Sequence[str],
    draw: Callable[[str], Cover],
    paint: Callable[[np.ndarray, Cover], np.ndarray],
) -> Scene:
    """Put objects on a background float32 (H, W, 3), later ones in front. Without a free position one is left out.

    draw: returns an object by name at a random position. paint: returns its pixels (H, W, 3) there.
    """
    placed: list[tuple[str, Cover]] = []
    for name in names:
        cover = _try_positions(partial(draw, name), [cover for _, cover in placed])
        if cover is None:
            continue
        canvas += (paint(canvas, cover) - canvas) * cover.alpha[:, :, None]
        for _, behind in placed:
            behind.seen *= 1 - cover.alpha
        placed.append((name, cover))
    image = np.clip(canvas, 0, 255).round().astype(np.uint8)
    return Scene(image, tuple(Shape(name, c.box, c.truncated, c.visible(c.seen)) for name, c in placed))


@dataclass
class Cover:
    """The coverage of pixels by an object.

    area: of the whole object in pixels, including the part outside the image. pixels: float32 (H, W, 3), if it has its
    own.
    """

    alpha: np.ndarray  # (H, W) in 0..1
    seen: np.ndarray  # (H, W), alpha without what the shapes in front hide
    area: float
    truncated: bool
    pixels: np.ndarray | None = None

    def visible(self, seen: np.ndarray) -> float:
        return float(seen.sum()) / self.area

    @property
    def box(self) -> tuple[int, int, int, int]:
        rows, columns = (np.flatnonzero((self.alpha >= 0.5).any(axis=axis)) for axis in (1, 0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _try_positions(draw: Callable[[], Cover], others: Sequence[Cover]) -> Cover | None:
    """Draw until the object and those behind it are visible enough."""
    for _ in range(ATTEMPTS):
        cover = draw()
        seen = [cover.visible(cover.alpha)] + [other.visible(other.seen * (1 - cover.alpha)) for other in others]
        if min(seen) >= LEAST_VISIBLE:
            return cover
    return None


def _draw(rng: np.random.Generator, name: str, height: int, width: int) -> Cover:
    """Draw a shape of random size, aspect ratio, rotation and position."""
    side = np.exp(rng.uniform(*np.log(SIDES)))
    stretch = np.exp(rng.uniform(*np.log(ASPECTS)) / 2)
    size = np.array([side * stretch, side / stretch])
    contours = outline(name, rng.uniform(0, 2 * np.pi))
    corner = rng.uniform(-OVERHANG * size, np.array([width, height]) - (1 - OVERHANG) * size)
    contours = [contour * size + corner for contour in contours]
    alpha = _rasterize(contours, height, width)
    whole, *holes = (cv2.contourArea(contour.astype(np.float32)) for contour in contours)
    truncated = bool((corner < 0).any() or (corner + size > [width, height]).any())
    return Cover(alpha, alpha.copy(), whole - sum(holes), truncated)


def _rasterize(contours: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Return the fraction of each pixel (H, W) inside the contours, even-odd, so that a second contour is a hole."""
    mask = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    shift = 4  # cv2 takes fixed-point corners, with the center of a pixel at its whole number
    fixed = [np.round((contour * SUPERSAMPLING - 0.5) * (1 << shift)).astype(np.int32) for contour in contours]
    cv2.fillPoly(mask, fixed, 255, shift=shift)
    small = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def background(rng: np.random.Generator, photographs: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Return a crop of a photograph, float32 (H, W, 3), of random position, zoom, flip, brightness, contrast."""
    cut = _cut(rng, photographs, height, width, zoom=rng.uniform(0.9, 2.2))
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3)
    return np.clip((cut - 128) * gain + 128 + rng.uniform(-25, 25), 0, 255).astype(np.float32)


def _cut(
    rng: np.random.Generator, photographs: Sequence[np.ndarray], height: int, width: int, zoom: float
) -> np.ndarray:
    """Return a random crop of a photograph, float32 (H, W, 3), `zoom` times enlarged."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    zoom = max(zoom, height / photograph.shape[0], width / photograph.shape[1])
    h, w = int(height / zoom), int(width / zoom)
    y, x = (int(rng.integers(0, free + 1)) for free in (photograph.shape[0] - h, photograph.shape[1] - w))
    part = photograph[y : y + h, x : x + w]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _contrasting_color(rng: np.random.Generator, canvas: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return a random RGB color (3,) in contrast to the pixels around the shape: enough, or the most of 40 colors."""
    shape = (alpha > 0).astype(np.uint8)
    border = (cv2.dilate(shape, np.ones((9, 9), np.uint8)) - shape).astype(bool)
    around = cv2.cvtColor(canvas / 255, cv2.COLOR_RGB2Lab)[border]
    hsv = np.stack([rng.uniform(0, 360, 40), rng.uniform(0.1, 0.95, 40), rng.uniform(0.15, 0.98, 40)], axis=1)
    colors = cv2.cvtColor(hsv[:, None].astype(np.float32), cv2.COLOR_HSV2RGB)
    lab = cv2.cvtColor(colors, cv2.COLOR_RGB2Lab)
    distance = np.percentile(np.linalg.norm(lab - around[None], axis=2), 10, axis=1)  # (40,)
    enough = np.flatnonzero(distance >= LEAST_CONTRAST)
    return 255 * colors[enough[0] if len(enough) else distance.argmax(), 0]


def _fill(
    rng: np.random.Generator, color: np.ndarray, photographs: Sequence[np.ndarray], height: int, width: int
) -> np.ndarray:
    """Return the color as paint, gradient, stripes, grain or detail of a photograph, float32 (H, W, 3)."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    along = x * np.cos(angle) + y * np.sin(angle)
    tint = rng.uniform(0.6, 1.0, 3)
    texture = rng.choice(["plain", "gradient", "stripes", "grain", "photograph"])
    if texture == "gradient":
        relief = np.sin(along / rng.uniform(60, 110) + rng.uniform(0, 2 * np.pi)) * 32
    elif texture == "stripes":
        relief = np.tanh(3 * np.sin(along * 2 * np.pi / rng.uniform(5, 16))) * rng.uniform(12, 26)
    elif texture == "grain":
        grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), rng.uniform(0.6, 1.6))
        relief = grain / grain.std() * rng.uniform(8, 18)
    elif texture == "photograph":
        detail = _cut(rng, photographs, height, width, zoom=rng.uniform(1, 2)).mean(axis=2)
        relief = (detail - detail.mean()) * rng.uniform(0.3, 0.5)
    else:
        relief = np.zeros((height, width))
    return (color + relief[:, :, None] * tint).astype(np.float32)
