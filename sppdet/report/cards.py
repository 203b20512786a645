"""The pictures of the page: cards of single cases and doubts, and images with the boxes of each run."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from sppdet.drawing.tables import percent
from sppdet.report.data import EvaluatedRun, ReportData
from sppdet.report.gallery import Corners, Gallery, corners, find_cases
from sppdet.report.thumbnails import Thumbnails

RANKS = 12  # cases of a kind and class at most
CASES = 300  # cases of all runs at most
DOUBTS = 24
PAIRS = 24  # images with two runs side by side
BOXES = 10_000  # drawn on all images; an image that has no room for all of its own is left out


def make_cards(data: ReportData, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return the page's pictures; those that there is no room for, or that cannot be read, are left out.

    cases, doubts: cards. pairs: images in which the runs differ most. layers: the boxes of each run and image.
    counts: numbers of the cases of each run by kind.
    """
    galleries = [find_cases(run) for run in data.runs]
    room, every = _Room(data, galleries, thumbnails), range(len(galleries))
    differing = _most_different(galleries)[:PAIRS] if len(galleries) > 1 else []
    pairs = [i for i in differing if all(room.take(number, i) for number in every)]
    doubts, cases = [], []
    for doubt, box, label, score in islice(data.runs[0].doubts, DOUBTS):
        if room.take(0, doubt.image):
            card = _card(data, 0, doubt.image, label, corners(box.tolist()), score)
            doubted = None if doubt.object is None else int(data.dataset.images[doubt.image].labels[doubt.object])
            doubts.append(card | {"kind": doubt.kind, "labeled": doubted and data.dataset.classes[doubted - 1]})
    for number, gallery in enumerate(galleries):
        made = 0
        for case in islice(gallery.in_turn(), RANKS * len(gallery.cases)):
            if made < CASES // len(galleries) and room.take(number, case.image):
                card = _card(data, number, case.image, case.label, case.box, case.score)
                cases.append(card | {"kind": case.kind, "error": case.error, "rank": made})
                made += 1
    layers = [_layer(data.runs[run], run, i, galleries[run]) for run, i in sorted(room.taken)]
    ids = {i: str(data.dataset.images[i].id) for i in pairs}
    return {
        "cases": cases,
        "doubts": doubts,
        "pairs": [{"image": i, "id": ids[i]} for i in pairs],
        "layers": layers,
        "counts": [gallery.counts() for gallery in galleries],
    }


class _Room:
    """The room for images with the boxes of a run, up to BOXES boxes. taken: run and image of those that have it."""

    def __init__(self, data: ReportData, galleries: Sequence[Gallery], thumbnails: Thumbnails) -> None:
        self._images, self._galleries, self._thumbnails = data.dataset.images, galleries, thumbnails
        self._left = BOXES
        self.taken: set[tuple[int, int]] = set()

    def take(self, run: int, i: int) -> bool:
        """Return True if the image can be shown with the boxes of this run."""
        if (run, i) not in self.taken:
            boxes = len(self._galleries[run].drawn[i]) + len(self._images[i].boxes)
            if boxes > self._left or not self._thumbnails.get(i):
                return False
            self._left -= boxes
            self.taken.add((run, i))
        return True


def _card(data: ReportData, run: int, image: int, label: int, box: Corners, score: float | None) -> dict[str, Any]:
    shown = "" if score is None else show_score(data.runs[run], score)
    name = data.dataset.classes[label - 1]
    values = {"run": run, "image": image, "label": label, "class": name, "box": box, "score": score, "shown": shown}
    return values | {"id": str(data.dataset.images[image].id)}


def show_score(run: EvaluatedRun, score: float) -> str:
    """Return a score as text: a probability in percent."""
    return f"{score:.0%}" if run.probabilities else f"{score:z.2f}"


def _layer(run: EvaluatedRun, number: int, i: int, gallery: Gallery) -> dict[str, Any]:
    """Return the objects and detections of an image, in pixels of the image."""
    image, drawn = run.dataset.images[i], gallery.drawn[i]
    names = run.classes
    kept = [one.score >= float(run.thresholds[one.label - 1]) for one in drawn]
    found = {one.object for one, above in zip(drawn, kept, strict=True) if above}
    truth = zip(image.boxes.tolist(), image.labels.tolist(), image.difficult.tolist(), strict=True)
    return {
        "run": number,
        "image": i,
        "truth": [
            {"box": corners(box), "class": names[label - 1], "label": label, "object": m, "difficult": difficult}
            | {"missed": not difficult and m not in found}
            for m, (box, label, difficult) in enumerate(truth)
        ],
        "detections": [
            {"box": one.box, "class": names[one.label - 1], "label": one.label, "score": one.score}
            | {"shown": show_score(run, one.score), "object": one.object, "ignored": one.ignored, "kept": above}
            for one, above in zip(drawn, kept, strict=True)
        ],
    }


def _most_different(galleries: Sequence[Gallery]) -> list[int]:
    """Return the images by the number of objects that only one of the first two runs misses, most first."""
    missed = [
        {(case.image, case.label, case.box) for case in one.in_turn() if case.kind == "miss"} for one in galleries[:2]
    ]
    differences = Counter(image for image, _, _ in missed[0] ^ missed[1])
    return sorted(differences, key=lambda image: (-differences[image], image))


def headline(run: EvaluatedRun) -> list[str]:
    """Return the cells of a run in the table of mAPs; "-" for numbers that its evaluation lacks."""
    numbers = run.evaluation
    cells = []
    for key in ("map_voc07", "map_area"):
        low, high = (numbers.get("interval") or {}).get(key) or (None, None)
        between = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
        cells.append(f"{percent(numbers.get(key))}{between}")
    return [*cells, *(percent((numbers.get("coco") or {}).get(key)) for key in ("AP", "AP50", "AP75"))]
