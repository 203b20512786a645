import json

import pytest
from data_checks import assert_only, change, check, faults
from data_sets import coco_of, write_coco, write_text
from PIL import Image


@pytest.mark.parametrize(
    ("size", "kind"), [((128, 96), "annotated size"), ((48, 64), "exchanged sides"), ((66, 48), "annotated size")]
)
def test_an_annotated_size_that_is_not_the_images(voc, size, kind):
    text = f"<width>{size[0]}</width><height>{size[1]}</height>"
    file = change(voc / "Annotations/a.xml", "<width>64</width><height>48</height>", text)
    message = f"(expected 64 x 48 of {voc / 'JPEGImages/a.png'}, got {size[0]} x {size[1]})"
    assert_only(check(voc), kind, "error", file, "size", message)


def test_a_size_may_be_rounded(voc):
    change(voc / "Annotations/a.xml", "<width>64</width><height>48</height>", "<width>65</width><height>47</height>")
    assert not faults(check(voc))


def test_boxes_of_the_stored_image(voc):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48), "red").save(voc / "JPEGImages/a.jpg", exif=exif)
    (voc / "JPEGImages/a.png").unlink()
    file = voc / "Annotations/a.xml"
    assert_only(check(voc), "stored orientation", "error", file, "size", "expected 48 x 64")


def test_boxes_of_the_stored_image_without_a_size(voc):
    exif = Image.Exif()
    exif[0x0112] = 8
    for name in "ad":  # a box of a leaves the upright image, that of d does not
        Image.new("RGB", (64, 48), "red" if name == "a" else "blue").save(voc / f"JPEGImages/{name}.jpg", exif=exif)
        (voc / f"JPEGImages/{name}.png").unlink()
        change(voc / f"Annotations/{name}.xml", "<size><width>64</width><height>48</height></size>", "")
    file = voc / "Annotations/a.xml"
    assert_only(check(voc), "stored orientation", "error", file, None, "expected boxes in 48 x 64")


def test_the_size_in_coco_format(tmp_path):
    root, content = write_coco(tmp_path, "images", "all.json"), coco_of("abcdef")
    content["images"][3]["width"] = 128
    write_text(root / "all.json", json.dumps(content))
    assert_only(check(root), "annotated size", "error", root / "all.json", "images[3].width", "got 128 x 48")
