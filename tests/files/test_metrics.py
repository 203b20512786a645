"""The rows of a training: written as they come, continued by a resumed one, and read from damaged files."""

import csv
import json
import sys
from types import ModuleType

import pytest

from sppdet.errors import ConfigError
from sppdet.files.metrics import COLUMNS, Metrics
from sppdet.files.recorder import record, recorded, recording, step


def test_rows_are_written_as_they_come_and_continued(tmp_path):
    for number in range(2):
        with recording(tmp_path):
            with step("heads-train"):
                record("refit", objective=float(number), gap=float("nan"))
                record("refit", objective=7.5, gap=0.25)
                with step("val"):
                    record("stage", map_voc07=0.5)
            lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
            assert len(lines) == 3 * (number + 1)
            assert [line["session"] for line in lines[-3:]] == [number + 1] * 3
    first, second, val = lines[-3:]
    assert (first["step"], first["kind"], first["number"], first["gap"]) == ("heads-train", "refit", 1, None)
    assert (second["number"], second["objective"], val["step"], val["map_voc07"]) == (2, 7.5, "val", 0.5)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["objective"] for row in rows] == ["0.0", "7.5", "", "1.0", "7.5", ""]
    metrics = Metrics(tmp_path)
    assert [row["objective"] for row in metrics.of_step("heads-train", "refit")] == [1.0, 7.5]
    assert metrics.seconds == pytest.approx(sum(row["seconds"] for row in metrics.rows))
    assert metrics.memory_gb is None or metrics.memory_gb > 0
    assert recorded() is None
    record("stage")  # of no recording


@pytest.mark.parametrize("line", ["{", '{"step": 3}', "[1]", "[" * 300])
def test_a_damaged_line_is_left_out(line, tmp_path, caplog):
    with recording(tmp_path), step("val"):
        record("stage")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(line)
    assert [row["step"] for row in Metrics(tmp_path).rows] == ["val"]
    assert "damaged, 1 of 2 lines are left out" in caplog.text


def test_tensorboard_gets_the_numbers_or_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"tensorboard: is not installed \(expected pip install tensorboard"):
        recording(tmp_path, tensorboard=True).__enter__()
    calls = []

    class Writer:
        def __init__(self, folder: str) -> None:
            calls.append(folder)

        def add_scalar(self, *given: object) -> None:
            calls.append(given)

        def flush(self) -> None: ...

        close = flush

    module = ModuleType("tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with recording(tmp_path, tensorboard=True), step("training"):
        record("epoch", 4, loss=0.5)
    assert calls == [str(tmp_path / "tensorboard"), ("training/epoch loss", 0.5, 4)]
