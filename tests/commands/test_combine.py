"""`sppdet combine`: its numbers beside those of each run alone, and what cannot be combined."""

import pytest
from factories import run_error, run_json, run_text

from sppdet.cli import main
from sppdet.commands import inputs as commands
from sppdet.data.formats.voc import read_voc
from sppdet.detector import Detector
from sppdet.files.atomic import read_json, write_json
from sppdet.shapes.scene import SHAPES


def scored(file) -> set[tuple]:
    return {(entry["image_id"], entry["score"]) for entry in read_json(file)}


def test_two_runs(place, data, tmp_path, capsys):
    runs = [place / "spp", place / "crop"]
    numbers = run_json(capsys, "combine", *runs, *data, "--output", tmp_path / "both")
    assert read_json(tmp_path / "both/evaluation.json") == numbers
    assert set(numbers["single"]) == {str(run) for run in runs}
    singles = []
    for run in runs:
        alone = run_json(capsys, "evaluate", run, *data, "--output", tmp_path / run.name, "--probabilities")
        for key in ("map_voc07", "map_area"):
            assert numbers["single"][str(run)][key] == pytest.approx(alone[key])
        singles.append(scored(tmp_path / run.name / "detections.json"))
    union = scored(tmp_path / "both/detections.json")
    assert union < singles[0] | singles[1]
    assert union & singles[0]
    assert union & singles[1]
    # The written detections, in either form, give what the runs gave, and are themselves detections to evaluate.
    files = [tmp_path / "spp/detections.json", tmp_path / "crop/comp4"]
    again = run_json(capsys, "combine", *files, *data, "--output", tmp_path / "again")
    assert list(again.pop("single").values()) == list(numbers["single"].values())
    best = max(numbers["single"], key=lambda run: numbers["single"][run]["map_voc07"])
    assert numbers["difference"].pop("best") == best
    change = numbers["map_voc07"] - numbers.pop("single")[best]["map_voc07"]
    assert numbers["difference"]["map_voc07"] == pytest.approx(change)
    again["difference"].pop("best")
    assert again == numbers
    again = run_json(capsys, "evaluate", "--detections", tmp_path / "both/detections.json", *data)
    assert again == {key: value for key, value in numbers.items() if key not in ("reliability", "difference")}


def test_saved_detections_are_combined_as_new_ones(run, other, data, tmp_path, monkeypatch, capsys):
    combine = ("combine", run, other, *data, "--output", tmp_path / "both")
    numbers = run_json(capsys, *combine)
    run_json(capsys, "evaluate", run, *data)
    run_json(capsys, "evaluate", other, *data, "--probabilities")
    with monkeypatch.context() as patch:
        patch.setattr(commands, "detect_dataset", None)
        with pytest.raises(TypeError):  # those of the other are probabilities
            main([str(part) for part in combine])
    assert run_json(capsys, *combine) == numbers
    run_json(capsys, "evaluate", other, *data)
    monkeypatch.setattr(commands, "detect_dataset", None)
    assert run_json(capsys, *combine) == numbers


def test_each_alone_is_printed(place, data, tmp_path, capsys):
    options = (*data, "--data.max_images", 3, "--output", tmp_path)
    lines = run_text(capsys, "combine", place / "spp", place / "crop", *options).splitlines()
    assert [line.split()[0] for line in lines[:8]] == ["AP", *SHAPES, "mAP"]
    assert [line.split()[2] for line in lines[10:14:2]] == [str(place / "spp"), str(place / "crop")]
    assert lines[-1] == f"written to {tmp_path}"


def test_what_cannot_be_combined_is_named(place, data, run, tmp_path, capsys):
    spp, raw = place / "spp", tmp_path / "raw.json"
    image_id = read_voc(place / "shapes", "test").images[0].id
    write_json(raw, [{"image_id": image_id, "category_id": 1, "bbox": [0, 0, 9, 9], "score": -0.5}])
    shards = tmp_path / "shards"
    write_json(shards / "shard-0-of-1.json", [])
    other = Detector.load(run)
    other.classes = tuple(reversed(other.classes))
    other.save(run / "detector.safetensors")
    for runs, said in (
        ([spp], "runs: cannot be combined"),
        ([spp, spp], "runs: cannot be combined"),
        ([spp, place / "crop", "--resamples", -1], "resamples: out of range"),
        ([spp, raw], f"{raw}: score: not a probability (expected 0..1, as written by `sppdet"),
        ([spp, run], f"{run}: the detector's classes are not the data's"),
        ([spp, tmp_path], f"{tmp_path}: is not a run"),
        ([spp, tmp_path / "none.json"], f"{tmp_path}/none.json: file not found"),
        ([spp, shards], f"{shards / 'shard-0-of-1.json'}: "),  # no run, but no path that is wrong either
    ):
        assert f"sppdet: error: {said}" in run_error(capsys, "combine", *runs, *data, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
