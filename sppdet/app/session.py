"""The state of the page: the networks that were loaded, and the last pictures with what was computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeVar

import torch
from torch import Tensor

from sppdet.boxes import box_iou
from sppdet.classification.classifier import Classifier
from sppdet.config.detector import FeatureKind
from sppdet.detector import Detector
from sppdet.encoded import EncodedImage
from sppdet.errors import ConfigError, ImageError, InputError
from sppdet.images import read_image
from sppdet.postprocess import Candidates
from sppdet.proposals.selective_search import Node, search_nodes
from sppdet.runtime.stopwatch import Stage, Stopwatch, stage
from sppdet.structures import Annotations, Dataset

T = TypeVar("T")
Network = TypeVar("Network", Detector, Classifier)

MOST_PICTURES = 6
MOST_PIXELS = 64_000_000  # of all pictures that are kept, unless the last alone has more
SPLITS = ("test", "val", "train")
REPORT_EVERY = 0.04  # seconds between the reports of a race
RACERS: dict[str, FeatureKind] = {"SPPnet": "spp", "R-CNN": "crop"}


@dataclass(eq=False)
class Model:
    """A run: its name, its network, and a function that reads a split of its data, if they are known."""

    name: str
    network: Detector | Classifier
    read: Callable[[str], Dataset] | None = None
    splits: dict[str, Dataset] = field(default_factory=dict)

    def split(self, name: str) -> Dataset:
        """Return a split of the data, read once. Raises ConfigError or DataError if there is none."""
        if self.read is None or name not in SPLITS:
            raise ConfigError("no such data", field="split", expected=SPLITS if self.read else (), got=name)
        if name not in self.splits:
            self.splits[name] = self.read(name)
        return self.splits[name]


@dataclass(eq=False)
class Picture:
    """An image uint8 (3, H, W), its annotations if it is one of a data set, and what was computed from it."""

    id: str
    pixels: Tensor
    truth: Annotations | None = None
    computed: dict[Any, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[2]

    def compute(self, key: object, function: Callable[[], T]) -> T:
        """Return the result of a function, computed once for each key."""
        if key not in self.computed:
            self.computed[key] = function()
        result: T = self.computed[key]
        return result


@dataclass(frozen=True, eq=False)
class Found:
    """What one detector makes of one picture. seconds: of each stage."""

    proposals: Tensor
    encoded: EncodedImage
    candidates: Candidates
    seconds: dict[str, float]


class LiveStopwatch(Stopwatch):
    """A stopwatch that reports the seconds of all stages whenever one ends, but not too often."""

    def __init__(self, racer: str, report: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._racer, self._report, self._last = racer, report, perf_counter()

    @contextmanager
    def time(self, name: Stage) -> Iterator[None]:
        with super().time(name):
            yield
        if perf_counter() - self._last > REPORT_EVERY:
            self._report({"racer": self._racer, "seconds": dict(self.seconds)})
            self._last = perf_counter()


class Session:
    """Everything that the page asks for. One thread at a time calls its methods; others may look up a picture."""

    def __init__(self, models: list[Model]) -> None:
        self.models = models
        self.pictures: dict[str, Picture] = {}  # the oldest first
        self._racers: dict[tuple[int, str], Detector] = {}
        self._count = 0

    def model(self, run: int, kind: type[Network]) -> Network:
        """Return the network of a run. Raises InputError if it is of another kind."""
        network = self.models[run].network
        if not isinstance(network, kind):
            raise InputError(f"is no {kind.__name__.lower()}", field="run", got=self.models[run].name)
        return network

    def picture(self, id: str) -> Picture:
        """Return a picture. Raises InputError if it is not kept any more."""
        picture = self.pictures.get(id)
        if picture is None:
            raise InputError("is not kept any more: choose it again", field="image")
        return picture

    def add(self, data: bytes) -> Picture:
        """Keep the picture in the bytes of an image file. Raises ImageError."""
        with TemporaryDirectory(prefix="sppdet-app-") as folder:
            file = Path(folder) / "upload"
            file.write_bytes(data)
            try:
                return self._keep(read_image(file))
            except ImageError as error:  # the place of the file says nothing
                reason = error.message.replace(f" {str(file)!r}", "")
                raise ImageError(reason, file="the image", expected=error.expected, got=error.got) from None

    def add_from(self, run: int, split: str, index: int) -> Picture:
        """Keep a picture of a run's data. Raises InputError for an index that is none, and what reading raises."""
        images = self.models[run].split(split).images
        if not 0 <= index < len(images):
            raise InputError("no such image", field="index", expected=f"0..{len(images) - 1}", got=index)
        return self._keep(images[index].read(), images[index])

    def _keep(self, pixels: Tensor, truth: Annotations | None = None) -> Picture:
        self._count += 1
        picture = Picture(str(self._count), pixels, truth)
        self.pictures[picture.id] = picture
        while len(self.pictures) > MOST_PICTURES or (len(self.pictures) > 1 and self._pixels() > MOST_PIXELS):
            del self.pictures[next(iter(self.pictures))]
        return picture

    def _pixels(self) -> int:
        return sum(picture.pixels[0].numel() for picture in self.pictures.values())

    def find(self, id: str, run: int) -> Found:
        """Return what a detector makes of a picture."""
        picture, detector = self.picture(id), self.model(run, Detector)

        def compute() -> Found:
            proposals, _, seconds = self._search(picture, detector)
            with Stopwatch() as clock:
                encoded = detector.encode(picture.pixels)
                return Found(proposals, encoded, encoded.candidates(proposals), {**seconds, **clock.seconds})

        return picture.compute(("found", run), compute)

    def node(self, id: str, run: int, box: Tensor) -> Node:
        """Return the node of the proposal that overlaps the box float32 (4,) most."""
        proposals, nodes, _ = self._search(self.picture(id), self.model(run, Detector))
        return nodes[int(box_iou(box[None], proposals)[0].argmax())]

    def _search(self, picture: Picture, detector: Detector) -> tuple[Tensor, list[Node], dict[str, float]]:
        """Return proposals, their nodes, and the seconds of the search, which is done once for all detectors."""
        config = replace(detector.config.proposals, file=None)  # those of another program are of other images

        def compute() -> tuple[Tensor, list[Node], dict[str, float]]:
            with Stopwatch() as clock, stage("proposals"):
                found = search_nodes(picture.pixels, config)
            return *found, dict(clock.seconds)

        return picture.compute(repr(config), compute)

    def race(self, id: str, run: int, regions: int, report: Callable[[dict[str, Any]], None]) -> None:
        """Detect as SPPnet and as R-CNN, with the same heads and the same first proposals, and report the seconds.

        Each event has `racer` and `seconds` by stage; the last of a racer has `detections` as well. A report may raise
        to end the race. Raises ConfigError if the features of the two are not of one length.
        """
        picture, detector = self.picture(id), self.model(run, Detector)
        proposals = self._search(picture, detector)[0][:regions]
        racers = {name: self._racer(run, detector, kind) for name, kind in RACERS.items()}
        for racer in racers.values():  # the first call compiles and allocates
            racer.detect(picture.pixels, proposals[:1])
        report({"regions": len(proposals)})
        for name, racer in racers.items():
            with LiveStopwatch(name, report) as clock:
                detections = racer.detect(picture.pixels, proposals).above(detector.thresholds)
            report({"racer": name, "seconds": dict(clock.seconds), "detections": len(detections)})

    def _racer(self, run: int, detector: Detector, kind: FeatureKind) -> Detector:
        if (run, kind) not in self._racers:
            same = detector.config.features == kind
            self._racers[run, kind] = detector if same else detector.with_features(kind)
        return self._racers[run, kind]

    def evidence(self, id: str, run: int, box: Tensor, label: int | None) -> dict[str, Any]:
        """Return the scores of a box for all classes and where that of one comes from, by default the best.

        `evidence` is None, and `reason` says why, for detectors with fully connected layers.
        """
        detector, found = self.model(run, Detector), self.find(id, run)
        scores = found.encoded.score(box[None])[0].cpu()
        if label is None:
            label = int((scores - detector.thresholds.cpu()).argmax()) + 1
        labels, calibration = torch.arange(1, len(scores) + 1), detector.calibration
        probabilities = None if calibration is None else calibration.probabilities(scores, labels).tolist()
        values = {"box": box.tolist(), "label": label, "scores": scores.tolist(), "probabilities": probabilities}
        try:
            return values | {"evidence": found.encoded.evidence(box, label).as_dict(), "reason": None}
        except ConfigError as error:
            return values | {"evidence": None, "reason": error.message}
