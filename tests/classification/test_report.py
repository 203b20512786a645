from dataclasses import replace

from sppdet.classification.evaluation import Accuracy, ClassAccuracy, Mean
from sppdet.config.classification import ViewsConfig


def test_an_accuracy_prints_itself():
    means = {"top1": Mean(0.75, (0.5, 1.0), 100), "top5": Mean(1.0)}
    one = Accuracy(
        means, {"cat": ClassAccuracy(0.5, 2), "dog": ClassAccuracy(1.0, 2)}, 4, {"a": 0.7, "b": 0.8}, ViewsConfig()
    )
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
