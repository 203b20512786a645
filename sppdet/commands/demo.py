"""The whole path on generated images, without a network: train SPPnet and R-CNN, evaluate, compare, draw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sppdet.commands.compare import compare
from sppdet.commands.detect import above_threshold
from sppdet.commands.evaluate import evaluate
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, SPPConfig
from sppdet.config.network import BackboneConfig, Device, NetworkConfig, Precision
from sppdet.config.training import SVMConfig, TrainConfig
from sppdet.data.voc import read_voc
from sppdet.detector import Detector
from sppdet.drawing.detections import draw_detections, write_picture
from sppdet.files.atomic import write_json
from sppdet.images import as_image, resize_array, to_array
from sppdet.proposals.cache import propose
from sppdet.runtime.machine import find_device
from sppdet.shapes.dataset import generate_shapes
from sppdet.shapes.pretrain import Pretraining, pretrain
from sppdet.structures import Detections
from sppdet.training.train import train

TRAIN_IMAGES, TEST_IMAGES = 200, 100
PROPOSALS = 120
TIMED_IMAGES = 10
PICTURES = 6
SHEET_WIDTH, GUTTER = 1500, 12  # of the pictures, drawn larger than they are: the letters would be small


def run_demo(
    output: str, seed: int = 0, device: Device = "cpu", precision: Precision = "fp32", workers: int = 2
) -> dict[str, Any]:
    """Run everything into the folder `output`; what an earlier run finished there is not done again.

    Returns `spp` and `rcnn` (each with map_voc07, map_area, run), `speedup` (conv, without_proposals, total),
    `seconds` and `files`. Also written to demo.json.
    """
    start = time.perf_counter()
    folder = Path(output)
    find_device(device)  # before anything is made
    data = DataConfig(root=str(generate_shapes(folder / f"shapes-{seed}", seed, train=TRAIN_IMAGES, test=TEST_IMAGES)))
    weights = folder / f"shapenet-{seed}.safetensors"
    network = NetworkConfig(BackboneConfig("shapenet", "random"))
    if not weights.is_file():
        state = folder / f"pretraining-{seed}.safetensors"
        pretrain(network, read_voc(data.root, "trainval"), Pretraining(), seed, state, device).save(weights)
        state.unlink()
    spp = TrainConfig(
        features="spp",
        data=data,
        backbone=BackboneConfig("shapenet", str(weights)),
        proposals=ProposalConfig(width=None, min_side=15, limit=PROPOSALS),
        pyramid=network.pyramid,
        spp=SPPConfig(scales=(288,)),
        crop=CropConfig(size=72, context=8, batch_size=32),
        svm=SVMConfig(C=0.01),
        output=str(folder / f"spp-{seed}"),
        device=device,
        precision=precision,
        workers=workers,
        seed=seed,
    )
    rcnn = replace(spp, features="crop", output=str(folder / f"rcnn-{seed}"))
    test = replace(data, split="test")
    result: dict[str, Any] = {}
    for name, config in (("spp", spp), ("rcnn", rcnn)):
        train(config)
        numbers, _ = evaluate(config.output, None, test, device=device, precision=precision, workers=workers)
        result[name] = {key: numbers[key] for key in ("map_voc07", "map_area")} | {"run": config.output}
    timed = replace(test, max_images=TIMED_IMAGES)
    counts = (PROPOSALS // 4, PROPOSALS // 2, PROPOSALS)
    comparison_folder = folder / "compare"
    runs = [spp.output, rcnn.output]
    comparison = compare(runs, timed, PROPOSALS, counts, str(comparison_folder), device, precision)
    pictures = _draw(spp.output, test, folder / "detections.png", device, precision, workers)
    result["speedup"] = comparison.speedup[Path(spp.output).name]
    result["regions"], result["images"] = PROPOSALS, TIMED_IMAGES
    result["seconds"] = time.perf_counter() - start
    files = [pictures, comparison_folder / "stages.png", comparison_folder / "growth.png"]
    files += [Path(config.output) / "test" / "precision_recall.png" for config in (spp, rcnn)]
    result["files"] = [str(file) for file in [*files, folder / "demo.json"]]
    write_json(folder / "demo.json", result)
    return result


def format_demo(result: dict[str, Any]) -> str:
    """A short table of the result, and the paths of what was written."""
    lines = ["generated shapes, test images   mAP (VOC07)  mAP (VOC10+)"]
    for name, title in (("spp", "SPPnet"), ("rcnn", "R-CNN")):
        numbers = result[name]
        lines.append(f"{title:30} {100 * numbers['map_voc07']:11.1f}% {100 * numbers['map_area']:12.1f}%")
    speedup = result["speedup"]
    lines.append(f"SPPnet against R-CNN at {result['regions']} regions, {result['images']} images:")
    for key, title in (("conv", "convolutions"), ("without_proposals", "without proposals"), ("total", "everything")):
        lines.append(f"  {title:28} {speedup[key]:11.1f}x faster")
    lines += [f"{result['seconds']:.0f} s; written:", *(f"  {file}" for file in result["files"])]
    return "\n".join(lines)


def _draw(run: str, data: DataConfig, path: Path, device: Device, precision: Precision, workers: int) -> Path:
    """One picture of the first test images with what the detector finds in them."""
    detector = Detector.load(run, device, precision)
    dataset = read_voc(data.root, data.split, list(detector.classes)).subset(range(PICTURES))
    pictures = []
    for image, boxes in zip(dataset.images, propose(dataset.images, detector.config.proposals, workers), strict=True):
        pixels = image.read()
        pictures.append((pixels, above_threshold(detector.detect(pixels, boxes), detector.thresholds)))
    gutter = np.full((GUTTER, SHEET_WIDTH, 3), 255, np.uint8)
    rows = [_draw_row(row, detector.classes) for row in (pictures[: PICTURES // 2], pictures[PICTURES // 2 :])]
    write_picture(path, np.concatenate([rows[0], gutter, rows[1]]))
    return path


def _draw_row(pictures: Sequence[tuple[Tensor, Detections]], classes: Sequence[str]) -> np.ndarray:
    """Images and what was found in them, side by side at one height that fills SHEET_WIDTH, with gutters between."""
    aspects = np.array([image.shape[2] / image.shape[1] for image, _ in pictures])
    ends = (SHEET_WIDTH - GUTTER * (len(pictures) - 1)) * aspects.cumsum() / aspects.sum()
    height = round(ends[-1] / aspects.sum())
    row = np.full((height, SHEET_WIDTH, 3), 255, np.uint8)
    left = 0
    for k, (end, (image, found)) in enumerate(zip(ends.round().astype(int).tolist(), pictures, strict=True)):
        right = end + k * GUTTER
        large = resize_array(to_array(image), height, right - left)
        scale = torch.tensor([(right - left) / image.shape[2], height / image.shape[1]]).repeat(2)
        shown = Detections(found.boxes * scale, found.labels, found.scores)
        row[:, left:right] = draw_detections(as_image(large), shown, classes)
        left = right + GUTTER
    return row
