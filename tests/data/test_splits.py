import pytest

from sppdet.data.splits import choose_splits, split_word


@pytest.mark.parametrize(
    ("split", "known", "chosen"),
    [
        ("trainval", ["train", "val"], ["train", "val"]),
        ("trainval", ["training", "valid", "test"], ["training", "valid"]),
        ("trainval", ["trainval", "train"], ["trainval"]),
        ("trainval", ["train", "test"], ["train"]),
        ("trainval", ["val"], None),
        ("val", ["dev"], ["dev"]),
        ("valid", ["val"], ["val"]),
        ("testing", ["test"], ["test"]),
        ("more", ["more"], ["more"]),
        ("train", ["trainval"], None),
    ],
)
def test_names_of_splits(split, known, chosen):
    assert choose_splits(split, known) == chosen


@pytest.mark.parametrize(
    ("name", "word"),
    [
        *(("train", "train"), ("train2017", "train"), ("instances_val2017", "val"), ("Valid", "val")),
        *(("validation", "val"), ("my-test.v2", "test"), ("TRAINING", "train"), ("trainval", "trainval")),
        *(
            ("_annotations.coco", None),
            ("trains", None),
            ("latest", None),
            ("test-dev2017", "test"),
            ("train_test", None),
            ("", None),
        ),
    ],
)
def test_split_words(name, word):
    assert split_word(name) == word
