"""Multi-view testing of a classifier, next to computing the feature maps alone, and to one pass per view."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.config import BenchmarkConfig
from benchmark.measure import Growth, Part, Ratios, Run, Timing, clocked, measure_growth, measure_part, take_turns
from benchmark.proposals import read_images
from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.classification.views import prepare_views
from sppdet.config.classification import ClassifierConfig, ViewsConfig
from sppdet.config.data import DataConfig
from sppdet.config.network import BackboneConfig

BACKBONE, SIZE, CLASSES = "squeezenet1_0", 224, 20
BATCH = 4  # crops in one pass, the fastest on CPUs
KINDS: Mapping[int, ViewsConfig] = {10: ViewsConfig("10views"), 96: ViewsConfig("96views")}

RATIOS: Ratios = {
    "ratio_96_views_vs_12_maps": ("sppdet views", "maps alone"),
    "ratio_96_passes_vs_96_views": ("a pass a view", "sppdet views"),
}


def benchmark_views(data: DataConfig, config: BenchmarkConfig) -> Part:
    """Time a classifier with random weights on the first `config.detect_rounds` images, or on sample photographs.

    Contestants: views pooled as windows, from the image to probabilities; the bare network on the images that these are
    windows of; the classifier on each view alone. The inputs of the latter two are prepared outside the measurement.
    """
    rounds = config.detect_rounds
    images = read_images(data, rounds)
    network = ClassifierConfig(BackboneConfig(BACKBONE, "random"), sizes=(SIZE,))
    classifier = new_classifier(network, [""] * CLASSES, config.device)

    def measure(threads: int) -> dict[str, Timing]:
        return take_turns(view_runs(classifier, images, KINDS[96]), rounds, f"96 views, {threads} threads")

    def conclude() -> tuple[list[Growth], dict[str, Any]]:
        growth = measure_growth("views", KINDS, lambda count: view_runs(classifier, images, KINDS[count]), rounds)
        return [growth], {"backbone": BACKBONE, "images": len(images)}

    return measure_part(config.threads, RATIOS, measure, conclude)


def view_runs(classifier: Classifier, images: Sequence[Tensor], views: ViewsConfig) -> dict[str, Run]:
    """The three contestants, one image per round."""
    backbone = classifier.backbone

    def at(turn: int) -> Tensor:
        return images[turn % len(images)]

    def maps_alone(turn: int) -> float:
        prepared = prepare_views(at(turn), views, classifier.config)
        inputs = [backbone.normalize(pixels) for pixels, _ in prepared]
        with torch.inference_mode():
            return clocked(lambda: [backbone(pixels) for pixels in inputs])(turn)

    def a_pass_a_view(turn: int) -> float:
        crops = torch.stack(cut_views(at(turn), views, classifier.config))
        with torch.inference_mode():
            return clocked(lambda: [classifier(part).softmax(dim=1) for part in crops.split(BATCH)])(turn)

    return {
        "sppdet views": lambda turn: clocked(lambda: classifier.score_views(at(turn), views))(turn),
        "maps alone": maps_alone,
        "a pass a view": a_pass_a_view,
    }


def cut_views(image: Tensor, views: ViewsConfig, config: ClassifierConfig) -> list[Tensor]:
    """Crop the views: uint8 (3, side, side) each."""
    return [
        pixels[:, y1:y2, x1:x2]
        for pair, boxes in prepare_views(image, views, config)
        for pixels in pair
        for x1, y1, x2, y2 in ([] if boxes is None else boxes.int().tolist())
    ]
