"""Detectors with fully connected layers next to a lower bound of their time on this machine: the bare network, the bare
matrix products and a copy of the pooled features."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from benchmark.measure import Ratios, Timing, clocked, take_staged_turns
from benchmark.scenes import Scene, random_detector, time_stages
from sppdet.backbones.fully_connected import FullyConnected
from sppdet.comparison.throughput import with_best_batch
from sppdet.config.network import Device
from sppdet.detector import Detector
from sppdet.features.build import build_extractor
from sppdet.features.crop import CropExtractor, warp_crops
from sppdet.images import resize_shorter_side, to_array

BACKBONE = "alexnet"
DEPTH = 2  # fully connected layers, of 4,096
RANKS = (1024, 256)  # Fast R-CNN's
CROPS = 200

MODES = ("spp", "spp truncated", "crop", "crop truncated")
RATIOS: Ratios = {f"ratio_of_bound_{mode.replace(' ', '_')}": (f"bound {mode}", f"sppdet {mode}") for mode in MODES}

Stages = dict[str, dict[str, float]]  # median seconds by contestant and stage


def time_bounds(scene: Scene, rounds: int, device: Device) -> tuple[dict[str, Timing], Stages]:
    """Time both modes without proposals and NMS, with and without truncated SVD, and their bounds. R-CNN mode gets
    CROPS crops. Return the timings of the sums, and the medians of all stages."""
    spp = random_detector(scene, BACKBONE, DEPTH, device)
    crop = with_best_batch(spp.with_features("crop"))
    few = scene.first(CROPS)
    given = ((spp, scene), (as_truncated(spp), scene), (crop, few), (as_truncated(crop), few))
    runs: dict[str, Callable[[int], Mapping[str, float]]] = {}
    for mode, (detector, part) in zip(MODES, given, strict=True):
        runs[f"sppdet {mode}"] = partial(time_without_nms, detector, part)
        runs[f"bound {mode}"] = bound_run(detector, part)
    sums, stages = take_staged_turns(runs, rounds, f"{BACKBONE}, bounds")
    return sums, {name: {stage: timing.median for stage, timing in by.items()} for name, by in stages.items()}


def as_truncated(detector: Detector) -> Detector:
    """Return the detector with random layers of the shapes of `detector.truncated(RANKS)`, whose decomposition would
    take a minute."""
    assert detector.layers is not None
    layers = [
        (nn.Linear(layer[0].in_features, rank, bias=False), nn.Linear(rank, layer[-1].out_features))
        for layer, rank in zip(detector.layers.linears, RANKS, strict=True)
    ]
    extractor = build_extractor(detector.config, detector.backbone, FullyConnected(layers))
    return Detector(detector.config, detector.classes, extractor, detector.heads)


def time_without_nms(detector: Detector, scene: Scene, _turn: int) -> dict[str, float]:
    stages = time_stages(detector, scene)
    del stages["nms"]
    return stages


def bound_run(detector: Detector, scene: Scene) -> Callable[[int], Mapping[str, float]]:
    """Contestant: the bare network on the detector's own input, the bare products of its matrices with as many rows,
    and a copy of the pooled features."""
    extractor = detector.extractor
    assert detector.layers is not None
    inputs = prepare_inputs(detector, scene)
    distinct, _ = extractor.encode(scene.image).unique_windows(scene.boxes)
    pooled = torch.rand(len(distinct), extractor.pooled_dimension, device=extractor.backbone.device)
    copy = torch.empty_like(pooled)
    linears = [linear.weight for layer in detector.layers.linears for linear in layer]
    weights = [weight.T for weight in (*linears, detector.heads.weight)]

    def multiply() -> Tensor:
        rows = pooled
        for weight in weights:
            rows = torch.mm(rows, weight)
        return rows

    work = {"conv": lambda: [extractor.backbone(pixels) for pixels in inputs], "products": multiply}

    def run(turn: int) -> dict[str, float]:
        with torch.inference_mode():
            seconds = {stage: clocked(do)(turn) for stage, do in work.items()}
            return seconds | {"copy": clocked(lambda: copy.copy_(pooled))(turn)}

    return run


def prepare_inputs(detector: Detector, scene: Scene) -> list[Tensor]:
    """Prepare the input of the network: the resized image, or batches of crops."""
    extractor, backbone = detector.extractor, detector.backbone
    if isinstance(extractor, CropExtractor):
        array = to_array(scene.image)
        batches = scene.boxes.split(extractor.config.batch_size)
        return [warp_crops(array, batch, extractor.config, backbone) for batch in batches]
    return [backbone.normalize(resize_shorter_side(scene.image, detector.config.spp.scales[0])[None])]
