"""The protocol with OpenCV's process, against a fake and, where SPPDET_OPENCV_PYTHON names one, the real one."""

import os
import sys

import numpy as np
import pytest
import torch
from benchmark.opencv_process import start_opencv

from sppdet.data.formats.voc import read_voc
from sppdet.errors import ConfigError
from sppdet.evaluation.recall import evaluate_proposals
from sppdet.images import read_image, to_array
from sppdet.proposals.selective_search import selective_search

pytestmark = pytest.mark.slow

HELLO = """import sys; print('{"opencv": "0.0", "bytes": 0}', flush=True); sys.stdin.buffer.readline()\n"""


@pytest.fixture
def image() -> np.ndarray:
    array = np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)
    array[0, 0] = (1, 2, 3)
    return array


def write_script(tmp_path, text):
    (tmp_path / "peer.py").write_text(text)
    return tmp_path / "peer.py"


def test_many_images_are_searched_in_one_process(image, fake_peer):
    with start_opencv(sys.executable, fake_peer) as opencv:
        assert opencv.version == "0.0"
        seconds, boxes = opencv.search(image, "fast", threads=2)
        assert seconds == 1000.0
        assert boxes.tolist() == [[0, 0, 60, 48], [3, 2, 8, 8]]  # from blue = 3, 2 threads, sides 5 and 6
        seconds, boxes = opencv.search(np.zeros((500, 400, 3), np.uint8), "quality", threads=1)
        assert seconds == 2000.0
        assert boxes.tolist() == [[0, 0, 400, 500], [0, 1, 5, 7]]


def test_the_process_ends_with_the_context(image, fake_peer):
    with start_opencv(sys.executable, fake_peer) as opencv:
        pass
    with pytest.raises((ConfigError, ValueError)):
        opencv.search(image, "fast", 1)
    assert opencv._process.returncode is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise SystemExit('out of order')", "out of order"),
        (HELLO + "raise ValueError('a word\\nmore words')", "more words"),
        (HELLO, "exit status 0"),
        ("print('hello')", "exit status"),
        (HELLO + "print('[]', flush=True)", "exit status"),
        (HELLO + """print('{"seconds": 1, "bytes": 4}', 'abcd', sep='\\n', flush=True)""", "exit status"),
    ],
    ids=["at the start", "crash", "silent end", "other words", "other JSON", "no boxes"],
)
def test_a_process_that_fails_is_an_error_of_the_interpreter_given(tmp_path, text, said):
    def search():
        with start_opencv(sys.executable, write_script(tmp_path, text)) as opencv:
            opencv.search(np.zeros((500, 500, 3), np.uint8), "fast", 1)  # more than a pipe holds

    with pytest.raises(ConfigError, match=rf"opencv_python.*opencv-contrib-python.*{said}"):
        search()


def test_an_interpreter_that_is_not_there_or_lacks_selective_search_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"opencv_python.*cannot be started"), start_opencv(str(tmp_path / "none")):
        pass
    (tmp_path / "cv2.py").write_text("__version__ = '4.9.9'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"4\.9\.9 here has no cv2\.ximgproc"), start_opencv(sys.executable):
        pass


@pytest.fixture
def opencv_python() -> str:
    """An interpreter that has OpenCV's selective search."""
    if not os.environ.get("SPPDET_OPENCV_PYTHON"):
        pytest.skip("SPPDET_OPENCV_PYTHON names no interpreter with opencv-contrib-python")
    return os.environ["SPPDET_OPENCV_PYTHON"]


def test_the_script_gives_opencvs_boxes(image, opencv_python):
    with start_opencv(opencv_python) as opencv:
        seconds, boxes = opencv.search(image, "fast", threads=1)
    assert seconds > 0
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (60, 48)).all()
    assert [0, 0, 60, 48] in boxes.tolist()


def test_our_boxes_cover_what_opencvs_cover(opencv_python, shared):
    """Both groupings of 20 images; the textures differ a little."""
    dataset = read_voc(shared / "voc", "val")
    images, opencvs, ours = dataset.images[:20], [], []
    with start_opencv(opencv_python) as opencv:
        for image in images:
            pixels = read_image(image.path)
            boxes = opencv.search(to_array(pixels), "fast", threads=1)[1]
            sides = boxes[:, 2:] - boxes[:, :2]
            opencvs.append(torch.from_numpy(boxes[(sides >= 20).all(axis=1)]).float())
            ours.append(selective_search(pixels, "opencv_fast", width=None, limit=None))
    theirs, found = (evaluate_proposals(boxes, images, dataset.classes) for boxes in (opencvs, ours))
    assert found.recall == pytest.approx(theirs.recall, abs=0.05)
    assert sum(map(len, ours)) == pytest.approx(sum(map(len, opencvs)), rel=0.03)
