import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sppdet.errors import SppdetError
from sppdet.heads import softmax
from sppdet.heads.linear import Heads, mean_norm
from sppdet.heads.softmax import fit_softmax


def examples(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, n)
    features = rng.normal(size=(n, 10)) * 3 + rng.normal(size=(4, 10))[labels] * 2
    return torch.from_numpy(features).half(), torch.from_numpy(labels)


@pytest.mark.parametrize("weight_decay", [1e-3, 1e-1])
def test_probabilities_are_logistic_regressions(weight_decay):
    features, labels = examples()
    heads = Heads.from_linear("softmax", fit_softmax(features, labels, 3, weight_decay, iterations=300))
    scaled = features.double().numpy() * 20 / mean_norm(features)
    model = LogisticRegression(C=1 / (weight_decay * len(labels)), tol=1e-8, max_iter=10_000)
    expected = model.fit(scaled, labels.numpy()).predict_proba(scaled)[:, 1:]
    np.testing.assert_allclose(heads.scores(features.float()).numpy(), expected, atol=2e-3)


def test_chunks_change_nothing(monkeypatch):
    features, labels = examples()
    whole, _ = fit_softmax(features, labels, 3, 1e-1)
    monkeypatch.setattr(softmax, "ROWS_PER_CHUNK", 64)
    torch.testing.assert_close(fit_softmax(features, labels, 3, 1e-1)[0], whole, rtol=1e-3, atol=1e-4)


def test_a_loss_that_is_not_finite_is_an_error():
    features, labels = examples(20)
    features[3, 4] = torch.nan
    with pytest.raises(SppdetError, match="not finite"):
        fit_softmax(features, labels, 3)
