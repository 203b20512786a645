"""Answers to the page: records as JSON, and long ones as JSON followed by arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from sppdet import __version__
from sppdet.app.session import SPLITS, Found, Model, Picture
from sppdet.classification.classifier import Classifier
from sppdet.classification.views import prepare_views
from sppdet.config.classification import ViewKind, ViewsConfig
from sppdet.detector import Detector
from sppdet.files.atomic import json_ready
from sppdet.images import resize_array, to_array
from sppdet.postprocess import minimum_score
from sppdet.proposals.selective_search import Node
from sppdet.wording import printable

SHOWN_SIDE = 1600  # longest side of the picture that the page shows, in pixels
QUALITY = 92
LISTED = 20_000  # names of images


def to_json(value: Any) -> bytes:
    """Return JSON in ASCII, whatever the names are; what is not finite becomes null."""
    return json.dumps(json_ready(value), allow_nan=False, separators=(",", ":")).encode()


def pack(header: Mapping[str, Any], arrays: Mapping[str, Tensor | np.ndarray]) -> bytes:
    """Return a header with arrays float32 or int32: uint32 length of the JSON, the JSON, then each array's bytes.

    `arrays` of the JSON has name, dtype and shape of each. Lengths are multiples of 4, numbers little-endian.
    """
    blocks, places = list[bytes](), list[dict[str, Any]]()
    for name, values in arrays.items():
        array = values.cpu().numpy() if isinstance(values, Tensor) else values
        dtype = "<f4" if array.dtype.kind == "f" else "<i4"
        places.append({"name": name, "dtype": dtype[1:], "shape": list(array.shape)})
        blocks.append(np.ascontiguousarray(array, dtype).tobytes())
    text = to_json({**header, "arrays": places})
    text += b" " * (-len(text) % 4)
    return b"".join([len(text).to_bytes(4, "little"), text, *blocks])


def describe_models(models: list[Model], most_bytes: int) -> dict[str, Any]:
    """Return everything that the page has to know before the first picture."""
    return {"version": __version__, "most_bytes": most_bytes, "runs": [_describe_model(one) for one in models]}


def _describe_model(model: Model) -> dict[str, Any]:
    network = model.network
    values = {
        "name": printable(model.name),
        "kind": "detector" if isinstance(network, Detector) else "classifier",
        "classes": [printable(name) for name in network.classes],
        "splits": list(SPLITS) if model.read else [],
    }
    if isinstance(network, Classifier):
        return values
    selection = network.config.selection
    return values | {
        "network": network.config.backbone.name,
        "features": network.config.features,
        "head": network.heads.kind,
        "calibrated": network.calibration is not None,
        "thresholds": network.thresholds.tolist(),
        "lowest": minimum_score(selection, network.heads.kind),
        "nms_iou": selection.nms_iou,
        "vote_iou": selection.vote_iou,
        "max_per_class": selection.max_per_class,
    }


def describe_split(model: Model, split: str) -> dict[str, Any]:
    """Return the names of the first images of a split, in their order."""
    images = model.split(split).images
    return {"names": [printable(str(image.id)) for image in images[:LISTED]], "images": len(images)}


def describe_picture(picture: Picture) -> dict[str, Any]:
    """Return id and size of a picture, and its objects if they are known."""
    height, width = picture.size
    values = {"image": picture.id, "width": width, "height": height, "truth": None}
    if picture.truth is not None:
        truth = picture.truth
        rows = zip(truth.boxes.tolist(), truth.labels.tolist(), truth.difficult.tolist(), strict=True)
        values["truth"] = [{"box": box, "label": label, "difficult": hard} for box, label, hard in rows]
    return values


def encode_picture(picture: Picture) -> bytes:
    """Return a JPEG of the picture, made smaller if it is large."""
    array = to_array(picture.pixels)
    ratio = min(1.0, SHOWN_SIDE / max(picture.size))
    if ratio < 1:
        array = resize_array(array, *(max(1, round(side * ratio)) for side in picture.size))
    _, data = cv2.imencode(".jpg", array[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def pack_found(found: Found, detector: Detector) -> bytes:
    """Return proposals, and candidates best score first, of equal scores the first region's."""
    boxes, labels, scores, regions = found.candidates
    order = scores.argsort(descending=True, stable=True)  # as in NMS
    arrays = {
        "proposals": found.proposals,
        "boxes": boxes[order],
        "labels": labels[order],
        "scores": scores[order],
        "regions": regions[order],
    }
    if detector.calibration is not None:
        arrays["probabilities"] = detector.calibration.probabilities(arrays["scores"], arrays["labels"])
    return pack({"seconds": found.seconds}, arrays)


def pack_tree(node: Node, picture: Picture) -> bytes:
    """Return a node's hierarchy: boxes (2n−1, 4) in pixels of the picture, parents (2n−1,), labels (h, w) of the
    searched image, and the node."""
    hierarchy, index = node
    rows, columns = hierarchy.labels.shape
    height, width = picture.size
    boxes = hierarchy.boxes * np.array([width / columns, height / rows, width / columns, height / rows])
    arrays = {"boxes": boxes, "parents": hierarchy.parents(), "labels": hierarchy.labels}
    return pack({"node": int(index), "origin": hierarchy.origin}, arrays)


def describe_views(classifier: Classifier, picture: Picture, kind: ViewKind | None) -> dict[str, Any]:
    """Return the place and the probabilities of each view of a picture, and their mean.

    box: x1 y1 x2 y2, fractions of the picture's width and height. size: height and width of the resized image.
    """
    config = ViewsConfig(kind)
    scores = classifier.score_views(picture.pixels, config).cpu()
    views = []
    for pixels, boxes in prepare_views(picture.pixels, config, classifier.config):
        height, width = pixels.shape[2:]
        whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        if boxes is not None:
            places = boxes / torch.tensor([width, height, width, height])
        else:
            places = _square(*picture.size) if (kind or classifier.config.view) == "crop" else whole
        for mirrored in range(len(pixels)):
            flipped = places[:, [2, 1, 0, 3]] * torch.tensor([-1.0, 1, -1, 1]) + torch.tensor([1.0, 0, 1, 0])
            for box in (flipped if mirrored else places).tolist():
                views.append({"box": box, "size": [height, width], "mirrored": bool(mirrored)})
    rows = [view | {"probabilities": row} for view, row in zip(views, scores.tolist(), strict=True)]
    return {"views": rows, "probabilities": scores.mean(dim=0).tolist()}


def _square(height: int, width: int) -> Tensor:
    """Return the square in the middle, x1 y1 x2 y2 in fractions of the image, (1, 4)."""
    side = min(height, width)
    x, y = (1 - side / width) / 2, (1 - side / height) / 2
    return torch.tensor([[x, y, 1 - x, 1 - y]])
