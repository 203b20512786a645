import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from contracts import assert_dataset
from factories import stopping

from sppdet.boxes import box_iou
from sppdet.data.formats.voc import read_voc
from sppdet.errors import ConfigError, DataError
from sppdet.files.durable import own_prefix, remove_leftovers
from sppdet.images import read_image, to_array
from sppdet.proposals.selective_search import selective_search
from sppdet.shapes import dataset as shapes
from sppdet.shapes.dataset import generate_shapes


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The set with its default parameters."""
    return generate_shapes(tmp_path_factory.mktemp("shapes") / "set")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_splits_are_balanced_and_images_hold_one_to_four_shapes(whole):
    splits = ("train", "val", "trainval", "test")
    train, val, trainval, test = ([image.id for image in read_voc(whole, split).images] for split in splits)
    assert [len(names) for names in (train, val, trainval, test)] == [160, 40, 200, 120]
    assert sorted(train + val) == trainval
    assert not set(trainval) & set(test)
    test = read_voc(whole, "test")
    assert_dataset(test)
    counts = torch.bincount(torch.cat([image.labels for image in test.images]))[1:]
    assert test.classes == ("cross", "disc", "ring", "square", "star", "triangle")
    assert counts.min() >= 30
    assert counts.max() <= 1.2 * counts.min()
    assert {len(image.labels) for image in test.images} == {1, 2, 3, 4}


def test_boxes_vary_in_size_and_aspect_and_every_file_is_clean(whole, caplog):
    for split in ("trainval", "test"):
        dataset = read_voc(whole, split)
        boxes = torch.cat([image.boxes for image in dataset.images])
        sides = boxes[:, 2:] - boxes[:, :2]
        aspect = sides[:, 0] / sides[:, 1]
        assert 20 <= sides.min() < 35
        assert 100 < sides.max() <= 125
        assert aspect.quantile(0.02) < 0.7
        assert aspect.quantile(0.98) > 1.4
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {tuple(read_image(image.path).shape)[1:] for image in dataset.images[:20]} != {(180, 240)}


def test_size_and_aspect_do_not_depend_on_the_class(whole):
    from scipy.stats import kruskal

    images = read_voc(whole, "trainval").images
    boxes, labels = torch.cat([i.boxes for i in images]), torch.cat([i.labels for i in images])
    width, height = (boxes[:, 2] - boxes[:, 0]).numpy(), (boxes[:, 3] - boxes[:, 1]).numpy()
    for quantity in (width * height, width / height):
        assert kruskal(*(quantity[labels == label] for label in range(1, 7))).pvalue > 0.01


def color_histograms(dataset) -> tuple[np.ndarray, np.ndarray]:
    """L1-normalized joint RGB and HSV histograms (N, 1024) of the ground-truth boxes, and their labels (N,)."""
    rows, labels = [], []
    for image in dataset.images:
        rgb = to_array(read_image(image.path))
        pictures = ((rgb, 256), (cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), 180))
        for (x1, y1, x2, y2), label in zip(image.boxes.int().tolist(), image.labels.tolist(), strict=True):
            parts = []
            for picture, first in pictures:
                region = np.ascontiguousarray(picture[y1:y2, x1:x2])
                parts.append(cv2.calcHist([region], [0, 1, 2], None, [8, 8, 8], [0, first, 0, 256, 0, 256]).ravel())
            rows.append(np.concatenate([part / part.sum() for part in parts]))
            labels.append(label)
    return np.array(rows), np.array(labels)


def test_color_does_not_tell_the_classes_apart(whole):
    from sklearn.metrics import average_precision_score
    from sklearn.svm import LinearSVC

    x_train, y_train = color_histograms(read_voc(whole, "trainval"))
    x_test, y_test = color_histograms(read_voc(whole, "test"))
    for C in (0.1, 1.0, 10.0):
        precisions = []
        for label in range(1, 7):
            svm = LinearSVC(C=C, max_iter=20_000, random_state=0).fit(x_train, y_train == label)
            precisions.append(average_precision_score(y_test == label, svm.decision_function(x_test)))
        assert np.mean(precisions) < 0.40


def test_selective_search_finds_the_shapes(whole):
    best = []
    for image in read_voc(whole, "test").images[:30]:
        found = selective_search(read_image(image.path), "opencv_fast", width=None, min_side=15, limit=600)
        best.append(box_iou(image.boxes, found).amax(dim=1))
    assert (torch.cat(best) >= 0.5).float().mean() >= 0.95


def test_backgrounds_of_train_and_test_are_disjoint():
    from sklearn.datasets import load_sample_images

    for i, photograph in enumerate(load_sample_images().images):
        train, test = (shapes._photographs(split)[i] for split in ("trainval", "test"))
        assert train.shape[1] + test.shape[1] < photograph.shape[1]
        np.testing.assert_array_equal(train, photograph[:, : train.shape[1]])
        np.testing.assert_array_equal(test, photograph[:, -test.shape[1] :])


def test_same_seed_gives_the_same_bytes(tmp_path):
    first, same, other = (
        contents(generate_shapes(tmp_path / name, seed=seed, train=6, test=3))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first == same
    assert len([name for name in first if name.endswith(".jpg")]) == 9
    assert all(first[name] != other[name] for name in first if name.endswith(".jpg"))


def test_finished_set_is_kept_and_another_is_never_overwritten(tmp_path):
    folder = generate_shapes(tmp_path / "set", train=5, test=1)
    (folder / "JPEGImages" / "000001.jpg").write_bytes(b"mine")
    assert generate_shapes(folder, train=5, test=1) == folder
    assert (folder / "JPEGImages" / "000001.jpg").read_bytes() == b"mine"
    with pytest.raises(DataError, match=r"shapes\.json: another set"):
        generate_shapes(folder, train=6, test=1)
    (folder / "shapes.json").unlink()
    with pytest.raises(DataError, match="holds other files"):
        generate_shapes(folder, train=5, test=1)


def test_interrupted_set_is_made_anew(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    with pytest.raises(KeyboardInterrupt), stopping(shapes, "_photographs"):
        generate_shapes(folder, train=5, test=1)
    assert not list(folder.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    (tmp_path / f"{own_prefix()}x" / "set").mkdir(parents=True)  # of a process that was killed
    (tmp_path / f"{own_prefix()}x" / "set" / "stale.jpg").write_bytes(b"")
    remove_leftovers.cache_clear()
    generate_shapes(folder, train=5, test=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    assert len(list((folder / "JPEGImages").iterdir())) == 6
    assert len(read_voc(folder, "trainval")) == 5


@pytest.mark.parametrize("parameters", [{"seed": -1}, {"train": 4}, {"test": 0}])
def test_parameters_out_of_range(tmp_path, parameters):
    with pytest.raises(ConfigError, match=f"{next(iter(parameters))}: too small"):
        generate_shapes(tmp_path / "set", **parameters)
