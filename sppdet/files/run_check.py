"""The check that a path is a run's, quick enough for the first moment of a command: torch is not loaded."""

from os import PathLike
from pathlib import Path

from sppdet.errors import WeightsError
from sppdet.wording import did_you_mean

MADE = "as a training makes"


def check_run(run: str | PathLike[str]) -> None:
    """Raise WeightsError unless there is such a file, or a folder with the configuration or the weights of a run."""
    path = Path(run)
    if not path.exists():
        near = path.parent.iterdir() if path.parent.is_dir() else ()
        runs = [str(each) for each in near if each.is_dir() and _is_run(each)]
        expected = "; ".join(filter(None, (f"a run folder, {MADE}", did_you_mean(str(path), runs))))
        raise WeightsError("file not found", file=path, expected=expected)
    if path.is_dir() and not _is_run(path):
        expected = f"detector.safetensors or classifier.safetensors in it, {MADE}"
        raise WeightsError("is not a run", file=path, expected=expected)


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file() or any(folder.glob("*.safetensors"))
