"""Testing with one view of an image or several, pooled as windows of its feature maps (section 3.1).

The network runs once for each size of the image and of its mirror image, whatever the number of views: 10 views are
windows of 2 maps, 96 of 12. The views' probabilities are averaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sppdet.classification.classifier import Classifier
from sppdet.classification.transforms import resize_to_view
from sppdet.config.classification import ClassifierConfig, ViewsConfig
from sppdet.errors import ConfigError
from sppdet.images import as_image
from sppdet.pooling.windows import boxes_to_windows
from sppdet.runtime.stopwatch import stage

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image as PILImage

# Shorter sides of the image around windows of so many pixels.
PAPER_WINDOW = 224
PAPER_SIDES = {"10views": (256,), "96views": (224, 256, 300, 360, 448, 560)}


def predict(classifier: Classifier, image: Tensor | np.ndarray | PILImage, views: ViewsConfig | None = None) -> Tensor:
    """Probabilities float32 (K,) of an image's classes: the mean over its views."""
    return score_views(classifier, image, views).mean(dim=0)


@torch.inference_mode()
def score_views(
    classifier: Classifier, image: Tensor | np.ndarray | PILImage, views: ViewsConfig | None = None
) -> Tensor:
    """Probabilities (V, K) of each view. Raises ConfigError for a window larger than the image at one of the sizes."""
    pooled = pool_views(classifier, image, views)
    with stage("heads"):
        return classifier.head(pooled).softmax(dim=1)


@torch.inference_mode()
def pool_views(
    classifier: Classifier, image: Tensor | np.ndarray | PILImage, views: ViewsConfig | None = None
) -> Tensor:
    """Pooled features (V, D) of each view: what the classifier's head makes scores of."""
    views = views or ViewsConfig()
    with stage("preprocess"):
        prepared = prepare_views(as_image(image), views, classifier.config)
    pooled = []
    for pixels, boxes in prepared:
        with stage("conv"):
            maps = classifier.maps(pixels)  # (1 or 2, C, h, w)
        with stage("pooling"):
            height, width = maps.shape[2:]
            windows = torch.tensor([[0, 0, width, height]])  # the image as a whole
            if boxes is not None:
                cells = boxes_to_windows(boxes, (1.0, 1.0), classifier.backbone.geometry, (height, width))
                windows = torch.cat([cells, windows]) if views.full_image else cells
            of_map = torch.arange(len(pixels)).repeat_interleave(len(windows))
            pooled.append(classifier.pyramid(maps, windows.repeat(len(pixels), 1), of_map))
    return torch.cat(pooled)


def prepare_views(image: Tensor, views: ViewsConfig, config: ClassifierConfig) -> list[tuple[Tensor, Tensor | None]]:
    """For each size the image as the network sees it, uint8 (1, 3, h, w), or with its mirror image (2, 3, h, w), and
    the boxes (n, 4) in its pixels that are the views of both; None where it is seen as a whole."""
    kind, trained = views.kind or config.view, config.sizes[0]
    window = trained if views.window is None else views.window
    default = tuple(round(side * window / PAPER_WINDOW) for side in PAPER_SIDES.get(kind, ())) or (trained,)
    sizes = views.sizes or default
    prepared = []
    for size in sizes:
        boxes = None
        if kind == "10views" or kind == "96views":
            shown = resize_to_view(image, size, "full")
            boxes = view_boxes(shown.shape[1], shown.shape[2], window, middles=kind == "96views")
        else:
            shown = resize_to_view(image, size, kind)
        mirrored = views.flip or boxes is not None
        prepared.append((torch.stack([shown, shown.flip(2)]) if mirrored else shown[None], boxes))
    return prepared


def view_boxes(height: int, width: int, side: int, middles: bool) -> Tensor:
    """Squares float32 (n, 4) of `side` pixels in the corners and the center of an image, and in the middles of its
    sides; those that coincide once: 9 are 3 where the shorter side is as long as theirs."""
    right, bottom = width - side, height - side
    if min(right, bottom) < 0:
        expected = f"at most {min(height, width)}, the shorter side of the image"
        raise ConfigError("larger than the image", field="views.window", expected=expected, got=side)
    places = [(x, y) for y in (0, bottom // 2, bottom) for x in (0, right // 2, right)]
    distinct = dict.fromkeys(places if middles else places[::2])
    return torch.tensor([[x, y, x + side, y + side] for x, y in distinct], dtype=torch.float32)
