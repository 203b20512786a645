"""Everything on generated images, without a network: train SPPnet and R-CNN, evaluate, compare, draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, SPPConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import BackboneConfig, Device, NetworkConfig, Precision
from sppdet.config.training import TrainConfig
from sppdet.drawing.tables import align
from sppdet.wording import counted

if TYPE_CHECKING:
    from sppdet.detector import Detector
    from sppdet.structures import Dataset

TRAIN_IMAGES, TEST_IMAGES = 200, 100
PROPOSALS = 120
TIMED_IMAGES = 10
DRAWN_IMAGES = 6
TITLES = {"spp": "SPPnet", "rcnn": "R-CNN"}


def demo(
    *,
    output: str = "runs/demo",
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "fp32",
    workers: int = 2,
) -> Summary:
    """Train SPPnet and R-CNN on generated images, evaluate and compare them.

    It takes about 3 minutes and needs no network. Repeat the command to resume.

    Args:
        output: folder of all that is made
        seed: seed of the images and the training
        workers: images searched at once, a thread each
    """
    import time

    from sppdet.commands.evaluate import evaluate
    from sppdet.comparison.compare import compare_detectors, write_comparison
    from sppdet.data.dataset import read_dataset
    from sppdet.detector import Detector
    from sppdet.files.atomic import write_json
    from sppdet.runtime.machine import find_device
    from sppdet.training.train import train

    start = time.perf_counter()
    folder = Path(output)
    find_device(device)  # before anything is made
    spp = _configure(folder, seed, device, precision, workers)
    configs = {"spp": spp, "rcnn": replace(spp, features="crop", output=str(folder / f"rcnn-{seed}"))}
    test = replace(spp.data, split="test")
    results: dict[str, dict[str, Any]] = {}
    detectors: dict[str, Detector] = {}
    for name, config in configs.items():
        train(config)
        found = evaluate(config.output, data=test, device=device, precision=precision, workers=workers)
        results[name] = {"map_voc07": found.map_voc07, "map_area": found.map_area, "run": config.output}
        detectors[TITLES[name]] = Detector.load(config.output, device, precision)
    dataset = read_dataset(test, detectors["SPPnet"].classes)
    counts = (PROPOSALS // 4, PROPOSALS // 2, PROPOSALS)
    comparison = compare_detectors(detectors, dataset.subset(range(TIMED_IMAGES)), PROPOSALS, counts)
    write_comparison(comparison, str(folder / "compare"))
    _draw(detectors["SPPnet"], dataset.subset(range(DRAWN_IMAGES)), folder / "detections.png")
    files = [folder / "detections.png", folder / "compare" / "stages.png", folder / "compare" / "growth.png"]
    files += [Path(config.output) / "test" / "precision_recall.png" for config in configs.values()]
    result = {
        **results,
        "speedup": comparison.speedup["SPPnet"],
        "regions": PROPOSALS,
        "images": TIMED_IMAGES,
        "seconds": time.perf_counter() - start,
        "files": [str(file) for file in (*files, folder / "demo.json")],
    }
    write_json(folder / "demo.json", result)
    return Summary(result, _describe(result))


def _describe(result: dict[str, Any]) -> str:
    rows = [["generated shapes, test images", "mAP (VOC07)", "mAP (area)"]]
    for name, title in TITLES.items():
        rows.append([title, *(f"{100 * result[name][key]:.1f}%" for key in ("map_voc07", "map_area"))])
    speedup = ", ".join(f"{key.replace('_', ' ')} {value:.1f}x" for key, value in result["speedup"].items())
    sizes = f"{counted(result['regions'], 'region')}, {counted(result['images'], 'image')}"
    faster = f"SPPnet faster than R-CNN at {sizes}: {speedup}"
    files = "".join(f"\n  {file}" for file in result["files"])
    return f"{align(rows)}\n{faster}\n{result['seconds']:.0f} s; written:{files}"


def _configure(folder: Path, seed: int, device: Device, precision: Precision, workers: int) -> TrainConfig:
    """Generate the images, pretrain the network, and return the configuration of SPPnet on both."""
    from sppdet.data.formats.voc import read_voc
    from sppdet.shapes.dataset import generate_shapes
    from sppdet.shapes.pretrain import Pretraining, pretrain

    data = DataConfig(root=str(generate_shapes(folder / f"shapes-{seed}", seed, train=TRAIN_IMAGES, test=TEST_IMAGES)))
    weights = folder / f"shapenet-{seed}.safetensors"
    network = NetworkConfig(BackboneConfig("shapenet", "random"))
    if not weights.is_file():
        state = folder / f"pretraining-{seed}.safetensors"
        pretrain(network, read_voc(data.root, "trainval"), Pretraining(), seed, state, device).save(weights)
        state.unlink()
    return TrainConfig(
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


def _draw(detector: Detector, dataset: Dataset, path: Path) -> None:
    """Write a picture of the images with the detections above the thresholds, and their probabilities."""
    from sppdet.drawing.contact_sheet import write_contact_sheet

    images = [image.read() for image in dataset.images]
    found = [detector.probabilities(detector.detect(image).above(detector.thresholds)) for image in images]
    write_contact_sheet(path, images, found, detector.classes)
