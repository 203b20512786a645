import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from contracts import assert_same, raised
from factories import stopping, watch
from torchvision.ops import box_convert

from sppdet.backbones.zoo import build_backbone
from sppdet.commands.runs import data_of_run
from sppdet.config.data import DataConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import BackboneConfig, FCConfig
from sppdet.config.training import BoxRegressionConfig, FinetuneConfig, TrainConfig
from sppdet.data.conversion.convert import convert_dataset
from sppdet.data.dataset import read_dataset
from sppdet.data.formats.voc import read_voc
from sppdet.detector import Detector
from sppdet.errors import ConfigError, DataError, WeightsError
from sppdet.evaluation.voc import evaluate_voc
from sppdet.files.atomic import read_json, save_tensors, write_json
from sppdet.files.run_folder import RunFolder
from sppdet.heads.calibration import fit_calibration
from sppdet.proposals.cache import propose
from sppdet.structures import Dataset, Detections
from sppdet.training import fit_heads as fitting, train as stages
from sppdet.training.train import train


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory) -> Path:
    """Proposals and features that the tests of this file share: search takes most of their time."""
    return tmp_path_factory.mktemp("warm")


@pytest.fixture(autouse=True)
def cache(warm_cache, monkeypatch) -> None:
    monkeypatch.setenv("SPPDET_CACHE", str(warm_cache))


@pytest.fixture
def small(config) -> TrainConfig:
    """On the first six images."""
    return replace(config, data=replace(config.data, max_images=6))


def detector_bytes(config: TrainConfig) -> bytes:
    return Path(config.output, "detector.safetensors").read_bytes()


def find_all(detector: Detector, dataset: Dataset) -> list[Detections]:
    proposals = propose(dataset.images, detector.config.proposals, 0)
    return [detector.detect(image.read(), boxes) for image, boxes in zip(dataset.images, proposals, strict=True)]


def train_and_load(config: TrainConfig) -> Detector:
    """The detector in the run's folder, which finds what the trained one finds, bit for bit."""
    trained, loaded = train(config), Detector.load(config.output)
    assert torch.equal(loaded.thresholds, trained.thresholds)
    test = read_voc(config.data.root, "test", trained.classes)
    for one, other in zip(find_all(trained, test), find_all(loaded, test), strict=True):
        assert_same(one, other)
    return loaded


@pytest.mark.parametrize(("features", "workers"), [("spp", 2), ("crop", 0)])
def test_workers_and_the_cache_do_not_change_the_detector_but_the_seed_does(
    small, features, workers, tmp_path, monkeypatch
):
    config = replace(small, features=features)
    train(config)
    warm, other = (replace(config, output=str(tmp_path / f"seed {seed}"), seed=seed) for seed in (0, 1))
    with monkeypatch.context() as patch:
        patch.setattr("sppdet.proposals.cache.selective_search", None)  # nothing is searched again,
        patch.setattr("sppdet.training.feature_cache.FeatureCache._compute", None)  # nor computed
        train(warm)
        train(other)
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path / "cold"))
    cold = replace(config, output=str(tmp_path / "cold-run"), workers=workers)
    train(cold)
    assert len(list((tmp_path / "cold").glob("*/*/*.safetensors"))) == 12
    assert detector_bytes(config) == detector_bytes(warm) == detector_bytes(cold) != detector_bytes(other)


def test_a_softmax_head_trains_and_detects(config, shapes):
    detector = train(replace(config, head="softmax"))
    assert detector.heads.kind == "softmax"
    test = read_voc(shapes, "test", detector.classes)
    found = find_all(Detector.load(config.output), test)
    scores = torch.cat([f.scores for f in found])
    assert 0.01 < float(scores.min()) <= float(scores.max()) <= 1  # probabilities
    assert evaluate_voc(found, test.images, test.classes).map_voc07 > 0


@pytest.mark.parametrize(("features", "fc"), [("spp", FCConfig()), ("spp", FCConfig(2, 64)), ("crop", FCConfig(2, 64))])
def test_a_loaded_detector_finds_what_the_trained_one_found(small, features, fc):
    loaded = train_and_load(replace(small, features=features, fc=fc))
    assert loaded.config.fc == fc
    assert loaded.heads.dimension == (64 if fc.depth else 96 * 50)


def test_without_box_regression_detections_are_proposals(small, shapes):
    train(replace(small, box_regression=BoxRegressionConfig(enabled=False)))
    detector = Detector.load(small.output)
    assert not detector.heads.box_regression
    (image,) = read_voc(shapes, "test", detector.classes).images[:1]
    (boxes,) = propose([image], detector.config.proposals, 0)
    found = detector.detect(image.read(), boxes)
    assert len(found) > 0
    assert {tuple(box) for box in found.boxes.tolist()} <= {tuple(box) for box in boxes.tolist()}


def write_coco(shapes: Path, split: str, file: Path) -> None:
    dataset = read_voc(shapes, split)
    images = [{"id": i, "file_name": image.path.name} for i, image in enumerate(dataset.images, 100)]
    annotations = []
    for i, image in enumerate(dataset.images, 100):
        boxes = box_convert(image.boxes, "xyxy", "xywh").tolist()
        for box, label, difficult in zip(boxes, image.labels.tolist(), image.difficult.tolist(), strict=True):
            annotations.append({"image_id": i, "category_id": 10 * label, "bbox": box, "iscrowd": int(difficult)})
    categories = [{"id": 10 * label, "name": name} for label, name in enumerate(dataset.classes, 1)]
    write_json(file, {"images": images, "annotations": annotations, "categories": categories})


def test_coco_format_and_images_in_memory_give_the_detector_of_voc_format(config, shapes, tmp_path):
    train(config)
    write_coco(shapes, "trainval", tmp_path / "train.json")
    write_coco(shapes, "val", tmp_path / "val.json")
    data = DataConfig(root=str(shapes / "JPEGImages"), annotations=str(tmp_path / "train.json"))
    coco = replace(config, data=data, val=str(tmp_path / "val.json"), output=str(tmp_path / "coco"))
    train(coco)
    memory = replace(config, data=DataConfig(), output=str(tmp_path / "memory"))
    datasets = [read_voc(shapes, split) for split in ("trainval", "val")]
    train(memory, *(replace(d, images=[replace(image, image=image.read()) for image in d.images]) for d in datasets))
    assert detector_bytes(coco) == detector_bytes(memory) == detector_bytes(config)


def write_flat(dataset: Dataset, folder: Path, layout: str) -> Path:
    """The images and boxes without lists, nothing difficult: VOC XML, also Roboflow's, COCO, YOLO or CVAT's."""
    images, labels = (folder / ("train" if layout == "roboflow" else kind) for kind in ("images", "labels"))
    images.mkdir(parents=True)
    labels.mkdir(exist_ok=True)
    cvat = ""
    content: dict[str, list] = {"images": [], "annotations": []}
    content["categories"] = [{"id": label, "name": name} for label, name in enumerate(dataset.classes, 1)]
    for i, image in enumerate(dataset.images):
        os.symlink(image.path, images / image.path.name)
        height, width = image.read().shape[1:]
        content["images"].append({"id": 7 - i, "file_name": image.path.name})
        xml, lines, shapes = "", "", ""
        for (x1, y1, x2, y2), label in zip(image.boxes.tolist(), image.labels.tolist(), strict=True):
            corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            xml += f"<object><name>{dataset.classes[label - 1]}</name><bndbox>{corners}</bndbox></object>"
            center = f"{(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f}"
            lines += f"{label - 1} {center} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
            corners = f'xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"'
            shapes += f'<box label="{dataset.classes[label - 1]}" {corners}/>'
            box = {"image_id": 7 - i, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            content["annotations"].append({"id": len(content["annotations"]), **box})
        cvat += f'<image id="{i}" name="{image.path.name}" width="{width}" height="{height}">{shapes}</image>'
        if layout in ("xml", "roboflow"):
            (labels / f"{image.id}.xml").write_text(f"<annotation>{xml}</annotation>")
        elif layout == "yolo":
            (labels / f"{image.id}.txt").write_text(lines)
    if layout == "yolo":
        (folder / "classes.txt").write_text("\n".join(dataset.classes))
    elif layout == "coco":
        write_json(labels / "all.json", content)
    elif layout == "cvat":
        (folder / "annotations.xml").write_text(f"<annotations>{cvat}</annotations>")
    return folder


def test_all_formats_give_the_same_detector_and_the_run_keeps_their_division(config, shapes, tmp_path):
    dataset, runs = read_voc(shapes, "trainval"), {}
    for layout in ("xml", "coco", "yolo", "roboflow", "cvat", "voc"):
        data = DataConfig(root=str(tmp_path / "data" / layout))
        if layout == "voc":
            convert_dataset(runs["xml"].data, "voc", tmp_path / "data/voc")
        else:
            write_flat(dataset, tmp_path / "data" / layout, layout)
        runs[layout] = replace(config, data=data, output=str(tmp_path / layout))
        train(runs[layout])
    assert len({detector_bytes(run) for run in runs.values()}) == 1
    splits = [read_json(Path(run.output) / "split.json") for run in runs.values()]
    assert all(split == splits[0] for split in splits)
    data = data_of_run(runs["xml"].output, DataConfig(split="test"))
    assert [image.id for image in read_dataset(data).images] == splits[0]["test"]
    assert data_of_run(runs["xml"].output, replace(runs["xml"].data, split="test")) == data
    assert data_of_run(runs["xml"].output, runs["coco"].data).split_file is None
    (Path(runs["xml"].output) / "detector.safetensors").unlink()
    image = next((tmp_path / "data/xml/images").iterdir())
    shutil.copy(image, image.with_name("new.jpg"))  # it stays outside of all parts
    train(runs["xml"])
    assert detector_bytes(runs["xml"]) == detector_bytes(runs["coco"])


def test_val_of_other_classes_and_too_few_images_are_errors(config, shapes):
    dataset = read_voc(shapes, "val")
    with pytest.raises(DataError, match="val: other classes than the training images"):
        train(replace(config, data=DataConfig()), dataset, replace(dataset, classes=dataset.classes[::-1]))
    with pytest.raises(DataError, match="too few images"):
        train(replace(config, data=replace(config.data, max_images=1)))


def test_val_apart_needs_no_second_fit(config):
    train(replace(config, data=replace(config.data, split="train")))
    assert not (Path(config.output) / "heads-all.safetensors").exists()


def test_the_held_out_images_shape_the_first_heads_not_at_all(config, own_data, tmp_path):
    """Annotations of val that change change the thresholds and the last heads only."""
    train(replace(config, data=DataConfig(root=str(own_data))))
    for name in (own_data / "ImageSets/Main/val.txt").read_text().split():
        file = own_data / f"Annotations/{name}.xml"
        file.write_text(file.read_text().replace("<xmin>", "<xmin>1"))
    other = replace(config, data=DataConfig(root=str(own_data)), output=str(tmp_path / "other"))
    train(other)
    same = {"val.json": False, "heads-train.safetensors": True, "heads-all.safetensors": False}
    for name, expected in same.items():
        first, second = (Path(run.output, name).read_bytes() for run in (config, other))
        assert (first == second) == expected, name


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_are_fitted_on_what_was_found_in_val(config, shapes, method, monkeypatch):
    results, evaluate = [], stages.evaluate_voc
    monkeypatch.setattr(stages, "evaluate_voc", lambda *given: results.append(evaluate(*given)) or results[-1])
    trained = train(replace(config, calibration=method))
    (result,) = results
    expected = fit_calibration([(c.scores, c.correct) for c in result.curves.values()], method)
    loaded = Detector.load(config.output)
    for calibration in (trained.calibration, loaded.calibration):
        assert torch.equal(calibration.knots, expected.knots)
        assert torch.equal(calibration.slope, expected.slope)
    assert (expected.knots.shape[1] > 1) == (method == "isotonic")
    test = read_voc(shapes, "test", trained.classes)
    raw = find_all(loaded, test)
    probable = [loaded.probabilities(found) for found in raw]
    ap = [evaluate(found, test.images, test.classes).ap_area for found in (raw, probable)]
    assert ap[0].sum() > 0
    assert (ap[0] == ap[1]).all()


def test_a_run_does_not_go_on_with_other_annotations(small, own_data):
    """MiningState negatives are positions among regions: of other objects they would be other regions."""
    config = replace(small, data=replace(small.data, root=str(own_data)))
    for _ in range(2):  # the second time the same
        train(config)
        (Path(config.output) / "detector.safetensors").unlink()
    file = sorted((own_data / "Annotations").iterdir())[0]
    file.write_text(re.sub(r"<difficult>0", "<difficult>1", file.read_text(), count=1))
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(config.output).iterdir())
    with pytest.raises(ConfigError, match="other images, annotations, proposals or weights") as caught:
        train(config)
    assert str(caught.value.file) == config.output
    assert sorted((path, path.stat().st_mtime_ns) for path in Path(config.output).iterdir()) == before


def test_wrong_blocks_and_weights_are_named_before_any_image_is_searched(config, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "propose", None)
    assert raised(ConfigError, train, replace(config, finetune=FinetuneConfig(blocks=6))).field == "finetune.blocks"
    save_tensors(tmp_path / "other.safetensors", build_backbone("squeezenet1_1", "random").state_dict())
    with pytest.raises(WeightsError, match=r"other\.safetensors: layers\.0\.weight"):
        train(replace(config, backbone=BackboneConfig("shapenet", str(tmp_path / "other.safetensors"))))


def test_data_come_first_and_nothing_is_left_behind_by_a_mistake(config, own_data, tmp_path):
    weights = tmp_path / "other.safetensors"
    save_tensors(weights, build_backbone("squeezenet1_1", "random").state_dict())
    wrong = replace(config, backbone=BackboneConfig("shapenet", str(weights)))
    with pytest.raises(DataError, match="nowhere: folder not found"):
        train(replace(wrong, data=DataConfig(root="nowhere")))
    own = replace(wrong, data=DataConfig(root=str(own_data)))
    with pytest.raises(WeightsError, match=r"other\.safetensors"):
        train(own)
    (own_data / "ImageSets/Main/val.txt").unlink()
    (own_data / "ImageSets/Main/trainval.txt").write_text("missing")
    with pytest.raises(DataError, match="missing"):
        train(own)
    with pytest.raises(ConfigError, match="memory_gb"):
        train(replace(config, memory_gb=1.0))
    assert not Path(config.output).exists()


def test_a_run_knows_the_images_that_it_was_trained_on(small, shapes):
    train(replace(small, data=replace(small.data, split="train", max_images=None)))
    run = RunFolder(small.output)
    keys = {split: [image.cache_key() for image in read_voc(shapes, split).images] for split in ("trainval", "val")}
    assert run.trained_on(keys["trainval"]) == len(keys["trainval"]) - len(keys["val"])
    assert run.trained_on(keys["val"]) == 0, "held out from all fits"
    run.images.unlink()
    assert run.trained_on(keys["trainval"]) == 0


def test_softmax_examples_keep_to_the_memory(small, monkeypatch):
    fits = watch(monkeypatch, fitting, "fit_softmax")
    train(replace(small, head="softmax", svm=SVMConfig(max_examples=60)))
    assert len(fits) == 2
    assert 0 < max(len(rows) for rows, *_ in fits) <= 60


def test_weights_without_their_configuration_are_an_error(config):
    save_tensors(Path(config.output) / "detector.safetensors", {"weight": torch.zeros(1)})
    with pytest.raises(Exception, match=r"config\.json: file not found"):
        train(config)


def test_stages_are_logged(small, caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        train(small)
    steps = ("6 images, 6 classes; 1 held out", "fitting heads on 5", "held-out", "on 6", "detector in")
    places = [caplog.text.index(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("features", "head", "depth"),
    [
        *(("spp", "svm", 0), ("spp", "softmax", 1), ("crop", "svm", 1), ("crop", "softmax", 0)),
        *(("roi_pool", "softmax", 0), ("roi_align", "svm", 1), ("roi_align", "softmax", 0)),
    ],
)
def test_a_fine_tuned_detector_is_kept_whole(small, features, head, depth):
    finetune = FinetuneConfig(epochs=1, blocks=2)
    loaded = train_and_load(replace(small, features=features, head=head, fc=FCConfig(depth, 32), finetune=finetune))
    untouched = build_backbone("shapenet", "random").state_dict()
    changed = [name for name, value in loaded.backbone.state_dict().items() if not torch.equal(value, untouched[name])]
    assert changed == ["layers.11.weight", "layers.14.weight"]
    assert loaded.heads.kind == head
    assert not (Path(small.output) / "features").exists()


def test_fine_tuning_goes_on_to_the_held_out_images_and_after_an_interruption(small, tmp_path, monkeypatch):
    config = replace(small, head="softmax", finetune=FinetuneConfig(2, blocks=1, scales=(90, 110)))
    with pytest.raises(KeyboardInterrupt), stopping(stages, "finetune", after=1) as calls:
        train(config)
    assert [len(regions) for _, _, regions, *_ in calls] == [5, 6]
    assert {source.config.scales for source, *_ in calls} == {(90, 110)}
    train(config)
    once = replace(config, output=str(tmp_path / "once"))
    train(once)
    assert detector_bytes(config) == detector_bytes(once)
    monkeypatch.setattr(stages, "finetune", lambda *_: pytest.fail("the detector is there"))
    train(config)
