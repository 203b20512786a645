"""Import of the package and `sppdet --help` stay quick: nothing heavy is imported before it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sppdet.files.atomic import save_cached, write_json

HEAVY = ("torch", "torchvision", "numba", "sklearn", "scipy", "matplotlib", "cv2", "pycocotools", "PIL", "numpy")
HELP = """
from sppdet.cli import main
try:
    main({arguments})
except SystemExit as stopped:
    assert stopped.code == 0
"""


def test_what_files_say_is_shown_without_torch(tmp_path, monkeypatch):
    """It takes two seconds to import."""
    for name in ("config.json", "data.json"):
        write_json(tmp_path / "run" / name, {})
    monkeypatch.setenv("SPPDET_CACHE", str(tmp_path / "cache"))
    save_cached(tmp_path / "cache/features/ab" / f"{16 * 'ab'}.safetensors", {"x": torch.zeros(2)}, "made by a test")
    code = f"""
from sppdet.cli import main
assert main(["info", {str(tmp_path / "run")!r}]) == main(["runs", {str(tmp_path)!r}]) == main(["cache"]) == 0
import sys
assert not {{"torch", "numba", "matplotlib", "scipy"}} & set(sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "made by a test" in ended.stdout


@pytest.mark.parametrize(
    "code",
    ["import sppdet", *(HELP.format(arguments=[*of, "--help"]) for of in ([], ["train"], ["classify", "train"]))],
    ids=["import", "help", "train help", "classify help"],
)
def test_nothing_heavy_is_imported(code):
    report = f"import sys; print(sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "[]\n")


def test_a_detector_of_the_recommended_network_needs_no_torchvision(tmp_path):
    """It, or torch's compiler, would double the time until a detector is loaded."""
    code = f"""
import sys
from sppdet import Detector, load_config
detector = Detector(load_config("configs/quick.yaml"), ["cat"])
detector.save({str(tmp_path / "detector.safetensors")!r})
Detector.load({str(tmp_path)!r})
assert not {{"torchvision", "torch._dynamo", "sklearn", "matplotlib"}} & set(sys.modules)
"""
    root = Path(__file__).parent.parent
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert ended.returncode == 0, ended.stderr


def test_the_names_of_the_package_are_found_when_asked_for():
    import sppdet
    from sppdet.detector import Detector
    from sppdet.images import read_image
    from sppdet.pooling.pyramid import SpatialPyramidPooling

    assert (sppdet.Detector, sppdet.read_image) == (Detector, read_image)
    assert sppdet.SpatialPyramidPooling is SpatialPyramidPooling
    assert all(hasattr(sppdet, name) and name in sppdet.__doc__ for name in sppdet.__all__)
    assert dir(sppdet) == sorted([*sppdet.__all__, "__version__"])
    with pytest.raises(AttributeError, match="nothing"):
        _ = sppdet.nothing


def test_type_checkers_see_the_public_names():
    import sppdet

    tree = ast.parse(Path(sppdet.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = {alias.asname: node.module for node in block.body for alias in node.names}
    assert imports == sppdet._MODULES
