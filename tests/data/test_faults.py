"""Data as people bring them, each of which failed once: the right result, or one line that says what to do."""

import pytest
from contracts import assert_dataset

from sppdet.config.data import DataConfig
from sppdet.data.dataset import read_dataset
from sppdet.data.formats.image_folder import read_image_folder
from sppdet.errors import SppdetError
from sppdet.images import read_image, read_size

BOX = [20, 37, 67, 84]  # of the disc of image a1 in all sets
ALL = {"split": "train", "split_fractions": (1.0, 0.0, 0.0)}  # of data without lists
LISTED = {"split": "trainval"}

# Folder: options, number of images, of images without objects, of objects.
RIGHT = {
    "00_right/coco": (ALL, 6, 0, 12),
    "00_right/voc": (LISTED, 6, 0, 12),
    **{f"03_size_zero/{name}": (LISTED, 6, 0, 12) for name in ("none", "right", "zero")},
    "04_root_category/other_name": (ALL, 6, 0, 12),
    "05_spaces/hash": (LISTED, 3, 0, 6),
    "05_spaces/only01": (LISTED, 2, 0, 4),
    "05_spaces/several": (LISTED, 4, 0, 8),
    **{f"06_suffixes/{name}": (LISTED, 6, 0, 12) for name in ("path", "jpg", "absolute")},
    "06_vott": (LISTED, 6, 0, 12),
    "07_flat/no_lists": (ALL, 6, 0, 12),
    "07_flat/images_xmls": (ALL, 6, 0, 12),
    "07_flat/set": ({"split": "train"}, 4, 0, 8),
    **{f"08_difficult/{name}": (LISTED, 4, 0, 8) for name in ("blank", "false", "float", "size_text", "true")},
    "08_difficult/unspecified": (LISTED, 4, 0, 8),
    "09_subset/voc": ({**LISTED, "classes": ["disc"]}, 6, 0, 6),
    "09_subset/coco": ({**ALL, "classes": ["disc"]}, 6, 0, 6),
    **{f"10_file_name/{name}": (ALL, 6, 0, 12) for name in ("url", "prefix", "mixed", "percent", "upload")},
    **{f"10_file_name/{name}": (ALL, 6, 0, 12) for name in ("backslash", "dot", "nfd")},
    **{f"11_types/{name}": (ALL, 6, 0, 12) for name in ("category_text", "floats", "image_hash", "image_text")},
    **{f"11_types/{name}": (ALL, 6, 0, 12) for name in ("image_id_text_in_annotations", "iscrowd_text")},
    "12_hidden/voc_zip": (LISTED, 6, 0, 12),
    **{f"13_suffixes/voc_{name}": (LISTED, 3, 0, 6) for name in ("bmp", "gif", "jfif", "ppm", "tif", "webp")},
    **{f"18_no_bndbox/{name}": (LISTED, 4, 0, 8) for name in ("polygon", "robndbox")},
    **{f"19_negatives/{name}": (LISTED, 6, 2, 8) for name in ("no_object", "no_xml")},
    "20_no_bbox/missing": (ALL, 6, 0, 12),
    "24_encoding/xml_gbk_declared": (LISTED, 4, 0, 8),
    "24_encoding/xml_utf8": (LISTED, 4, 0, 8),
    "24_encoding/list_bom_crlf": (LISTED, 3, 0, 6),
    "24_encoding/list_utf16": (LISTED, 3, 0, 6),
    "24_encoding/json_utf16": (ALL, 6, 0, 12),
    "27_yaml/digits": ({**LISTED, "classes": [0, "1"]}, 6, 0, 12),
    "27_yaml/yes_no": ({**LISTED, "classes": ["yes", "no"]}, 6, 0, 12),
    "27_yaml/words": ({**LISTED, "classes": ["traffic light", "stop sign"]}, 6, 0, 12),
}

WRONG = {
    "11_types/bbox_text": r"train\.json: annotations\[0\]\.bbox: texts instead of numbers",
    "18_no_bndbox/empty": r"a1\.xml: object\[2\]/bndbox/xmin: missing",
    "19_negatives/no_bytes": r"a5\.xml: .* the file is empty; remove it if its image has no objects",
    "20_no_bbox/annotations_null": r"train\.json: annotations: wrong type",
    "20_no_bbox/empty": r"train\.json: annotations\[1\]\.bbox: not a box",
    "20_no_bbox/image_gone": r"train\.json: annotations\[10\]\.image_id: no such image",
    "20_no_bbox/no_category": r"train\.json: annotations\[1\]\.category_id: wrong type",
    "20_no_bbox/null": r"train\.json: annotations\[1\]\.bbox: wrong type",
    "24_encoding/json_cp1252": r"train\.json: is not JSON: 'utf-8'",
    "24_encoding/xml_gbk": r"a1\.xml: .*not in the encoding that its first line declares, or in UTF-8",
    "33_units/corners": r"train\.json: annotations\[1\]\.bbox: corners, not sides",
    "33_units/normalised": r"train\.json: annotations\[0\]\.bbox: fractions of the image, not pixels",
    "33_units/voc_normalised": r"a1\.xml: object\[1\]/bndbox: fractions of the image, not pixels",
}


@pytest.mark.shared
@pytest.mark.parametrize("folder", RIGHT)
def test_right(shared, folder):
    options, images, empty, objects = RIGHT[folder]
    dataset = read_dataset(DataConfig(root=str(shared / "faults" / folder), **options))
    assert_dataset(dataset)
    assert len(dataset) == images
    counts = [len(image.labels) for image in dataset.images]
    assert (counts.count(0), sum(counts)) == (empty, objects)
    assert all(image.path.is_file() for image in dataset.images)
    first = dataset.images[0]
    assert [round(value) for value in first.boxes[0].tolist()] == BOX
    assert first.difficult.tolist() == [folder in ("08_difficult/blank", "08_difficult/true")] * counts[0]


@pytest.mark.shared
@pytest.mark.parametrize("folder", WRONG)
def test_wrong(shared, folder):
    options = LISTED if (shared / "faults" / folder / "ImageSets").is_dir() else ALL
    with pytest.raises(SppdetError, match=WRONG[folder]):
        read_dataset(DataConfig(root=str(shared / "faults" / folder), **options))


@pytest.mark.shared
@pytest.mark.parametrize(
    "folder", ["12_hidden/classes", "12_hidden/mac", "12_hidden/macosx", "13_suffixes/classes_jfif"]
)
def test_folders_of_classes(shared, folder):
    images = read_image_folder(shared / "faults" / folder)
    assert images.classes == ("box", "disc")
    for file in images.files:
        read_image(file)


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_images_of_malformed_exif_data(shared):
    for file in [*(shared / "faults/35_exif_tags").iterdir(), *(shared / "faults/34_exif").iterdir()]:
        height, width = read_image(file).shape[1:]
        assert read_size(file) == (width, height)
