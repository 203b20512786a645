from __future__ import annotations

import pytest
import torch

from sppdet.errors import InputError
from sppdet.heads.linear import BoxRegressor, LinearHead, mean_norm

WEIGHT = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, -1]])
BIAS = torch.tensor([0.5, 0.0, -0.5])
FEATURES = torch.tensor([[1.0, 2, 3], [0, 0, 0]])


def test_svm_scores_are_margins():
    assert LinearHead("svm", WEIGHT, BIAS).scores(FEATURES).tolist() == [[1.5, 4, -3.5], [0.5, 0, -0.5]]


def test_softmax_scores_leave_the_background_out():
    scores = LinearHead("softmax", WEIGHT, BIAS).scores(FEATURES)
    exact = torch.tensor([[1.5, 4, -3.5], [0.5, 0, -0.5]]).exp()
    torch.testing.assert_close(scores, (exact / exact.sum(dim=1, keepdim=True))[:, 1:])


def test_offsets_come_class_by_class():
    regressor = BoxRegressor(torch.arange(24.0).view(8, 3), torch.arange(8.0))
    offsets = regressor.offsets(torch.tensor([[1.0, 0, 0]]))
    assert offsets.tolist() == [[[0, 4, 8, 12], [16, 20, 24, 28]]]


def test_no_regions():
    nothing = torch.zeros(0, 3)
    assert LinearHead("svm", WEIGHT, BIAS).scores(nothing).shape == (0, 3)
    assert LinearHead("softmax", WEIGHT, BIAS).scores(nothing).shape == (0, 2)
    assert BoxRegressor(torch.zeros(8, 3), torch.zeros(8)).offsets(nothing).shape == (0, 2, 4)


@pytest.mark.parametrize("features", [torch.zeros(2, 4), torch.zeros(3)], ids=str)
def test_features_of_another_length_are_refused(features):
    for score in (LinearHead("svm", WEIGHT, BIAS).scores, BoxRegressor(torch.zeros(4, 3), torch.zeros(4)).offsets):
        with pytest.raises(InputError, match=r"features: .* expected \(N, 3\)|features: wrong length"):
            score(features)


@pytest.mark.parametrize(
    ("weight", "bias"), [(WEIGHT.double(), BIAS), (WEIGHT, BIAS[:2]), (WEIGHT[0], BIAS), (WEIGHT, BIAS.half())]
)
def test_heads_check_their_arrays(weight, bias):
    with pytest.raises(InputError):
        LinearHead("svm", weight, bias)
    with pytest.raises(InputError):
        BoxRegressor(weight, bias)


def test_mean_norm():
    assert mean_norm(torch.tensor([[3.0, 4], [0, 1]]).half()) == pytest.approx(3)
    assert mean_norm(torch.zeros(0, 4)) == 1
    features = torch.randn(5000, 7, generator=torch.Generator().manual_seed(0))  # several chunks
    assert mean_norm(features) == pytest.approx(float(features.double().norm(dim=1).mean()), rel=1e-4)
