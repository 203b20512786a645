"""Convert weights that were trained with Caffe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Conversion:
    """A weight file for --backbone.weights. layers: names of the converted layers in Caffe."""

    backbone: str
    file: str
    layers: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the conversion for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        use = f"use it with --backbone.name {self.backbone} --backbone.weights {self.file}"
        return f"{', '.join(self.layers)} in {self.file}\n{use}"


def convert(
    files: list[str], *, backbone: str, mean: list[float] | str | None = None, output: str | None = None
) -> Conversion:
    """Convert weights trained with Caffe to a file for --backbone.weights, without Caffe.

    Layers in later files replace those of the first: SPPnet's fine-tuned fc6 and fc7 have a file of their own.

    JSON: backbone, file, layers (Caffe's names).

    Args:
        files: .caffemodel files
        backbone: caffenet, vgg16, vgg16_caffe or zf5
        mean: pixel mean, a .binaryproto or [B,G,R] in 0..255; the original's if not given
        output: weight file; BACKBONE.safetensors if not given
    """
    from sppdet.backbones.caffe import convert_caffe

    output = output or f"{backbone}.safetensors"
    return Conversion(backbone, output, tuple(convert_caffe(files, backbone, output, mean)))
