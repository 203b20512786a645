"""A detector as one graph of ONNX: backbone, pyramid, heads and box regression, without resizing and NMS.

inputs: `image` uint8 (3, h, w) RGB, resized to a shorter side of `shorter_side` pixels; `proposals` float32 (N, 4) and
`size` int64 (2,), the height and width, both of the original image.
outputs: `boxes` float32 (N, K, 4), moved by box regression and clipped, in pixels of the original image; `scores`
float32 (N, K), without background.
h, w and N are free. The metadata, each JSON, are `classes`, `shorter_side`, `min_score`, `nms_iou`, `max_per_class` and
`thresholds` (per class, from which detections are worth drawing).
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn

from sppdet.backbones.backbone import as_maps
from sppdet.detector import Detector
from sppdet.errors import ConfigError, SppdetError
from sppdet.features.spp import RoIAlignExtractor, SPPExtractor
from sppdet.files.durable import write_atomically
from sppdet.images import normalize, resize_shorter_side
from sppdet.pooling.export import gather_windows
from sppdet.pooling.windows import doubles
from sppdet.postprocess import minimum_score, move_boxes

logger = logging.getLogger(__name__)

INPUTS, OUTPUTS = ("image", "proposals", "size"), ("boxes", "scores")
FREE = ({1: "height", 2: "width"}, {0: "regions"}, None)  # axes of the inputs whose lengths are free
LARGEST_FILE = (1 << 31) - (1 << 20)  # bytes; those of protobuf end at 2 GiB
TOLERANCE = 1e-3  # of the largest score; half precision, to which maps are rounded, has 5e-4


class DetectorGraph(nn.Module):
    """A detector as a function of tensors, which `torch.onnx.export` takes. side: shorter side of its images.

    Raises ConfigError for a detector that cannot be exported.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector, self.extractor = detector, _check(detector)
        (self.side,) = self.extractor.config.scales

    def forward(self, image: Tensor, proposals: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Compute boxes (N, K, 4) and scores (N, K)."""
        extractor, backbone, heads = self.extractor, self.extractor.backbone, self.detector.heads
        maps = as_maps(backbone.layers(normalize(image[None], backbone.mean, backbone.std)))
        ratios = doubles((image.shape[2], image.shape[1]), image.device) / size.flip(0)
        pooled = []
        for one, geometry, form in zip(maps, backbone.geometries, extractor.pooling.forms, strict=True):
            windows = extractor.find_windows(proposals, ratios, geometry, one.shape[2:])
            pooled.append(gather_windows(one.half().float(), windows, form.levels))
        features = extractor.apply_layers(extractor.pooling.join(pooled))
        boxes, scores = move_boxes(heads, heads(features), proposals)
        return torch.minimum(boxes.clamp(min=0), size.flip(0).repeat(2).to(boxes.dtype)), scores

    def example(self, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a random image, the same resized, proposals and its size."""
        generator = torch.Generator().manual_seed(0)
        image = torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)
        corners = torch.rand(2, 100, 2, generator=generator) * torch.tensor([width, height])
        proposals = torch.cat([corners.amin(0).floor(), corners.amax(0).floor() + 1], dim=1)
        return image, resize_shorter_side(image, self.side), proposals, torch.tensor([height, width])


def export_detector(detector: Detector, path: str | PathLike[str]) -> float:
    """Write a detector on the CPU, in fp32, as an ONNX file with its weights in it, atomically.

    Returns the largest difference of the scores of onnxruntime from those of torch on a random image. Raises
    ConfigError for a detector that cannot be exported, and SppdetError if the difference is more than rounding.
    """
    graph = DetectorGraph(detector)
    logger.info("exporting; this takes up to a minute")
    content = _build(graph).SerializeToString()
    difference = _measure_difference(graph, content)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return difference


def _check(detector: Detector) -> SPPExtractor:
    config, extractor = detector.config, detector.extractor
    reason = "cannot be exported to ONNX"
    if not isinstance(extractor, SPPExtractor) or isinstance(extractor, RoIAlignExtractor):
        raise ConfigError(reason, field="features", expected="spp or roi_pool", got=config.features)
    if config.pyramid.mode != "max":
        raise ConfigError(reason, field="pyramid.mode", expected="max", got=config.pyramid.mode)
    if len(extractor.config.scales) > 1:
        raise ConfigError(reason, field="spp.scales", expected="one scale", got=list(extractor.config.scales))
    if config.mirror:
        raise ConfigError(reason, field="mirror", expected=False, got=True)
    if detector.backbone.precision != "fp32" or detector.backbone.device.type != "cpu":
        got = f"{detector.backbone.precision}, {detector.backbone.device.type}"
        raise ConfigError(reason, field="precision, device", expected="fp32, cpu", got=got)
    size = sum(tensor.nbytes for tensor in detector.state_dict().values())
    if size > LARGEST_FILE:
        raise ConfigError(reason, field="weights", expected="up to 2 GiB, as one file of ONNX", got=f"{size} bytes")
    return extractor


def _build(graph: DetectorGraph) -> Any:
    """Return a checked onnx.ModelProto."""
    import onnx

    detector, (_, *inputs) = graph.detector, graph.example(160, 200)
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            graph.eval(),
            tuple(inputs),
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=FREE,
        )
    assert program is not None
    model = program.model_proto
    selection = detector.config.selection
    metadata = {
        "classes": detector.classes,
        "shorter_side": graph.side,
        "min_score": minimum_score(selection, detector.heads.kind),
        "nms_iou": selection.nms_iou,
        "max_per_class": selection.max_per_class,
        "thresholds": detector.thresholds.tolist(),
    }
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in metadata.items()})
    model.producer_name, model.doc_string = "sppdet", __doc__
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of its own code, and of equations that it cannot solve, which does no harm."""
    solver = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = solver.level
    solver.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        solver.setLevel(level)


def _measure_difference(graph: DetectorGraph, content: bytes) -> float:
    import onnxruntime

    image, *inputs = graph.example(120, 90)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    given = {name: tensor.numpy() for name, tensor in zip(INPUTS, inputs, strict=True)}
    scores = torch.from_numpy(session.run(["scores"], given)[0])
    expected = graph.detector.encode(image).score(inputs[1])
    difference = float((scores - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
        raise SppdetError(f"the exported graph gives other scores ({versions})", field="scores", got=difference)
    return difference
