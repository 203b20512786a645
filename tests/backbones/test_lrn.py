"""Normalization against loops over its definition."""

import numpy as np
import pytest
import torch
from caffe_files import Layer, normalize
from factories import random_maps

from sppdet.backbones.lrn import AcrossChannelsNorm, WithinChannelNorm

LAYERS = {
    "across": (AcrossChannelsNorm(5, 1e-4, 0.75), {"local_size": 5, "alpha": 1e-4, "beta": 0.75}),
    "across 3": (AcrossChannelsNorm(3, 0.01, 0.5), {"local_size": 3, "alpha": 0.01, "beta": 0.5}),
    "within": (WithinChannelNorm(3, 5e-5, 0.75), {"local_size": 3, "alpha": 5e-5, "beta": 0.75, "norm_region": 1}),
    "within 5": (WithinChannelNorm(5, 0.01, 0.5), {"local_size": 5, "alpha": 0.01, "beta": 0.5, "norm_region": 1}),
}


def maps(scale: float) -> torch.Tensor:
    return random_maps(2, 7, 6, 5) * scale


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equal_to_the_definition(name, memory_format):
    layer, options = LAYERS[name]
    given = maps(300)
    expected = np.stack([normalize(Layer("norm", "LRN", options), one.double().numpy()) for one in given])
    assert np.abs(expected - given.numpy()).max() > 10, "there is something to normalize"
    found = layer(given.to(memory_format=memory_format))
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_beyond_half_precision(name, dtype):
    layer, _ = LAYERS[name]
    given = maps(3000).to(dtype)
    assert given.dtype == dtype
    found = layer(given)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), layer(given.float()), rtol=0.01, atol=0.1)
    assert found.abs().max() > 10


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradient_is_the_definitions(name):
    layer, options = LAYERS[name]
    start, weights, step = (random_maps(7, 6, 5, seed=k) for k in range(3))
    start = (300 * start).requires_grad_()
    (gradient,) = torch.autograd.grad((weights * layer(start[None])[0]).sum(), start)
    definition = Layer("norm", "LRN", options)
    ends = (start.detach().double() + side * 1e-3 * step.double() for side in (1, -1))
    after, before = ((weights.numpy() * normalize(definition, end.numpy())).sum() for end in ends)
    assert abs(after - before) > 1e-4
    assert float((gradient * step).sum()) == pytest.approx((after - before) / 2e-3, rel=1e-4)
