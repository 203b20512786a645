"""Other programs take our detectors and read our files: an evaluation loop as torchvision's, pycocotools, and those of
data/README.md, by the code there, if they are installed."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import CLASSES, random_detector, random_image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn
from torch.utils.data import DataLoader
from torchvision.ops import box_convert

from sppdet.config.data import DataConfig
from sppdet.data.conversion.convert import convert_dataset
from sppdet.data.formats.coco import read_coco
from sppdet.data.results.files import write_coco_results
from sppdet.evaluation.coco import evaluate_coco
from sppdet.structures import Annotations, Dataset, Detections

README = Path(__file__).parents[1] / "data" / "README.md"


def coco_of(loader: DataLoader) -> COCO:
    """The targets of a loader as COCO's annotations, as torchvision's evaluation takes them."""
    coco, rows = COCO(), []
    targets = [target for _, batch in loader for target in batch]
    for target in targets:
        for (x1, y1, x2, y2), label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            row = {"image_id": target["image_id"], "category_id": label, "iscrowd": 0, "id": len(rows) + 1}
            rows.append(row | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
    images = [{"id": target["image_id"]} for target in targets]
    coco.dataset = {"images": images, "annotations": rows, "categories": [{"id": k} for k in range(1, 4)]}
    coco.createIndex()
    return coco


@torch.inference_mode()
def evaluate_as_torchvision(model: nn.Module, loader: DataLoader, device: torch.device) -> list[float]:
    """COCO's metrics of a module that is called with a list of images, and gives a dictionary for each."""
    truth, rows = coco_of(loader), []
    model.to(device).eval()
    for images, targets in loader:
        outputs = model([image.to(device) for image in images])
        outputs = [{name: value.to("cpu") for name, value in output.items()} for output in outputs]
        for target, output in zip(targets, outputs, strict=True):
            boxes = box_convert(output["boxes"], "xyxy", "xywh")
            columns = boxes.tolist(), output["scores"].tolist(), output["labels"].tolist()
            for box, score, label in zip(*columns, strict=True):
                rows.append({"image_id": target["image_id"], "category_id": label, "bbox": box, "score": score})
    return metrics_of(truth, rows)


def metrics_of(truth: COCO, results: Any) -> list[float]:
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return list(evaluation.stats)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_detector_passes_the_evaluation_loop_of_torchvision():
    detector, examples, records = random_detector(), [], []
    for number in range(3):
        image = random_image(60, 80, number).float() / 255
        found = detector.detect(image)
        boxes, labels = found.boxes[:6] + torch.tensor([1.0, 0, 1, 0]), found.labels[:6]
        examples.append((image, {"boxes": boxes, "labels": labels, "image_id": number}))
        records.append(Annotations(image, boxes, labels))
    loader = DataLoader(examples, batch_size=2, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))  # type: ignore[arg-type]
    got = evaluate_as_torchvision(detector, loader, torch.device("cpu"))
    expected = evaluate_coco([detector.detect(image) for image, _ in examples], records, CLASSES)
    assert got[:3] == pytest.approx([expected[name] for name in ("AP", "AP50", "AP75")], abs=1e-6)
    assert 0.1 < got[0] < 1


@pytest.fixture(scope="module")
def folder(shapes, tmp_path_factory) -> tuple[Path, Dataset]:
    """A data set in COCO format, `coco`, with detections in `results`: all objects of test, moved, and a wrong one."""
    place = tmp_path_factory.mktemp("other")
    convert_dataset(DataConfig(root=str(shapes)), "coco", place / "coco")
    dataset = read_coco(place / "coco/test", place / "coco/annotations/instances_test.json")
    found = []
    for image in dataset.images:
        boxes, labels = torch.cat([image.boxes, image.boxes[:1]]), torch.cat([image.labels, image.labels[:1] % 3 + 1])
        found.append(Detections(boxes, labels, torch.linspace(0.9, 0.1, len(boxes))))
    write_coco_results(place / "results/detections.json", found, dataset)
    return place, dataset


def run_block(folder: Path, program: str, monkeypatch) -> dict[str, Any]:
    """Run the code of the README that imports a program, where that is installed."""
    pytest.importorskip(program)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if re.search(rf"^(import|from) {program}\b", block, re.MULTILINE)]
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    with redirect_stdout(StringIO()):
        exec(block, names)
    return names


def test_pycocotools_reads_what_was_written(folder):
    place, dataset = folder
    truth = COCO(place / "coco/annotations/instances_test.json")
    found = json.loads((place / "results/detections.json").read_text())
    assert len(found) == sum(len(image.boxes) + 1 for image in dataset.images)
    assert metrics_of(truth, str(place / "results/detections.json"))[1] > 0.9


@pytest.mark.filterwarnings("ignore")
def test_tide(folder, monkeypatch):
    tide = run_block(folder[0], "tidecv", monkeypatch)["tide"]
    (run,) = tide.runs.values()
    assert run.ap > 80
    assert {type(error).__name__ for error in run.errors} == {"ClassError"}


@pytest.mark.filterwarnings("ignore")
def test_supervision(folder, monkeypatch):
    names, dataset = run_block(folder[0], "supervision", monkeypatch), folder[1]
    truth, found = names["truth"], names["found"]
    assert (len(truth), tuple(truth.classes)) == (len(dataset), dataset.classes)
    first = dataset.images[0]
    (objects,) = (its for path, _, its in truth if Path(path).name == Path(first.image).name)
    torch.testing.assert_close(torch.as_tensor(objects.xyxy).float(), first.boxes)
    assert found.class_id.tolist()[: len(objects)] == objects.class_id.tolist()
    torch.testing.assert_close(torch.as_tensor(found.xyxy[: len(objects)]).float(), first.boxes)


def test_fiftyone(folder, monkeypatch):
    samples = run_block(folder[0], "fiftyone", monkeypatch)["samples"]
    assert samples.count("found.detections") == samples.count("ground_truth.detections") + len(folder[1])
