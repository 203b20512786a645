"""The precision-recall picture is a PNG that shows every class."""

import numpy as np
import pytest
from factories import read_png

from sppdet.errors import SppdetError
from sppdet.evaluation.plots import plot_precision_recall
from sppdet.evaluation.voc import Curve, VOCResult

pytestmark = pytest.mark.usefixtures("figures")


def random_curve(rng, count: int, positives: int) -> Curve:
    right = rng.random(count) < np.linspace(1, 0, count)
    true_positives = np.minimum(np.cumsum(right), positives)
    return Curve(true_positives, np.linspace(1, -1, count, dtype=np.float32), positives)


def result_of(classes: int) -> VOCResult:
    rng = np.random.default_rng(classes)
    curves = {f"class_{k} $x" if k == 1 else f"class {k}": random_curve(rng, 300, 120 + k) for k in range(classes)}
    empty = np.zeros(0, np.int64), np.zeros(0, np.float32)
    return VOCResult({**curves, "unseen": Curve(*empty, 3), "absent": Curve(*empty, 0)}, iou=0.5)


@pytest.mark.parametrize("result", [VOCResult({}, 0.5), *map(result_of, (0, 1, 18))], ids=["none", "0", "1", "18"])
def test_writes_a_png_or_names_its_place(result, tmp_path) -> None:
    path = tmp_path / "new" / "curves.png"
    plot_precision_recall(result, path)
    assert len(np.unique(read_png(path).reshape(-1, 3), axis=0)) > 20
    assert [file.name for file in path.parent.iterdir()] == ["curves.png"]
    with pytest.raises(SppdetError, match="cannot be written"):
        plot_precision_recall(result, path / "below a file.png")


@pytest.mark.parametrize("positives", [1, 100])
def test_the_area_is_shaded(positives, tmp_path) -> None:
    """All found shades nearly the whole plot, a fifth found a fifth of it; also where one detection finds all."""
    shaded = []
    for objects in (positives, 5 * positives):
        path = tmp_path / f"{objects}.png"
        curve = Curve(np.arange(1, positives + 1), np.zeros(positives, np.float32), objects)
        plot_precision_recall(VOCResult({"thing": curve}, 0.5), path)
        pixels = read_png(path).astype(int)
        shaded.append(int((pixels[..., 2] - pixels[..., 0] > 20).sum()))
    assert shaded[1] / shaded[0] == pytest.approx(0.2, abs=0.03)
    assert shaded[0] > 0.4 * pixels[..., 0].size
