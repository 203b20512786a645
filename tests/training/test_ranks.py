"""Trainings and evaluations of several ranks give what one process gives."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from factories import train_arguments
from rank_runs import TUNED, check_same, launch
from torch.testing import assert_close

from sppdet.classification.classifier import Classifier
from sppdet.cli import main
from sppdet.commands.evaluate import evaluate
from sppdet.detector import Detector

pytestmark = pytest.mark.slow


def test_a_training_by_ranks(trained, tmp_path):
    run = tmp_path / "run"
    launched = launch(tmp_path / "cache", 2, *train_arguments(trained, run))
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    assert log.count("detector in") == 1, "only the first rank speaks"
    check_same(trained / "spp", run)


def test_fine_tuning_by_ranks(trained, tuned, tmp_path):
    """3 ranks share batches of 2 images: one of them has none."""
    run = tmp_path / "run"
    launched = launch(tmp_path / "cache", 3, *train_arguments(trained, run), *TUNED)
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    check_same(tuned, run, within=0.05)
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
    launched = launch(tmp_path / "cache", 3, "classify", "train", *given, "--output", str(runs[1]))
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
    launched = launch(tmp_path / "cache", 2, "evaluate", str(trained / "spp"), "--output", str(tmp_path / "ranks"))
    said = launched.communicate(timeout=200)[0].splitlines()
    assert [line.split()[0] for line in said].count("mAP") == 2  # one table, of the first rank
    evaluate(trained / "spp", output=str(tmp_path / "alone"))
    found = [(tmp_path / name / "detections.json").read_bytes() for name in ("ranks", "alone")]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "begun"),
    [
        ((), "cache/proposals"),
        ((), "cache/features"),
        ((), "run/mined.safetensors"),
        ((), "run/heads-train.safetensors"),
        (TUNED, "run/finetuned-train.safetensors"),
    ],
    ids=lambda value: Path(value).stem if isinstance(value, str) else "",
)
def test_a_training_goes_on_after_a_rank_was_killed(request, trained, tmp_path, options, begun):
    run, cache = tmp_path / "run", tmp_path / "cache"
    expected = request.getfixturevalue("tuned") if options else trained / "spp"
    launched = launch(cache, 2, *train_arguments(trained, run), *options)
    until = time.monotonic() + 100
    while not (tmp_path / begun).exists() and time.monotonic() < until:
        time.sleep(0.02)
    ranks = subprocess.run(["pgrep", "-P", str(launched.pid)], capture_output=True, text=True, check=True)
    os.kill(int(ranks.stdout.split()[-1]), signal.SIGKILL)
    launched.communicate(timeout=100)
    assert launched.returncode
    launched = launch(cache, 2, *train_arguments(trained, run), *options)
    log = launched.communicate(timeout=200)[1]
    assert launched.returncode == 0, log
    check_same(expected, run, within=0.05 if options else 1e-4)
