"""The division of the images into those fitted and those held out."""

import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sppdet.config.data import DataConfig
from sppdet.config.training import TrainConfig
from sppdet.data.formats.voc import read_voc
from sppdet.errors import DataError, ImageError
from sppdet.shapes.scene import SHAPES
from sppdet.training import hold_out as hold_out_module
from sppdet.training.hold_out import hold_out

VAL = (4, 9, 14)  # the generated set's val among its 15 images of trainval


def held_out(config: TrainConfig) -> tuple[list[str], list[str], list[str]]:
    """The names of all images, of those that are fitted at the end, and of those held out before."""
    dataset, fitted, out, *_ = hold_out(config)
    names = [str(image.id) for image in dataset.images]
    assert len(set(names)) == len(names)
    return names, [names[i] for i in fitted], [names[i] for i in out]


def ids(shapes: Path, split: str) -> list[str]:
    return (shapes / f"ImageSets/Main/{split}.txt").read_text().split()


def test_val_is_held_out_and_then_fitted_too_only_inside_the_training_split(config, shapes):
    trainval = ids(shapes, "trainval")
    assert held_out(config) == (trainval, trainval, ids(shapes, "val"))
    config = replace(config, data=replace(config.data, split="train"))
    images, fitted, out = held_out(config)
    assert (fitted, out) == (ids(shapes, "train"), ids(shapes, "val"))
    assert images == fitted + out


def test_without_a_val_list_every_fifth_image_is_held_out(config, own_data):
    (own_data / "ImageSets/Main/val.txt").unlink()
    trainval = ids(own_data, "trainval")[:-1]
    (own_data / "ImageSets/Main/trainval.txt").write_text("\n".join(trainval))
    config = replace(config, data=DataConfig(root=str(own_data)))
    assert held_out(config) == (trainval, trainval, [trainval[4], trainval[9]])
    few = trainval[:3]
    assert held_out(replace(config, data=replace(config.data, max_images=3))) == (few, few, few[-1:])


@pytest.mark.parametrize(("images", "expected"), [(10, [4, 9]), (5, [4]), (4, [3])])
def test_a_limit_of_images_holds_for_val_too(config, shapes, images, expected):
    names = ids(shapes, "trainval")[:images]
    limited = replace(config, data=replace(config.data, max_images=images))
    assert held_out(limited) == (names, names, [names[i] for i in expected])
    # Images of the default val outside the limited split stay outside; others were asked for.
    named = replace(limited, val="test")
    assert held_out(named)[1:] == (names, ids(shapes, "test"))
    train_names = ids(shapes, "train")[:6]
    limited = replace(limited, data=replace(limited.data, split="train", max_images=6))
    assert held_out(limited) == (train_names, train_names, [train_names[4]])


@pytest.mark.parametrize(
    ("images", "val", "said"),
    [
        (None, "val", "the images of val"),
        (10, "val", "the images of val that are among the first 10 of the data"),
        (4, "val", "the last image, as val has no images that are among the first 4 of the data"),
        (None, "trainval", "every fifth image, as trainval has all images"),
        (None, "", "every fifth image, as there is no val"),
    ],
)
def test_the_log_says_where_the_held_out_images_come_from(config, images, val, said, caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        held_out(replace(config, val=val, data=replace(config.data, max_images=images)))
    assert [message for message in caplog.messages if message.startswith("held")] == [f"held out: {said}"]


def test_val_can_be_named_or_left_out(config, shapes):
    trainval = ids(shapes, "trainval")
    assert held_out(replace(config, val="test"))[2] == ids(shapes, "test")
    assert held_out(replace(config, val="trainval"))[2] == [trainval[i] for i in VAL]  # not everything
    with pytest.raises(DataError, match=r"extra\.txt"):
        held_out(replace(config, val="extra"))


def test_a_broken_val_split_is_not_taken_for_a_missing_one(config, own_data):
    file = own_data / f"Annotations/{ids(own_data, 'val')[0]}.xml"
    file.write_text("<annotation>")
    with pytest.raises(DataError, match=file.name):
        held_out(replace(config, data=DataConfig(root=str(own_data), split="train", classes=list(SHAPES))))


def test_classes_without_objects_are_said_or_refused(config, own_data, caplog):
    for name in ids(own_data, "trainval"):
        file = own_data / f"Annotations/{name}.xml"
        file.write_text(file.read_text().replace("<name>disc<", "<name>ring<"))
    rare, last = (own_data / f"Annotations/{ids(own_data, 'trainval')[i]}.xml" for i in (4, 14))
    text = rare.read_text()
    thing = "<object><name>comet</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>50</xmax><ymax>50</ymax></bndbox>"
    rare.write_text(text.replace("</annotation>", f"{thing}</object></annotation>"))
    hard = f"{thing.replace('comet', 'ghost')}<difficult>1</difficult></object></annotation>"
    last.write_text(last.read_text().replace("</annotation>", hard))
    own = replace(config, data=DataConfig(root=str(own_data)))
    hold_out(own)
    assert "no image to train on has objects of class ghost" in caplog.text
    assert re.search(r"only images held out have objects of class .*comet", caplog.text)
    for name in ("disc", "ghost"):
        with pytest.raises(DataError, match=rf"data\.classes: .*{name}"):
            hold_out(replace(own, data=replace(own.data, classes=[name])))


def test_a_misspelled_class_is_told_before_images_are_decoded(config, shapes, monkeypatch):
    monkeypatch.delattr(hold_out_module, "keep_readable")
    data = DataConfig(root=str(shapes), classes=["disc", "sqare"])
    with pytest.raises(DataError, match=r"expected cross, disc, .*, got sqare\): did you mean square\?"):
        hold_out(replace(config, data=data))


def without_objects(own_data: Path, names: list[str]) -> None:
    for name in names:
        file = own_data / f"Annotations/{name}.xml"
        file.write_text(re.sub(r"<object>.*</object>", "", file.read_text(), flags=re.DOTALL))


def test_a_part_without_objects_is_not_held_out(config, own_data, caplog):
    trainval, config = ids(own_data, "trainval"), replace(config, data=DataConfig(root=str(own_data)))
    without_objects(own_data, [trainval[i] for i in VAL])
    with caplog.at_level(logging.INFO, "sppdet"):
        assert held_out(config) == (trainval, trainval, [trainval[i] for i in (3, 8, 13)])
    assert "held out: every fifth image, as val has no objects" in caplog.text
    without_objects(own_data, trainval[:2])
    few = replace(config, data=replace(config.data, max_images=3))
    assert held_out(few)[2] == trainval[2:3], "no part of these has objects"
    for name in trainval:
        file = own_data / f"Annotations/{name}.xml"
        file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    with pytest.raises(DataError, match=r"data: no objects to train on .got 15 images"):
        held_out(config)


def test_copies_of_held_out_images_are_held_out_with_them(config, own_data, caplog):
    trainval = ids(own_data, "trainval")
    for original, copy in ((4, 2), (9, 0), (6, 7)):
        for kind in ("JPEGImages/{}.jpg", "Annotations/{}.xml"):
            shutil.copy(*(own_data / kind.format(trainval[i]) for i in (original, copy)))
    config = replace(config, data=DataConfig(root=str(own_data)))
    expected = [trainval[i] for i in (2, 4, 0, 9, 14)]
    assert held_out(config) == (trainval, trainval, expected)
    assert f"held out as well, 2 copies of held-out images: {trainval[2]}, {trainval[0]}" in caplog.text
    assert held_out(replace(config, val=""))[2] == expected
    train = replace(config, data=replace(config.data, split="train"))
    names = ids(own_data, "train")
    images, fitted, out = held_out(train)
    assert (images, fitted, out) == ([*names, trainval[14]], names, [trainval[2], trainval[0], trainval[14]])


def test_a_file_under_two_ids_is_on_one_side(config, shapes, caplog):
    dataset = read_voc(shapes, "trainval")
    again = replace(dataset.images[9], id="again")
    split = hold_out(replace(config, val=""), replace(dataset, images=(again, *dataset.images)))
    assert [split.dataset.images[i].id for i in split.held_out] == ids(shapes, "trainval")[3::5]
    split = hold_out(replace(config, val=""), replace(dataset, images=(*dataset.images, again)))
    assert [split.dataset.images[i].id for i in split.held_out] == [
        *(dataset.images[i].id for i in (4, 9)),
        "again",
        dataset.images[14].id,
    ]
    assert "held out as well, 1 copy of held-out images: again" in caplog.text


def test_all_unreadable_images_are_named_or_left_out(config, own_data, caplog):
    trainval = ids(own_data, "trainval")
    files = [own_data / f"JPEGImages/{trainval[i]}.jpg" for i in (1, 9)]
    files[0].write_bytes(files[0].read_bytes()[:3000])
    files[1].write_bytes(b"text")
    config = replace(config, data=DataConfig(root=str(own_data)))
    with pytest.raises(ImageError, match=r"2 of 15 images cannot be read .*--data\.skip_unreadable") as caught:
        held_out(config)
    assert all(str(file) in str(caught.value) for file in files)
    skipping = replace(config, data=replace(config.data, skip_unreadable=True))
    readable = [name for i, name in enumerate(trainval) if i not in (1, 9)]
    assert held_out(skipping) == (readable, readable, [trainval[i] for i in (4, 14)])
    assert "2 of 15 images left out: " in caplog.text
