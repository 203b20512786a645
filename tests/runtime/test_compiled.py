"""Compiled functions work where nothing can be written, with a damaged cache, in threads and in other processes."""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
import torch
from contracts import assert_same
from factories import random_detector, random_image
from spawned_works import DetectedImages
from torch.utils.data import DataLoader

import sppdet
from sppdet.errors import ConfigError
from sppdet.runtime import compiled as module
from sppdet.runtime.machine import find_device

CODE = """
import torch
from sppdet.boxes import nms
from sppdet.heads import svm
from sppdet.pooling import kernels
from sppdet.proposals import selective_search
boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]])
print(nms(boxes, torch.tensor([1.0, 2, 3]), torch.zeros(3, dtype=torch.int64), 0.5, 10).tolist())
"""


@pytest.fixture
def package(tmp_path) -> Path:
    """A copy of the package in whose folders numba cannot make its own, not even as root."""
    folder = tmp_path / "site"
    shutil.copytree(Path(sppdet.__file__).parent, folder / "sppdet", ignore=shutil.ignore_patterns("__pycache__"))
    for inside in [path for path in (folder / "sppdet").rglob("*") if path.is_dir()] + [folder / "sppdet"]:
        (inside / "__pycache__").write_text("a file")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("cache", [False, True])
def test_kernels_are_compiled(package, tmp_path, cache):
    given = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_CACHE", "XDG", "SPPDET"))}
    given |= {"NUMBA_CACHE_DIR": f"{os.devnull}/none"}
    given |= {"PYTHONPATH": str(package), "HOME": os.devnull} | ({"SPPDET_CACHE": str(tmp_path / "c")} if cache else {})
    command = [sys.executable, "-c", CODE]
    ended = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
    assert ended.stdout == "[2, 1]\n", ended.stderr
    if cache:
        assert ended.stderr == ""
        assert list(tmp_path.glob("c/numba/**/*.nbc"))
    else:
        (line,) = ended.stderr.splitlines()
        assert "NUMBA_CACHE_DIR" in line


FORKS = """
import os, sys
from threading import Thread
import torch
from factories import random_detector, random_image
detector, image = random_detector(), random_image(90, 120)
torch.set_num_threads(2)

class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, _):
        return detector.detect(image).scores

expected = detector.detect(image).scores
found = []
def work():
    for _ in range(20):
        found.append(detector.detect(image).scores)
threads = [Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
child = os.fork()
if not child:
    os._exit(40 + detector.detect(image).scores.equal(expected))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
found += torch.utils.data.DataLoader(Images(), batch_size=None, num_workers=1, multiprocessing_context="fork")
print(len(found), all(scores.equal(expected) for scores in found))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks")
def test_detectors_work_in_threads_and_forked_processes():
    given = os.environ | {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    given["PYTHONPATH"] = os.pathsep.join([str(Path(sppdet.__file__).parent.parent), str(Path(__file__).parent.parent)])
    command = [sys.executable, "-W", "ignore", "-c", FORKS]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout == "41\n42 True\n", ended.stderr


def test_a_detector_is_what_is_unpickled():
    detector, image = random_detector(), random_image(90, 120)
    assert_same(pickle.loads(pickle.dumps(detector)).detect(image), detector.detect(image))


@pytest.mark.slow
def test_detectors_work_in_spawned_processes():
    detector, images = random_detector(), [random_image(90, 120, seed) for seed in range(3)]
    expected = [detector.detect(image) for image in images]
    work = DetectedImages(detector, images)
    found = list(DataLoader(work, batch_size=None, num_workers=1, multiprocessing_context="spawn", timeout=120))
    assert {process for process, _ in found}.isdisjoint({os.getpid()})
    for (_, one), other in zip(found, expected, strict=True):
        assert_same(one, other)
    assert_same(detector.detect(images[0]), expected[0])  # its tensors are shared with the other process by now


def test_cuda_is_refused_in_a_process_forked_from_one_that_used_it(monkeypatch, backbone):
    image = random_image(20, 20)[None]
    monkeypatch.setattr("sppdet.runtime.forks._state", {"forked": True, "cuda": True})
    backbone.normalize(image)
    monkeypatch.setattr(type(backbone), "device", torch.device("cuda"))
    for use in (lambda: backbone.normalize(image), lambda: find_device("cuda")):
        with pytest.raises(ConfigError, match=r"forked.*spawn"):
            use()


@pytest.mark.parametrize(("layer", "expected"), [("workqueue", "sequential"), ("omp", "parallel")])
def test_where_a_second_thread_runs(monkeypatch, layer, expected):
    monkeypatch.setattr("numba.threading_layer", lambda: layer)
    found = []
    within = module._choosing(lambda: found.append("parallel"), lambda: found.append("sequential"))

    def parallel():
        thread = Thread(target=within)
        thread.start()
        thread.join()

    module._choosing(parallel, lambda: None)()
    within()  # the first has ended
    assert found == [expected, "parallel"]


@pytest.fixture
def double(tmp_path):
    """Makes a compiled function of its own file anew, as another process does."""
    file = tmp_path / "double.py"
    file.write_text("from sppdet.runtime.compiled import compiled\n\n@compiled()\ndef double(x):\n    return 2 * x\n")

    def make():
        spec = importlib.util.spec_from_file_location("double", file)
        spec.loader.exec_module(made := importlib.util.module_from_spec(spec))
        return made.double

    return make


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
def test_a_damaged_cache_is_made_again(double, monkeypatch, tmp_path, pattern):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "numba"))
    assert double()(3) == 6
    (file,) = tmp_path.glob(f"numba/*/{pattern}")
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert double()(3) == 6
    assert len(next(tmp_path.glob(f"numba/*/{pattern}")).read_bytes()) == len(whole)


def test_the_first_compilation_is_told_once(double, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "numba"))
    module._announce.cache_clear()
    with caplog.at_level("INFO", "sppdet"):
        assert double()(3) == 6
        assert double()(3) == 6
    (line,) = caplog.messages
    assert line.startswith("compiling functions for this machine")


def test_a_cache_that_can_no_longer_be_written(double, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "numba"))
    module._warn.cache_clear()
    function = double()
    shutil.rmtree(tmp_path / "numba")
    (tmp_path / "numba").write_text("a file")
    assert function(3) == 6
    assert "NUMBA_CACHE_DIR" in caplog.text
