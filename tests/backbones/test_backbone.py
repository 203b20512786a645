import pytest
import torch

from sppdet.backbones.backbone import last_conv_blocks
from sppdet.backbones.zoo import build_backbone
from sppdet.errors import ConfigError

NETWORKS = [("squeezenet1_0", 9), ("alexnet", 5), ("resnet18", 4), ("efficientnet_lite0", 13), ("shapenet", 5)]


@pytest.mark.parametrize(("name", "count"), NETWORKS)
def test_blocks_are_counted_from_the_end(name, count):
    backbone = build_backbone(name, "random")
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert list(last_conv_blocks(backbone, count)) == convolutions
    assert list(last_conv_blocks(backbone, 0)) == []
    last = list(last_conv_blocks(backbone, 1))
    assert last == convolutions[-len(last) :]
    with pytest.raises(ConfigError, match=rf"finetune\.blocks.*0 to {count}"):
        last_conv_blocks(backbone, count + 1, "finetune.blocks")
