from collections import Counter
from dataclasses import replace

import pytest
import torch
from factories import watch

from sppdet.classification.classifier import new_classifier
from sppdet.classification.training import Epochs, size_of_epoch
from sppdet.classification.views import resize_to_view
from sppdet.data.image_folder import read_image_folder
from sppdet.errors import ImageError
from sppdet.images import read_image


@pytest.fixture
def epochs(colors, config) -> Epochs:
    return Epochs(read_image_folder(colors), config)


def test_sizes_alternate_or_are_drawn_from_their_range():
    assert [size_of_epoch((224, 180), epoch, "alternate", 0) for epoch in range(5)] == [224, 180, 224, 180, 224]
    drawn = [size_of_epoch((224, 180), epoch, "random", 0) for epoch in range(300)]
    assert (min(drawn), max(drawn)) == (180, 224)
    assert len(set(drawn)) > 40
    assert drawn == [size_of_epoch((224, 180), epoch, "random", 0) for epoch in range(300)]
    assert drawn != [size_of_epoch((224, 180), epoch, "random", 1) for epoch in range(300)]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(epochs):
    orders = []
    for epoch in range(3):
        batches = epochs.plan(epoch)
        assert [len(batch) for batch in batches] == [5, 5, 5, 3]
        assert len(batches) == epochs.steps
        order = [sample.index for batch in batches for sample in batch]
        assert sorted(order) == list(range(18))
        assert {sample.size for batch in batches for sample in batch} == {(32, 40, 32)[epoch]}
        assert batches == epochs.plan(epoch)
        orders.append(tuple(order))
    assert len(set(orders)) == 3


def test_half_of_the_images_are_mirrored_where_asked_for(epochs, colors, config):
    def mirrored(each: Epochs) -> Counter[bool]:
        return Counter(s.mirrored for epoch in range(30) for batch in each.plan(epoch) for s in batch)

    assert 230 < mirrored(epochs)[True] < 310  # of 540
    assert mirrored(Epochs(read_image_folder(colors), replace(config, flip=False)))[True] == 0


@pytest.mark.parametrize("view", ["full", "crop", "warp"])
def test_pixels_are_those_of_the_plan(epochs, colors, config, view):
    epochs = Epochs(read_image_folder(colors), replace(config, view=view))
    seen = list(epochs.pixels(1))
    assert len(seen) == 4
    for (pixels, labels), batch in zip(seen, epochs.plan(1), strict=True):
        assert labels.tolist() == [sample.index // 6 for sample in batch]
        for image, sample in zip(pixels, batch, strict=True):
            file = colors / epochs.images.classes[sample.index // 6] / f"{sample.index % 6}.png"
            expected = resize_to_view(read_image(file), 40, view, sample.crop_position)
            assert torch.equal(image, expected.flip(2) if sample.mirrored else expected)
    places = {sample.crop_position for batch in epochs.plan(1) for sample in batch}
    assert (len(places) == 18) == (view == "crop")


def test_an_image_that_cannot_be_read_is_an_error(epochs):
    epochs.images.files[7].write_bytes(b"text")
    with pytest.raises(ImageError, match=r"green.1\.png"):
        list(epochs.pixels(0))


def test_what_a_frozen_network_pools_is_computed_once(epochs, config, monkeypatch):
    classifier = new_classifier(config, epochs.images.classes)
    passes = watch(monkeypatch, classifier.backbone, "forward")
    for epoch in range(20):
        for (rows, labels), batch in zip(epochs.pooled(epoch, classifier), epochs.plan(epoch), strict=True):
            assert labels.tolist() == [sample.index // 6 for sample in batch]
            assert rows.dtype == torch.float32
            if epoch < 2:
                expected = classifier.pool([epochs.read(sample) for sample in batch])
                torch.testing.assert_close(rows, expected, rtol=1e-3, atol=1e-3)
        if epoch == 1:
            passes.clear()
    passed = sum(len(images) for (images,) in passes)
    assert 0 < passed <= 2 * 2 * 18 - 2 * 18  # two sizes, mirrored or not, less those of the first two epochs


def test_memory_is_foreseen(epochs, colors, config):
    assert epochs.pooled_bytes(100) == 2 * 100 * 18 * 2 * 2  # half precision, images, sizes, mirrored or not
    single = Epochs(read_image_folder(colors), replace(config, flip=False, sizes=(32,)))
    assert single.pooled_bytes(100) == 2 * 100 * 18
    drawn = Epochs(read_image_folder(colors), replace(config, flip=False, sizes=(32, 4000), size_order="random"))
    assert drawn.pooled_bytes(100) == 2 * 100 * 18 * 4  # one an epoch
