import pytest
from data_sets import write_parts
from factories import run_error, run_json, run_text


def test_it_says_what_was_written(tmp_path, capsys):
    root, output = write_parts(tmp_path / "set", "roboflow xml"), tmp_path / "new/coco"
    assert run_json(capsys, "convert-data", root, "--to", "coco", "--output", output) == {
        **{"folder": str(output), "from": "xml", "to": "coco", "renamed": 0, "left_out": 0},
        "splits": {
            "test": {"images": 2, "background": 1, "objects": 1, "difficult": 0},
            "train": {"images": 3, "background": 0, "objects": 4, "difficult": 0},
            "val": {"images": 1, "background": 0, "objects": 2, "difficult": 0},
        },
    }
    text = run_text(capsys, "convert-data", output, "--to", "voc", "--output", tmp_path / "voc", "--images", "link")
    assert text == f"train 3, val 1, test 2: 6 images in {tmp_path / 'voc'}\n"


@pytest.mark.parametrize(
    ("options", "named", "code"),
    [
        ("--to voc --output set/new", "set/new: lies in the folder of the data", 1),
        ("--to voc --output set", "set: lies in the folder of the data", 1),
        ("--to voc --output new --format yolo", "set: no annotations found", 1),
        ("--to cvat --output new", "--to", 2),
        ("--to voc", "convert-data needs --output", 2),
    ],
)
def test_mistakes(tmp_path, capsys, monkeypatch, options, named, code):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "set", "roboflow xml")
    assert named in run_error(capsys, "convert-data", "set", *options.split(), code=code)
