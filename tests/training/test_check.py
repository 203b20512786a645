"""The check of the data that a training makes first."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from data_sets import write_voc
from factories import train_config

from sppdet.errors import DataError
from sppdet.training import check as checks
from sppdet.training.check import NAMED, check_training_data
from sppdet.training.hold_out import hold_out
from sppdet.training.train import train


@pytest.fixture
def voc(tmp_path) -> Path:
    return write_voc(tmp_path / "voc")


def damage(voc: Path, names: str) -> None:
    for name in names:
        file = voc / f"Annotations/{name}.xml"
        file.write_text(file.read_text().replace("<width>64", "<width>640"))


def test_one_error_is_raised_with_its_file_and_field(voc, tmp_path):
    damage(voc, "a")
    with pytest.raises(DataError, match=r"a\.xml: size: .*got 640 x 48\); --data\.strict false leaves") as caught:
        train(train_config(voc, tmp_path / "run"))
    assert (Path(caught.value.file).name, caught.value.field) == ("a.xml", "size")


def test_several_are_counted_and_the_first_named(voc, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "NAMED", 2)
    assert NAMED == 10
    damage(voc, "abe")
    with pytest.raises(
        DataError, match=rf"3 errors in the data \(`sppdet check-data {voc} --output .*` lists all"
    ) as caught:
        check_training_data(train_config(voc, tmp_path / "run"))
    text = str(caught.value)
    assert ("a.xml: size" in text, "b.xml: size" in text, "e.xml: size" in text) == (True, True, False)
    assert text.endswith("; 1 more")


def test_errors_are_left_out_and_counted_if_not_strict(voc, tmp_path, caplog):
    damage(voc, "ab")
    config = train_config(voc, tmp_path / "run")
    config = replace(config, data=replace(config.data, strict=False))
    with caplog.at_level(logging.INFO, "sppdet"):
        check_training_data(config)
        split = hold_out(config)
    assert [image.id for image in split.dataset.images] == ["d", "e"]
    text = "\n".join(caplog.messages)
    assert "errors in the data: annotated size (2); their images or objects are left out" in text
    assert "2 images left out" in text
    assert "a.xml: size: is not the image's" in text


def test_warnings_are_counted_by_kind(voc, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        check_training_data(train_config(voc, tmp_path / "run"))
    (line,) = caplog.messages
    counts = "small object (2), class without objects (1)"
    assert line == f"warnings in the data: {counts} (`sppdet check-data {voc} --output check` lists them)"
