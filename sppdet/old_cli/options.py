"""Options that several commands share."""

from __future__ import annotations

from dataclasses import replace

from jsonargparse import ArgumentParser, Namespace

from sppdet.config.data import DataConfig
from sppdet.config.network import Device, Precision


def add_data(parser: ArgumentParser, split: str, images: int | None = None) -> None:
    parser.add_class_arguments(DataConfig, "data", skip={"split", "max_images"})
    parser.add_argument("--split", type=str, default=split, help="image list in ImageSets/Main")
    parser.add_argument("--images", type=int | None, default=images, help="only the first so many images")


def data_of(options: Namespace) -> DataConfig:
    return replace(options.data, split=options.split, max_images=options.images)


def add_machine(parser: ArgumentParser, workers: bool = True) -> None:
    parser.add_argument("--device", type=Device, default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", type=Precision, default="fp32", help="of the convolutions: fp32, bf16 or fp16")
    if workers:
        parser.add_argument("--workers", type=int, default=2, help="images searched at once, a thread each")


def add_probabilities(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--probabilities", action="store_true", help="scores are probabilities of being right, calibrated on val"
    )


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
