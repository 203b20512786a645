import json
import shutil
from pathlib import Path

from data_checks import assert_only, check, faults, found
from data_sets import coco_of, write_coco, write_files, write_image, write_text, xml_of
from PIL import Image


def test_files_that_are_missing_doubled_or_unreadable(voc):
    (voc / "JPEGImages/b.png").unlink()
    (voc / "Annotations/d.xml").write_text("<annotation>")
    (voc / "Annotations/f.xml").unlink()
    write_text(voc / "ImageSets/Main/test.txt", "c\nf\nc\ng\n")
    Image.effect_noise((64, 48), 90).convert("RGB").save(voc / "JPEGImages/e.jpg")
    (voc / "JPEGImages/e.png").unlink()
    data = (voc / "JPEGImages/e.jpg").read_bytes()
    (voc / "JPEGImages/e.jpg").write_bytes(data[: len(data) // 2])
    write_image(voc / "JPEGImages/new.png")
    write_text(voc / "Annotations/new.xml", xml_of("a"))
    write_text(voc / "Annotations/lost.xml", xml_of("a"))
    problems = {(Path(p.file).name, p.field, p.kind, p.severity) for p in faults(check(voc))}
    assert problems == {
        ("b.jpg", None, "unusable file", "error"),
        ("d.xml", None, "unusable file", "error"),
        ("f.png", None, "no annotation file", "warning"),
        ("test.txt", "line 3", "image listed twice", "error"),
        ("g.xml", None, "unusable file", "error"),
        ("e.jpg", None, "unreadable image", "error"),
        ("new.png", None, "image not used", "warning"),
        ("lost.xml", None, "annotation without an image", "warning"),
    }


def test_files_that_belong_to_nothing_in_yolo_format(tmp_path):
    root = write_files(tmp_path, "images", "labels", "txt")
    write_text(root / "labels/classes.txt", "cat\ndog\n")
    write_text(root / "labels/lost.txt", "0 0.5 0.5 0.1 0.1\n")
    checked = check(root)
    (problem,) = found(checked, "annotation without an image")
    assert problem.file == str(root / "labels/lost.txt")
    assert faults(checked) == [problem]


def test_one_image_in_two_splits_or_under_two_ids(voc):
    shutil.copy(voc / "JPEGImages/a.png", voc / "JPEGImages/c.png")
    shutil.copy(voc / "JPEGImages/b.png", voc / "JPEGImages/d.png")
    shutil.copy(voc / "Annotations/b.xml", voc / "Annotations/d.xml")
    images = voc / "JPEGImages"
    twice, across = sorted(
        (p for p in check(voc).problems if "class" not in p.kind), key=lambda p: p.kind, reverse=True
    )
    assert twice[:4] == (str(images / "d.png"), "id d, train", "image twice", "warning")
    assert twice.message == f"is the same image as {images / 'b.png'} (id b, train)"
    assert across[:4] == (str(images / "c.png"), "id c, test", "image in two splits", "warning")
    assert (
        across.message
        == f"is the same image as {images / 'a.png'} (id a, train), annotated differently: keep the right one"
    )


def test_one_name_in_two_lists_is_found_but_not_in_trainval(voc):
    write_text(voc / "ImageSets/Main/test.txt", "c\nf\na\n")
    assert_only(check(voc), "image in two splits", "warning", voc / "JPEGImages/a.png", "id a, test")


def test_one_file_under_two_ids_in_coco_format(tmp_path):
    root, content = write_coco(tmp_path, "images", "all.json"), coco_of("abcdef")
    content["images"].append({**content["images"][1], "id": 77})
    write_text(root / "all.json", json.dumps(content))
    checked = check(root)
    assert not [p for p in checked.problems if p.kind in ("image twice", "image in two splits")]
    assert not found(checked, "image not used"), "it is in the file"
    problems = found(checked, "image listed twice")
    assert [p[:2] for p in problems] == [(str(root / "all.json"), f"images[{i}].file_name") for i in (1, 6)]
    assert {p.severity for p in problems} == {"error"}
    assert problems[0].message == ("image listed twice: keep one entry of it, with the objects of all (got b.png)")
    parts = checked.parts.values()
    assert "b" not in {image.source.path.stem for images in parts for image in images}


def test_one_file_under_two_names_in_cvat(tmp_path):
    write_image(tmp_path / "images/a.png")
    write_image(tmp_path / "images/b.png")
    box = '<box label="cat" xtl="1" ytl="2" xbr="20" ybr="30"/>'
    names = ("a.png", "images/a.png", "b.png")
    images = "".join(f'<image name="{name}" width="64" height="48">{box}</image>' for name in names)
    write_text(tmp_path / "annotations.xml", f"<annotations>{images}</annotations>")
    problems = faults(check(tmp_path))
    place = str(tmp_path / "annotations.xml")
    assert [p[:4] for p in problems] == [(place, f"image[{i}]/name", "image listed twice", "error") for i in (1, 2)]
