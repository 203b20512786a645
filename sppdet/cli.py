"""The command line: `sppdet COMMAND --help` says what each does. Results go to stdout, progress and log to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from sppdet import __version__
from sppdet.benchmarks.config import BenchmarkConfig
from sppdet.cli_parsing import ConfigFile, config_first, explain, one_line
from sppdet.config import DataConfig, Device, Precision, ProposalConfig, TrainConfig
from sppdet.errors import SppdetError
from sppdet.machine import keep_freed_memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, 1 for an error of the user's data, 2 for wrong usage, 130 for Ctrl-C."""
    _log_to_stderr()
    keep_freed_memory()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        parser = build_parser()
        if not arguments:
            parser.print_help(sys.stderr)
            return 2
        options = parser.instantiate(parser.parse_args(config_first(arguments)))
        COMMANDS[options.subcommand][1](options[options.subcommand])
    except ArgumentError as error:
        _print_error(explain(error))
        return 2
    except SppdetError as error:
        _print_error(one_line(error))
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
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(metavar="COMMAND", title="commands")
    for name, (add_arguments, run) in COMMANDS.items():
        command = ArgumentParser(description=run.__doc__, exit_on_error=False)
        add_arguments(command)
        commands.add_subcommand(name, command, help=(run.__doc__ or "").split("\n")[0])
    return parser


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action=ConfigFile, help="a YAML file, such as configs/sppnet_voc07.yaml")
    parser.add_class_arguments(TrainConfig)


def _train(options: Namespace) -> None:
    """Train a detector; going on where an earlier run with the same output stopped.

    Parameters come from --config; dotted overrides such as --features crop --svm.C 0.01 win wherever they stand.
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
    parser.add_argument(
        "--svd", type=list[int] | None, help="ranks to truncate the fully connected layers to, to see the mAP they cost"
    )
    parser.add_argument("--against", type=str, help="another run, or other detections: how much better than these?")
    parser.add_argument("--resamples", type=int, default=1000, help="of the images, for 95% intervals; 0: none")
    _add_probabilities(parser)
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
        options.svd,
        options.against,
        options.resamples,
        options.probabilities,
    )
    if options.json:
        _print_json(result)
        return
    _print_precision(result)
    if "difference" in result:
        print(f"{'mAP, the other':16} {_maps(result['against'])}   ({options.against})")
        print(f"{'difference':16} {_maps(result['difference'], '+')}   (percentage points)")
    if "svd" in result:
        found = result["svd"]
        print(
            f"{'mAP, SVD':16} {_percent(found['map_voc07'])} {_percent(found['map_voc10'])}   (ranks {found['ranks']};"
            f" VOC07 {100 * found['change_voc07']:+.2f})"
        )
    print(f"{'COCO AP':16} {_percent(result['coco']['AP'])}   {result['images']} images")
    if "reliability" in result:
        _print_reliability(result["reliability"])
    if folder:
        print(f"written to {folder}")


def _diagnose_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=str, help="run folder or detector file, evaluated on these images")
    parser.add_argument(
        "--detections", type=str, help="COCO results JSON, or folder of VOC comp4 files, in place of a run"
    )
    _add_data(parser, split="test")
    parser.add_argument(
        "--similar",
        type=list[list[str]] | None,
        help="sets of similar classes, such as [[cat,dog],[bus,car]]; the paper's where all classes are VOC's",
    )
    parser.add_argument("--output", type=str, help="folder of results; RUN/SPLIT where not given")
    _add_json(parser)


def _diagnose(options: Namespace) -> None:
    """Diagnose errors: false positives by kind and what each kind costs, and average precision by object size.

    After Hoiem et al. 2012, from the detections that `sppdet evaluate` left in the run.
    """
    from sppdet.commands import diagnose
    from sppdet.evaluation.diagnosis_report import format_diagnosis

    result, folder = diagnose(options.run, options.detections, _data(options), options.output, options.similar)
    if options.json:
        _print_json(result.as_dict())
        return
    print(format_diagnosis(result))
    if folder:
        print(f"written to {folder}")


def _combine_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=str, help="two or more: runs, or detections written by evaluate --probabilities"
    )
    _add_data(parser, split="test")
    _add_machine(parser)
    parser.add_argument("--output", type=str, help="folder of results; runs/combine-RUNS where not given")
    _add_json(parser)


def _combine(options: Namespace) -> None:
    """Combine detectors: what they found goes through one suppression, by probability; mAP of all and of each."""
    from sppdet.commands import combine

    output = options.output or f"runs/combine-{'-'.join(Path(run).resolve().stem for run in options.runs)}"
    result = combine(options.runs, _data(options), output, options.device, options.precision, options.workers)
    if options.json:
        _print_json(result)
        return
    _print_precision(result)
    for run, numbers in result["single"].items():
        print(f"{'mAP alone':16} {_percent(numbers['map_voc07'])} {_percent(numbers['map_voc10'])}   {run}")
    print(f"{'COCO AP':16} {_percent(result['coco']['AP'])}   {result['images']} images")
    _print_reliability(result["reliability"])
    print(f"written to {output}")


def _detect_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="run folder or detector file")
    parser.add_argument("images", nargs="+", type=str, help="image files or folders")
    parser.add_argument("--output", type=str, default="runs/detect", help="folder of the pictures and detections.json")
    parser.add_argument("--threshold", type=float, help="draw what scores at least this; by default each class's own")
    _add_probabilities(parser)
    _add_machine(parser, workers=False)
    _add_json(parser)


def _detect(options: Namespace) -> None:
    """Detect objects in images: pictures with boxes, and the boxes as data."""
    from sppdet.commands import detect_files

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
        _print_json(found)
    else:
        for entry in found:
            names = ", ".join(f"{box['class']} {box['score']:z.2f}" for box in entry["detections"]) or "nothing"
            print(f"{entry['image']}: {names}")
        if found:
            print(f"written to {options.output}")
    for error in errors[:-1]:
        _print_error(one_line(error))
    if errors:
        raise errors[-1]


def _compare_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="one run, or two: spp and crop")
    _add_data(parser, split="test", images=10)
    parser.add_argument("--regions", type=int, default=2000, help="regions an image")
    parser.add_argument("--growth", type=list[int], default=[100, 300, 1000, 2000], help="numbers of regions to time")
    parser.add_argument("--output", type=str, help="folder of results; runs/compare-RUNS where not given")
    _add_machine(parser, workers=False)
    _add_json(parser)


def _compare(options: Namespace) -> None:
    """Compare SPPnet with R-CNN: time of each stage, speed-ups, growth with the regions; mAP from 100 images on."""
    from sppdet.commands import compare
    from sppdet.comparison.report import format_table

    growth = tuple(options.growth)
    names = "-".join(Path(run).resolve().name for run in options.runs)
    data, output = _data(options), options.output or f"runs/compare-{names}"
    result = compare(options.runs, data, options.regions, growth, output, options.device, options.precision)
    if options.json:
        _print_json(result.as_dict())
    else:
        print(format_table(result))
        print(f"written to {output}")


def _benchmark_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "parts", nargs="*", type=str, help="proposals, pooling, heads, detect, train; all where none is named"
    )
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
    parser.add_argument("--workers", type=int, default=2, help="images searched at once; 0: one")
    _add_json(parser)


def _proposals(options: Namespace) -> None:
    """Fill the cache of proposals, and measure them against the annotations."""
    from sppdet.commands import measure_proposals

    result = measure_proposals(_data(options), options.proposals, options.workers)
    if options.json:
        _print_json(result)
        return
    seconds, recall = result["seconds_per_image"], f"recall at IoU {result['iou']:g}"
    print(f"{'seconds an image':34} {'(cached)' if seconds is None else format(seconds, '6.3g')}")
    print(f"{'boxes an image':34} {result['boxes_per_image']:6.0f}")
    fractions = {recall: result["recall"], "mean average best overlap (MABO)": result["mabo"]}
    fractions |= {f"{recall}, {name}": value for name, value in result["recall_by_size"].items()}
    for name, value in fractions.items():
        print(f"{name:34} {_percent(value)}")


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
        parser.add_argument("--workers", type=int, default=2, help="images searched at once, a thread each")


def _add_probabilities(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--probabilities", action="store_true", help="scores are probabilities of being right, calibrated on val"
    )


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def _print_precision(result: dict[str, Any]) -> None:
    for name, numbers in result["per_class"].items():
        print(f"{name:16} {_percent(numbers['ap_voc07'])} {_percent(numbers['ap_voc10'])}")
    resamples = result["interval"]["resamples"] if "interval" in result else 0
    interval = f"; 95% of {resamples} resamples" if resamples else ""
    print(f"{'mAP':16} {_maps(result)}   (VOC07 11 points, VOC10+ area{interval})")


def _print_reliability(result: dict[str, Any]) -> None:
    print(f"{'probability':16} {'mean':>7} {'right':>7}   detections")
    for row in result["bins"]:
        name = f"{row['low']:.1f} to {row['high']:.1f}"
        print(f"{name:16} {_percent(row['probability'])} {_percent(row['right'])}   {row['detections']}")


def _print_json(result: Any) -> None:
    from sppdet.storage import json_ready

    print(json.dumps(json_ready(result), indent=1, allow_nan=False))


def _percent(value: float | None) -> str:
    return f"{'-':>7}" if value is None or value != value else f"{100 * value:6.2f}%"


def _maps(numbers: dict[str, Any], sign: str = "") -> str:
    """Both mAPs in percent, or with sign "+" their differences in points, with the intervals where there are any."""
    texts = []
    for key in ("map_voc07", "map_voc10"):
        text = f"{100 * numbers[key]:+6.2f} " if sign else _percent(numbers[key])
        if "interval" in numbers and numbers[key] == numbers[key]:
            low, high = (f"{100 * end:{sign}.1f}" for end in numbers["interval"][key])
            text = f"{text.rstrip()} ({low} to {high})" if sign else f"{text} ({low}-{high})"
        texts.append(text)
    return " ".join(texts)


def _print_error(text: str) -> None:
    print(f"sppdet: error: {text}", file=sys.stderr)


class _ProgressHandler(logging.Handler):
    """Writes log lines above the progress bars; a warning once, though its file be read twice, for train and val."""

    def __init__(self) -> None:
        super().__init__()
        self.warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        line = self.format(record)
        if line not in self.warned:
            tqdm.write(line, file=sys.stderr)
        if record.levelno >= logging.WARNING:
            self.warned.add(line)


def _log_to_stderr() -> None:
    log = logging.getLogger("sppdet")
    if not log.handlers:
        log.addHandler(_ProgressHandler())
        log.setLevel(logging.INFO)


COMMANDS: dict[str, tuple[Callable[[ArgumentParser], None], Callable[[Namespace], None]]] = {
    "demo": (_demo_arguments, _demo),
    "train": (_train_arguments, _train),
    "evaluate": (_evaluate_arguments, _evaluate),
    "diagnose": (_diagnose_arguments, _diagnose),
    "detect": (_detect_arguments, _detect),
    "combine": (_combine_arguments, _combine),
    "compare": (_compare_arguments, _compare),
    "benchmark": (_benchmark_arguments, _benchmark),
    "proposals": (_proposals_arguments, _proposals),
    "download": (_download_arguments, _download),
    "convert": (_convert_arguments, _convert),
}
