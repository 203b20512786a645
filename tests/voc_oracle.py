"""A second VOC average precision, written from the description of the devkit.

Plain loops on tuples and fractions, in the devkit's own pixels (1-based, both corners inside): nothing is shared with
the package, not even what a box's area is.
"""

from fractions import Fraction
from math import nan

import numpy as np
from factories import annotate, detect
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from sppdet.structures import Annotations, Detections

Box = tuple[int, int, int, int]
Image = tuple[list[tuple[Box, int, bool]], list[tuple[Box, int, float]]]  # (box, label, difficult), (box, label, score)
HALF = Fraction(1, 2)


def overlap(found: Box, target: Box) -> Fraction:
    """In the devkit corners (xmin, ymin, xmax, ymax) are inside: a box has xmax - xmin + 1 columns."""
    one, other = ((x1 + 1, y1 + 1, x2, y2) for x1, y1, x2, y2 in (found, target))
    columns = min(one[2], other[2]) - max(one[0], other[0]) + 1
    rows = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if columns <= 0 or rows <= 0:
        return Fraction(0)
    size = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return Fraction(columns * rows, sum(size) - columns * rows)


def judge(images: list[Image], label: int, least: Fraction = HALF) -> list[tuple[str, int, Box]]:
    """right, wrong, duplicate or ignored for each detection of the class, best score first, with its image and box."""
    ranked = [
        (score, number, box) for number, (_, found) in enumerate(images) for box, of, score in found if of == label
    ]
    ranked.sort(key=lambda entry: -entry[0])
    taken: set[tuple[int, int]] = set()
    verdicts = []
    for _, number, box in ranked:
        best, match = Fraction(-1), None
        for place, (target, of, _) in enumerate(images[number][0]):
            if of == label and overlap(box, target) > best:
                best, match = overlap(box, target), place
        if match is None or best < least:
            verdict = "wrong"
        elif images[number][0][match][2]:
            verdict = "ignored"
        elif (number, match) in taken:
            verdict = "duplicate"
        else:
            taken.add((number, match))
            verdict = "right"
        verdicts.append((verdict, number, box))
    return verdicts


def count_positives(images: list[Image], label: int) -> int:
    return sum(of == label and not hard for objects, _ in images for _, of, hard in objects)


def average_precisions(judged: list[bool], positives: int) -> tuple[float, float]:
    """AP of VOC2007 (11 points) and of VOC2010 (area, by the corners of the curve); NaN without positives."""
    if positives == 0:
        return nan, nan
    recall = [Fraction(sum(judged[:n]), positives) for n in range(1, len(judged) + 1)]
    precision = [Fraction(sum(judged[:n]), n) for n in range(1, len(judged) + 1)]
    ap_voc07 = Fraction(0)
    for tenth in range(11):
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= Fraction(tenth, 10)]
        ap_voc07 += max(reached, default=Fraction(0)) / 11
    recall = [Fraction(0), *recall, Fraction(1)]
    precision = [Fraction(0), *precision, Fraction(0)]
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    ap_area = sum(
        (recall[k] - recall[k - 1]) * precision[k] for k in range(1, len(recall)) if recall[k] != recall[k - 1]
    )
    return float(ap_voc07), float(ap_area)


def records_of(images: list[Image]) -> tuple[list[Detections], list[Annotations]]:
    """The same in the package's records."""
    annotations = [annotate(*([entry[k] for entry in objects] for k in range(3))) for objects, _ in images]
    return [detect(*([entry[k] for entry in found] for k in (0, 2, 1))) for _, found in images], annotations


def grid_scenes(classes: int) -> SearchStrategy[list[Image]]:
    """Boxes of all sizes, 0 too, so close to one another that they overlap by every fraction."""
    corner, side, label = st.integers(0, 6), st.integers(0, 5), st.integers(1, classes)
    box = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), corner, corner, side, side)
    objects = st.lists(st.tuples(box, label, st.sampled_from([False, False, True])), max_size=5)
    found = st.lists(st.tuples(box, label, st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=8)
    return st.lists(st.tuples(objects, found), max_size=4)


def random_images(rng: np.random.Generator, count: int) -> list[Annotations]:
    """Objects of three of the four classes, a fifth of them difficult; the third class is rare; some are empty."""
    images = []
    for i in range(count):
        n = rng.integers(0, 5)
        low = rng.integers(0, 100, (n, 2))
        boxes = np.concatenate([low, low + rng.integers(10, 40, (n, 2))], axis=1)
        images.append(annotate(boxes, rng.choice([1, 2, 3], n, p=[0.5, 0.45, 0.05]), rng.random(n) < 0.2, f"{i}"))
    return images


def random_detections(rng: np.random.Generator, images: list[Annotations]) -> list[Detections]:
    """Copies of objects, some cut to an IoU of 0.7, and wrong boxes; scores differ in an image only."""
    detections = []
    for image in images:
        copied = np.repeat(np.arange(len(image.boxes)), rng.integers(0, 3, len(image.boxes)))
        wrong = int(rng.integers(0, 4))
        near = image.boxes.numpy()[copied]
        near[:, 2] -= np.where(rng.random(len(near)) < 0.4, 0.3, 0) * (near[:, 2] - near[:, 0])
        boxes = np.concatenate([near, np.tile([[200, 200, 210, 210]], (wrong, 1))])
        labels = np.concatenate([image.labels.numpy()[copied], rng.integers(1, 5, wrong)])
        detections.append(detect(boxes, rng.permutation(20)[: len(boxes)] / 20, labels))
    return detections
