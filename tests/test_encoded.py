"""An image whose regions are scored in its mirror image as well."""

from dataclasses import replace

import pytest
import torch
from factories import CLASSES, TINY, random_image

from sppdet.boxes import mirror_boxes
from sppdet.detector import Detector

BOXES = torch.tensor([[10.0, 12, 50, 40], [0, 0, 30, 60], [41, 5, 80, 33]])


@pytest.fixture(params=[{}, {"features": "crop"}, {"head": "softmax"}, {"features": "roi_align"}], ids=str)
def detectors(request) -> tuple[Detector, Detector]:
    """A detector with random heads, and the same that looks at mirror images."""
    torch.manual_seed(0)
    detector = Detector(replace(TINY, **request.param), CLASSES)
    detector.heads.weight.data.normal_(std=0.01)
    detector.heads.bias.data.normal_()
    return detector, detector.with_config(replace(detector.config, mirror=True))


def test_outputs_are_the_means_of_both_images(detectors):
    plain, both = detectors
    image = random_image(60, 80)
    here = plain.encode(image).outputs(BOXES)
    there = plain.encode(image.flip(2)).outputs(mirror_boxes(BOXES, 80))
    classes, offsets = plain.heads.split(there)
    offsets = offsets * torch.tensor([-1.0, 1, 1, 1])
    encoded = both.encode(image)
    torch.testing.assert_close(encoded.outputs(BOXES), (here + torch.cat([classes, offsets.flatten(1)], dim=1)) / 2)
    assert not torch.allclose(encoded.outputs(BOXES), here, atol=1e-2)
    logits = (plain.heads.split(here)[0] + classes) / 2
    torch.testing.assert_close(encoded.score(BOXES), plain.heads.activate(logits))


def test_a_mirror_image_has_the_mirrored_detections(detectors):
    _, both = detectors
    image = random_image(60, 80)
    here, there = both.encode(image).detect(BOXES), both.encode(image.flip(2)).detect(mirror_boxes(BOXES, 80))
    assert len(here)
    assert here.labels.equal(there.labels)
    torch.testing.assert_close(here.scores, there.scores)
    torch.testing.assert_close(here.boxes, mirror_boxes(there.boxes, 80))


def test_evidence_of_the_mirror_image_lies_where_its_cells_see_the_image(detectors):
    plain, both = detectors
    image = random_image(60, 80)
    evidence = both.encode(image).evidence(BOXES[0], 1)
    here = plain.encode(image).evidence(BOXES[0], 1)
    there = plain.encode(image.flip(2)).evidence(mirror_boxes(BOXES[:1], 80)[0], 1)
    assert evidence.score == pytest.approx((here.score + there.score) / 2)
    assert len(evidence.maps) == len(here.maps) + len(there.maps)
    seen = (here.on_image(60, 80) + there.on_image(60, 80).flip(1)) / 2
    # a pixel whose middle lies on the border of two cells counts in either
    assert (evidence.on_image(60, 80) - seen).abs().gt(1e-6).double().mean() < 0.05
    (left, _, right, _), columns = there.maps[0].window, there.maps[0].cells.shape[1]
    assert evidence.maps[-1].window[::2] == (columns - right, columns - left)
    bins = evidence.bias + sum(float(level.sum()) for part in evidence.maps for level in part.bins)
    assert bins == pytest.approx(evidence.score, abs=1e-4)
