"""Export a detector for other programs."""

from importlib import import_module
from typing import Literal

from sppdet.commands.summary import Summary
from sppdet.errors import ConfigError


def export(run: str, *, format: Literal["onnx"] = "onnx", output: str = "detector.onnx") -> Summary:
    """Export a detector as an ONNX file, for onnxruntime and other programs.

    One graph with its weights: an image of any size and proposals to boxes and scores. Resizing, proposals and
    non-maximum suppression stay outside (scripts/README.md has an example). The file is run once and compared with
    torch. Needs pip install 'sppdet[export]'.

    Example: sppdet export runs/mine --output mine.onnx

    Args:
        run: run folder or detector file; features spp or roi_pool at one scale
        format: format of the file
        output: new file
    """
    from sppdet.commands.inputs import load_run
    from sppdet.files.owned import check_new_file

    check_new_file(output, ".onnx")
    try:
        for name in ("onnx", "onnxruntime", "onnxscript"):
            import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"needs {error.name}", field="export", expected="pip install 'sppdet[export]'") from None
    from sppdet.export import INPUTS, OUTPUTS, export_detector

    detector = load_run(run, "cpu", "fp32")
    difference = export_detector(detector, output)
    values = {"output": output, "format": format, "classes": detector.classes, "difference": difference}
    names = f"{', '.join(INPUTS)} to {', '.join(OUTPUTS)}"
    return Summary(values, f"{names}; scores differ from torch's by up to {difference:.1e}\nwritten to {output}")
