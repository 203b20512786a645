import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import proposal_file, stopping, watch
from PIL import Image

from sppdet.config.data import ProposalConfig
from sppdet.errors import ConfigError, ImageError
from sppdet.files.durable import cache_folder
from sppdet.proposals import cache as store
from sppdet.proposals.cache import count_missing, propose, propose_image
from sppdet.structures import Annotations

CONFIG = ProposalConfig(width=120, min_side=5)


def annotate(path: Path) -> Annotations:
    return Annotations(path, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


@pytest.fixture
def images(tmp_path) -> list[Annotations]:
    """Four JPEG files; the last has the content of the first."""
    for i in range(3):
        blocks = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((160, 120), Image.Resampling.NEAREST).save(tmp_path / f"{i}.jpg")
    (tmp_path / "3.jpg").write_bytes((tmp_path / "0.jpg").read_bytes())
    return [annotate(tmp_path / f"{i}.jpg") for i in range(4)]


@pytest.fixture
def searched(monkeypatch) -> list[tuple]:
    """The searches, of which the only argument is the cache file and the image file."""
    return watch(monkeypatch, store, "_search_image")


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_cache_change_nothing(images, workers, caplog):
    caplog.set_level(logging.INFO, "sppdet")
    expected = [propose_image(image.read(), CONFIG) for image in images]
    assert min(len(boxes) for boxes in expected) > 20
    assert same(propose(images, CONFIG, workers), expected)
    assert [text for text in caplog.messages if text.startswith("proposals: ")]
    caplog.clear()
    assert same(propose(images, CONFIG, workers), expected)
    assert not caplog.messages


def test_images_in_memory_are_cached_by_their_pixels(images, searched):
    pixels = [replace(image, image=image.read()) for image in images]
    expected = [propose_image(image.read(), CONFIG) for image in images]
    assert count_missing(pixels, CONFIG) == 4
    assert same(propose(pixels, CONFIG, 0), expected)
    assert same(propose(pixels, CONFIG, 2), expected)
    assert len(searched) == 3
    assert count_missing(pixels, CONFIG) == 0


def test_another_limit_needs_no_search_but_other_parameters_do(images, searched):
    everything = propose(images[:1], CONFIG, 0)[0]
    few = propose(images[:1], replace(CONFIG, limit=7), 0)[0]
    assert torch.equal(few, everything[:7])
    assert len(searched) == 1
    for change in ({"width": 100}, {"min_side": 20}, {"mode": "opencv_fast"}, {"width": None}):
        other = replace(CONFIG, **change)
        assert torch.equal(propose(images[:1], other, 0)[0], propose_image(images[0].read(), other))
    assert len(searched) == 5


@pytest.mark.parametrize("damage", ["", "cut", "flipped", "swapped"])
def test_damaged_cache_file_is_made_again(images, cache, damage):
    propose(images[1:2], CONFIG, 0)
    (other,) = cache.glob("proposals/*/*.safetensors")
    expected = propose(images[:1], CONFIG, 0)
    (file,) = set(cache.glob("proposals/*/*.safetensors")) - {other}
    content = file.read_bytes()
    flipped = content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
    file.write_bytes({"": b"", "cut": content[:-10], "flipped": flipped, "swapped": other.read_bytes()}[damage])
    assert same(propose(images[:1], CONFIG, 0), expected)
    assert file.read_bytes() == content


def test_interrupted_run_goes_on_where_it_stopped_and_equal_files_are_searched_once(images, searched):
    with pytest.raises(KeyboardInterrupt), stopping(store, "_search_image", after=1):
        propose(images, CONFIG, 0)
    for _ in range(2):
        propose(images, CONFIG, 0)
        assert [path.name for ((_, path),) in searched] == ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize("workers", [0, 2])
def test_truncated_image_is_named_and_the_others_are_kept(images, cache, workers):
    images[1].path.write_bytes(images[1].path.read_bytes()[:600])
    with pytest.raises(ImageError, match=r"1\.jpg: cannot be decoded") as caught:
        propose(images[:2], CONFIG, workers)
    assert caught.value.file == images[1].path
    assert len(list(cache.glob("proposals/*/*.safetensors"))) == 1
    images[1].path.unlink()
    with pytest.raises(ImageError, match=r"1\.jpg: image file not found"):
        propose(images[:2], CONFIG, workers)


def test_an_error_keeps_what_runs_and_begins_nothing_more(images, cache, monkeypatch):
    """The first image fails while the second is searched; the others, once begun, wait for the pool's end."""
    begun, ending = [], threading.Event()
    search = store._search_image

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            ending.set()
            super().shutdown(wait=wait)

    def fail_at_first(place, config):
        path = place[1]
        begun.append(path.name)
        if path.name == "0.jpg":
            raise ImageError("cannot be decoded", file=path)
        assert ending.wait(60)
        search(place, config)

    more = [annotate(images[0].path.parent / f"{i}.jpg") for i in range(4, 10)]
    for each in more:
        each.path.write_bytes(images[0].path.read_bytes() + each.path.name.encode())  # bytes after the end are ignored
    monkeypatch.setattr(store, "_search_image", fail_at_first)
    monkeypatch.setattr("sppdet.runtime.prefetch.ThreadPoolExecutor", Pool)
    with pytest.raises(ImageError, match=r"0\.jpg"):
        propose([*images[:2], *more], CONFIG, 2)
    assert len(begun) <= 3  # the thread of the image that failed may have taken one more
    assert len(list(cache.glob("proposals/*/*.safetensors"))) == len(begun) - 1


def test_boxes_of_another_program_are_read_and_capped(images, tmp_path, searched):
    boxes = [torch.tensor([[0.0, 0, i + 1, 9], [1, 1, 5, 5], [2, 2, 3, 3]]) for i in range(4)]
    file = proposal_file(tmp_path / "p.npz", [image.id for image in images], boxes)
    config = ProposalConfig(file=str(file), limit=2)
    assert same(propose(images[::-1], config), [each[:2] for each in boxes[::-1]])
    assert searched == []
    with pytest.raises(ConfigError, match=r"proposals\.file"):
        propose_image(images[0].read(), config)


def test_refuses_parameters_out_of_range(images):
    with pytest.raises(ConfigError, match="workers"):
        propose(images, CONFIG, -1)
    with pytest.raises(ConfigError, match="limit"):
        propose(images, replace(CONFIG, limit=0), 0)
    assert list(propose([], CONFIG, 2)) == []


def test_boxes_are_read_when_they_are_asked_for_and_searched_again_if_their_file_is_lost(images, searched):
    boxes = propose(images, CONFIG, 0)
    expected = list(boxes)
    assert boxes[0] is not boxes[0]  # memory does not hold those of all images
    count = len(searched)
    for file in (cache_folder() / "proposals").rglob("*.safetensors"):
        file.unlink()
    assert same(boxes, expected)
    assert len(searched) == count + len({image.cache_key() for image in images})
