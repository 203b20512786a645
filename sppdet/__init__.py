"""Train, evaluate and compare region-based object detectors.

Models:   Detector, Classifier; the layers SpatialPyramidPooling, RoIPooling, RoIAlign
Verbs:    train, evaluate, compare, ablate
Settings: TrainConfig, load_config
Records:  Annotations (one image and its objects), Dataset, Detections
Data:     read_image, read_voc, read_coco, draw_detections
Steps:    selective_search, nms, box_iou, detect_tiled (large images)
Metrics:  evaluate_detections, evaluate_voc, evaluate_coco, bootstrap_map, diagnose
Threads:  wait_passively, for machines with other work to do
Errors:   SppdetError, the base class of all errors

Boxes are float32 (N, 4) as x1 y1 x2 y2, in pixels of the original image, 0-based and half-open. Labels are 1..K, images
uint8 (3, H, W) RGB. A name is imported when it is first used.
"""

from importlib import import_module

TYPE_CHECKING = False  # the constant of typing, which takes milliseconds to import; Ctrl-C is ours only afterwards
if TYPE_CHECKING:
    from sppdet.boxes import box_iou as box_iou, nms as nms
    from sppdet.classification.classifier import Classifier as Classifier
    from sppdet.commands.ablate import ablate as ablate
    from sppdet.commands.compare import compare as compare
    from sppdet.commands.evaluate import evaluate as evaluate
    from sppdet.config.load import load_config as load_config
    from sppdet.config.training import TrainConfig as TrainConfig
    from sppdet.data.formats.coco import read_coco as read_coco
    from sppdet.data.formats.voc import read_voc as read_voc
    from sppdet.detector import Detector as Detector
    from sppdet.drawing.detections import draw_detections as draw_detections
    from sppdet.errors import SppdetError as SppdetError
    from sppdet.evaluation.bootstrap import bootstrap_map as bootstrap_map
    from sppdet.evaluation.coco import evaluate_coco as evaluate_coco
    from sppdet.evaluation.diagnose import diagnose as diagnose
    from sppdet.evaluation.evaluation import evaluate_detections as evaluate_detections
    from sppdet.evaluation.voc import evaluate_voc as evaluate_voc
    from sppdet.images import read_image as read_image
    from sppdet.pooling.pyramid import SpatialPyramidPooling as SpatialPyramidPooling
    from sppdet.pooling.roi import RoIAlign as RoIAlign, RoIPooling as RoIPooling
    from sppdet.proposals.selective_search import selective_search as selective_search
    from sppdet.runtime.threads import wait_passively as wait_passively
    from sppdet.structures import Annotations as Annotations, Dataset as Dataset, Detections as Detections
    from sppdet.tiles import detect_tiled as detect_tiled
    from sppdet.training.train import train as train

__version__ = "0.1.0"

_HOMES = {
    "boxes": "box_iou nms",
    "classification.classifier": "Classifier",
    "commands.ablate": "ablate",
    "commands.compare": "compare",
    "commands.evaluate": "evaluate",
    "config.load": "load_config",
    "config.training": "TrainConfig",
    "data.formats.coco": "read_coco",
    "data.formats.voc": "read_voc",
    "detector": "Detector",
    "drawing.detections": "draw_detections",
    "errors": "SppdetError",
    "evaluation.bootstrap": "bootstrap_map",
    "evaluation.coco": "evaluate_coco",
    "evaluation.diagnose": "diagnose",
    "evaluation.evaluation": "evaluate_detections",
    "evaluation.voc": "evaluate_voc",
    "images": "read_image",
    "pooling.pyramid": "SpatialPyramidPooling",
    "pooling.roi": "RoIAlign RoIPooling",
    "proposals.selective_search": "selective_search",
    "runtime.threads": "wait_passively",
    "structures": "Annotations Dataset Detections",
    "tiles": "detect_tiled",
    "training.train": "train",
}
_MODULES = {name: f"sppdet.{module}" for module, names in _HOMES.items() for name in names.split()}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:  # torch takes seconds to import: only when something of it is asked for
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'sppdet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
