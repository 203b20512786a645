"""The layer in ONNX, run by onnxruntime: every size by one exported graph."""

from pathlib import Path

import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from factories import adaptive_bins, random_maps
from torch import Tensor, nn
from torch.export import Dim

from sppdet.errors import InputError
from sppdet.pooling.export import gather_level
from sppdet.pooling.pyramid import SpatialPyramidPooling

LEVELS = (1, 2, 3, 4, 5, 6, 7)
ADAPTIVE = {"max": F.adaptive_max_pool2d, "average": F.adaptive_avg_pool2d}
TOLERANCE = {"max": 0, "average": 1e-5}
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning"
)  # of the exporters themselves


def export(layer: nn.Module, maps: Tensor, path: Path, dynamo: bool = True) -> onnxruntime.InferenceSession:
    """The layer with the batch, height and width left free, by torch's exporter or the older one."""
    if dynamo:
        free = {"dynamic_shapes": ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)}
    else:
        free = {"dynamic_axes": {"maps": {0: "batch", 2: "height", 3: "width"}}, "input_names": ["maps"]}
    torch.onnx.export(layer.eval(), (maps,), path, dynamo=dynamo, verbose=False, **free)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def run(session: onnxruntime.InferenceSession, maps: Tensor) -> Tensor:
    (found,) = session.run(None, {session.get_inputs()[0].name: maps.numpy()})
    return torch.from_numpy(found)


@pytest.mark.parametrize("dynamo", [pytest.param(True, marks=pytest.mark.slow), False], ids=["dynamo", "older"])
@pytest.mark.parametrize("mode", ADAPTIVE)
def test_one_graph_pools_maps_of_every_size(mode, dynamo, tmp_path):
    pool = SpatialPyramidPooling(LEVELS, mode)
    session = export(pool, torch.zeros(2, 3, 13, 17), tmp_path / "pool.onnx", dynamo)
    if dynamo:  # the older one leaves the length unsaid
        assert session.get_outputs()[0].shape[1] == pool.out_features(3)
    for side in range(1, 41):  # each side's bins depend on its own length only
        for height, width in ((side, 1 + 7 * side % 40), (1 + 11 * side % 40, side), (side, side)):
            maps = random_maps(1 + (height + width) % 2, 3, height, width, seed=41 * height + width)
            expected = adaptive_bins(maps, LEVELS, mode)
            torch.testing.assert_close(run(session, maps), expected, rtol=0, atol=TOLERANCE[mode])


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
def test_a_traced_layer_pools_maps_of_every_size():
    pool = SpatialPyramidPooling(LEVELS)
    traced = torch.jit.trace(pool, torch.zeros(2, 3, 13, 17))
    for size in ((13, 17), (1, 1), (6, 40), (31, 2)):
        maps = random_maps(1, 3, *size)
        assert torch.equal(traced(maps), pool(maps))
    with pytest.raises(InputError, match="exported network are pooled whole"):
        torch.jit.trace(pool, (maps, torch.tensor([[0, 0, 1, 1]])))


@pytest.mark.slow
def test_a_classifier_of_images_of_any_size(tmp_path):
    torch.manual_seed(0)
    pool = SpatialPyramidPooling((4, 2, 1))
    layers = nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU(), pool, nn.Linear(pool.out_features(8), 5)
    classifier = nn.Sequential(*layers)
    session = export(classifier, torch.zeros(2, 3, 64, 64), tmp_path / "classifier.onnx")
    for size in ((64, 64), (97, 31), (5, 200)):
        images = torch.rand(3, 3, *size)
        torch.testing.assert_close(run(session, images), classifier(images).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("mode", ADAPTIVE)
def test_gathered_bins_are_those_of_adaptive_pooling(mode, dtype):
    for height, width in ((1, 1), (2, 7), (13, 13), (14, 5), (40, 31)):
        maps = random_maps(2, 3, height, width, seed=height).to(dtype)
        for n in LEVELS:
            found = gather_level(maps, n, mode)
            assert found.dtype == dtype
            expected = ADAPTIVE[mode](maps.double(), n)
            tolerance = TOLERANCE[mode] and max(1e-6, 4 * torch.finfo(dtype).eps)
            torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)


def test_infinities_and_nan_survive():
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 0, 0], maps[0, 0, 3, 3] = -torch.inf, torch.nan
    torch.testing.assert_close(gather_level(maps, 4, "max"), maps, equal_nan=True)
