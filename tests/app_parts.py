"""What the tests of the page share: networks with random weights, pictures, and the reading of answers."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from factories import CLASSES, TINY, random_detector, random_image
from PIL import Image

from sppdet.app.session import Model
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.config.classification import ClassifierConfig
from sppdet.config.detector import SelectionConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.detector import Detector
from sppdet.heads.calibration import Calibration
from sppdet.images import to_array
from sppdet.structures import Annotations, Dataset

TOKEN = "secret-for-tests"
HOSTILE = ("<img src=x onerror=alert(1)>", "a\x1b[31m\u202eb", "half \ud800")
SPP, FC, CLASSIFIER, NAMED = range(4)


def make_detector(**selection: Any) -> Detector:
    detector = random_detector(replace(TINY, selection=SelectionConfig(min_score=-1.0, **selection)))
    knots = torch.tensor([[[0.0, -0.5], [0.5, 1.0]]] * len(CLASSES), dtype=torch.float64)
    detector.calibration = Calibration(knots, torch.full((len(CLASSES),), 2.0, dtype=torch.float64))
    return detector


def make_classifier() -> Classifier:
    torch.manual_seed(0)
    config = ClassifierConfig(BackboneConfig("shapenet", "random"), PyramidConfig((3, 1)), sizes=(32,))
    return new_classifier(config, ("a", "b"))


def png(height: int = 60, width: int = 80, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(to_array(random_image(height, width, seed))).save(file, "PNG")
    return file.getvalue()


def make_models() -> list[Model]:
    """A detector as SPPnet with data, one with a layer, a classifier, and one with hostile names; random weights."""
    truth = torch.tensor([[10.0, 10, 40, 40]])
    images = tuple(Annotations(random_image(50, 70, k), truth, torch.tensor([2]), id=f"<{k}>") for k in range(3))
    sets = {"val": Dataset("val", CLASSES, images)}
    layered = Detector(replace(TINY, fc=FCConfig(1, 8)), CLASSES)
    return [
        Model("spp", make_detector(vote_iou=0.5), sets.__getitem__),
        Model("layered", layered),
        Model("classifier", make_classifier()),
        Model("<script>", Detector(TINY, HOSTILE)),
    ]


def unpack(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:4], "little")
    header, place = json.loads(data[4 : 4 + length]), 4 + length
    for each in header["arrays"]:
        count = int(np.prod(each["shape"]))
        header[each["name"]] = np.frombuffer(data, f"<{each['dtype']}", count, place).reshape(each["shape"])
        place += 4 * count
    assert place == len(data)
    return header
