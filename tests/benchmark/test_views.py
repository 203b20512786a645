"""Multi-view testing beside its bounds: what each contestant is given, and that their work is the same."""

import pytest
from benchmark import views
from benchmark.views import KINDS, cut_views, view_runs
from factories import random_image, watch

from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import BackboneConfig

pytestmark = pytest.mark.slow

IMAGE = random_image(80, 110)


@pytest.fixture
def classifier() -> Classifier:
    return new_classifier(ClassifierConfig(BackboneConfig("shapenet", "random"), sizes=(40,)), ("a", "b"))


@pytest.mark.parametrize(("count", "maps"), [(10, 2), (96, 12)])
def test_each_contestant_passes_what_it_says(classifier, monkeypatch, count, maps):
    passed = watch(monkeypatch, classifier.backbone, "forward")
    runs = view_runs(classifier, [IMAGE], KINDS[count])
    images, shapes = {}, set()
    for name, run in runs.items():
        passed.clear()
        assert run(0) > 0
        images[name] = sum(len(batch) for (batch,) in passed)
        shapes = {tuple(batch.shape) for (batch,) in passed}
    assert images == {"sppdet views": maps, "maps alone": maps, "a pass a view": count}
    assert shapes == {(4, 3, 40, 40), (2, 3, 40, 40)} - ({(2, 3, 40, 40)} if count == 96 else set())


def test_views_are_cut_in_the_order_in_which_they_are_pooled(classifier):
    cut = cut_views(IMAGE, KINDS[10], classifier.config)
    assert len(cut) == len(classifier.score_views(IMAGE, KINDS[10])) == 10
    assert all(view.shape == (3, 40, 40) for view in cut)
    assert len({tuple(view.flatten().tolist()) for view in cut}) == 10


def test_the_part_holds_its_ratios(measured):
    part = measured[0].parts["views"]
    assert (part.facts["images"], set(part.ratios)) == (2, set(views.RATIOS))
    assert (part.growth[0].unit, part.growth[0].sizes) == ("views", (10, 96))
