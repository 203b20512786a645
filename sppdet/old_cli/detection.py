"""The commands that look at images."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from sppdet.config.load import one_line
from sppdet.old_cli.options import add_json, add_machine, add_probabilities
from sppdet.old_cli.output import print_error, print_json


def _detect_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="run folder or detector file")
    parser.add_argument("images", nargs="+", type=str, help="image files, or folders (not those inside)")
    parser.add_argument("--output", type=str, default="runs/detect", help="folder of the pictures and detections.json")
    parser.add_argument("--threshold", type=float, help="draw what scores at least this; by default each class's own")
    add_probabilities(parser)
    add_machine(parser, workers=False)
    add_json(parser)


def _detect(options: Namespace) -> None:
    """Detect objects in images: pictures with boxes, and the boxes as data."""
    from sppdet.commands.detect import detect_files

    found, errors = detect_files(
        options.run,
        options.images,
        options.output,
        options.threshold,
        options.device,
        options.precision,
        options.probabilities,
    )
    if options.json:
        print_json(found)
    else:
        for entry in found:
            names = ", ".join(f"{box['class']} {box['score']:z.2f}" for box in entry["detections"]) or "nothing"
            print(f"{entry['image']}: {names}")
        if found:
            print(f"written to {options.output}")
    for error in errors[:-1]:
        print_error(one_line(error))
    if errors:
        raise errors[-1]


COMMANDS = {
    "detect": (_detect_arguments, _detect),
}
