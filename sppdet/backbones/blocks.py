"""The layers of a pretrained network that are fine-tuned."""

from __future__ import annotations

from torch import nn

from sppdet.backbones.backbone import Backbone
from sppdet.errors import ConfigError


def last_conv_blocks(backbone: Backbone, blocks: int, field: str = "blocks") -> nn.ModuleList:
    """Return the convolutions in the last `blocks` blocks of a network.

    A block is a convolution, a Fire module or a stage of residual blocks. Batch normalization is not included. Raises
    ConfigError, naming `field`, if the network has fewer blocks.
    """
    having = [m for m in backbone.layers if any(isinstance(part, nn.Conv2d) for part in m.modules())]
    if not 0 <= blocks <= len(having):
        raise ConfigError("out of range", field=field, expected=f"0 to {len(having)}", got=blocks)
    chosen = having[len(having) - blocks :]
    return nn.ModuleList(part for m in chosen for part in m.modules() if isinstance(part, nn.Conv2d))
