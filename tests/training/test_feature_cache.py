from dataclasses import replace
from pathlib import Path

import pytest
import torch
from factories import image_file, pyramids_of, random_boxes
from PIL import Image
from torch import nn

from sppdet.backbones.fully_connected import FullyConnected
from sppdet.backbones.zoo import build_backbone
from sppdet.config.detector import CropConfig, SPPConfig
from sppdet.errors import ConfigError, ImageError, SppdetError
from sppdet.features.crop import CropExtractor
from sppdet.features.spp import SPPExtractor
from sppdet.structures import Annotations
from sppdet.training.feature_cache import FeatureCache
from sppdet.training.sampling import ImageRegions

SPP, CROP = SPPConfig((48, 64)), CropConfig(size=67, context=5, batch_size=16)


@pytest.fixture
def regions(tmp_path) -> list[ImageRegions]:
    """Three images of an object and four proposals each."""
    made = []
    for i in range(3):
        path, boxes = image_file(tmp_path / f"{i}.png", 60, 80, i), random_boxes(5, i)
        made.append(ImageRegions.from_annotations(Annotations(path, boxes[:1], torch.tensor([1])), boxes[1:]))
    return made


def extractor_of(kind: str, backbone: nn.Module, mode: str = "max", layers: FullyConnected | None = None):
    make, config = {"spp": (SPPExtractor, SPP), "crop": (CropExtractor, CROP)}[kind]
    return make(backbone, pyramids_of(backbone, (2, 1), mode), config, layers=layers)


def files(cache: Path) -> list[Path]:
    return sorted((cache / "features").rglob("*.safetensors"))


@pytest.mark.parametrize("kind", ["spp", "crop"])
@pytest.mark.parametrize("mode", ["max", "average"])
def test_cold_warm_and_uncached_are_the_same(backbone, calls, regions, kind, mode):
    extractor, passes = extractor_of(kind, backbone, mode), 2 if kind == "spp" else 1
    filled = FeatureCache(extractor, regions, limit_gb=1)
    first = filled.features(1)  # computed where it was not filled
    assert len(calls) == passes
    for _ in range(2):
        filled.fill()
        assert len(calls) == 3 * passes
    assert torch.equal(filled.features(1), first)
    assert len(calls) == 3 * passes
    warm = FeatureCache(extractor_of(kind, build_backbone("shapenet", "random"), mode), regions, limit_gb=1)
    for i in range(3):
        direct = extractor.encode(regions[i].annotations.read()).features(regions[i].boxes)
        assert torch.equal(filled.features(i), direct)
        assert torch.equal(warm.features(i), direct)
        chosen = torch.tensor([3, 0])
        assert torch.equal(warm.features(i, chosen), direct[chosen])
        assert warm.features(i, chosen[:0]).shape == (0, warm.dimension)


@pytest.mark.parametrize("kind", ["spp", "crop"])
def test_networks_that_share_their_weights_share_no_files(backbone, cache, regions, kind, monkeypatch):
    for name in ("vgg16", "vgg16_caffe"):
        monkeypatch.setattr(backbone, "name", name)
        FeatureCache(extractor_of(kind, backbone), regions, limit_gb=1).fill()
    assert len(files(cache)) == 2 * len(regions)


@pytest.mark.parametrize("kind", ["spp", "crop"])
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "swapped"])
def test_a_damaged_file_is_computed_again(backbone, cache, regions, kind, damage):
    features = FeatureCache(extractor_of(kind, backbone), regions, limit_gb=1)
    features.fill()
    before = [features.features(i).clone() for i in range(3)]
    contents = [file.read_bytes() for file in files(cache)]
    for file, data, other in zip(files(cache), contents, contents[1:] + contents[:1], strict=True):
        flipped = data[:-50] + bytes([data[-50] ^ 4]) + data[-49:]
        file.write_bytes({"cut": data[:-50], "empty": b"", "flipped": flipped, "swapped": other}[damage])
    for i in range(3):
        assert torch.equal(features.features(i), before[i])


def test_an_interrupted_fill_goes_on(backbone, calls, cache, regions):
    features = FeatureCache(extractor_of("crop", backbone), regions, limit_gb=1)
    features.fill()
    files(cache)[1].unlink()
    calls.clear()
    features.fill()
    assert len(calls) == 1
    assert len(files(cache)) == 3


@pytest.mark.parametrize("kind", ["spp", "crop"])
def test_more_disk_than_the_limit_is_an_error(backbone, cache, regions, kind):
    with pytest.raises(ConfigError, match=r"cache_gb: the feature cache would not fit \(expected at least .* GB"):
        FeatureCache(extractor_of(kind, backbone), regions, limit_gb=1e-9).fill()
    assert len(files(cache)) == 1


def test_the_limit_is_of_all_images(backbone, cache, regions):
    extractor = extractor_of("crop", backbone)
    FeatureCache(extractor, regions[:1], limit_gb=1).fill()
    size = files(cache)[0].stat().st_size / 1e9
    FeatureCache(extractor, regions[1:], limit_gb=size * 2.1).fill()
    for file in files(cache):
        file.unlink()
    with pytest.raises(ConfigError, match="cache_gb"):
        FeatureCache(extractor, regions, limit_gb=size * 2.1).fill()


def test_everything_that_shapes_the_maps_is_in_the_key(backbone, cache, regions):
    other = build_backbone("shapenet", "random")
    with torch.no_grad():
        next(iter(other.parameters())).add_(1e-3)
    pyramid = pyramids_of(backbone, (2, 1))
    extractors = [
        SPPExtractor(backbone, pyramid, SPP),
        SPPExtractor(backbone, pyramid, SPPConfig((48,))),
        SPPExtractor(build_backbone("shapenet", "random", precision="bf16"), pyramid, SPP),
        SPPExtractor(other, pyramid, SPP),
        CropExtractor(backbone, pyramid, CROP),
        CropExtractor(backbone, pyramid, replace(CROP, context=4)),
        CropExtractor(backbone, pyramids_of(backbone, (2,)), CROP),
    ]
    for number, extractor in enumerate(extractors, 1):
        FeatureCache(extractor, regions[:1], limit_gb=1).fill()
        assert len(files(cache)) == number


@pytest.mark.parametrize("kind", ["spp", "crop"])
def test_rows_of_crops_come_out_of_the_layers_and_maps_serve_all_of_them(backbone, calls, cache, regions, kind):
    torch.manual_seed(0)
    layers = FullyConnected([[nn.Linear(5 * backbone.channels[0], 12)]])
    for number, end in enumerate((None, layers, layers.truncated([3])), 1):
        extractor = extractor_of(kind, backbone, layers=end)
        features = FeatureCache(extractor, regions, limit_gb=1)
        features.fill()
        assert len(files(cache)) == (3 * number if kind == "crop" else 3)
        direct = extractor.encode(regions[1].annotations.read()).features(regions[1].boxes)
        calls.clear()
        assert torch.equal(features.features(1), direct)
        assert features.features(1).shape == (5, features.dimension)
        assert calls == []
    assert features.dimension == 12


def test_maps_serve_every_pyramid_and_all_proposals_crops_only_theirs(backbone, cache, regions):
    fewer = [ImageRegions.from_annotations(r.annotations, r.boxes[r.num_objects : -1]) for r in regions]
    for parts in (regions, fewer):
        FeatureCache(extractor_of("spp", backbone), parts, limit_gb=1).fill()
    FeatureCache(SPPExtractor(backbone, pyramids_of(backbone, (5,)), SPP), regions, limit_gb=1).fill()
    assert len(files(cache)) == 3
    for parts in (regions, fewer):
        FeatureCache(extractor_of("crop", backbone), parts, limit_gb=1).fill()
    assert len(files(cache)) == 9


@pytest.mark.parametrize("kind", ["spp", "crop"])
def test_images_in_memory_have_the_features_of_their_files(backbone, calls, regions, kind):
    in_memory = [replace(r, annotations=replace(r.annotations, image=r.annotations.read())) for r in regions]
    files, pixels = (FeatureCache(extractor_of(kind, backbone), parts, limit_gb=1) for parts in (regions, in_memory))
    pixels.fill()
    assert all(torch.equal(files.features(i), pixels.features(i)) for i in range(3))
    calls.clear()
    FeatureCache(extractor_of(kind, backbone), in_memory, limit_gb=1).fill()
    assert calls == []


def test_another_image_under_the_same_name_is_another_key_and_a_missing_one_is_named(backbone, regions):
    before = FeatureCache(extractor_of("spp", backbone), regions, limit_gb=1).features(0)
    Image.new("RGB", (80, 60), (200, 30, 90)).save(regions[0].annotations.path)
    features = FeatureCache(extractor_of("spp", backbone), regions, limit_gb=1)
    assert not torch.equal(features.features(0), before)
    regions[1].annotations.path.unlink()
    with pytest.raises(ImageError, match=r"1\.png"):
        features.fill()


def test_features_that_are_not_finite_are_refused_when_they_are_computed(regions, tmp_path):
    backbone = build_backbone("squeezenet1_1", "random")
    extractor = SPPExtractor(backbone, pyramids_of(backbone, (1,)), SPP)
    with torch.no_grad():
        next(extractor.backbone.parameters())[0] = float("nan")
    cache = FeatureCache(extractor, regions, limit_gb=1, folder=tmp_path / "features")
    with pytest.raises(SppdetError, match=r"image 0: features are not finite .*fp32 or bf16"):
        cache.fill()
