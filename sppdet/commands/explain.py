"""Explain how a part of a detector works."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from sppdet.commands.summary import Summary
from sppdet.config.network import Device, Precision
from sppdet.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from sppdet.commands.inputs import Run
    from sppdet.detector import Detector
    from sppdet.encoded import EncodedImage
    from sppdet.pooling.forms import PoolingForm


def pooling(
    *,
    size: str,
    levels: str = "6,3,2,1",
    form: str = "window",
    kernel: int | None = None,
    stride: int | None = None,
    padding: int | None = None,
    ceil_mode: bool = False,
    output: str = "runs/pooling.png",
) -> Summary:
    """Show which cells of a map the bins of a form of pooling read, leave out and share.

    The exact form is drawn below it for comparison.

    Example: sppdet explain pooling --size 14x14 --levels 4,2,1 --form window

    Args:
        size: height and width of the map in cells, such as 14x14
        levels: bins per side of each level, such as 4,2,1
        form: window, padded, general, roi_pool, roi_align or exact
        kernel: cells per window, general form; 3 if not given
        stride: cells between windows, general form; 2 if not given
        padding: cells around the map, general form; 0 if not given
        ceil_mode: windows that end outside the map, window and general forms
        output: PNG file of the figure
    """
    from sppdet.pooling.coverage import explain_level, format_reports, plot_reports
    from sppdet.pooling.forms import GeneralPooling, PaddedPooling, WindowPooling
    from sppdet.pooling.pyramid import SpatialPyramidPooling
    from sppdet.pooling.roi import RoIAlign, RoIPooling

    for field, value in {"kernel": kernel, "stride": stride, "padding": padding}.items():
        if value is not None and form != "general":
            raise ConfigError("is an option of the general form only", field=field, got=f"form {form}")
    if ceil_mode and form not in ("window", "general"):
        raise ConfigError("is an option of the window and general forms only", field="ceil_mode", got=f"form {form}")
    _check_output(output)
    window = (3 if kernel is None else kernel, 2 if stride is None else stride, padding or 0)
    forms: dict[str, Callable[[int], PoolingForm]] = {
        "window": lambda n: WindowPooling((n,), ceil_mode=ceil_mode),
        "padded": lambda n: PaddedPooling((n,)),
        "general": lambda n: GeneralPooling(n, *window, ceil_mode),
        "roi_pool": RoIPooling,
        "roi_align": RoIAlign,
        "exact": lambda n: SpatialPyramidPooling((n,)),
    }
    if form not in forms:
        raise ConfigError("no such form", field="form", expected=tuple(forms), got=form)
    height, width = _read_numbers("size", size, "14x14", r"(\d+)x(\d+)")
    wanted = _read_numbers("levels", levels, "4,2,1", r"\d+(?:,\d+)*")
    reports = {
        name: [explain_level(forms[name](n), (height, width), n) for n in wanted]
        for name in dict.fromkeys((form, "exact"))
    }
    plot_reports(reports, output)
    values = {name: [each.as_dict() for each in levels] for name, levels in reports.items()}
    return Summary(values, f"{format_reports(reports)}\nwritten to {output}")


def detection(
    run: Run,
    image: str,
    *,
    box: str | None = None,
    class_: str | None = None,
    output: str = "runs/evidence.png",
    device: Device = "auto",
    precision: Precision = "fp32",
) -> Summary:
    """Show where the score of a box comes from: the cells and bins that speak for the class, and against it.

    The parts add up to the score. Without --box it is the proposal of the best detection. The scores of softmax heads
    are logits.

    Example: sppdet explain detection runs/mine photo.jpg --output evidence.png

    Args:
        run: run folder or detector file
        image: image file
        box: x1,y1,x2,y2 in pixels of the image, pooled as it is
        class_: name of the class; by default the best of the box
        output: PNG file of the figure
    """
    from sppdet.commands.inputs import load_run
    from sppdet.explanation.plot import plot_evidence
    from sppdet.images import read_image
    from sppdet.structures import box_in_image

    _check_output(output)
    detector, pixels = load_run(run, device, precision), read_image(image)
    if class_ is not None and class_ not in detector.classes:
        raise ConfigError("no such class", field="class", expected=tuple(detector.classes), got=class_)
    label = None if class_ is None else detector.classes.index(class_) + 1
    encoded = detector.encode(pixels)
    if box is None:
        region, label, found = _best_detection(detector, encoded, pixels, label)
    else:
        region, found = box_in_image(_read_corners(box), encoded.size), None
        scores = encoded.score(region[None])[0].cpu() - detector.thresholds.cpu()
        label = label or int(scores.argmax()) + 1
    evidence = encoded.evidence(region, label)
    plot_evidence(evidence, pixels, detector.classes, output, found)
    name = detector.classes[label - 1]
    maps = [f"map {k} {part.total:+.3f}" for k, part in enumerate(evidence.maps, start=1)]
    rivals = ", ".join(f"{detector.classes[k - 1]} {score:z.2f}" for k, score in evidence.rivals())
    text = f"{name}: score {evidence.score:z.3f} = bias {evidence.bias:.3f}, {', '.join(maps)}"
    lines = [text, *([f"other classes of this box: {rivals}"] if rivals else []), f"written to {output}"]
    return Summary({"class": name, **evidence.as_dict()}, "\n".join(lines))


def _best_detection(
    detector: Detector, encoded: EncodedImage, image: Tensor, label: int | None
) -> tuple[Tensor, int, Tensor]:
    """Return the proposal, the label and the final box of an image's best detection, of the class `label` if given.

    The best of all classes is the most probable, if the detector is calibrated, or else the one with the highest score.
    Raises DataError without a detection.
    """
    from sppdet.errors import DataError
    from sppdet.postprocess import postprocess
    from sppdet.proposals.cache import propose_image

    heads, proposals = detector.heads, propose_image(image, detector.config.proposals)
    outputs = encoded.outputs(proposals)
    found = postprocess(heads, outputs, proposals, encoded.size, encoded.selection)
    found = found if label is None else found[found.labels == label]
    if not len(found):
        raise DataError("nothing is detected", field="image", expected="--box x1,y1,x2,y2 to look at one anyway")
    likely = found if detector.calibration is None else detector.probabilities(found)
    label = int(likely.labels[likely.scores.argmax()])
    best = (found.labels == label).nonzero()[0, 0]  # of a class, the best comes first
    proposal = int(heads.activate(heads.split(outputs)[0])[:, label - 1].argmax())  # NMS keeps the best of a class
    return proposals[proposal], label, found.boxes[best]


def _read_corners(text: str) -> list[float]:
    """Return the numbers in a text such as 10,20,110,80; none if it has others."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def _check_output(output: str) -> None:
    """Raise ConfigError unless a PNG can be written there, or replaces one of our own."""
    from sppdet.drawing.figures import MARK
    from sppdet.files.owned import check_new_file

    check_new_file(output, ".png", mark=MARK)


def _read_numbers(field: str, text: str, example: str, pattern: str) -> list[int]:
    """Return the positive integers in a text that matches the pattern."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if not re.fullmatch(pattern, text) or min(numbers) < 1:
        raise ConfigError("cannot be read", field=field, expected=f"whole numbers above 0, such as {example}", got=text)
    return numbers
