"""The commands that bring in files of others."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace


def _download_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=str, default="data", help="where VOCdevkit goes")
    parser.add_argument("--years", nargs="+", type=str, default=["2007"], help="2007, 2012")
    parser.add_argument("--archives", type=str, help="folder of archives already on disk")


def _download(options: Namespace) -> None:
    """Download PASCAL VOC and check it; an interrupted download is resumed."""
    from sppdet.data.download import download_voc

    print(download_voc(options.folder, tuple(options.years), options.archives))


def _convert_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=str, help="a .caffemodel; layers of further ones stand in for those of the first"
    )
    parser.add_argument("--backbone", type=str, required=True, help="caffenet, vgg16, vgg16_caffe or zf5")
    parser.add_argument(
        "--mean",
        type=list[float] | str | None,
        help="of the pixels: a .binaryproto or [B,G,R] in 0..255; the original network's where not given",
    )
    parser.add_argument("--output", type=str, help="weight file; BACKBONE.safetensors where not given")


def _convert(options: Namespace) -> None:
    """Convert weights that were trained with Caffe to a file for --backbone.weights; Caffe is not needed."""
    from sppdet.backbones.caffe import convert_caffe

    output = options.output or f"{options.backbone}.safetensors"
    names = convert_caffe(options.files, options.backbone, output, options.mean)
    print(f"{', '.join(names)} in {output}")
    print(f"use it with --backbone.name {options.backbone} --backbone.weights {output}")


COMMANDS = {
    "download": (_download_arguments, _download),
    "convert": (_convert_arguments, _convert),
}
