import pytest
from data_sets import SCENES, write_image, write_text, yolo_of
from PIL import Image

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.errors import DataError


def read(root, lines: str | bytes | None, names="cat\ndog\n", others=None):
    """A set of two images, of which a.png has these labels."""
    for name in "ab":
        if not (root / f"images/{name}.png").is_file():
            write_image(root / f"images/{name}.png")
    write_text(root / "labels/b.txt", yolo_of("b") if others is None else others)
    if lines is not None:
        (root / "labels/a.txt").write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    if names is not None:
        write_text(root / "classes.txt", names)
    config = DataConfig(root=str(root), split="train", split_fractions=(1.0, 0.0, 0.0))
    return read_dataset(config)


def test_a_missing_or_empty_label_file_means_no_objects(tmp_path, caplog):
    for lines in (None, "", "\n \n", b"\xef\xbb\xbf"):
        assert [len(image.labels) for image in read(tmp_path, lines).images] == [0, 1]
    assert not caplog.messages


def test_boxes_and_outlines(tmp_path):
    image = read(tmp_path, "1 0.5 0.5 0.25 0.5\n0 .25 .25 .75 .25 .5 .5\n 0\t0 0 1 0 1 1 0 1 \n").images[0]
    assert image.boxes.tolist() == [[24, 12, 40, 36], [16, 12, 48, 24], [0, 0, 64, 48]]
    assert image.labels.tolist() == [2, 1, 1]


def test_corners_are_whole_pixels_as_far_as_the_digits_tell(tmp_path):
    Image.new("RGB", (4000, 3000)).save(tmp_path / "large.png")
    write_text(tmp_path / "large.txt", "0 0.333375 0.666833 0.333250 0.333000\n0 0.3333 0.5 0.1 0.1\n")
    write_text(tmp_path / "classes.txt", "cat\n")
    boxes = read_dataset(DataConfig(root=str(tmp_path), split="train", split_fractions=(1.0, 0.0, 0.0))).images[0].boxes
    assert boxes[0].tolist() == [667, 1501, 2000, 2500]
    assert boxes[1, 0].item() == pytest.approx(1133.2)


def test_without_names_classes_are_numbers(tmp_path):
    assert read(tmp_path, "3 0.5 0.5 0.2 0.2\n", names=None).classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("names", ["names: [cat, dog]", "names:\n  1: dog\n  0: cat", "nc: 2\nnames: ['cat', \"dog\"]"])
def test_names_in_yaml(tmp_path, names):
    write_text(tmp_path / "data.yaml", f"train: nowhere\n{names}\n")
    assert read(tmp_path, None, names=None).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("0 .5 .5 .2\n", r"a\.txt: line 1: not a label .*got 4 numbers"),
        ("\n0 .5 .5 .2 .2 .9\n", r"line 2: not a label .*got 6 numbers"),
        ("0 .5 .5 .2 x\n", r"line 1: not a label .*got 0 .5 .5 .2 x"),
        ("2 .5 .5 .2 .2\n", r"line 1: unknown class .*expected 0 to 1 \(cat, dog\), got 2"),
        ("0.5 .5 .5 .2 .2\n", "line 1: unknown class"),
        ("-1 .5 .5 .2 .2\n", "line 1: unknown class"),
        ("nan .5 .5 .2 .2\n", "line 1: unknown class"),
        ("inf .5 .5 .2 .2\n", "line 1: unknown class"),
        ("0 32 24 10 12\n", r"line 1: not fractions of the image \(expected from 0 to 1, got 32 24 10 12\)"),
        (b"\xff\xfe\xff", r"a\.txt: is not text in UTF-8"),
    ],
)
def test_bad_labels_name_file_and_line(tmp_path, lines, words):
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, lines)
    assert "\n" not in str(caught.value)


def test_corners_in_place_of_sides_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt: line 1: corners, not sides .*got \[0\.2, 0\.3, 0\.9, 0\.8\]"):
        read(tmp_path, "0 .2 .3 .9 .8\n0 .5 .6 .95 .9\n", others="")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("classes.txt", "cat\ncat\n", r"classes\.txt: names: names must be unique"),
        ("data.yaml", "names: 3", r"data\.yaml: names: not names"),
        ("data.yaml", "names: {a: cat}", r"data\.yaml: names: not names"),
        ("data.yaml", "names: [", r"data\.yaml: is not YAML"),
        ("data.yaml", "names: []", r"data\.yaml: names: names must be unique, at least one"),
    ],
)
def test_bad_names_name_the_file(tmp_path, file, text, words):
    write_text(tmp_path / file, text)
    with pytest.raises(DataError, match=words):
        read(tmp_path, None, names=None)


def test_an_image_that_cannot_be_read_has_no_pixels(tmp_path):
    read(tmp_path, "0 .5 .5 .2 .2\n")
    (tmp_path / "images/a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png: cannot be read"):
        read(tmp_path, "0 .5 .5 .2 .2\n")


def test_boxes_are_those_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "images/c.jpg", exif=exif)
    write_text(tmp_path / "labels/c.txt", "0 0.5 0.5 1 1\n")
    image = read(tmp_path, None).images[2]
    assert image.boxes.tolist() == [[0, 0, *image.read().shape[:0:-1]]] == [[0, 0, 48, 64]]


def test_the_scenes_are_what_they_are(tmp_path):
    image = read(tmp_path, yolo_of("a")).images[0]
    assert image.boxes.tolist() == [list(box) for _, box in SCENES["a"]]


def test_without_names_all_splits_have_the_same_classes(tmp_path):
    for split, label in (("train", 1), ("val", 3)):
        write_image(tmp_path / f"images/{split}/{split}.png")
        write_text(tmp_path / f"labels/{split}/{split}.txt", f"{label} .5 .5 .2 .2\n")
    for split in ("train", "val"):
        assert read_dataset(DataConfig(root=str(tmp_path), split=split)).classes == ("0", "1", "2", "3")
    write_text(tmp_path / "labels/val/val.txt", "10000 .5 .5 .2 .2\n")
    with pytest.raises(DataError, match=r"line 1: unknown class \(expected 0 to 9999, got 10000\)"):
        read_dataset(DataConfig(root=str(tmp_path), split="val"))
