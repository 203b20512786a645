"""Licences of pretrained weights, as far as their authors say."""

from sppdet.backbones.efficientnet_lite import VARIANTS
from sppdet.backbones.libraries import TIMM

IMAGENET = "trained on ImageNet-1K, whose images are licensed for non-commercial research"
UNKNOWN = "not known: see where the file came from"


def weights_licence(name: str, weights: str) -> str:
    """Return what is known about the licence of the weights `weights` of the network `name`."""
    if weights == "random":
        return "none needed: the network began with random weights"
    if name in VARIANTS and weights == "DEFAULT":
        return f"Apache 2.0; {IMAGENET}"
    if name.startswith(TIMM) and weights == "DEFAULT":
        return "that of the model's card on the Hugging Face hub"
    if weights.startswith(("IMAGENET", "DEFAULT")):
        return f"BSD 3-Clause (torchvision); weights may have terms of their own, they were {IMAGENET}"
    return UNKNOWN
