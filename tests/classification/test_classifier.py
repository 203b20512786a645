import pytest
import torch
from factories import adaptive_bins, random_image
from PIL import Image
from torch import nn

from sppdet.classification.classifier import Classifier, new_classifier
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import BackboneConfig, FCConfig
from sppdet.errors import ConfigError, InputError, WeightsError
from sppdet.files.atomic import save_tensors


def by_hand(classifier: Classifier, image: torch.Tensor) -> torch.Tensor:
    """Scores (K,) of one image by torch's own operators, in the order in which a student would write them."""
    backbone, head = classifier.backbone, classifier.head
    pixels = (image / 255 - backbone.mean[:, None, None]) / backbone.std[:, None, None]
    pooled = adaptive_bins(backbone.layers(pixels[None]), (3, 1))[0]
    hidden = head.layers[0][0](pooled).relu()
    return hidden @ head.last.weight.T * head.scale + head.last.bias


@pytest.mark.parametrize(("height", "width"), [(32, 32), (20, 47), (61, 33)])
def test_an_image_of_any_size_is_classified(classifier, height, width):
    image = random_image(height, width)
    classifier.head.scale.fill_(0.3)
    torch.testing.assert_close(classifier([image])[0], by_hand(classifier, image), rtol=1e-4, atol=1e-4)


def test_images_of_different_sizes_are_classified_as_each_alone(classifier):
    images = [random_image(32, 40), random_image(25, 61, 1), random_image(32, 40, 2)]
    each = torch.cat([classifier(image[None]) for image in images])
    assert each.shape == (3, 3)
    torch.testing.assert_close(classifier(images), each)
    torch.testing.assert_close(classifier([images[0], images[2]]), each[[0, 2]])  # of one size: a batch
    torch.testing.assert_close(classifier(torch.stack([images[0], images[2]])), each[[0, 2]])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_saved_classifier_comes_back(tmp_path, depth):
    config = ClassifierConfig(BackboneConfig("shapenet", "random"), fc=FCConfig(depth, 12), sizes=(48, 32))
    classifier = new_classifier(config, ("a", "b"))
    classifier.head.scale.fill_(0.25)
    classifier.save(tmp_path / "classifier.safetensors")
    for path in (tmp_path, tmp_path / "classifier.safetensors"):
        loaded = Classifier.load(path)
        assert (loaded.config, loaded.classes) == (config, ("a", "b"))
        assert torch.equal(loaded([random_image(40, 50)]), classifier([random_image(40, 50)]))
        assert not loaded.training
        assert not any(weight.requires_grad for weight in loaded.parameters())


def test_what_is_no_classifier_is_an_error(classifier, tmp_path):
    with pytest.raises(WeightsError, match=r"is not a run \(expected .*classifier\.safetensors"):
        Classifier.load(tmp_path)
    file = tmp_path / "classifier.safetensors"
    classifier.save(file)
    content = file.read_bytes()
    file.write_bytes(content[:-10])
    with pytest.raises(WeightsError, match=r"classifier\.safetensors"):
        Classifier.load(tmp_path)
    save_tensors(file, classifier.backbone.state_dict(), {"kind": "backbone"})
    with pytest.raises(WeightsError, match="is not a classifier"):
        Classifier.load(tmp_path)
    kept = {name: value for name, value in classifier.state_dict().items() if name != "head.last.bias"}
    save_tensors(
        file, kept, {"kind": "classifier", "config": {"backbone": {"name": "shapenet"}}, "classes": ["a", "b", "c"]}
    )
    with pytest.raises(WeightsError, match=r"(?s)is not a classifier.*head\.last\.bias"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(("blocks", "count"), [(0, 0), (2, 2), (5, 5)])
def test_the_last_blocks_are_unfrozen_but_not_their_batch_normalization(classifier, blocks, count):
    classifier.unfreeze(blocks)
    convolutions = [m for m in classifier.backbone.modules() if isinstance(m, nn.Conv2d)]
    unfrozen = {id(m.weight) for m in convolutions[len(convolutions) - count :]}
    for weight in classifier.backbone.parameters():
        assert weight.requires_grad == (id(weight) in unfrozen)
    assert all(weight.requires_grad for weight in classifier.head.parameters())
    classifier.train()
    assert classifier.head.training
    assert not any(m.training for m in classifier.backbone.modules())


def test_the_whole_network_is_unfrozen_with_its_batch_normalization(classifier):
    classifier.unfreeze(None)
    assert all(weight.requires_grad for weight in classifier.parameters())
    classifier.train()
    assert all(m.training for m in classifier.modules())
    classifier.eval()
    assert not any(m.training for m in classifier.modules())
    with pytest.raises(ConfigError, match=r"blocks: out of range .expected 0 to 5, got 6"):
        classifier.unfreeze(6)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "vgg16"])
def test_an_image_too_small_for_the_network_is_an_error(name):
    classifier = new_classifier(ClassifierConfig(BackboneConfig(name, "random")), ("a", "b"))
    assert classifier([random_image(64, 64)]).shape == (1, 2)
    with pytest.raises(InputError, match=rf"too small for {name} .got 3 x 64 pixels"):
        classifier([random_image(3, 64)])


@pytest.mark.parametrize("images", [torch.zeros(1, 3, 40, 40), torch.zeros(1, 1, 40, 40, dtype=torch.uint8)])
def test_other_tensors_are_errors(classifier, images):
    with pytest.raises(InputError, match=r"images: wrong type or shape .expected uint8 \(B, 3, H, W\)"):
        classifier(images)


def test_dropout_is_of_training_only(classifier):
    pooled = torch.rand(4, classifier.pyramids.dimension)
    classifier.head.dropout = 0.5
    assert torch.equal(classifier.head(pooled), classifier.head(pooled))
    classifier.head.train()
    assert not torch.equal(classifier.head(pooled), classifier.head(pooled))


def test_half_precision_is_of_the_convolutions_only(classifier, tmp_path):
    classifier.save(tmp_path / "classifier.safetensors")
    image = random_image(40, 40)
    exact, rounded = classifier([image]), Classifier.load(tmp_path, precision="bf16")([image])
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0.1, atol=0.1)


def test_images_of_any_kind_are_taken(classifier):
    images = [random_image(50, 40), random_image(30, 44)]
    arrays = [image.permute(1, 2, 0).numpy() for image in images]
    expected = classifier(images)
    assert torch.equal(classifier(arrays), expected)
    assert torch.equal(classifier([Image.fromarray(array) for array in arrays]), expected)
    with pytest.raises(InputError, match="images: none given"):
        classifier([])
