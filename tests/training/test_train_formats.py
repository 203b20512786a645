"""The format of the data makes no difference to the detector."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from factories import detector_bytes
from torchvision.ops import box_convert

from sppdet.commands.inputs import data_of_run
from sppdet.config.data import DataConfig
from sppdet.data.conversion.convert import convert_dataset
from sppdet.data.dataset import read_dataset
from sppdet.data.formats.voc import read_voc
from sppdet.files.atomic import read_json, write_json
from sppdet.structures import Dataset
from sppdet.training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_cache")]


def write_coco(shapes: Path, split: str, file: Path) -> None:
    dataset = read_voc(shapes, split)
    images = [{"id": i, "file_name": image.path.name} for i, image in enumerate(dataset.images, 100)]
    annotations = []
    for i, image in enumerate(dataset.images, 100):
        boxes = box_convert(image.boxes, "xyxy", "xywh").tolist()
        for box, label, difficult in zip(boxes, image.labels.tolist(), image.difficult.tolist(), strict=True):
            annotations.append({"image_id": i, "category_id": 10 * label, "bbox": box, "iscrowd": int(difficult)})
    categories = [{"id": 10 * label, "name": name} for label, name in enumerate(dataset.classes, 1)]
    write_json(file, {"images": images, "annotations": annotations, "categories": categories})


def test_coco_format_and_images_in_memory_give_the_detector_of_voc_format(config, shapes, tmp_path):
    train(config)
    write_coco(shapes, "trainval", tmp_path / "train.json")
    write_coco(shapes, "val", tmp_path / "val.json")
    data = DataConfig(root=str(shapes / "JPEGImages"), annotations=str(tmp_path / "train.json"))
    coco = replace(config, data=data, val=str(tmp_path / "val.json"), output=str(tmp_path / "coco"))
    train(coco)
    memory = replace(config, data=DataConfig(), output=str(tmp_path / "memory"))
    datasets = [read_voc(shapes, split) for split in ("trainval", "val")]
    train(memory, *(replace(d, images=[replace(image, image=image.read()) for image in d.images]) for d in datasets))
    assert detector_bytes(coco.output) == detector_bytes(memory.output) == detector_bytes(config.output)


def write_flat(dataset: Dataset, folder: Path, layout: str) -> Path:
    """The images and boxes without lists, nothing difficult: VOC XML, also Roboflow's, COCO, YOLO or CVAT's."""
    images, labels = (folder / ("train" if layout == "roboflow" else kind) for kind in ("images", "labels"))
    images.mkdir(parents=True)
    labels.mkdir(exist_ok=True)
    cvat = ""
    content: dict[str, list] = {"images": [], "annotations": []}
    content["categories"] = [{"id": label, "name": name} for label, name in enumerate(dataset.classes, 1)]
    for i, image in enumerate(dataset.images):
        shutil.copy(image.path, images)
        height, width = image.read().shape[1:]
        content["images"].append({"id": 7 - i, "file_name": image.path.name})
        xml, lines, shapes = "", "", ""
        for (x1, y1, x2, y2), label in zip(image.boxes.tolist(), image.labels.tolist(), strict=True):
            corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            xml += f"<object><name>{dataset.classes[label - 1]}</name><bndbox>{corners}</bndbox></object>"
            center = f"{(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f}"
            lines += f"{label - 1} {center} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
            corners = f'xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}"'
            shapes += f'<box label="{dataset.classes[label - 1]}" {corners}/>'
            box = {"image_id": 7 - i, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            content["annotations"].append({"id": len(content["annotations"]), **box})
        cvat += f'<image id="{i}" name="{image.path.name}" width="{width}" height="{height}">{shapes}</image>'
        if layout in ("xml", "roboflow"):
            (labels / f"{image.id}.xml").write_text(f"<annotation>{xml}</annotation>")
        elif layout == "yolo":
            (labels / f"{image.id}.txt").write_text(lines)
    if layout == "yolo":
        (folder / "classes.txt").write_text("\n".join(dataset.classes))
    elif layout == "coco":
        write_json(labels / "all.json", content)
    elif layout == "cvat":
        (folder / "annotations.xml").write_text(f"<annotations>{cvat}</annotations>")
    return folder


def test_all_formats_give_the_same_detector_and_the_run_keeps_their_division(config, shapes, tmp_path):
    dataset, runs = read_voc(shapes, "trainval"), {}
    for layout in ("xml", "coco", "yolo", "roboflow", "cvat", "voc"):
        data = DataConfig(root=str(tmp_path / "data" / layout))
        if layout == "voc":
            convert_dataset(runs["xml"].data, "voc", tmp_path / "data/voc")
        else:
            write_flat(dataset, tmp_path / "data" / layout, layout)
        runs[layout] = replace(config, data=data, output=str(tmp_path / layout))
        train(runs[layout])
    assert len({detector_bytes(run.output) for run in runs.values()}) == 1
    splits = [read_json(Path(run.output) / "split.json") for run in runs.values()]
    assert all(split == splits[0] for split in splits)
    data = data_of_run(runs["xml"].output, DataConfig(split="test"))
    assert [image.id for image in read_dataset(data).images] == splits[0]["test"]
    assert data_of_run(runs["xml"].output, replace(runs["xml"].data, split="test")) == data
    assert data_of_run(runs["xml"].output, runs["coco"].data).split_file is None
    (Path(runs["xml"].output) / "detector.safetensors").unlink()
    image = next((tmp_path / "data/xml/images").iterdir())
    shutil.copy(image, image.with_name("new.jpg"))  # it stays outside of all parts
    train(runs["xml"])
    assert detector_bytes(runs["xml"].output) == detector_bytes(runs["coco"].output)
