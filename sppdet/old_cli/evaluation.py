"""The commands that say how good a detector is, and why."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from sppdet.old_cli.options import add_data, add_json, add_machine, add_probabilities, data_of
from sppdet.old_cli.output import format_maps, percent, print_json, print_precision, print_reliability


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=str, help="run folder or detector file")
    parser.add_argument(
        "--detections", type=str, help="COCO results JSON, or folder of VOC comp4 files, in place of a run"
    )
    add_data(parser, split="test")
    add_machine(parser)
    parser.add_argument(
        "--proposals", type=str, help="proposals of another program (.json, .npz, .mat) for these images"
    )
    parser.add_argument(
        "--svd", type=list[int] | None, help="ranks to truncate the fully connected layers to, to see the mAP they cost"
    )
    parser.add_argument("--against", type=str, help="another run, or other detections: how much better than these?")
    parser.add_argument("--resamples", type=int, default=1000, help="of the images, for 95% intervals; 0: none")
    add_probabilities(parser)
    parser.add_argument("--output", type=str, help="folder of results; RUN/SPLIT or RUN/SPLIT-IMAGES if not given")
    add_json(parser)


def _evaluate(options: Namespace) -> None:
    """Evaluate a detector, or detections that another program wrote: VOC and COCO average precision."""
    from sppdet.commands.evaluate import evaluate

    result, folder = evaluate(
        options.run,
        options.detections,
        data_of(options),
        output=options.output,
        proposals=options.proposals,
        device=options.device,
        precision=options.precision,
        workers=options.workers,
        svd=options.svd,
        against=options.against,
        resamples=options.resamples,
        probabilities=options.probabilities,
    )
    if options.json:
        print_json(result)
        return
    print_precision(result)
    if "difference" in result:
        print(f"{'mAP, the other':16} {format_maps(result['against'])}   ({options.against})")
        print(f"{'difference':16} {format_maps(result['difference'], '+')}   (percentage points)")
    if "svd" in result:
        found = result["svd"]
        print(
            f"{'mAP, SVD':16} {percent(found['map_voc07'])} {percent(found['map_area'])}   (ranks {found['ranks']};"
            f" VOC07 {100 * found['change_voc07']:+.2f})"
        )
    print(f"{'COCO AP':16} {percent(result['coco']['AP'])}   {result['images']} images")
    if "reliability" in result:
        print_reliability(result["reliability"])
    if folder:
        print(f"written to {folder}")


def _diagnose_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=str, help="run folder or detector file, evaluated on these images")
    parser.add_argument(
        "--detections", type=str, help="COCO results JSON, or folder of VOC comp4 files, in place of a run"
    )
    add_data(parser, split="test")
    parser.add_argument(
        "--similar",
        type=list[list[str]] | None,
        help="sets of similar classes, such as [[cat,dog],[bus,car]]; the paper's where all classes are VOC's",
    )
    parser.add_argument("--output", type=str, help="folder of results; RUN/SPLIT or RUN/SPLIT-IMAGES if not given")
    add_json(parser)


def _diagnose(options: Namespace) -> None:
    """Diagnose errors: false positives by kind and what each kind costs, and average precision by object size.

    After Hoiem et al. 2012, from the detections that `sppdet evaluate` left in the run.
    """
    from sppdet.commands.diagnose import diagnose
    from sppdet.evaluation.diagnosis_report import format_diagnosis

    result, folder = diagnose(options.run, options.detections, data_of(options), options.output, options.similar)
    if options.json:
        print_json(result.as_dict())
        return
    print(format_diagnosis(result))
    if folder:
        print(f"written to {folder}")


def _combine_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", type=str, help="two or more: runs, or detections written by evaluate --probabilities"
    )
    add_data(parser, split="test")
    add_machine(parser)
    parser.add_argument("--output", type=str, help="folder of results; runs/combine-RUNS where not given")
    add_json(parser)


def _combine(options: Namespace) -> None:
    """Combine detectors: what they found goes through one suppression, by probability; mAP of all and of each."""
    from sppdet.commands.combine import combine

    output = options.output or f"runs/combine-{'-'.join(Path(run).resolve().name for run in options.runs)}"
    result = combine(options.runs, data_of(options), output, options.device, options.precision, options.workers)
    if options.json:
        print_json(result)
        return
    print_precision(result)
    for run, numbers in result["single"].items():
        print(f"{'mAP alone':16} {format_maps(numbers)}   {run}")
    print(f"{'difference':16} {format_maps(result['difference'], '+')}   (points, to {result['difference']['best']})")
    print(f"{'COCO AP':16} {percent(result['coco']['AP'])}   {result['images']} images")
    print_reliability(result["reliability"])
    print(f"written to {output}")


COMMANDS = {
    "evaluate": (_evaluate_arguments, _evaluate),
    "diagnose": (_diagnose_arguments, _diagnose),
    "combine": (_combine_arguments, _combine),
}
