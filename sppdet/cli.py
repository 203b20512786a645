"""The command line: `sppdet COMMAND --help` says what each does. Results go to stdout, progress and log to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from sppdet.benchmarks.config import BenchmarkConfig
from sppdet.config import DataConfig, Device, Precision, ProposalConfig, TrainConfig
from sppdet.errors import ConfigError, SppdetError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 for an error of the user's data, 2 for wrong usage, 130 for Ctrl-C."""
    _log_to_stderr()
    try:
        parser = build_parser()
        options = parser.instantiate(parser.parse_args(arguments))
        COMMANDS[options.subcommand][1](options[options.subcommand])
    except ArgumentError as error:
        print(f"sppdet: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except SppdetError as error:
        print(f"sppdet: error: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sppdet: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    return 0


def build_parser() -> ArgumentParser:
    """The parser of all commands."""
    parser = ArgumentParser(
        prog="sppdet",
        description="Train, evaluate and compare region-based detectors: SPPnet and R-CNN.",
        exit_on_error=False,
    )
    commands = parser.add_subcommands(metavar="COMMAND", title="commands")
    for name, (add_arguments, run) in COMMANDS.items():
        command = ArgumentParser(description=run.__doc__, exit_on_error=False)
        add_arguments(command)
        commands.add_subcommand(name, command, help=(run.__doc__ or "").split("\n")[0])
    return parser


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action=_ConfigFile, help="a YAML file, such as configs/sppnet_voc07.yaml")
    parser.add_class_arguments(TrainConfig)


def _train(options: Namespace) -> None:
    """Train a detector; going on where an earlier run with the same output stopped.

    Parameters come from --config, and dotted overrides such as --features crop --svm.C 0.01 go before them.
    """
    from sppdet.training.stages import train

    config = TrainConfig(**{field.name: options[field.name] for field in fields(TrainConfig)})
    detector = train(config)
    print(f"detector of {len(detector.classes)} classes in {config.output}")


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=str, help="run folder or detector file")
    parser.add_argument(
        "--detections", type=str, help="COCO results JSON, or folder of VOC comp4 files, in place of a run"
    )
    _add_data(parser, split="test")
    _add_machine(parser)
    parser.add_argument(
        "--proposals", type=str, help="proposals of another program (.json, .npz, .mat) for these images"
    )
    parser.add_argument("--output", type=str, help="folder of results; RUN/SPLIT where not given")
    _add_json(parser)


def _evaluate(options: Namespace) -> None:
    """Evaluate a detector, or detections that another program wrote: VOC and COCO average precision."""
    from sppdet.commands import evaluate

    result, folder = evaluate(
        options.run,
        options.detections,
        _data(options),
        options.output,
        options.proposals,
        options.device,
        options.precision,
        options.workers,
    )
    if options.json:
        _print_json(result)
        return
    for name, numbers in result["per_class"].items():
        print(f"{name:16} {_percent(numbers['ap_voc07'])} {_percent(numbers['ap_voc10'])}")
    print(
        f"{'mAP':16} {_percent(result['map_voc07'])} {_percent(result['map_voc10'])}   (VOC07 11 points, VOC10+ area)"
    )
    print(f"{'COCO AP':16} {_percent(result['coco']['AP'])}   {result['images']} images")
    if folder:
        print(f"written to {folder}")


def _detect_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="run folder or detector file")
    parser.add_argument("images", nargs="+", type=str, help="image files or folders")
    parser.add_argument("--output", type=str, default="runs/detect", help="folder of the pictures and detections.json")
    parser.add_argument("--threshold", type=float, help="draw what scores at least this; by default each class's own")
    _add_machine(parser, workers=False)
    _add_json(parser)


def _detect(options: Namespace) -> None:
    """Detect objects in images: pictures with boxes, and the boxes as data."""
    from sppdet.commands import detect_files

    found = detect_files(
        options.run, options.images, options.output, options.threshold, options.device, options.precision
    )
    if options.json:
        _print_json(found)
        return
    for entry in found:
        names = ", ".join(f"{box['class']} {box['score']:.2f}" for box in entry["detections"]) or "nothing"
        print(f"{entry['image']}: {names}")
    print(f"written to {options.output}")


def _compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="one run, or two: spp and crop")
    _add_data(parser, split="test", images=10)
    parser.add_argument("--regions", type=int, default=2000, help="regions an image")
    parser.add_argument("--growth", type=list[int], default=[100, 300, 1000, 2000], help="numbers of regions to time")
    parser.add_argument("--output", type=str, default="runs/compare", help="folder of compare.json and the plots")
    _add_machine(parser, workers=False)
    _add_json(parser)


def _compare(options: Namespace) -> None:
    """Compare SPPnet with R-CNN: time of each stage, speed-ups, growth with the regions, mAP of both."""
    from sppdet.commands import compare
    from sppdet.comparison.report import format_table

    growth = tuple(options.growth)
    data, output = _data(options), options.output
    result = compare(options.runs, data, options.regions, growth, output, options.device, options.precision)
    if options.json:
        _print_json(result.as_dict())
    else:
        print(format_table(result))
        print(f"written to {output}")


def _benchmark_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("parts", nargs="*", type=str, help="proposals, pooling; all where none is named")
    _add_data(parser, split="test", images=100)
    parser.add_class_arguments(BenchmarkConfig, skip={"opencv_python"})
    parser.add_argument("--opencv-python", type=str, help="a Python with opencv-contrib-python, timed beside ours")
    _add_json(parser)


def _benchmark(options: Namespace) -> None:
    """Benchmark each part of sppdet beside its peers in one run: ratios, seconds, growth."""
    from sppdet.benchmarks.run import format_benchmark, run_benchmark

    config = BenchmarkConfig(**{field.name: options[field.name] for field in fields(BenchmarkConfig)})
    result = run_benchmark(options.parts, _data(options), config)
    if options.json:
        _print_json(result.as_dict())
    else:
        print(f"{format_benchmark(result)}\nwritten to {config.output}")


def _proposals_arguments(parser: ArgumentParser) -> None:
    _add_data(parser, split="trainval")
    parser.add_class_arguments(ProposalConfig, "proposals")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0: in this one")
    _add_json(parser)


def _proposals(options: Namespace) -> None:
    """Fill the cache of proposals, and measure them against the annotations."""
    from sppdet.commands import measure_proposals

    result = measure_proposals(_data(options), options.proposals, options.workers)
    if options.json:
        _print_json(result)
        return
    for name in ("seconds_per_image", "boxes_per_image", "recall", "mabo"):
        print(f"{name:18} {'(cached)' if result[name] is None else format(result[name], '.4g')}")
    for name, value in result["recall_by_size"].items():
        print(f"recall, {name:10} {_percent(value)}")


def _download_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=str, default="data", help="where VOCdevkit goes")
    parser.add_argument("--years", nargs="+", type=str, default=["2007"], help="2007, 2012")
    parser.add_argument("--archives", type=str, help="folder of archives already on disk")


def _download(options: Namespace) -> None:
    """Download PASCAL VOC and check it; an interrupted download is resumed."""
    from sppdet.data.download import download_voc

    print(download_voc(options.folder, tuple(options.years), options.archives))


def _demo_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=str, default="runs/demo", help="folder of everything it makes")
    parser.add_argument("--seed", type=int, default=0, help="of the images and the training")
    _add_machine(parser)
    _add_json(parser)


def _demo(options: Namespace) -> None:
    """Generate a data set, train SPPnet and R-CNN on it, evaluate and compare them, without a network, in minutes."""
    from sppdet.demo import format_demo, run_demo

    result = run_demo(options.output, options.seed, options.device, options.precision, options.workers)
    if options.json:
        _print_json(result)
    else:
        print(format_demo(result))


def _add_data(parser: ArgumentParser, split: str, images: int | None = None) -> None:
    parser.add_class_arguments(DataConfig, "data", skip={"split", "images"})
    parser.add_argument("--split", type=str, default=split, help="image list in ImageSets/Main")
    parser.add_argument("--images", type=int | None, default=images, help="only the first so many images")


def _data(options: Namespace) -> DataConfig:
    return replace(options.data, split=options.split, images=options.images)


def _add_machine(parser: ArgumentParser, workers: bool = True) -> None:
    parser.add_argument("--device", type=Device, default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", type=Precision, default="fp32", help="of the convolutions: fp32, bf16 or fp16")
    if workers:
        parser.add_argument("--workers", type=int, default=2, help="processes for selective search; 0: in this one")


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def _print_json(result: Any) -> None:
    from sppdet.storage import json_ready

    print(json.dumps(json_ready(result), indent=1, allow_nan=False))


def _percent(value: float | None) -> str:
    return "   -  " if value is None or value != value else f"{100 * value:6.2f}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _ConfigFile(ActionConfigFile):
    """--config FILE, checked on its own, so that an error in it names the file."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        try:
            found = parser.parse_path(values)
            super().__call__(parser, cfg, values, option_string)
        except (ArgumentError, TypeError, ValueError, OSError) as error:
            raise ConfigError(_one_line(error), file=values) from error
        for key in set(found.keys()) - set(parser.get_defaults().keys()):  # jsonargparse takes `svm: 3` for good
            raise ConfigError("is not a value but a group of keys", file=values, field=key, got=found[key])


class _ProgressHandler(logging.Handler):
    """Writes log lines above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _log_to_stderr() -> None:
    log = logging.getLogger("sppdet")
    if not log.handlers:
        log.addHandler(_ProgressHandler())
        log.setLevel(logging.INFO)


COMMANDS: dict[str, tuple[Callable[[ArgumentParser], None], Callable[[Namespace], None]]] = {
    "demo": (_demo_arguments, _demo),
    "train": (_train_arguments, _train),
    "evaluate": (_evaluate_arguments, _evaluate),
    "detect": (_detect_arguments, _detect),
    "compare": (_compare_arguments, _compare),
    "benchmark": (_benchmark_arguments, _benchmark),
    "proposals": (_proposals_arguments, _proposals),
    "download": (_download_arguments, _download),
}
