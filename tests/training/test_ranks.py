"""Trainings and evaluations of several ranks give what one process gives."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from factories import train_arguments
from torch.testing import assert_close

from sppdet.classification.classifier import Classifier
from sppdet.cli import main
from sppdet.commands.evaluate import evaluate
from sppdet.detector import Detector

pytestmark = pytest.mark.slow


def start(ranks: int, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a command under torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m", "sppdet"]
    given = {**os.environ, "SPPDET_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, *arguments]
    return subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check_same(one: Path, other: Path) -> None:
    """Check that two runs have the same files and, up to rounding, the same heads."""
    names = [sorted(file.name for file in run.iterdir() if file.is_file()) for run in (one, other)]
    assert names[0] == names[1]
    heads = [Detector.load(run).heads for run in (one, other)]
    assert torch.allclose(heads[0].weight, heads[1].weight, rtol=0.01, atol=1e-5)


@pytest.mark.parametrize("world", [2, 3])
def test_a_training_by_ranks(trained, tmp_path, world):
    run = tmp_path / "run"
    launched = start(world, tmp_path / "cache", *train_arguments(trained, run))
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    assert log.count("detector in") == 1, "only the first rank speaks"
    check_same(trained / "spp", run)


TUNED = ("--finetune.epochs", "2", "--finetune.blocks", "2", "--finetune.regions_per_image", "16")


@pytest.fixture(scope="module")
def tuned(trained, tmp_path_factory) -> Path:
    """A run of one process that fine-tunes."""
    run = tmp_path_factory.mktemp("tuned")
    assert main([*train_arguments(trained, run), *TUNED]) == 0
    return run


@pytest.mark.parametrize("world", [2, 3])
def test_fine_tuning_by_ranks(trained, tuned, tmp_path, world):
    """3 ranks share batches of 2 images: one of them has none."""
    run = tmp_path / "run"
    launched = start(world, tmp_path / "cache", *train_arguments(trained, run), *TUNED)
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    check_same(tuned, run)
    assert not list(run.glob("features/*"))
    networks = [Detector.load(each).extractor.state_dict() for each in (tuned, run)]
    assert_close(networks[0], networks[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("view", "blocks"), [("warp", "0"), ("full", "1")])
def test_a_classifier_by_ranks(trained, tmp_path, view, blocks):
    """Of a frozen network features are shared, and all ranks fit the same; else each has a part of every batch."""
    crops = ["classify", "crops", "--data.root", str(trained / "shapes"), "--output", str(tmp_path)]
    assert main([*crops, "--data.split", "test"]) == 0
    given = ["--data.train", str(tmp_path / "test"), "--data.val", str(tmp_path / "test"), "--fit.epochs", "2"]
    given += ["--backbone.name", "shapenet", "--backbone.weights", str(trained / "weights.safetensors")]
    given += ["--view", view, "--sizes", "[40]", "--blocks", blocks, "--dropout", "0" if int(blocks) else "0.5"]
    runs = tmp_path / "alone", tmp_path / "ranks"
    assert main(["classify", "train", *given, "--output", str(runs[0])]) == 0
    launched = start(3, tmp_path / "cache", "classify", "train", *given, "--output", str(runs[1]))
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    names, weights, val = (
        [each(run) for run in runs]
        for each in (
            lambda run: sorted(file.name for file in run.iterdir()),
            lambda run: Classifier.load(run).state_dict(),
            lambda run: (run / "val.json").read_text(),
        )
    )
    assert names[0] == names[1]
    assert_close(*weights, rtol=1e-3 if int(blocks) else 0, atol=1e-5 if int(blocks) else 0)
    assert val[0] == val[1]


def test_an_evaluation_by_ranks(trained, tmp_path):
    launched = start(2, tmp_path / "cache", "evaluate", str(trained / "spp"), "--output", str(tmp_path / "ranks"))
    said = launched.communicate(timeout=200)[0].splitlines()
    assert [line.split()[0] for line in said].count("mAP") == 2  # one table, of the first rank
    evaluate(trained / "spp", output=str(tmp_path / "alone"))
    found = [(tmp_path / name / "detections.json").read_bytes() for name in ("ranks", "alone")]
    assert found[0] == found[1]


@pytest.mark.parametrize(("options", "begun"), [((), "cache/proposals"), (TUNED, "run/finetuned-train.safetensors")])
def test_a_training_goes_on_after_a_rank_was_killed(request, trained, tmp_path, options, begun):
    run, cache = tmp_path / "run", tmp_path / "cache"
    expected = request.getfixturevalue("tuned") if options else trained / "spp"
    launched = start(2, cache, *train_arguments(trained, run), *options)
    until = time.monotonic() + 100
    while not (tmp_path / begun).exists() and time.monotonic() < until:
        time.sleep(0.02)
    ranks = subprocess.run(["pgrep", "-P", str(launched.pid)], capture_output=True, text=True, check=True)
    os.kill(int(ranks.stdout.split()[-1]), signal.SIGKILL)
    launched.communicate(timeout=100)
    assert launched.returncode
    launched = start(2, cache, *train_arguments(trained, run), *options)
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    check_same(expected, run)
