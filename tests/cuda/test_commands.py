"""The choice of a device, and the commands on it."""

import os
import subprocess
import sys
import time

import pytest
import torch
from benchmark.machine import describe_machine
from factories import run_json, run_text, train_arguments
from torch import Tensor

from sppdet.app.session import Model, Session
from sppdet.backbones.zoo import build_backbone
from sppdet.cli import main
from sppdet.detector import Detector
from sppdet.errors import ConfigError
from sppdet.files.atomic import save_tensors
from sppdet.runtime import machine
from sppdet.runtime.machine import find_device, hardware_name
from sppdet.runtime.stopwatch import Stopwatch, stage


@pytest.fixture(scope="module")
def place(shapes):
    """The folder of the data set, with weights, and runs trained on the CPU."""
    weights = shapes.parent / "weights.safetensors"
    save_tensors(weights, build_backbone("shapenet", "random", "cpu").state_dict())
    for features in ("spp", "crop"):
        train = train_arguments(shapes.parent, shapes.parent / features)
        assert main([*train, "--features", features, "--device", "cpu"]) == 0
    return shapes.parent


def test_auto_takes_cuda_if_there_is_one_and_says_so_once(device, caplog):
    machine._choose_device.cache_clear()
    with caplog.at_level("INFO", "sppdet"):
        assert {find_device("auto").type for _ in range(3)} == {device if torch.cuda.is_available() else "cpu"}
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == f"device: {find_device('auto').type}, {hardware_name(find_device('auto'))}"
    assert ("gpu" in describe_machine()) == torch.cuda.is_available()


def test_a_device_that_is_not_there():
    with pytest.raises(ConfigError, match=r"device: .* CUDA device"):
        find_device("cuda:99")
    if torch.cuda.is_available():
        assert find_device("cuda:0") == torch.device("cuda:0")
        with pytest.raises(ConfigError, match=r"no such CUDA device .*cuda:0.*got cuda:99"):
            find_device("cuda:99")


def test_a_stage_ends_when_the_device_is_done(device):
    """Products are queued, and the call returns long before they are computed."""
    matrix = torch.rand(1000, 1000, device=device)

    def multiply(product: Tensor) -> Tensor:
        for _ in range(20 if device == "cpu" else 2000):
            product = product @ matrix / 500
        return product

    multiply(matrix)
    float(matrix.sum())
    with Stopwatch() as clock:
        start = time.perf_counter()
        with stage("conv"):
            product = multiply(matrix)
        waited = time.perf_counter() - start
    float(product.sum())
    assert 0.9 * waited <= clock.seconds["conv"] <= waited
    assert time.perf_counter() - start < 2 * waited + 0.1  # nothing was left to compute


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_run_of_the_cpu_is_evaluated_on_the_device(device, place, precision, capsys):
    on_device = ("--device", device, "--precision", precision)
    maps = {}
    for run in ("spp", "crop"):
        here = run_json(capsys, "evaluate", place / run, "--data.split", "test", "--device", "cpu")
        there = run_json(capsys, "evaluate", place / run, "--data.split", "test", *on_device)
        maps[run] = here["map_voc07"], there["map_voc07"]
    assert all(abs(a - b) < 0.1 for a, b in maps.values())


def test_compare(device, place, capsys, tmp_path):
    arguments = ("compare", place / "spp", place / "crop", "--data.split", "test", "--data.max_images", 2)
    found = run_json(capsys, *arguments, "--regions", 60, "--device", device, "--output", tmp_path / "comparison")
    assert found["device"] == device
    assert found["machine"] == hardware_name(torch.device(device))
    for name in ("spp", "crop"):
        stages = found["stages"][name]
        assert all(stages[key] > 0 for key in ("proposals", "preprocess", "conv", "pooling", "heads", "nms"))
    assert found["throughput"]["crops_per_second"] > 0


def test_detect(device, place, capsys, tmp_path):
    images = place / "shapes" / "JPEGImages"
    text = run_text(capsys, "detect", place / "spp", images, "--device", device, "--output", tmp_path / "found")
    assert text
    assert len(list((tmp_path / "found").glob("*.png")) + list((tmp_path / "found").glob("*.jpg"))) >= 20


def test_the_page(device, place):
    """Everything that the app asks for, without its server."""
    session = Session([Model("spp", Detector.load(place / "spp", device), None)])
    picture = session.add(next((place / "shapes" / "JPEGImages").iterdir()).read_bytes())
    found = session.find(picture.id, 0)
    said = session.evidence(picture.id, 0, found.proposals[0], None)
    assert said["reason"] is None
    assert said["evidence"]["score"] == pytest.approx(said["scores"][said["label"] - 1], abs=1e-4)
    events: list[dict] = []
    session.race(picture.id, 0, 40, events.append)
    assert [event["racer"] for event in events if "detections" in event] == ["SPPnet", "R-CNN"]


TUNED = ["--finetune.epochs", "1", "--finetune.blocks", "2", "--finetune.learning_rate", "0.0005"]


@pytest.mark.parametrize("more", [[], [*TUNED, "--finetune.dropout", "0"]], ids=["heads", "fine-tuning"])
def test_ranks_share_a_device(device, place, more, tmp_path):
    """A training by two ranks gives what one process gives, and they evaluate it."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sppdet"]
    train = [*train_arguments(place, tmp_path / "run"), "--features", "spp", "--device", device, *more]
    alone = place / "spp"
    if more:
        alone = tmp_path / "alone"
        assert main([*train_arguments(place, alone), *train[-2 - len(more) :]]) == 0
    evaluate = ["evaluate", str(tmp_path / "run"), "--data.split", "test", "--device", device]
    for arguments in (train, evaluate):
        given = {**os.environ, "SPPDET_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*launcher, *arguments], env=given, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
    found, expected = (Detector.load(run, "cpu").heads for run in (tmp_path / "run", alone))
    assert (found.weight - expected.weight).abs().mean() < 0.03 * expected.weight.abs().max()
