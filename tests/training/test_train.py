import gc
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from contracts import assert_same
from factories import detector_bytes, stopping, watch

from sppdet.backbones.zoo import build_backbone
from sppdet.config.data import DataConfig
from sppdet.config.heads import SVMConfig
from sppdet.config.network import FCConfig
from sppdet.config.training import BoxRegressionConfig, FinetuneConfig, TrainConfig
from sppdet.data.formats.voc import read_voc
from sppdet.detector import Detector
from sppdet.evaluation.voc import evaluate_voc
from sppdet.files.atomic import load_tensors
from sppdet.files.run_folder import RunFolder
from sppdet.heads.calibration import fit_calibration
from sppdet.proposals.cache import propose
from sppdet.structures import Dataset, Detections
from sppdet.training import fit_heads as fitting, train as stages
from sppdet.training.mining import ExamplePool
from sppdet.training.train import train

pytestmark = pytest.mark.usefixtures("warm_cache")


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


@pytest.mark.slow
@pytest.mark.parametrize(("features", "workers"), [("spp", 2), ("crop", 0)])
def test_workers_and_the_cache_do_not_change_the_detector_but_the_seed_does(
    small, features, workers, tmp_path, monkeypatch
):
    config = replace(small, features=features)
    train(config)
    warm, other = (replace(config, output=str(tmp_path / f"seed {seed}"), seed=seed) for seed in (0, 1))
    with monkeypatch.context() as patch:
        patch.setattr("sppdet.proposals.cache.search_nodes", None)  # nothing is searched again,
        patch.setattr("sppdet.training.feature_cache.FeatureCache._compute", None)  # nor computed
        train(warm)
        train(other)
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path / "cold"))
    cold = replace(config, output=str(tmp_path / "cold-run"), workers=workers)
    train(cold)
    assert len(list((tmp_path / "cold").glob("*/*/*.safetensors"))) == 12
    first, again, anew, with_seed = (detector_bytes(each.output) for each in (config, warm, cold, other))
    assert first == again == anew != with_seed


def test_mirror_images_count_for_thresholds_and_not_for_the_heads(small, tmp_path):
    plain = train(small)
    both = train(replace(small, mirror=True, output=str(tmp_path / "both")))
    assert both.heads.weight.equal(plain.heads.weight)
    assert both.config.mirror
    assert both.calibration is not None
    assert plain.calibration is not None
    assert not both.calibration.state_dict()["knots"].equal(plain.calibration.knots)


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


def test_val_apart_needs_no_second_fit(config):
    train(replace(config, data=replace(config.data, split="train")))
    assert not (Path(config.output) / "heads-all.safetensors").exists()


def content(file: Path) -> bytes:
    """Return what a file of a run holds, without the key of the run."""
    if file.suffix == ".json":
        return file.read_bytes()
    return b"".join(value.numpy().tobytes() for _, value in sorted(load_tensors(file)[0].items()))


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
        first, second = (content(Path(run.output, name)) for run in (config, other))
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


def test_a_run_knows_the_images_that_it_was_trained_on(small, shapes):
    train(replace(small, data=replace(small.data, split="train", max_images=None)))
    run = RunFolder(small.output)
    keys = {split: [image.cache_key() for image in read_voc(shapes, split).images] for split in ("trainval", "val")}
    assert run.trained_on(keys["trainval"]) == len(keys["trainval"]) - len(keys["val"])
    assert run.trained_on(keys["val"]) == 0, "held out from all fits"
    run.images.unlink()
    assert run.trained_on(keys["trainval"]) == 0


@pytest.mark.parametrize("most", [60, 3])  # fewer than there are images
def test_softmax_examples_keep_to_the_memory(small, monkeypatch, most):
    fits = watch(monkeypatch, fitting, "fit_softmax")
    train(replace(small, head="softmax", svm=SVMConfig(max_examples=most)))
    assert len(fits) == 2
    assert 0 < max(len(rows) for rows, *_ in fits) <= most
    assert all((labels > 0).any() for _, labels, *_ in fits), "objects are among them"


def test_stages_are_logged(small, caplog):
    with caplog.at_level(logging.INFO, "sppdet"):
        train(small)
    steps = (
        "6 images, 6 classes; 1 held out",
        "fit without held-out images: fitting heads on 5",
        "on 1 held-out image",
        "final fit on all images: fitting heads on 6",
    )
    places = [caplog.text.index(step) for step in (*steps, "detector in")]
    assert places == sorted(places)


@pytest.mark.slow
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
    assert detector_bytes(config.output) == detector_bytes(once.output)
    monkeypatch.setattr(stages, "finetune", lambda *_: pytest.fail("the detector is there"))
    train(config)


def test_the_examples_of_svms_are_gone_when_those_of_box_regression_come(small, monkeypatch):
    alive = []

    def look(*arguments):
        gc.collect()
        alive.append(sum(type(each) is ExamplePool for each in gc.get_objects()))
        return fit_offsets(*arguments)

    fit_offsets = fitting._fit_offsets
    monkeypatch.setattr(fitting, "_fit_offsets", look)
    train(small)
    assert alive == [0, 0], "memory_gb is room for one kind at a time"
