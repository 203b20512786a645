"""A stand-in for OpenCV's process, and a small data set."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from benchmark import bound, detect, heads, scenes, train, views

from sppdet.comparison import throughput
from sppdet.config.network import FCConfig
from sppdet.shapes.dataset import generate_shapes

# Its boxes tell what it was asked: the whole image, and a small one at x = the first pixel's blue, y = the threads.
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


@pytest.fixture
def fake_peer(tmp_path) -> Path:
    """A script that speaks the protocol of `opencv_peer.py`."""
    script = tmp_path / "fake_peer.py"
    script.write_text(FAKE_PEER)
    return script


@pytest.fixture
def fake_python(tmp_path, fake_peer) -> str:
    """An interpreter that runs the fake in place of whatever script it is given."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{fake_peer}'\n")
    interpreter.chmod(0o755)
    return str(interpreter)


@pytest.fixture
def shapes(tmp_path) -> Path:
    generate_shapes(tmp_path / "shapes", train=5, test=3)
    return tmp_path / "shapes"


@pytest.fixture
def small_networks(monkeypatch) -> None:
    """Every part on the smallest network and little data."""
    for part in (bound, detect, heads, train, views):
        monkeypatch.setattr(part, "BACKBONE", "shapenet")
    monkeypatch.setattr(scenes, "FCConfig", partial(FCConfig, width=32))
    monkeypatch.setattr(heads, "SVM_SHAPE", (60, 30))
    monkeypatch.setattr(detect, "PASSES", 1)
    monkeypatch.setattr(detect, "WARM_UP_CROPS", 3)
    monkeypatch.setattr(bound, "DEPTH", 1)
    monkeypatch.setattr(bound, "RANKS", (8,))
    monkeypatch.setattr(bound, "CROPS", 4)
    monkeypatch.setattr(train, "SCALE", 100)
    monkeypatch.setattr(views, "SIZE", 64)
    monkeypatch.setattr(train, "BARE_PASSES", 2)
    monkeypatch.setattr(throughput, "BATCH_SIZES", {"cpu": (2,)})
    monkeypatch.setattr(throughput, "MIN_TIMED_CROPS", 2)
