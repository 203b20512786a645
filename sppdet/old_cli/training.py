"""The commands that train."""

from __future__ import annotations

from dataclasses import fields

from jsonargparse import ArgumentParser, Namespace

from sppdet.config.load import config_action
from sppdet.config.training import TrainConfig
from sppdet.old_cli.options import add_json, add_machine
from sppdet.old_cli.output import print_json


def _demo_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=str, default="runs/demo", help="folder of everything it makes")
    parser.add_argument("--seed", type=int, default=0, help="of the images and the training")
    add_machine(parser)
    add_json(parser)


def _demo(options: Namespace) -> None:
    """Generate a data set, train SPPnet and R-CNN on it, evaluate and compare them, without a network, in minutes."""
    from sppdet.commands.demo import format_demo, run_demo

    result = run_demo(options.output, options.seed, options.device, options.precision, options.workers)
    if options.json:
        print_json(result)
    else:
        print(format_demo(result))


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--config", action=config_action(TrainConfig), help="a YAML file, such as configs/sppnet_voc07.yaml"
    )
    parser.add_class_arguments(TrainConfig)


def _ablate_arguments(parser: ArgumentParser) -> None:
    _train_arguments(parser)
    rows = "pool5, fc6 or fc7, ft in front where fine-tuned, +bb behind with box regression; the paper's if not given"
    parser.add_argument("--rows", type=list[str] | None, help=rows)
    columns = "1 scale, 5 scales (the paper's, 480 to 1200), R-CNN; all where not given"
    parser.add_argument("--columns", type=list[str] | None, help=columns)
    parser.add_argument("--seeds", type=list[int], default=[0], help="one training of every cell for each")
    parser.add_argument("--split", type=str, default="test", help="image list that the detectors are evaluated on")
    add_json(parser)


def _ablate(options: Namespace) -> None:
    """Train and evaluate the rows of the paper's table: what each part of the recipe gives, the paper's figures beside.

    It takes what `train` takes; every cell is a run of its own in --output, and the same command goes on.
    """
    from sppdet.commands.ablate import COLUMNS, ROWS, ablate, ablation_as_dict, format_ablation

    config = TrainConfig(**{field.name: options[field.name] for field in fields(TrainConfig)})
    cells = ablate(config, options.rows or ROWS, options.columns or COLUMNS, options.seeds, options.split)
    if options.json:
        print_json(ablation_as_dict(cells))
    else:
        print(f"{format_ablation(cells)}\nwritten to {config.output}/ablation.json")


COMMANDS = {
    "demo": (_demo_arguments, _demo),
    "ablate": (_ablate_arguments, _ablate),
}
