"""The command that measures time."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sppdet.old_cli.options import add_data, add_json, add_machine, data_of
from sppdet.old_cli.output import print_json


def _compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="one run, which meets its other mode, or several")
    add_data(parser, split="test", images=10)
    parser.add_argument("--regions", type=int, default=2000, help="regions an image")
    parser.add_argument("--baseline", type=str, help="name of the run that others are compared with; R-CNN by default")
    parser.add_argument("--growth", type=list[int], default=[100, 300, 1000, 2000], help="numbers of regions to time")
    parser.add_argument("--output", type=str, help="folder of results; runs/compare-RUNS where not given")
    add_machine(parser, workers=False)
    add_json(parser)


def _compare(options: Namespace) -> None:
    """Compare detectors: time of each stage, speed-ups, growth with the regions; mAP from 100 images on."""
    from sppdet.commands.compare import compare

    growth = tuple(options.growth)
    names = "-".join(Path(run).resolve().name for run in options.runs)
    data, output = data_of(options), options.output or f"runs/compare-{names}"
    machine = (options.device, options.precision)
    result = compare(options.runs, data, options.regions, growth, output, *machine, options.baseline)
    if options.json:
        print_json(result.as_dict())
    else:
        print(result)
        print(f"written to {output}")


COMMANDS = {"compare": (_compare_arguments, _compare)}
