import pytest
import torch

from sppdet.errors import InputError
from sppdet.heads.linear import Heads, mean_norm

WEIGHT = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, -1]])
BIAS = torch.tensor([0.5, 0.0, -0.5])
FEATURES = torch.tensor([[1.0, 2, 3], [0, 0, 0]])
OFFSETS = torch.arange(24.0).view(8, 3), torch.arange(8.0)  # of two classes
MARGINS = torch.tensor([[1.5, 4, -3.5], [0.5, 0, -0.5]])


@pytest.fixture
def softmax() -> Heads:
    return Heads.from_linear("softmax", (WEIGHT, BIAS), OFFSETS)


def test_svm_scores_are_margins_softmax_scores_leave_the_background_out_and_offsets_come_class_by_class(softmax):
    svm = Heads.from_linear("svm", (WEIGHT, BIAS))
    assert svm.scores(FEATURES).tolist() == MARGINS.tolist()
    assert svm.scores(FEATURES[:0]).shape == (0, 3)
    torch.testing.assert_close(softmax.scores(FEATURES), MARGINS.softmax(dim=1)[:, 1:])
    assert softmax.scores(FEATURES[:0]).shape == (0, 2)
    assert softmax.offsets(torch.tensor([[1.0, 0, 0]])).tolist() == [[[0, 4, 8, 12], [16, 20, 24, 28]]]
    assert softmax.offsets(FEATURES[:0]).shape == (0, 2, 4)


@pytest.mark.parametrize("kind", ["svm", "softmax"])
def test_all_outputs_come_from_one_product(kind):
    scores = (WEIGHT, BIAS) if kind == "softmax" else (WEIGHT[:2], BIAS[:2])
    heads = Heads.from_linear(kind, scores, OFFSETS)
    assert (heads.kind, heads.num_classes, heads.dimension, heads.box_regression) == (kind, 2, 3, True)
    outputs = heads(FEATURES)
    assert outputs.shape == (2, len(scores[0]) + 8)
    classes, offsets = heads.split(outputs)
    torch.testing.assert_close(heads.activate(classes), heads.scores(FEATURES))
    torch.testing.assert_close(offsets, heads.offsets(FEATURES))


def test_heads_without_box_regression_split_the_same_outputs(softmax):
    plain = softmax.without_box_regression()
    assert not plain.box_regression
    assert set(plain.state_dict()) == {"weight", "bias"}
    classes, offsets = plain.split(softmax(FEATURES))
    assert offsets is None
    torch.testing.assert_close(classes, plain(FEATURES))


def test_heads_are_restored_from_their_state(softmax):
    other = Heads("softmax", 2, 3)
    other.load_state_dict(softmax.state_dict())
    assert torch.equal(other(FEATURES), softmax(FEATURES))
    assert not any(weight.requires_grad for weight in other.parameters())


@pytest.mark.parametrize(
    "features",
    [torch.zeros(2, 4), torch.zeros(3), torch.zeros(2, 3).half(), torch.zeros(2, 3).double(), [[0.0, 0, 0]], None],
    ids=str,
)
def test_features_of_another_kind_are_refused(softmax, features):
    for score in (softmax, softmax.scores, softmax.offsets):
        with pytest.raises(InputError, match=r"features: .*expected float32 \(N, 3\)"):
            score(features)
        with pytest.raises(InputError, match=r"features: on another device .*expected cpu, got meta"):
            score(torch.zeros(2, 3, device="meta"))


@pytest.mark.parametrize(
    ("weight", "bias"), [(WEIGHT.double(), BIAS), (WEIGHT, BIAS[:2]), (WEIGHT[0], BIAS), (WEIGHT, BIAS.half())]
)
def test_heads_check_their_arrays(weight, bias):
    with pytest.raises(InputError):
        Heads.from_linear("svm", (weight, bias))
    with pytest.raises(InputError):
        Heads.from_linear("softmax", (WEIGHT, BIAS), (weight, bias))


def test_offsets_must_be_of_the_same_classes_and_features():
    for offsets in ((torch.zeros(12, 3), torch.zeros(12)), (torch.zeros(8, 4), torch.zeros(8))):
        with pytest.raises(InputError, match="weight"):
            Heads.from_linear("softmax", (WEIGHT, BIAS), offsets)


def test_mean_norm():
    assert mean_norm(torch.tensor([[3.0, 4], [0, 1]]).half()) == pytest.approx(3)
    assert mean_norm(torch.zeros(0, 4)) == 1
    features = torch.randn(5000, 7, generator=torch.Generator().manual_seed(0))  # several chunks
    assert mean_norm(features) == pytest.approx(float(features.double().norm(dim=1).mean()), rel=1e-4)
