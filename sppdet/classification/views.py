"""Views of an image: resized for training, and for testing as windows of its feature maps (section 3.1).

The network runs once for each size of the image and of its mirror image, whatever the number of views: 10 views are
windows of 2 maps, 96 of 12.
"""

import torch
from torch import Tensor

from sppdet.config.classification import ClassifierConfig, View, ViewsConfig
from sppdet.errors import ConfigError
from sppdet.images import resize_array, shorter_side_size, to_array

MAX_ASPECT = 4  # a longer image is squeezed: it would take too much memory, or vanish in a layer
# The paper's views: windows of 224 pixels, and the shorter sides of the images around them.
PAPER_WINDOW = 224
PAPER_SIDES = {"10views": (256,), "96views": (224, 256, 300, 360, 448, 560)}


def resize_to_view(image: Tensor, size: int, view: View, crop_position: float = 0.5) -> Tensor:
    """Resize an image uint8 (3, H, W) to uint8 (3, h, w).

    full: the whole image, its shorter side `size` pixels, aspect kept (up to 4 to 1). crop: a square of that, at
    `crop_position` along the longer side, in [0, 1]. warp: the whole image, squeezed into a square.
    """
    height, width = (size, size) if view == "warp" else shorter_side_size(image.shape[1], image.shape[2], size)
    height, width = (min(side, MAX_ASPECT * size) for side in (height, width))
    resized = torch.from_numpy(resize_array(to_array(image), height, width)).permute(2, 0, 1)
    if view != "crop":
        return resized
    top, left = round(crop_position * (height - size)), round(crop_position * (width - size))
    return resized[:, top : top + size, left : left + size]


def prepare_views(image: Tensor, views: ViewsConfig, config: ClassifierConfig) -> list[tuple[Tensor, Tensor | None]]:
    """Resize an image uint8 (3, H, W) for each size of the views.

    Returns pairs of pixels uint8 (1, 3, h, w), or (2, 3, h, w) with the mirror image, and the boxes (n, 4) in them that
    are the views of both; None for a view of the whole image. Raises ConfigError if a window is larger than an image.
    """
    kind, trained = views.kind or config.view, config.sizes[0]
    window = trained if views.window is None else views.window
    default = tuple(round(side * window / PAPER_WINDOW) for side in PAPER_SIDES.get(kind, ())) or (trained,)
    prepared = []
    for size in views.sizes or default:
        view: View = "full" if kind == "10views" or kind == "96views" else kind
        shown = resize_to_view(image, size, view)
        height, width = shown.shape[1:]
        boxes = None if kind == view else view_boxes(height, width, window, middles=kind == "96views")
        mirrored = views.flip or boxes is not None
        prepared.append((torch.stack([shown, shown.flip(2)]) if mirrored else shown[None], boxes))
    return prepared


def view_boxes(height: int, width: int, side: int, middles: bool) -> Tensor:
    """Return squares float32 (n, 4) of `side` pixels in the corners and the center of an image.

    middles: in the middles of its sides as well. Squares that coincide are returned once.
    """
    right, bottom = width - side, height - side
    if min(right, bottom) < 0:
        expected = f"at most {min(height, width)}, the shorter side of the image"
        raise ConfigError("larger than the image", field="views.window", expected=expected, got=side)
    places = [(x, y) for y in (0, bottom // 2, bottom) for x in (0, right // 2, right)]
    distinct = dict.fromkeys(places if middles else places[::2])
    return torch.tensor([[x, y, x + side, y + side] for x, y in distinct], dtype=torch.float32)
