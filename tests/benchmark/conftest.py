"""A stand-in for OpenCV's process, a small data set, and all parts measured once on it."""

import sys
from functools import partial
from pathlib import Path

import pytest
from benchmark import bound, detect, finetune, heads, pooling, proposals, scenes, train, views
from benchmark.config import BenchmarkConfig
from benchmark.run import Benchmark, run_benchmark
from matplotlib.figure import Figure

from sppdet.comparison import throughput
from sppdet.config.data import DataConfig
from sppdet.config.network import FCConfig
from sppdet.shapes.dataset import generate_shapes

# Its boxes encode the request: the whole image, and a small box at x = blue of the first pixel, y = threads.
FAKE_PEER = """
import io, json, sys
import numpy as np

def send(message, array=b""):
    sys.stdout.buffer.write(json.dumps(message | {"bytes": len(array)}).encode() + b"\\n" + array)
    sys.stdout.buffer.flush()

send({"opencv": "0.0"})
for line in sys.stdin.buffer:
    request = json.loads(line)
    image = np.load(io.BytesIO(sys.stdin.buffer.read(request["bytes"])))
    boxes = [[0, 0, image.shape[1], image.shape[0]], [image[0, 0, 0], request["threads"], 5, 6]]
    array = io.BytesIO()
    np.save(array, np.array(boxes, np.int32))
    send({"seconds": {"fast": 1000.0, "quality": 2000.0}[request["mode"]]}, array.getvalue())
"""


@pytest.fixture(scope="session")
def fake_peer(tmp_path_factory) -> Path:
    """A script that speaks the protocol of `opencv_peer.py`."""
    script = tmp_path_factory.mktemp("peer") / "fake_peer.py"
    script.write_text(FAKE_PEER)
    return script


@pytest.fixture(scope="session")
def fake_python(fake_peer) -> str:
    """An interpreter that runs the fake instead of the script it is given."""
    interpreter = fake_peer.with_name("python")
    interpreter.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{fake_peer}'\n")
    interpreter.chmod(0o755)
    return str(interpreter)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    return generate_shapes(tmp_path_factory.mktemp("data") / "shapes", train=5, test=3)


@pytest.fixture(scope="session")
def measured(tmp_path_factory, shapes, fake_python, draw) -> tuple[Benchmark, Path]:
    """All parts, measured once on three images and the smallest network, and the folder of its files."""
    config = BenchmarkConfig(
        output=str(tmp_path_factory.mktemp("benchmark")),
        threads=(1,),
        rounds=2,
        regions=8,
        growth=(10, 5),
        widths=(60, 40),
        quality_images=2,
        detect_rounds=2,
        scales=(90, 60),
        train_images=(5,),
        finetune_images=3,
        opencv_python=fake_python,
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("SPPDET_CACHE", str(tmp_path_factory.mktemp("cache")))
        monkeypatch.setattr(Figure, "savefig", draw)
        shrink(monkeypatch)
        return run_benchmark([], DataConfig(root=str(shapes), split="test"), config), Path(config.output)


@pytest.fixture
def small_networks(monkeypatch) -> None:
    """Every part on the smallest network and little data."""
    shrink(monkeypatch)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (bound, detect, finetune, train, views):
        monkeypatch.setattr(part, "BACKBONE", "shapenet")
    monkeypatch.setattr(scenes, "FCConfig", partial(FCConfig, width=32))
    monkeypatch.setattr(throughput, "BATCH_SIZES", {"cpu": (2,)})
    sizes = {
        proposals: {"WIDTH": 90, "CAP": 7},
        pooling: {"MAP": (4, 9, 12), "BATCH": (3, 4, 6, 7)},
        heads: {"DIMENSION": 480, "SVM_SHAPE": (60, 30)},
        detect: {"PASSES": 1, "WARM_UP_CROPS": 3},
        bound: {"DEPTH": 1, "RANKS": (8,), "CROPS": 4},
        finetune: {"SCALE": 100, "REGIONS": 20},
        train: {"SCALE": 100, "BARE_PASSES": 2},
        views: {"SIZE": 64},
        throughput: {"MIN_TIMED_CROPS": 2},
    }
    for part, values in sizes.items():
        for name, value in values.items():
            monkeypatch.setattr(part, name, value)
