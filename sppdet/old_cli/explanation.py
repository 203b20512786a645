"""The command that shows how a part of a detector works."""

from __future__ import annotations

from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from sppdet.old_cli.options import add_json
from sppdet.old_cli.output import print_json


def _explain_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("part", type=Literal["pooling"], help="pooling")
    parser.add_argument("--size", type=str, required=True, help="of the map in cells, height x width, such as 14x14")
    parser.add_argument("--levels", type=str, default="6,3,2,1", help="bins a side of each level, such as 4,2,1")
    parser.add_argument(
        "--form", type=str, default="window", help="window, padded, general, roi_pool, roi_align or exact"
    )
    parser.add_argument("--kernel", type=int, help="cells of a window of the general form; 3 where not given")
    parser.add_argument("--stride", type=int, help="cells from a window to the next, general form; 2 where not given")
    parser.add_argument("--padding", type=int, help="cells around the map, general form; 0 where not given")
    parser.add_argument("--ceil_mode", action="store_true", help="windows may end off the map: window, general")
    parser.add_argument("--output", type=str, default="runs/pooling.png", help="file of the picture")
    add_json(parser)


def _explain(options: Namespace) -> None:
    """Explain a form of pooling: which cells of a map its bins read, leave out and share; a table and a picture."""
    from sppdet.commands.explain import explain_pooling
    from sppdet.pooling.coverage import format_reports

    window = (options.kernel, options.stride, options.padding, options.ceil_mode)
    reports = explain_pooling(options.size, options.levels, options.form, options.output, *window)
    if options.json:
        print_json({name: [each.as_dict() for each in levels] for name, levels in reports.items()})
    else:
        print(f"{format_reports(reports)}\nwritten to {options.output}")


COMMANDS = {"explain": (_explain_arguments, _explain)}
