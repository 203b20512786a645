"""The commands that classify whole images."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from sppdet.config.classification import TrainClassifierConfig, ViewsConfig
from sppdet.config.load import config_action, one_line
from sppdet.old_cli.options import add_data, add_json, add_machine, data_of
from sppdet.old_cli.output import percent, print_error, print_json


def _train_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action=config_action(TrainClassifierConfig), help="a YAML file of these parameters")
    parser.add_class_arguments(TrainClassifierConfig)


def _train(options: Namespace) -> None:
    """Train a classifier on a folder with a folder for each class; going on where an earlier run stopped."""
    from sppdet.classification.training import train_classifier

    config = TrainClassifierConfig(**{field.name: options[field.name] for field in fields(TrainClassifierConfig)})
    classifier = train_classifier(config)
    print(f"classifier of {len(classifier.classes)} classes in {config.output}")


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=str, help="run folder or classifier file; several: seeds of one recipe")
    parser.add_argument("--data", type=str, required=True, help="folder of images, with a folder for each class")
    parser.add_argument("--against", nargs="+", type=str, default=[], help="other runs: how much better than these?")
    parser.add_class_arguments(ViewsConfig, "views")
    parser.add_argument("--resamples", type=int, default=1000, help="of the images, for 95% intervals; 0: none")
    add_machine(parser, workers=False)
    add_json(parser)


def _evaluate(options: Namespace) -> None:
    """Evaluate a classifier, or the mean of several: accuracy, of each class as well, with intervals."""
    from sppdet.classification.evaluation import evaluate_classifiers

    given = (options.against, options.resamples, options.device, options.precision)
    result = evaluate_classifiers(options.runs, options.data, options.views, *given)
    if options.json:
        print_json(result)
    else:
        _print_accuracy(result)


def _print_accuracy(result: dict[str, Any]) -> None:
    for name, numbers in result["per_class"].items():
        print(f"{name:16} {percent(numbers['top1'])}   {numbers['images']} images")
    tops = [key for key in ("top1", "top5") if key in result]
    for key in tops:
        print(f"{key:16} {_with_interval(result[key])}   {result['images']} images")
    if len(result["runs"]) > 1:
        print(f"{'top1 of each':16} {' '.join(percent(value) for value in result['runs'].values())}")
    if "against" in result:
        for key in tops:
            print(f"{key + ', others':16} {_with_interval(result['against'][key])}")
            print(f"{key + ', more':16} {_with_interval(result['difference'][key])}   (percentage points)")


def _with_interval(found: dict[str, Any]) -> str:
    text = percent(found["mean"])
    if "interval" in found:
        low, high = found["interval"]
        text += f" ({100 * low:.1f} to {100 * high:.1f}; 95% of {found['resamples']} resamples)"
    return text


def _predict_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=str, help="run folder or classifier file")
    parser.add_argument("images", nargs="+", type=str, help="image files, or folders (not those inside)")
    parser.add_argument("--output", type=str, help="a .csv or .json file")
    parser.add_argument("--top", type=int, default=1, help="so many classes an image, the most probable first")
    parser.add_class_arguments(ViewsConfig, "views")
    add_machine(parser, workers=False)
    add_json(parser)


def _predict(options: Namespace) -> None:
    """Classify images: the most probable classes of each, as a table, CSV or JSON."""
    from sppdet.commands.classify import classify_files

    given = (options.views, options.top, options.output, options.device, options.precision)
    entries, errors = classify_files(options.run, options.images, *given)
    if options.json:
        print_json(entries)
    elif options.output and entries:
        print(f"{len(entries)} images in {options.output}")
    else:
        for entry in entries:
            found = ", ".join(f"{best['class']} {best['probability']:.2f}" for best in entry["classes"])
            print(f"{entry['image']}: {found}")
    for error in errors[:-1]:
        print_error(one_line(error))
    if errors:
        raise errors[-1]


def _crops_arguments(parser: ArgumentParser) -> None:
    add_data(parser, split="trainval")
    parser.add_argument("--context", type=float, default=0.0, help="boxes grow on each side by this share of theirs")
    parser.add_argument("--output", type=str, required=True, help="folder; crops go to OUTPUT/SPLIT/CLASS")


def _crops(options: Namespace) -> None:
    """Make images to classify of a detection data set: its objects, difficult ones left out."""
    from sppdet.classification.crops import write_crops
    from sppdet.data.dataset import read_dataset

    folder = Path(options.output) / options.split
    print(f"{write_crops(read_dataset(data_of(options)), folder, options.context)} crops in {folder}")


PARTS = {
    "train": (_train_arguments, _train),
    "evaluate": (_evaluate_arguments, _evaluate),
    "predict": (_predict_arguments, _predict),
    "crops": (_crops_arguments, _crops),
}


def _classify_arguments(parser: ArgumentParser) -> None:
    choice = parser.add_subcommands(metavar="COMMAND", title="commands")
    for name, (add_arguments, run) in PARTS.items():
        command = ArgumentParser(description=run.__doc__, exit_on_error=False)
        choice.add_subcommand(name, command, help=(run.__doc__ or "").split("\n")[0])
        add_arguments(command)


def _classify(options: Namespace) -> None:
    """Train, evaluate and use classifiers of images of any size; `sppdet classify COMMAND --help` says how."""
    PARTS[options.subcommand][1](options[options.subcommand])


COMMANDS = {"classify": (_classify_arguments, _classify)}
