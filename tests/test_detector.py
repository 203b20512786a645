from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from contracts import assert_close_rows, assert_detections, assert_same
from factories import CLASSES, random_detector
from factories import TINY as CONFIG
from PIL import Image
from torch import Tensor

from sppdet.boxes import box_iou, decode_boxes
from sppdet.config.detector import DetectorConfig, SelectionConfig
from sppdet.config.heads import HeadKind
from sppdet.config.network import BackboneConfig, FCConfig
from sppdet.detector import Detector
from sppdet.errors import ConfigError, InputError, WeightsError
from sppdet.features.build import build_network
from sppdet.features.crop import CropExtractor
from sppdet.files.atomic import load_tensors, save_tensors
from sppdet.heads.calibration import Calibration
from sppdet.heads.linear import Heads
from sppdet.postprocess import select
from sppdet.proposals.cache import propose_image
from sppdet.runtime.stopwatch import STAGES, Stopwatch


def make_detector(head: HeadKind = "svm", regress: bool = True, config: DetectorConfig = CONFIG) -> Detector:
    return random_detector(replace(config, head=head), regress)


def picture(seed: int = 0) -> Tensor:
    blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return torch.from_numpy(blocks.repeat(10, axis=0).repeat(10, axis=1)).permute(2, 0, 1)


def random_boxes(count: int = 40, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 40, (count, 2)), rng.uniform(5, 20, (count, 2))
    return torch.from_numpy(np.hstack([corner, corner + side])).float()


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("head", ["svm", "softmax"])
@pytest.mark.parametrize("regress", [True, False])
def test_a_saved_detector_detects_the_same(tmp_path, features, head, regress):
    detector = make_detector(head, regress).with_features(features)
    detector.save(tmp_path / "detector.safetensors")
    for path in (tmp_path, tmp_path / "detector.safetensors"):
        loaded = Detector.load(path)
        assert loaded.config == detector.config
        assert loaded.classes == CLASSES
        assert torch.equal(loaded.thresholds, detector.thresholds)
        assert (loaded.heads.kind, loaded.heads.box_regression) == (head, regress)
        assert_same(loaded.detect(picture(), random_boxes()), detector.detect(picture(), random_boxes()))


def test_encode_once_score_as_often_as_wished():
    detector = make_detector()
    calls: list[int] = []
    detector.backbone.register_forward_hook(lambda *_: calls.append(1))
    encoded = detector.encode(picture())
    first, second = encoded.score(random_boxes()), encoded.score(random_boxes())
    assert torch.equal(first, second)
    assert first.shape == (40, 3)
    assert_close_rows(encoded.score(random_boxes()[7:9]), first[7:9])
    assert_same(encoded.detect(random_boxes()), detector.encode(picture()).detect(random_boxes()))
    assert len(calls) == 2


def test_scores_and_detections_follow_from_the_parts():
    detector = make_detector()
    encoded = detector.encode(picture())
    features = encoded.features(random_boxes())
    scores = features @ detector.heads.weight[:3].T + detector.heads.bias[:3]
    torch.testing.assert_close(encoded.score(random_boxes()), scores, rtol=1e-4, atol=1e-4)
    moved = decode_boxes(random_boxes(), detector.heads.offsets(features)).clamp(min=0)
    moved = torch.minimum(moved, torch.tensor([80.0, 60, 80, 60]))
    found = encoded.detect(random_boxes())
    assert len(found) > 0
    for box, label, score in zip(found.boxes, found.labels, found.scores, strict=True):
        same_score = (scores[:, label - 1] - score).abs() < 1e-4  # of several boxes, where they fall on the same cells
        assert (moved[same_score, label - 1] - box).abs().amax(dim=1).min() < 1e-4


def test_torchvisions_convention():
    detector = make_detector()
    images = [picture(0), picture(1).float() / 255]
    outputs = detector(images, [random_boxes(30), random_boxes(20, seed=1)])
    assert len(outputs) == 2
    for output, image, boxes in zip(outputs, images, (random_boxes(30), random_boxes(20, seed=1)), strict=True):
        assert {key: (value.dtype, value.ndim) for key, value in output.items()} == {
            "boxes": (torch.float32, 2),
            "labels": (torch.int64, 1),
            "scores": (torch.float32, 1),
        }
        expected = detector.detect(image, boxes)
        assert expected.classes == CLASSES
        assert torch.equal(output["boxes"], expected.boxes)
        assert (output["scores"].diff() <= 0).all()
        assert set(output["labels"].tolist()) <= {1, 2, 3}


def test_proposals_are_searched_where_not_given():
    detector = make_detector()
    proposals = propose_image(picture(), CONFIG.proposals)
    assert_same(detector.detect(picture()), detector.detect(picture(), proposals))
    assert detector([picture()])[0].keys() == {"boxes", "labels", "scores"}


def test_every_form_of_an_image_is_detected_alike(tmp_path):
    detector = make_detector()
    array = picture().permute(1, 2, 0).numpy()
    expected = detector.detect(picture(), random_boxes())
    path = tmp_path / "image.png"
    Image.fromarray(array).save(path)
    for form in (array, Image.fromarray(array), picture().double() / 255, path, str(path)):
        assert_same(detector.detect(form, random_boxes()), expected)


@pytest.mark.parametrize("image", [picture(), "photo.jpg", picture().numpy()], ids=["tensor", "path", "array"])
def test_a_detector_is_called_with_a_list_of_images(image):
    with pytest.raises(InputError, match=r"images: .* for one image use detector\.detect\(image\)"):
        make_detector()(image)


def test_a_batch_is_a_list_of_images_with_a_set_of_proposals_each():
    detector = make_detector()
    found = detector(torch.stack([picture(0), picture(1)]), [random_boxes(), random_boxes()])
    assert torch.equal(found[1]["boxes"], detector.detect(picture(1), random_boxes()).boxes)
    with pytest.raises(InputError, match=r"proposals: not one set per image \(expected 2, got 1\)"):
        detector([picture(), picture()], [random_boxes()])


def test_a_detector_is_a_module():
    detector = make_detector()
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
    assert_same(other.detect(picture(), random_boxes()), detector.detect(picture(), random_boxes()))


def test_a_new_detector_has_the_networks_weights_and_heads_to_be_trained():
    detector = Detector(CONFIG, CLASSES)
    assert torch.equal(detector.backbone.mean, make_detector().backbone.mean)
    assert not detector.heads.weight.any()
    assert detector.heads.weight.shape == (15, 480)


@pytest.mark.parametrize(
    "boxes", [torch.zeros(3, 5), torch.zeros(3, 4).double(), torch.tensor([[5.0, 0, 1, 1]]), None], ids=str
)
def test_wrong_boxes_are_refused(boxes):
    with pytest.raises(InputError, match="boxes"):
        make_detector().encode(picture()).score(boxes)


def test_scores_become_probabilities_where_asked(tmp_path):
    detector = make_detector()
    raw = detector.detect(picture(), random_boxes())
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
    assert_same(Detector.load(tmp_path).detect(picture(), random_boxes()), raw)  # scores stay what they were


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("regress", [True, False])
def test_no_proposals_no_detections(features, regress):
    found = make_detector(regress=regress).with_features(features).detect(picture(), torch.zeros(0, 4))
    assert len(found) == 0


def test_boxes_stay_on_the_image():
    detector = make_detector(config=replace(CONFIG, selection=SelectionConfig(min_score=-1e9, nms_iou=1.0)))
    found = detector.detect(picture(), random_boxes() + torch.tensor([-30.0, -30, 60, 60]))
    assert len(found) == 120
    assert_detections(found, len(CLASSES), (60, 80))


def test_with_features_keeps_network_and_heads():
    detector = make_detector()
    crop = detector.with_features("crop")
    assert isinstance(crop.extractor, CropExtractor)
    assert crop.config == replace(detector.config, features="crop")
    assert crop.backbone is detector.backbone
    assert crop.heads is detector.heads
    assert torch.equal(crop.thresholds, detector.thresholds)
    assert_same(crop.with_features("spp").detect(picture(), random_boxes()), detector.detect(picture(), random_boxes()))
    with pytest.raises(ConfigError, match="features"):
        detector.with_features("roi")
    with pytest.raises(ConfigError, match="features: the heads were fitted to features of another length"):
        detector.with_features("roi_align")


def test_heads_of_another_number_of_classes_are_refused():
    detector = make_detector()
    with pytest.raises(InputError, match=r"classes: wrong number .*expected 3, .*got 2"):
        Detector(CONFIG, CLASSES[:2], detector.extractor, detector.heads)


def make_deep_detector() -> Detector:
    """On random layers of 40 and 40."""
    config = replace(CONFIG, fc=FCConfig(2, 40))
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    return Detector(config, CLASSES, build_network(config), Heads.from_linear("svm", (weight, torch.zeros(3))))


@pytest.mark.parametrize("features", ["spp", "crop"])
@pytest.mark.parametrize("ranks", [None, (7, 1000), (7, 5)])
def test_a_detector_keeps_its_fully_connected_layers(tmp_path, features, ranks):
    detector = make_deep_detector().with_features(features)
    detector = detector.truncated(ranks) if ranks else detector
    detector.save(tmp_path / "detector.safetensors")
    loaded = Detector.load(tmp_path)
    assert loaded.layers is not None
    assert [len(layer) for layer in loaded.layers.linears] == ([2 if r < 20 else 1 for r in ranks] if ranks else [1, 1])
    assert_same(loaded.detect(picture(), random_boxes()), detector.detect(picture(), random_boxes()))
    assert loaded.encode(picture()).features(random_boxes()).shape == (40, 40)
    back = loaded.with_features("spp" if features == "crop" else "crop").with_features(features)
    assert_same(back.detect(picture(), random_boxes()), detector.detect(picture(), random_boxes()))


def test_a_truncated_detector_scores_nearly_the_same():
    detector = make_deep_detector()
    exact, near, far = (
        d.encode(picture()).score(random_boxes()) for d in (detector, *map(detector.truncated, ((30, 19), (1, 1))))
    )
    assert 0 < (exact - near).norm() < 0.7 * (exact - far).norm()
    assert detector.config == detector.truncated((30, 19)).config
    with pytest.raises(ConfigError, match=r"svd: the detector has no fully connected layers .*got \[7, 5\]"):
        make_detector().truncated((7, 5))


def test_every_stage_is_timed():
    with Stopwatch() as clock:
        make_detector().detect(picture())
    assert set(clock.seconds) == set(STAGES)


def rewrite(file, without: str = "", **header) -> None:
    tensors, old = load_tensors(file)
    save_tensors(file, {name: tensor.clone() for name, tensor in tensors.items() if name != without}, old | header)


OTHER_NETWORK = replace(CONFIG, backbone=BackboneConfig("squeezenet1_1", "random"))
DAMAGE = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1000]),
    "empty": lambda file: file.write_bytes(b""),
    "foreign": lambda file: save_tensors(file, {"boxes": torch.zeros(3, 4)}, {"proposals": 3}),
    "headless": lambda file: rewrite(file, without="heads.weight"),
    "layerless": lambda file: rewrite(file, config=asdict(replace(CONFIG, fc=FCConfig(1)))),
    "network": lambda file: rewrite(file, config=asdict(OTHER_NETWORK)),
    "older": lambda file: rewrite(file, kind=None),
    "no file": lambda file: file.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_is_no_detector_is_named(tmp_path, damage):
    file = tmp_path / "detector.safetensors"
    make_detector().save(file)
    damage(file)
    with pytest.raises(WeightsError, match=str(file)):
        Detector.load(file)
    with pytest.raises(WeightsError, match=str(tmp_path / "none")):
        Detector.load(tmp_path / "none")


def test_a_detector_of_an_unknown_configuration_is_named(tmp_path):
    file = tmp_path / "detector.safetensors"
    make_detector().save(file)
    rewrite(file, config={**asdict(CONFIG), "roi_align": True})
    with pytest.raises(ConfigError, match=rf"{file}: roi_align: unknown configuration key"):
        Detector.load(file)


SQUARES = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40], [60, 0, 70, 10]])


def alike(boxes: Tensor, classes: int) -> Tensor:
    """The same boxes (N, 4) for every class."""
    return boxes[:, None].expand(-1, classes, -1)


def test_select_by_hand():
    scores = torch.tensor([[0.5, 0.9], [0.8, -3.0], [0.1, 0.0], [-1.6, -1.5]])
    found = select(alike(SQUARES, 2), scores, SelectionConfig())
    # Class 1: the second square suppresses the first. -1.5 itself is not above the lowest score.
    assert found.labels.tolist() == [2, 1, 1, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.1, 0.0])
    assert torch.equal(found.boxes, SQUARES[[0, 1, 2, 2]])
    # Of nothing, and of nothing above it, nothing is left.
    assert len(select(torch.zeros(0, 3, 4), torch.zeros(0, 3), SelectionConfig())) == 0
    assert len(select(alike(SQUARES, 3), torch.full((4, 3), -9.0), SelectionConfig())) == 0


@pytest.mark.parametrize(("kind", "lowest"), [("svm", -1.5), ("softmax", 0.01)])
def test_scores_must_be_above_the_lowest(kind, lowest):
    scores = torch.tensor([[lowest], [lowest + 1e-3], [lowest - 1e-3], [torch.nan]])
    boxes = alike(SQUARES[[0, 2, 3, 3]], 1)
    assert select(boxes, scores, SelectionConfig(), kind).boxes.tolist() == [SQUARES[2].tolist()]
    assert len(select(boxes, scores, SelectionConfig(min_score=-9.0), kind)) == 3


def test_only_the_best_of_each_class_stay():
    generator = torch.Generator().manual_seed(0)
    corners = torch.arange(200.0)[:, None] * 20
    boxes = alike(torch.cat([corners, corners, corners + 10, corners + 10], dim=1), 3)  # none overlap
    scores = torch.rand(200, 3, generator=generator)
    scores[50:, 1] = -9
    found = select(boxes, scores, SelectionConfig(max_per_class=100))
    assert torch.bincount(found.labels).tolist() == [0, 100, 50, 100]
    assert (found.scores.diff() <= 0).all()
    for k in (0, 2):
        assert torch.equal(found.scores[found.labels == k + 1], scores[:, k].sort(descending=True).values[:100])
    assert len(select(boxes, scores, SelectionConfig(max_per_class=1))) == 3


def test_what_overlaps_a_better_one_of_its_class_goes():
    detector = make_detector(config=replace(CONFIG, selection=SelectionConfig(min_score=-9.0)))
    found = detector.detect(picture(), random_boxes(200))
    for k in (1, 2, 3):
        boxes = found.boxes[found.labels == k]
        overlap = box_iou(boxes, boxes).fill_diagonal_(0)
        assert overlap.max() <= 0.3 + 1e-6
