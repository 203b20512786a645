from dataclasses import replace

import pytest
import torch
from contracts import assert_close_rows, assert_detections, assert_same
from factories import CLASSES, TINY as CONFIG, image_file, random_boxes, random_detector, random_image
from PIL import Image

from sppdet.boxes import box_iou, decode_boxes
from sppdet.config.detector import DetectorConfig, SelectionConfig
from sppdet.config.heads import HeadKind
from sppdet.config.training import TrainConfig
from sppdet.detector import Detector
from sppdet.errors import ConfigError, InputError, WeightsError
from sppdet.features.crop import CropExtractor
from sppdet.heads.calibration import Calibration
from sppdet.images import to_array
from sppdet.proposals.cache import propose_image
from sppdet.runtime.stopwatch import STAGES, Stopwatch


def make_detector(head: HeadKind = "svm", regress: bool = True, config: DetectorConfig = CONFIG) -> Detector:
    return random_detector(replace(config, head=head), regress)


IMAGE, BOXES = random_image(60, 80), random_boxes()


@pytest.fixture
def detector() -> Detector:
    return make_detector()


def test_encode_once_score_as_often_as_wished(detector):
    calls: list[int] = []
    detector.backbone.register_forward_hook(lambda *_: calls.append(1))
    encoded = detector.encode(IMAGE)
    first, second = encoded.score(BOXES), encoded.score(BOXES)
    assert torch.equal(first, second)
    assert first.shape == (40, 3)
    assert_close_rows(encoded.score(BOXES[7:9]), first[7:9])
    assert_same(encoded.detect(BOXES), detector.encode(IMAGE).detect(BOXES))
    assert len(calls) == 2


def test_scores_and_detections_follow_from_the_parts(detector):
    encoded = detector.encode(IMAGE)
    features = encoded.features(BOXES)
    scores = features @ detector.heads.weight[:3].T + detector.heads.bias[:3]
    torch.testing.assert_close(encoded.score(BOXES), scores, rtol=1e-4, atol=1e-4)
    moved = decode_boxes(BOXES, detector.heads.offsets(features)).clamp(min=0)
    moved = torch.minimum(moved, torch.tensor([80.0, 60, 80, 60]))
    found = encoded.detect(BOXES)
    assert len(found) > 0
    for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True):
        same_score = (scores[:, label - 1] - score).abs() < 1e-4  # of several boxes, where they fall on the same cells
        assert (moved[same_score, label - 1] - box).abs().amax(dim=1).min() < 1e-4


def test_torchvisions_convention(detector):
    images = [random_image(60, 80, 0), random_image(60, 80, 1).float() / 255]
    outputs = detector(images, [random_boxes(30), random_boxes(20, seed=1)])
    assert len(outputs) == 2
    for output, image, boxes in zip(outputs, images, (random_boxes(30), random_boxes(20, seed=1)), strict=True):
        kinds = {"boxes": (torch.float32, 2), "labels": (torch.int64, 1), "scores": (torch.float32, 1)}
        assert {key: (value.dtype, value.ndim) for key, value in output.items()} == kinds
        expected = detector.detect(image, boxes)
        assert expected.classes == CLASSES
        assert torch.equal(output["boxes"], expected.boxes)
        assert (output["scores"].diff() <= 0).all()
        assert set(output["labels"].tolist()) <= {1, 2, 3}


def test_proposals_are_searched_where_not_given_and_every_stage_is_timed(detector):
    proposals = propose_image(IMAGE, CONFIG.proposals)
    assert_same(detector.detect(IMAGE), detector.detect(IMAGE, proposals))
    assert detector([IMAGE])[0].keys() == {"boxes", "labels", "scores"}
    with Stopwatch() as clock:
        make_detector().detect(IMAGE)
    assert set(clock.seconds) == set(STAGES)


def test_every_form_of_an_image_is_detected_alike(detector, tmp_path):
    array, path = to_array(IMAGE), image_file(tmp_path / "image.png", 60, 80)
    expected = detector.detect(IMAGE, BOXES)
    for form in (array, Image.fromarray(array), IMAGE.double() / 255, path, str(path)):
        assert_same(detector.detect(form, BOXES), expected)


@pytest.mark.parametrize("image", [IMAGE, "photo.jpg", IMAGE.numpy()], ids=["tensor", "path", "array"])
def test_a_detector_is_called_with_a_list_of_images(image):
    with pytest.raises(InputError, match=r"images: .* for one image use detector\.detect\(image\)"):
        make_detector()(image)


def test_a_batch_is_a_list_of_images_with_a_set_of_proposals_each(detector):
    found = detector(torch.stack([random_image(60, 80, 0), random_image(60, 80, 1)]), [BOXES, BOXES])
    assert torch.equal(found[1]["boxes"], detector.detect(random_image(60, 80, 1), BOXES).boxes)
    with pytest.raises(InputError, match=r"proposals: not one set per image \(expected 2, got 1\)"):
        detector([IMAGE, IMAGE], [BOXES])


def test_a_detector_is_a_module(detector):
    assert repr(detector).startswith("Detector(shapenet, 3 classes, features=spp 480, fc=0, head=svm,")
    assert "min_score=-1.0" in repr(detector)
    assert not any(module.training for module in detector.train().modules())  # it stays in evaluation mode
    assert not any(weight.requires_grad for weight in detector.parameters())
    assert detector.to("cpu") is detector
    names = set(detector.state_dict())
    assert {"heads.weight", "heads.bias", "thresholds", "extractor.backbone.mean"} < names
    other = make_detector()
    other.heads.weight.data.zero_()
    other.load_state_dict(detector.state_dict())
    assert_same(other.detect(IMAGE, BOXES), detector.detect(IMAGE, BOXES))


@pytest.mark.parametrize(
    "boxes", [torch.zeros(3, 5), torch.zeros(3, 4).double(), torch.tensor([[5.0, 0, 1, 1]]), None], ids=str
)
def test_wrong_boxes_are_refused(boxes):
    with pytest.raises(InputError, match="boxes"):
        make_detector().encode(IMAGE).score(boxes)


def test_scores_become_probabilities_where_asked(detector, tmp_path):
    raw = detector.detect(IMAGE, BOXES)
    with pytest.raises(WeightsError, match=r"calibration: the detector is not calibrated"):
        detector.probabilities(raw)
    knots = torch.tensor([[[0.0, 1.0]], [[0.5, 0.0]], [[-1.0, -2.0]]]).double()
    detector.calibration = Calibration(knots, torch.tensor([1.0, 2.0, 3.0]).double())
    detector.save(tmp_path / "detector.safetensors")
    found = detector.probabilities(raw)
    assert found.classes == raw.classes == CLASSES
    assert set(found.labels.tolist()) == {1, 2, 3}
    assert (found.scores.diff() <= 0).all()
    for k, log_odds in enumerate((lambda s: 1 + s, lambda s: 2 * s - 1, lambda s: 1 + 3 * s), start=1):
        expected = log_odds(raw.scores[raw.labels == k]).sigmoid()
        torch.testing.assert_close(found.scores[found.labels == k], expected)
        assert torch.equal(found.boxes[found.labels == k], raw.boxes[raw.labels == k])
    copies = detector.with_features("crop"), detector.without_box_regression(), detector.with_config(CONFIG)
    for other in (Detector.load(tmp_path), *copies):
        assert_same(other.probabilities(raw), found)
    assert_same(Detector.load(tmp_path).detect(IMAGE, BOXES), raw)  # scores stay what they were


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("regress", [True, False])
def test_no_proposals_no_detections(features, regress):
    found = make_detector(regress=regress).with_features(features).detect(IMAGE, torch.zeros(0, 4))
    assert len(found) == 0


def test_boxes_stay_on_the_image():
    detector = make_detector(config=replace(CONFIG, selection=SelectionConfig(min_score=-1e9, nms_iou=1.0)))
    found = detector.detect(IMAGE, BOXES + torch.tensor([-30.0, -30, 60, 60]))
    assert len(found) == 120
    assert_detections(found, len(CLASSES), (60, 80))


def test_with_features_keeps_network_and_heads(detector):
    crop = detector.with_features("crop")
    assert isinstance(crop.extractor, CropExtractor)
    assert crop.config == replace(detector.config, features="crop")
    assert crop.backbone is detector.backbone
    assert crop.heads is detector.heads
    assert torch.equal(crop.thresholds, detector.thresholds)
    assert_same(crop.with_features("spp").detect(IMAGE, BOXES), detector.detect(IMAGE, BOXES))
    with pytest.raises(ConfigError, match="features"):
        detector.with_features("roi")
    with pytest.raises(ConfigError, match="features: the heads were fitted to features of another length"):
        detector.with_features("roi_align")


def test_a_new_detector_has_the_networks_weights_and_heads_to_be_trained_or_of_its_classes(detector):
    with pytest.raises(InputError, match=r"classes: wrong number .*expected 3, .*got 2"):
        Detector(CONFIG, CLASSES[:2], detector.extractor, detector.heads)
    detector = Detector(CONFIG, CLASSES)
    assert torch.equal(detector.backbone.mean, make_detector().backbone.mean)
    assert not detector.heads.weight.any()
    assert detector.heads.weight.shape == (15, 480)


def test_what_overlaps_a_better_one_of_its_class_goes():
    detector = make_detector(config=replace(CONFIG, selection=SelectionConfig(min_score=-9.0)))
    found = detector.detect(IMAGE, random_boxes(200))
    for k in (1, 2, 3):
        boxes = found.boxes[found.labels == k]
        overlap = box_iou(boxes, boxes).fill_diagonal_(0)
        assert overlap.max() <= 0.3 + 1e-6


def test_a_detector_of_a_training_configuration_is_saved_without_the_rest_of_it(tmp_path):
    """As `load_config` gives it."""
    config = TrainConfig(**{name: getattr(CONFIG, name) for name in DetectorConfig.__dataclass_fields__})
    Detector(config, CLASSES).save(tmp_path / "detector.safetensors")
    assert Detector.load(tmp_path).config == CONFIG


@pytest.mark.parametrize("features", ["spp", "crop"])
def test_features_that_are_not_finite_are_an_error(features):
    detector = make_detector(config=replace(CONFIG, features=features))
    first = next(detector.backbone.parameters())
    first.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(WeightsError, match="not finite"):
        detector.detect(IMAGE, BOXES)
    first.data[0] = 1e6  # more than half precision holds
    with pytest.raises(WeightsError, match="not finite"):
        detector.detect(IMAGE, BOXES)


def test_scores_that_are_not_finite_are_an_error(detector):
    next(detector.heads.parameters()).data[0] = torch.inf
    with pytest.raises(WeightsError, match="not finite"):
        detector.detect(IMAGE, BOXES)


def test_a_scale_that_leaves_the_network_no_cell_is_named():
    with pytest.raises(ConfigError, match=r"spp.scales: too small for shapenet \(got 1\)"):
        make_detector(config=replace(CONFIG, spp=replace(CONFIG.spp, scales=(1,)))).encode(IMAGE)
