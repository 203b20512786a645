"""`info` and `runs`: what the files of runs say, without their networks."""

import json
import shutil

import pytest
from factories import run_error, run_json, run_text

from sppdet.cli import main
from sppdet.files.atomic import read_json, write_json


def test_a_run_is_shown_and_its_readme_has_the_evaluation(run, data, capsys):
    assert "None yet: `sppdet evaluate" in (run / "README.md").read_text()
    run_json(capsys, "evaluate", run, *data)
    (run / "heads-gone.safetensors").symlink_to("nowhere")  # as a file that a training has removed meanwhile
    text = run_text(capsys, "info", run)
    assert "gone" not in text
    assert text.startswith(f"{run}: detector of 6 classes: ")
    assert "shapenet" in text
    values = run_json(capsys, "info", run)
    evaluated, val = read_json(run / "test/evaluation.json"), read_json(run / "val.json")
    assert values["results"]["test"]["map_voc07"] == evaluated["map_voc07"]
    assert values["results"]["test"]["interval"]["map_area"] == evaluated["interval"]["map_area"]
    assert values["results"]["val"]["map_area"] == val["map_area"]
    assert (values["kind"], values["finished"], values["classes"]) == ("detector", True, list(val["per_class"]))
    assert values["settings"]["backbone.name"] == "shapenet"
    assert values["minutes"] > 0
    assert {"results.csv", "labels.png", "heads-train.png", "test/"} <= {file["name"] for file in values["files"]}
    readme = (run / "README.md").read_text()
    low, high = (100 * end for end in evaluated["interval"]["map_voc07"])
    assert f"({low:.1f} to {high:.1f})" in readme
    assert readme.index("## Evaluations") < readme.index("## Data") < readme.index("## Next")
    assert "None yet" not in readme


def test_rows_tell_the_steps_of_a_training(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = list(dict.fromkeys(row["step"] for row in rows))
    assert steps == ["proposals", "heads-train", "val", "heads-all"]
    refits = [row for row in rows if (row["step"], row["kind"]) == ("heads-train", "refit")]
    assert [row["number"] for row in refits] == list(range(1, len(refits) + 1))
    assert all(row["objective"] > 0 and row["gap"] < 1 and row["examples"] > 0 for row in refits)
    (val,) = (row for row in rows if row["step"] == "val")
    assert val["map_voc07"] == read_json(run / "val.json")["map_voc07"]


@pytest.mark.usefixtures("run")
def test_runs_are_listed_with_the_settings_that_differ(other, tmp_path, capsys):
    (other / "detector.safetensors").unlink()
    values = run_json(capsys, "runs", tmp_path)
    assert values["differ"] == ["features"]
    assert [(one["finished"], one["settings"]) for one in values["runs"]] == [
        (False, {"features": "crop"}),
        (True, {"features": "spp"}),
    ]
    title, *rows = run_text(capsys, "runs", tmp_path).splitlines()
    assert title.split()[:4] == ["run", "features", "val", "(%)"]
    assert [row.split()[0] for row in rows] == ["crop", "spp"]
    assert "crop (unfinished)" in rows[0]


def test_damaged_files_and_folders_of_no_run_are_errors(run, other, tmp_path, capsys):
    shutil.rmtree(other)
    assert "no runs in the folder" in run_error(capsys, "runs", tmp_path / "nowhere")
    assert "is not a run" in run_error(capsys, "info", tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    write_json(damaged / "val.json", [1])
    assert main(["runs", str(tmp_path), "--json"]) == 1  # the others are listed
    printed = capsys.readouterr()
    assert [one["run"] for one in json.loads(printed.out)["runs"]] == [str(run)]
    assert "val.json: is damaged" in printed.err
    shutil.rmtree(damaged)
    write_json(run / "config.json", [1])
    assert "config.json: is damaged (expected a JSON object" in run_error(capsys, "info", run)
    assert "config.json: is damaged" in run_error(capsys, "runs", tmp_path)


def test_the_cost_of_another_size_is_predicted_from_what_runs_recorded(run, other, capsys):
    values = run_json(capsys, "plan", run, "--images", 1000, "--nodes", 2)
    assert {"proposals", "features", "first examples", "other heads", "held-out images"} <= values["stages"].keys()
    assert values["hours"] == pytest.approx(sum(stage["hours"] for stage in values["stages"].values()))
    assert values["bottleneck"] == max(values["stages"], key=lambda name: values["stages"][name]["hours"])
    assert values["disk_gb"] > 0
    assert values["memory_gb"] > 0
    assert any("one size" in note for note in values["notes"])
    assert "bottleneck: " in run_text(capsys, "plan", run, "--images", 1000)
    assert "runs of other settings" in run_error(capsys, "plan", run, other, "--images", 1000)
    assert "out of range" in run_error(capsys, "plan", run, "--images", 0)


@pytest.mark.parametrize("more", [{"session": 2}, {"processes": 2}])
def test_runs_whose_seconds_are_not_those_of_one_process_are_not_planned_from(run, more, capsys):
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps({**row, **more}) + "\n" for row in rows))
    assert "one process that was not interrupted" in run_error(capsys, "plan", run, "--images", 1000)
