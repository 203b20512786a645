"""Which of a pretrained network's layers are trained further."""

from __future__ import annotations

from torch import nn

from sppdet.backbones.backbone import Backbone
from sppdet.errors import ConfigError


def last_conv_blocks(backbone: Backbone, blocks: int, field: str = "blocks") -> nn.ModuleList:
    """The convolutions in the last `blocks` of a network's layers that have any: a convolution, a Fire module or a
    stage of residual blocks. Batch normalization stays as it was trained. `field`: of the error for too many."""
    having = [m for m in backbone.layers if any(isinstance(part, nn.Conv2d) for part in m.modules())]
    if not 0 <= blocks <= len(having):
        raise ConfigError("out of range", field=field, expected=f"0 to {len(having)}", got=blocks)
    chosen = having[len(having) - blocks :]
    return nn.ModuleList(part for m in chosen for part in m.modules() if isinstance(part, nn.Conv2d))
