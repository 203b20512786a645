from dataclasses import replace

import numpy as np
import pytest
import torch

from sppdet.classification.evaluation import Accuracy, Mean, mean_with_interval, topk_correct
from sppdet.config.classification import ViewsConfig
from sppdet.errors import InputError
from sppdet.evaluation.bootstrap import draw_images, interval

PROBABILITIES = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.4, 0.4, 0.2]])


@pytest.mark.parametrize(
    ("labels", "top", "expected"),
    [
        ([0, 2, 1, 0], 1, [1, 1, 1, 1]),
        ([0, 1, 2, 1], 1, [1, 0, 0, 0]),  # of equal ones the first is taken
        ([1, 1, 2, 1], 2, [1, 1, 0, 1]),
        ([2, 0, 2, 2], 3, [1, 1, 1, 1]),
    ],
)
def test_a_hit_is_a_label_among_the_most_probable(labels, top, expected):
    assert topk_correct(PROBABILITIES, torch.tensor(labels), top).tolist() == expected


def test_labels_have_to_fit():
    with pytest.raises(InputError, match="labels: do not fit"):
        topk_correct(PROBABILITIES, torch.tensor([0, 1]))


def test_the_interval_is_that_of_resampled_images_none_but_not_fewer():
    values = np.random.default_rng(0).random(40) < 0.7
    result = mean_with_interval(values.astype(float), resamples=300, seed=2)
    means = [np.repeat(values, counts).mean() for counts in draw_images(40, 300, 2)]
    assert result.mean == pytest.approx(values.mean())
    assert result.interval == pytest.approx(interval(np.array(means), values.mean()))
    assert result.interval == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.03)  # a mean has no bias
    assert (result.as_dict()["level"], result.resamples) == (0.95, 300)
    assert mean_with_interval(np.array([1.0, 0.0]), resamples=0) == Mean(0.5)
    with pytest.raises(InputError, match="resamples"):
        mean_with_interval(np.array([1.0]), resamples=-1)


def test_a_paired_difference_has_a_narrower_interval_than_that_of_each():
    rng = np.random.default_rng(0)
    one = (rng.random(500) < 0.7).astype(float)
    other = np.where(rng.random(500) < 0.05, 1 - one, one)  # differs on a few images
    widths = [np.ptp(mean_with_interval(values).interval) for values in (one, one - other)]
    assert widths[1] < widths[0] / 1.5


def test_an_accuracy_prints_itself():
    means = {"top1": Mean(0.75, (0.5, 1.0), 100), "top5": Mean(1.0)}
    per_class = {"cat": {"top1": 0.5, "images": 2}, "dog": {"top1": 1.0, "images": 2}}
    one = Accuracy(means, per_class, 4, {"a": 0.7, "b": 0.8}, ViewsConfig())
    both = replace(one, against=one, difference={"top1": Mean(0.0, (-0.1, 0.1), 100)})
    assert str(both).splitlines() == [
        "cat               50.00%   2 images",
        "dog              100.00%   2 images",
        "top1             75.00% (50.0 to 100.0; 95% of 100 resamples)   4 images",
        "top5             100.00%   4 images",
        "top1 of each     70.00% 80.00%",
        "top1, others     75.00% (50.0 to 100.0; 95% of 100 resamples)",
        "top1, more       0.00% (-10.0 to 10.0; 95% of 100 resamples)   (percentage points)",
    ]
    assert set(both.as_dict()) == {"top1", "top5", "per_class", "images", "runs", "views", "against", "difference"}
    assert both.as_dict()["top5"] == {"mean": 1.0}
