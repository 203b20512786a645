"""Small records, images and detectors for tests, made in one line."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d

from sppdet.backbones.backbone import Backbone
from sppdet.cli import main
from sppdet.config.data import DataConfig, ProposalConfig
from sppdet.config.detector import CropConfig, DetectorConfig, SelectionConfig, SPPConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import BackboneConfig, PyramidConfig
from sppdet.config.training import TrainConfig
from sppdet.detector import Detector
from sppdet.features.build import build_network
from sppdet.heads.linear import Heads
from sppdet.images import to_array
from sppdet.pooling.forms import PoolingMode
from sppdet.pooling.joined import JoinedPooling, join_pyramids
from sppdet.structures import Annotations, Detections

TINY = DetectorConfig(
    proposals=ProposalConfig(width=None, min_side=8, limit=50),  # width 500 would enlarge small images
    backbone=BackboneConfig("shapenet", "random"),
    pyramid=PyramidConfig((2, 1)),
    spp=SPPConfig((64,)),
    crop=CropConfig(size=67, context=5),
    selection=SelectionConfig(min_score=-1.0),
)
CLASSES = ("circle", "square", "star")


def as_boxes(rows: object) -> Tensor:
    """Boxes float32 (N, 4) from any rows of four numbers, or none."""
    return torch.as_tensor(rows, dtype=torch.float32).reshape(-1, 4)


def annotate(
    boxes: object = (), labels: object = None, difficult: Sequence[bool] | None = None, name: str = "a"
) -> Annotations:
    """The objects of an image that is no file, of the first class and not difficult unless said otherwise."""
    boxes = as_boxes(boxes)
    labels = torch.ones(len(boxes)) if labels is None else labels
    difficult = None if difficult is None else torch.as_tensor(difficult).bool()
    return Annotations(f"{name}.jpg", boxes, torch.as_tensor(labels).to(torch.int64), difficult, name)


def detect(boxes: object = (), scores: object = None, labels: object = None) -> Detections:
    """Detections of the first class, best first, unless said otherwise."""
    boxes = as_boxes(boxes)
    scores = 1 - torch.arange(len(boxes)) / 64 if scores is None else scores
    labels = torch.ones(len(boxes)) if labels is None else labels
    return Detections(boxes, torch.as_tensor(labels).to(torch.int64), torch.as_tensor(scores).float())


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    """Maps, normally distributed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def adaptive_bins(maps: Tensor, levels: Sequence[int], mode: str = "max") -> Tensor:
    """The oracle (B, D) of the pyramid layer: torch's adaptive pooling of maps (B, C, h, w), bins before channels."""
    pool = {"max": adaptive_max_pool2d, "average": adaptive_avg_pool2d}[mode]
    return torch.cat([pool(maps, n).permute(0, 2, 3, 1).flatten(1) for n in levels], dim=1)


def pyramids_of(backbone: Backbone, levels: Sequence[int], mode: PoolingMode = "max") -> JoinedPooling:
    """The pooling of a network's maps, a pyramid of the same levels for each."""
    return join_pyramids([tuple(levels)] * len(backbone.channels), mode, backbone.channels)


def random_windows(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Windows int64 (count, 4) of a map, at least one cell each."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(count):
        x = torch.randperm(width + 1, generator=generator)[:2].sort().values
        y = torch.randperm(height + 1, generator=generator)[:2].sort().values
        rows.append([x[0], y[0], x[1], y[1]])
    return torch.tensor(rows)


def random_image(height: int, width: int, seed: int = 0) -> Tensor:
    """Noise, uint8 (3, height, width)."""
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def random_boxes(count: int = 40, seed: int = 0) -> Tensor:
    """Boxes of 5 to 20 pixels a side, in an image of 60 x 60."""
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 40, (count, 2)), rng.uniform(5, 20, (count, 2))
    return as_boxes(np.hstack([corner, corner + side]))


def image_file(path: Path, height: int, width: int, seed: int = 0) -> Path:
    """A file with the noise of `random_image`."""
    Image.fromarray(to_array(random_image(height, width, seed))).save(path)
    return path


def proposal_file(path: Path, ids: Sequence[object], proposals: Sequence[Tensor]) -> Path:
    """A file .npz or .json with boxes (N, 4) of each id."""
    boxes = {str(id): rows.double().numpy() for id, rows in zip(ids, proposals, strict=True)}
    if path.suffix == ".npz":
        np.savez_compressed(path, **boxes)
    else:
        sized = [(id, [x1, y1, x2 - x1, y2 - y1]) for id, rows in boxes.items() for x1, y1, x2, y2 in rows.tolist()]
        entries = [{"image_id": id, "bbox": box} for id, box in sized]
        path.write_text(json.dumps({"images": [{"id": id} for id in boxes], "annotations": entries}))
    return path


def read_png(path: Path) -> np.ndarray:
    """The pixels of a picture, uint8 (H, W, 3), which has to be a PNG."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.array(picture.convert("RGB"))


def count_color(pixels: np.ndarray, color: str) -> int:
    """How many pixels (H, W, 3) have a color #rrggbb."""
    return int((pixels == list(bytes.fromhex(color[1:]))).all(axis=2).sum())


def run_text(capsys, *arguments: object) -> str:
    """The output of a command."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


def run_json(capsys, *arguments: object):
    """The output of a command with --json, which has to be JSON and nothing else."""
    return json.loads(run_text(capsys, *arguments, "--json"))


def find_row(lines: Sequence[str], start: str) -> int:
    """The index of the first line of an output that starts with this text."""
    return next(n for n, line in enumerate(lines) if line.startswith(start))


def watch(patch: pytest.MonkeyPatch, owner: object, name: str, stop_after: float = math.inf) -> list[tuple]:
    """The arguments of each call of a function, which works as before, but Ctrl-C comes after `stop_after` calls."""
    calls: list[tuple] = []
    function = getattr(owner, name)

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) > stop_after:
            raise KeyboardInterrupt
        return function(*arguments, **options)

    patch.setattr(owner, name, call)
    return calls


@contextmanager
def stopping(owner: object, name: str, after: int = 0) -> Iterator[list[tuple]]:
    """Ctrl-C in place of a function once it was called `after` times; the arguments of each call, also of the last."""
    with pytest.MonkeyPatch.context() as patch:
        yield watch(patch, owner, name, after)


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """The server answers, on a thread of its own."""
    with server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def run_error(capsys, *arguments: object, code: int = 1) -> str:
    """What a command says on stderr, which ends with one line of an error; it prints nothing."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    error_of(captured.err)
    return captured.err


def error_of(text: str) -> str:
    """The one line of an error that a command printed at its end, in words of the user's."""
    (line,) = [line for line in text.splitlines() if line.startswith("sppdet: error:")]
    assert text.rstrip().endswith(line), "nothing comes after the error"
    for jargon in ("Traceback", "<class", "Union", "NestedArg", "typing.", "Parser key"):
        assert jargon not in text
    return line


def soft_image(seed: int, channels: int = 3, spread: float = 200) -> np.ndarray:
    """uint8 (20, 30, C), with soft edges everywhere."""
    coarse = np.random.default_rng(seed).normal(128, spread, (20, 30, channels))
    return np.clip(gaussian_filter(coarse, (1.5, 1.5, 0)), 0, 255).astype(np.uint8)


def examples(count: int, **options) -> settings:
    """Settings of a property whose examples are slow: `count` of them where the profile asks for 100."""
    return settings(max_examples=count * settings.default.max_examples // 100, **options)


def random_detector(config: DetectorConfig = TINY, regress: bool = True, device: str = "cpu") -> Detector:
    """A detector of CLASSES with random weights, also those of its heads, and thresholds."""
    detector, generator = Detector(config, CLASSES, build_network(config, device)), torch.Generator().manual_seed(0)
    rows, dimension = len(CLASSES) + (config.head == "softmax"), detector.extractor.dimension
    scores = torch.randn(rows, dimension, generator=generator) / 20, torch.zeros(rows)
    offsets = torch.randn(4 * len(CLASSES), dimension, generator=generator) / 500, torch.zeros(4 * len(CLASSES))
    detector.heads = Heads.from_linear(config.head, scores, offsets if regress else None)
    detector.thresholds = torch.tensor([0.1, -0.2, 0.3])
    return detector.to(device)


def train_config(root: Path, output: Path) -> TrainConfig:
    """A training on a generated set that takes a second."""
    return TrainConfig(
        data=DataConfig(root=str(root)),
        backbone=BackboneConfig("shapenet", "random"),
        proposals=ProposalConfig(width=None, limit=30),
        spp=SPPConfig((120,)),
        crop=CropConfig(size=48, context=4),
        svm=SVMConfig(C=0.01),
        output=str(output),
        workers=0,
    )


def train_arguments(place: Path, output: Path) -> list[str]:
    """The command that trained the runs of the fixture `trained`, a second's work."""
    return [
        *("train", "--data.root", str(place / "shapes"), "--output", str(output), "--workers", "0"),
        *("--backbone.name", "shapenet", "--backbone.weights", str(place / "weights.safetensors")),
        *("--proposals.limit", "30", "--proposals.width", "null", "--spp.scales", "[120]"),
        *("--crop.size", "48", "--crop.context", "4", "--svm.C", "0.01"),
    ]


def detector_bytes(run: str | Path) -> bytes:
    """The file of a run's detector."""
    return Path(run, "detector.safetensors").read_bytes()
