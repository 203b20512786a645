"""The commands that look at images."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace

from sppdet.cli.options import add_data, add_json, add_machine, add_probabilities, data_of
from sppdet.cli.output import percent, print_error, print_json
from sppdet.cli.parsing import one_line
from sppdet.config.data import ProposalConfig


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


def _proposals_arguments(parser: ArgumentParser) -> None:
    add_data(parser, split="trainval")
    parser.add_class_arguments(ProposalConfig, "proposals")
    parser.add_argument("--workers", type=int, default=2, help="images searched at once; 0: one")
    add_json(parser)


def _proposals(options: Namespace) -> None:
    """Fill the cache of proposals, and measure them against the annotations."""
    from sppdet.commands.proposals import measure_proposals

    result = measure_proposals(data_of(options), options.proposals, options.workers)
    if options.json:
        print_json(result)
        return
    seconds, recall = result["seconds_per_image"], f"recall at IoU {result['iou']:g}"
    print(f"{'seconds an image':34} {'(cached)' if seconds is None else format(seconds, '6.3g')}")
    print(f"{'boxes an image':34} {result['boxes_per_image']:6.0f}")
    fractions = {recall: result["recall"], "mean average best overlap (MABO)": result["mabo"]}
    fractions |= {f"{recall}, {name}": value for name, value in result["recall_by_size"].items()}
    for name, value in fractions.items():
        print(f"{name:34} {percent(value)}")


COMMANDS = {
    "detect": (_detect_arguments, _detect),
    "proposals": (_proposals_arguments, _proposals),
}
