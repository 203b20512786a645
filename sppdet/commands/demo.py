"""Everything on generated images, without a connection: train SPPnet and R-CNN, evaluate, compare, draw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sppdet.commands.summary import Summary
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, SelectionConfig, SPPConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import BackboneConfig, Device, NetworkConfig, Precision, PyramidConfig
from sppdet.config.training import BoxRegressionConfig, TrainConfig
from sppdet.drawing.tables import align
from sppdet.wording import counted

if TYPE_CHECKING:
    from sppdet.detector import Detector
    from sppdet.structures import Dataset

DRAWN_IMAGES = 6
CAVEAT = "Training and test show the same three things, so the figures do not say how well others would be found."
TITLES = {"spp": "SPPnet", "rcnn": "R-CNN"}


class Size(NamedTuple):
    """Images to train on, to test on and to measure times on, and regions per image."""

    train: int
    test: int
    timed: int
    regions: int


SHAPES, REAL = Size(200, 100, 10, 120), Size(40, 20, 4, 100)


def demo(
    *,
    real: bool = False,
    output: str | None = None,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "fp32",
    workers: int = 2,
) -> Summary:
    """Train SPPnet and R-CNN on generated images, evaluate and compare them.

    It takes about 3 minutes and downloads nothing. Repeat the command to resume.

    Example: sppdet demo --output runs/demo

    Args:
        real: cutouts of photographs and a network trained on ImageNet
        output: folder of all that is made; runs/demo, or runs/demo-real
        seed: seed of the images and the training
        workers: images searched at once, a thread each
    """
    from sppdet.files.owned import hold_folder
    from sppdet.runtime.machine import find_device

    find_device(device)  # before anything is made
    with hold_folder(output or ("runs/demo-real" if real else "runs/demo"), "demo") as owned:
        return _demo(owned.path, real, seed, device, precision, workers)


def _demo(folder: Path, real: bool, seed: int, device: Device, precision: Precision, workers: int) -> Summary:
    import time

    from sppdet.commands.evaluate import evaluate
    from sppdet.comparison.compare import compare_detectors, write_comparison
    from sppdet.data.dataset import read_dataset
    from sppdet.detector import Detector
    from sppdet.evaluation.evaluation import Evaluation
    from sppdet.files.atomic import write_json
    from sppdet.training.train import train

    start = time.perf_counter()
    size = REAL if real else SHAPES
    special = _cutouts(folder, seed) if real else _shapes(folder, seed, device)
    spp = replace(special, device=device, precision=precision, workers=workers, seed=seed)
    configs = {"spp": spp, "rcnn": replace(spp, features="crop", output=str(folder / f"rcnn-{seed}"))}
    test = replace(spp.data, split="test")
    results: dict[str, dict[str, Any]] = {}
    detectors: dict[str, Detector] = {}
    for name, config in configs.items():
        train(config)
        found = evaluate(config.output, data=test, device=device, precision=precision, workers=workers)
        assert isinstance(found, Evaluation)
        results[name] = {"map_voc07": found.map_voc07, "map_area": found.map_area, "run": config.output}
        detectors[TITLES[name]] = Detector.load(config.output, device, precision)
    dataset = read_dataset(test, detectors["SPPnet"].classes)
    counts = (size.regions // 4, size.regions // 2, size.regions)
    comparison = compare_detectors(detectors, dataset.subset(range(size.timed)), size.regions, counts)
    write_comparison(comparison, str(folder / "compare"))
    _draw(detectors["SPPnet"], dataset.subset(range(DRAWN_IMAGES)), folder / "detections.png")
    files = [folder / "detections.png", folder / "compare" / "stages.png", folder / "compare" / "growth.png"]
    files += [Path(config.output) / "test" / "precision_recall.png" for config in configs.values()]
    result = {
        **results,
        "real": real,
        "speedup": comparison.speedup["SPPnet"],
        "regions": size.regions,
        "images": size.timed,
        "seconds": time.perf_counter() - start,
        "files": [str(file) for file in (*files, folder / "demo.json")],
    }
    write_json(folder / "demo.json", result)
    return Summary(result, _describe(result))


def _describe(result: dict[str, Any]) -> str:
    what = "cutouts of photographs" if result["real"] else "generated shapes"
    rows = [[f"{what}, test images", "mAP (VOC07)", "mAP (area)"]]
    for name, title in TITLES.items():
        rows.append([title, *(f"{100 * result[name][key]:.1f}%" for key in ("map_voc07", "map_area"))])
    speedup = ", ".join(f"{key.replace('_', ' ')} {value:.1f}x" for key, value in result["speedup"].items())
    sizes = f"{counted(result['regions'], 'region')}, {counted(result['images'], 'image')}"
    faster = f"SPPnet faster than R-CNN at {sizes}: {speedup}"
    faster += f"\n{CAVEAT}" if result["real"] else ""
    files = "".join(f"\n  {file}" for file in result["files"])
    return f"{align(rows)}\n{faster}\n{result['seconds']:.0f} s; written:{files}"


def _shapes(folder: Path, seed: int, device: Device) -> TrainConfig:
    """Generate images of shapes, pretrain the network, and return the configuration of SPPnet on both."""
    from sppdet.data.formats.voc import read_voc
    from sppdet.shapes.dataset import generate_shapes
    from sppdet.shapes.pretrain import Pretraining, pretrain

    data = DataConfig(root=str(generate_shapes(folder / f"shapes-{seed}", seed, SHAPES.train, SHAPES.test)))
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
        proposals=ProposalConfig(width=None, min_side=15, limit=SHAPES.regions),
        pyramid=network.pyramid,
        spp=SPPConfig(scales=(288,)),
        crop=CropConfig(size=72, context=8, batch_size=32),
        svm=SVMConfig(C=0.01),
        output=str(folder / f"spp-{seed}"),
    )


def _cutouts(folder: Path, seed: int) -> TrainConfig:
    """Generate images of cutouts, and return a configuration for them like configs/default.yaml."""
    from sppdet.shapes.dataset import generate_cutouts

    data = DataConfig(root=str(generate_cutouts(folder / f"cutouts-{seed}", seed, REAL.train, REAL.test)))
    return TrainConfig(
        features="spp",
        data=data,
        backbone=BackboneConfig("efficientnet_lite0", "DEFAULT", "skip"),
        proposals=ProposalConfig(width=None, min_side=20, limit=REAL.regions),
        pyramid=PyramidConfig((4, 2, 1), (2, 1)),
        spp=SPPConfig(scales=(384,)),
        crop=CropConfig(size=144, context=8),
        svm=SVMConfig(C=0.003),
        box_regression=BoxRegressionConfig(ridge=1000.0),
        selection=SelectionConfig(vote_iou=0.5),
        output=str(folder / f"spp-{seed}"),
    )


def _draw(detector: Detector, dataset: Dataset, path: Path) -> None:
    """Write a picture of the images with the detections above the thresholds, and their probabilities."""
    from sppdet.drawing.contact_sheet import write_contact_sheet

    images = [image.read() for image in dataset.images]
    found = [detector.probabilities(detector.detect(image).above(detector.thresholds)) for image in images]
    write_contact_sheet(path, images, found, detector.classes)
