from data_sets import (
    convert,
    write_text,
    write_voc,
)

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset


def test_lists_that_a_format_has_no_name_for(tmp_path, caplog):
    root = write_voc(tmp_path / "set")
    lists = {"extra": "a\nc\n", "more": "d\n", "cat_train": "a 1\nb -1\n", "valid": "b\n", "test": "f\n"}
    for name, text in lists.items():
        write_text(root / f"ImageSets/Main/{name}.txt", text)
    assert set(convert(root, "voc").parts) == {"train", "val", "trainval", "test", "extra", "more", "valid"}
    assert set(convert(root, "coco").parts) == {"train", "val", "test", "extra", "more", "valid"}
    assert set(convert(root, "yolo").parts) == {"train", "val", "test"}
    message = "1 image left out, only in extra, more, valid: YOLO format has train, val and test"
    assert caplog.messages[-1] == f"{root}: {message}"
    assert caplog.messages.count(f"{root}: 1 list of single classes left out") == 3


def test_lists_of_other_names_alone_are_yolos_train(tmp_path, caplog):
    caplog.set_level("INFO", "sppdet")
    root = write_voc(tmp_path / "set")
    for name in ("train", "val", "trainval", "test"):
        (root / f"ImageSets/Main/{name}.txt").unlink()
    write_text(root / "ImageSets/Main/one.txt", "a\nb\n")
    write_text(root / "ImageSets/Main/two.txt", "b\nc\n")
    assert {split: len(part) for split, part in convert(root, "yolo").parts.items()} == {"train": 3}
    assert (tmp_path / "yolo/data.yaml").read_text().startswith("train: images/train\nnc")
    assert caplog.messages[-1].startswith("no train, val and test in the data: the copy has train; a training divides")


def test_val_inside_trainval_stays_what_it_is(tmp_path):
    root = write_voc(tmp_path / "set")
    (root / "ImageSets/Main/train.txt").unlink()
    assert set(convert(root, "coco").parts) == {"val", "trainval", "test"}
    for split, names in (("trainval", "abde"), ("val", "e")):
        dataset = read_dataset(DataConfig(root=str(tmp_path / "coco"), split=split))
        assert "".join(image.path.stem for image in dataset.images) == names
    assert set(convert(root, "yolo").parts) == {"train", "val", "test"}
