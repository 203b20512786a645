import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.linear_model import Ridge

from sppdet.heads.box_regression import fit_box_regression, fit_ridge


def examples(n: int, dimension: int, noise: float = 0.5) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, dimension)) * 20 / np.sqrt(dimension)
    mixing = rng.normal(size=(4, 4)) * [0.1, 0.2, 0.05, 0.3]
    targets = (features @ rng.normal(size=(dimension, 4)) / 20 + noise * rng.normal(size=(n, 4))) @ mixing + 0.1
    return torch.from_numpy(features).float(), torch.from_numpy(targets).float()


def ridge_by_sklearn(features: torch.Tensor, targets: torch.Tensor, ridge: float) -> np.ndarray:
    """Predictions of a ridge on centered targets whitened as in R-CNN, mapped back."""
    x = np.hstack([features.double().numpy(), np.ones((len(features), 1))])
    t = targets.double().numpy()
    centered = t - t.mean(axis=0)
    root = np.real(sqrtm(np.cov(t, rowvar=False, bias=True) + 1e-3 * np.eye(4)))
    model = Ridge(alpha=ridge, fit_intercept=False).fit(x, centered @ np.linalg.inv(root))
    return model.predict(x) @ root + t.mean(axis=0)


@pytest.mark.parametrize(("n", "dimension"), [(300, 15), (40, 120), (30, 30)], ids=["primal", "dual", "equal"])
@pytest.mark.parametrize("ridge", [1.0, 1000.0])
def test_predictions_are_sklearns(n, dimension, ridge):
    features, targets = examples(n, dimension)
    weight, bias = fit_ridge(features, targets, ridge)
    assert weight.shape == (4, dimension)
    predicted = (features @ weight.T + bias).numpy()
    np.testing.assert_allclose(predicted, ridge_by_sklearn(features, targets, ridge), atol=1e-3)


def test_primal_and_dual_forms_agree():
    features, targets = examples(100, 20)
    weight, bias = fit_ridge(features, targets, 50.0)
    padded = torch.cat([features, torch.zeros(100, 200)], dim=1)  # more features than examples: the dual form
    wide_weight, wide_bias = fit_ridge(padded, targets, 50.0)
    torch.testing.assert_close(wide_weight[:, :20], weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(wide_bias, bias, rtol=1e-3, atol=1e-5)
    assert (wide_weight[:, 20:] == 0).all()


@pytest.mark.parametrize(("n", "dimension"), [(400, 12), (50, 80)])
def test_a_linear_relation_is_recovered(n, dimension):
    features, targets = examples(n, dimension, noise=0.0)
    weight, bias = fit_ridge(features, targets, 1e-2)
    torch.testing.assert_close(features @ weight.T + bias, targets, rtol=0, atol=5e-3)


def test_a_strong_ridge_leaves_the_mean_and_no_examples_boxes_as_they_are():
    features, targets = examples(100, 10)
    weight, bias = fit_ridge(features, targets, 1e9)
    torch.testing.assert_close(features @ weight.T + bias, targets.mean(dim=0).expand(100, 4), rtol=0, atol=1e-3)
    weight, bias = fit_ridge(torch.zeros(0, 7), torch.zeros(0, 4), 1.0)
    assert (weight.tolist(), bias.tolist()) == ([[0] * 7] * 4, [0] * 4)


def test_one_regressor_a_class_on_scaled_features():
    features, targets = examples(200, 6)
    half = features.half()
    scale = 0.25
    x, y = ([[of[:90], of[90:150]], [], [of[150:]]] for of in (half, targets))
    weight, bias = fit_box_regression(x, y, 6, [10.0, 10.0, 20.0], scale)
    assert weight.shape == (12, 6)
    offsets = (half.float() @ weight.T + bias).unflatten(1, (3, 4))
    assert not offsets[:, 1].any()
    for k, rows, penalty in ((0, slice(0, 150), 10.0), (2, slice(150, 200), 20.0)):
        expected = ridge_by_sklearn(half[rows].float() * scale, targets[rows], penalty)
        np.testing.assert_allclose(offsets[rows, k].numpy(), expected, atol=1e-3)
