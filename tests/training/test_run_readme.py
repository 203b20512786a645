"""The README of a run, for a person who opens its folder a year later."""

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from data_sets import count_xml, image_files
from factories import stopping

from sppdet.cli import build_parser, main
from sppdet.config.data import DataConfig
from sppdet.data.formats.voc import read_voc
from sppdet.files.atomic import read_json
from sppdet.files.run_folder import RunFolder
from sppdet.training import train as stages
from sppdet.training.account import FINAL, FIRST
from sppdet.training.train import train


def text_of(run: str) -> str:
    return RunFolder(run).readme.read_text(encoding="utf-8")


def tables_of(text: str) -> Iterator[tuple[list[str], dict[str, list[str]]]]:
    """The title and the rows of each table, by their first cells."""
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        title, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines())
        yield title, {name: cells for name, *cells in rows}


def commands_of(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("sppdet ")]


def test_the_counts_add_up_to_what_is_on_disk(config, own_data, caplog):
    file = sorted((own_data / "Annotations").iterdir())[0]
    file.write_text(file.read_text().replace("<xmin>", "<xmin>9", 1))
    with caplog.at_level("INFO", "sppdet"):
        train(replace(config, data=DataConfig(root=str(own_data))))
    text = text_of(config.output)
    (_, everything), (title, used), (_, classes), _ = tables_of(text)
    rows = {name: [int(cell) for cell in cells] for name, cells in everything.items()}
    assert rows.pop("all") == [len(image_files(own_data)), count_xml(own_data)]
    both, held = "trained on", "held out until the final fit"
    assert {name: images for name, (images, _) in rows.items()} == {both: 12, held: 3, "split test": 6}
    fits = {FIRST: [both], "held out": [held], FINAL: [both, held]}
    assert title[1:] == list(fits)
    assert used["images"] == ["12", "3", "15"]
    for column, (name, total, objects) in enumerate(
        zip(title[1:], used["all objects"], used["objects used"], strict=True)
    ):
        assert int(total) == sum(rows[role][1] for role in fits[name])
        assert int(objects) == sum(int(cells[column]) for cells in classes.values())
        left_out = [int(cells[column]) for name, cells in used.items() if name.startswith("objects left out: ")]
        assert int(total) == int(objects) + sum(left_out)
    assert used["objects left out: box reversed"] == ["1", "0", "1"]
    assert f"{len(image_files(own_data))} image files: 12 {both}, 3 {held}, 6 split test" in caplog.text
    val = read_json(Path(config.output) / "val.json")
    assert f"mAP {val['map_voc07']:.2%} (VOC, 11 points), {val['map_area']:.2%} (area) on 3 images held out" in text
    first, _, final = used["objects used"]
    assert f"(the images of val), measured by a detector trained on the other 12 images ({first} objects)" in text
    assert f"The final detector is trained on all 15 images ({final} objects)." in text
    assert re.search(r"finished \| .*, after \d+ s from the check of the data on \|", text)
    assert f"Found in `{own_data}`: VOC layout, splits test, train, trainval, val" in text
    assert "Warnings: " in text
    assert "1 box reversed" in text


@pytest.mark.slow
def test_its_command_repeats_the_training_and_the_others_parse(config, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flat = tmp_path / "flat"

    for name in ("JPEGImages", "Annotations"):
        shutil.copytree(shapes / name, flat / name)
    train(replace(config, data=DataConfig(root=str(flat), max_images=8), output="run one"))
    text = text_of("run one")
    again, *others = commands_of(text)
    assert again == [
        "train",
        "--data.split_file",
        "run one/split.json",
        "--config",
        "run one/config.json",
        "--output",
        "run one-again",
    ]
    assert f"commands are given from `{tmp_path}`" in text
    assert main(again) == 0
    detectors = [Path(name, "detector.safetensors").read_bytes() for name in ("run one", "run one-again")]
    assert detectors[0] == detectors[1]
    assert [command[0] for command in others] == ["evaluate", "diagnose", "detect"]
    for command in others:
        build_parser().parse_args(command)


def test_a_resumed_run_writes_it_at_its_end(config):
    with pytest.raises(KeyboardInterrupt), stopping(stages, "fit_calibration"):
        train(config)
    assert not RunFolder(config.output).readme.exists()
    train(config)
    assert re.search(
        r"finished \| \d{4}-\d\d-\d\d \d\d:\d\d, after \d+ s since it was resumed \|", text_of(config.output)
    )


def test_data_in_memory(config, shapes):
    dataset = read_voc(shapes, "val")
    train(replace(config, data=DataConfig()), dataset)
    text = text_of(config.output)
    (_, used), (_, classes), _ = tables_of(text)
    assert used["images"] == ["2", "1", "3"]
    assert "on 1 image held out (the last image, as there is no val), measured by" in text
    assert "Thresholds were chosen on the same images." in text
    assert "\n\nIn memory.\n" in text
    assert "The data were given in Python." in text
    assert set(classes) == set(dataset.classes)
    assert [command[0] for command in commands_of(text)] == ["evaluate", "diagnose", "detect"]


def test_a_single_fit_is_not_called_two(config, caplog):
    with caplog.at_level("INFO", "sppdet"):
        train(replace(config, data=replace(config.data, split="train", max_images=None)))
    text = text_of(config.output)
    assert re.search(r"measured by this detector, which was trained on the other \d+ images", text)
    assert "final" not in text
    (_, everything), (title, _), *_ = tables_of(text)
    assert list(everything)[:2] == title[1:] == ["trained on", "held out"]
    assert re.search(r"held out to choose thresholds: one fit, to \d+$", caplog.text, re.MULTILINE)
    assert FINAL not in caplog.text
