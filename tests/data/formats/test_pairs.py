from data_sets import write_image, write_text

from sppdet.data.formats.pairs import find_pairs
from sppdet.data.problems import Problems


def make(root, *names):
    for name in names:
        (write_text(root / name, "") if name.endswith((".xml", ".txt")) else write_image(root / name))
    found = Problems()
    pairs = find_pairs(root, ".xml", found)
    rows = {
        pair.image.relative_to(root).as_posix(): pair.label and pair.label.relative_to(root).as_posix()
        for pair in pairs.images
    }
    return rows, pairs, found


def test_side_by_side_and_in_folders_that_correspond(tmp_path):
    rows, pairs, _ = make(
        tmp_path,
        *("a.jpg", "a.xml", "images/b.png", "annotations/b.xml", "train/images/c.jpg", "train/xmls/c.xml"),
        *("images/val/cam1/d.jpg", "labels/val/cam1/d.xml", "images/val/cam2/d.jpg", "labels/val/cam2/d.xml"),
    )
    assert rows == {
        **{"a.jpg": "a.xml", "images/b.png": "annotations/b.xml", "train/images/c.jpg": "train/xmls/c.xml"},
        **{f"images/val/{cam}/d.jpg": f"labels/val/{cam}/d.xml" for cam in ("cam1", "cam2")},
    }
    assert [pair.split for pair in pairs.images] == [None, None, "train", "val", "val"]
    assert {split: len(images) for split, images in pairs.splits().items()} == {"train": 1, "val": 2}


def test_in_folders_of_any_name_if_the_file_names_say_it(tmp_path):
    rows, _, _ = make(tmp_path, *(f"{split}/{part}" for split in ("train", "test") for part in ("x/1.jpg", "y/1.xml")))
    assert rows == {f"{split}/x/1.jpg": f"{split}/y/1.xml" for split in ("train", "test")}


def test_images_without_labels_count_next_to_others_only(tmp_path):
    rows, pairs, _ = make(tmp_path, "images/a.jpg", "images/b.jpg", "xml/a.xml", "masks/a.png", "plot.png", "c.xml")
    assert rows == {"images/a.jpg": "xml/a.xml", "images/b.jpg": None}
    assert [path.name for path in pairs.orphans] == ["c.xml"]


def test_two_images_of_one_name(tmp_path):
    rows, _, found = make(tmp_path, "a.png", "a.jpg", "a.xml")
    assert rows == {"a.jpg": "a.xml"}
    assert str(found.found[0]) == f"{tmp_path / 'a.png'}: left out, as a.jpg has its name"
