"""Imports run one way: a room of the package imports rooms below it and itself only, and no modules form a circle."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sppdet"
FILES = {".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}

# From the ground up. A module at the top of the package is a room of its own, and so are parts of data.
ROOMS = [
    *("wording", "errors", "runtime", "config", "files", "images", "videos", "boxes", "drawing", "structures"),
    *("data", "data.formats", "data.dataset", "data.checks", "data.conversion", "data.results"),
    *("proposals", "backbones", "pooling", "features", "heads", "explanation"),
    *("postprocess", "encoded", "detector", "export", "tiles", "evaluation", "training"),
    *("classification", "shapes", "comparison", "report", "app", "commands", "log", "cli", "__main__", "__init__"),
]


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if name in FILES} or {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name if name in FILES else f"{name}.__init__" for name in names if name.startswith("sppdet.")}


def floor(module: str) -> int:
    return max(i for i, room in enumerate(ROOMS) if f"{module}.".startswith(f"sppdet.{room}."))


@pytest.mark.parametrize("module", sorted(FILES))
def test_imports_go_down_and_files_stay_short(module):
    upwards = {name for name in imports(module) if floor(name) > floor(module)}
    assert not upwards, f"{ROOMS[floor(module)]} is below"
    assert len(FILES[module].read_text().splitlines()) <= 260


def test_no_circle():
    order = TopologicalSorter({module: imports(module) for module in FILES}).static_order()  # or a CycleError
    assert set(order) == set(FILES)
