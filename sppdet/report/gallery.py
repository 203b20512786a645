"""Hits, false alarms and misses of a run, the worst first, and the boxes to draw on their images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sppdet.evaluation.diagnose import OUTCOMES
from sppdet.report.data import EvaluatedRun

Kind = Literal["false alarm", "miss", "hit"]
KINDS: tuple[Kind, ...] = ("false alarm", "miss", "hit")
OTHERS = 20  # detections drawn on an image, with those below the threshold, unless more are above it

Corners = tuple[float, float, float, float]


class Case(NamedTuple):
    """A detection or a missed object. label: 1..K. box: x1 y1 x2 y2 in pixels of the image. score: None for a miss.
    error: kind of a false alarm (`evaluation.diagnose`), "" for others."""

    kind: Kind
    image: int
    label: int
    box: Corners
    score: float | None
    error: str = ""

    @property
    def rank(self) -> float:
        """The lower, the worse: a miss of a large object, a sure false alarm, a doubtful hit."""
        x1, y1, x2, y2 = self.box
        if self.score is None:
            return -(x2 - x1) * (y2 - y1)
        return self.score if self.kind == "hit" else -self.score


class Drawn(NamedTuple):
    """A detection drawn on an image. object: index of the object that it is the correct detection of, -1 for none.
    ignored: it matches a difficult object."""

    box: Corners
    label: int
    score: float
    object: int
    ignored: bool


@dataclass(frozen=True)
class Gallery:
    """The cases of a run by kind and label, the worst first, and `drawn`, the detections by image, best first."""

    cases: dict[tuple[Kind, int], list[Case]]
    drawn: list[list[Drawn]]

    def counts(self) -> dict[Kind, int]:
        """Return the number of all cases of each kind."""
        return {kind: sum(len(cases) for (each, _), cases in self.cases.items() if each == kind) for kind in KINDS}

    def in_turn(self) -> Iterator[Case]:
        """Yield the worst case of each kind and class, then the second of each, and so on."""
        longest = max(map(len, self.cases.values()), default=0)
        for rank in range(longest):
            yield from (cases[rank] for cases in self.cases.values() if rank < len(cases))


def find_cases(run: EvaluatedRun) -> Gallery:
    """Find the cases of a run at the thresholds of its classes, matched at IoU 0.5 by the rule of `evaluate_voc`.

    False alarms: the highest score first; misses: the largest object first; hits: the lowest score first.
    """
    images, classes = run.dataset.images, range(1, len(run.classes) + 1)
    cases: dict[tuple[Kind, int], list[Case]] = {(kind, label): [] for kind in KINDS for label in classes}
    found_objects: set[tuple[int, int]] = set()
    state = [np.full((2, len(found)), -1) for found in run.detections]  # object found, and 1 if ignored
    for label, one in zip(classes, run.matches, strict=True):
        outcomes, scores = np.zeros_like(one.detections), run.scores_of(one)
        outcomes[~one.ignored] = run.diagnosis.classes[run.classes[label - 1]].outcomes
        kept = (scores >= run.thresholds[label - 1].numpy()) & ~one.ignored
        columns = (one.images, one.detections, one.objects, one.correct, one.ignored, kept, outcomes, scores)
        for i, d, thing, correct, ignored, above, outcome, score in zip(*(c.tolist() for c in columns), strict=True):
            state[i][:, d] = thing if correct else -1, ignored
            if above:
                kind: Kind = "hit" if correct else "false alarm"
                box, error = corners(run.detections[i].boxes[d].tolist()), "" if correct else OUTCOMES[outcome]
                cases[kind, label].append(Case(kind, i, label, box, score, error))
                if correct:
                    found_objects.add((i, thing))
    for i, image in enumerate(images):
        for m, (label, difficult) in enumerate(zip(image.labels.tolist(), image.difficult.tolist(), strict=True)):
            if not difficult and (i, m) not in found_objects:
                cases["miss", label].append(Case("miss", i, label, corners(image.boxes[m].tolist()), None))
    for each in cases.values():
        each.sort(key=lambda case: case.rank)
    return Gallery(cases, [_draw(run, i, state[i]) for i in range(len(images))])


def corners(box: Sequence[float]) -> Corners:
    """Return a box as numbers rounded to tenths of a pixel."""
    x1, y1, x2, y2 = (round(float(value), 1) for value in box)
    return x1, y1, x2, y2


def _draw(run: EvaluatedRun, i: int, state: np.ndarray) -> list[Drawn]:
    """Return the detections to draw: all kept or correct ones, and the best of the others."""
    found, scores = run.detections[i], run.shown[i].numpy()
    margins = scores - run.thresholds[found.labels - 1].numpy()
    needed = run.kept[i].numpy() | (state[0] >= 0)
    order = np.lexsort((-margins, ~needed))[: max(OTHERS, int(needed.sum()))]
    order = order[np.argsort(-scores[order], kind="stable")]
    boxes, labels = found.boxes.tolist(), found.labels.tolist()
    return [
        Drawn(corners(boxes[d]), labels[d], float(scores[d]), int(state[0, d]), state[1, d] == 1)
        for d in order.tolist()
    ]
