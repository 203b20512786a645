"""Mistakes of users: one line that names file and field, exit code 1 or 2, no traceback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from factories import TINY, error_of, run_error

from sppdet.classification.classifier import new_classifier
from sppdet.config.classification import ClassifierConfig
from sppdet.config.network import BackboneConfig, FCConfig, PyramidConfig
from sppdet.detector import Detector
from sppdet.files.atomic import write_json, write_text
from sppdet.shapes.dataset import generate_shapes
from sppdet.shapes.scene import SHAPES

SMALL = (
    "--backbone.name shapenet --backbone.weights random --proposals.limit 5 --proposals.width null "
    "--spp.scales [100] --workers 0"
)
ARCHIVE = "VOCtrainval_06-Nov-2007.tar"
WEIGHTS, CORNERLESS = "run/detector.safetensors", "<a><object><name>x</name><bndbox/></object></a>"
NAMES, CROPS, LAST = "--data.classes", "classify crops --data.root shapes", "shapes/Annotations/000006.xml"
XML, JPEG, TRAINVAL = "shapes/Annotations/000001.xml", "shapes/JPEGImages/000001.jpg", "ImageSets/Main/trainval.txt"


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """A folder with a data set, networks that were never trained, and files that are not what they should be."""
    place = tmp_path_factory.mktemp("template")
    generate_shapes(place / "shapes", train=5, test=1)
    for name, classes in (("run", SHAPES), ("other", ("disc",))):
        Detector(TINY, classes).save(place / name / "detector.safetensors")
    for name in ("disc", "ring"):
        (place / "crops" / name).mkdir(parents=True)
        shutil.copy(place / "shapes/JPEGImages/000001.jpg", place / "crops" / name / "0.jpg")
    config = ClassifierConfig(BackboneConfig("shapenet", "random"), PyramidConfig((2, 1)), FCConfig(1, 8), "warp")
    new_classifier(config, ("disc", "ring")).save(place / "classifier/classifier.safetensors")
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, place / "other.pth")
    for name in ("text.pth", "text.safetensors", "text.caffemodel", "text.jpg", ARCHIVE, "used/test/note"):
        write_text(place / name, "text")
    write_json(place / "empty.json", [])
    write_json(place / "keyless.json", {})
    write_json(place / "boxless.json", [{"image_id": 6, "category_id": 1, "bbox": [1], "score": 1}])
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50]}
    images = [{"id": 1, "file_name": "JPEGImages/000001.jpg"}]
    content = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "thing"}]}
    write_json(place / "coco.json", content)
    return place


@pytest.fixture
def place(template, tmp_path, monkeypatch) -> Path:
    """A copy of the template, where the command runs."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


train = f"train --data.root shapes --output new {SMALL} {{}}".format
evaluate = "evaluate run --data.root shapes --workers 0 {}".format
diagnose = "diagnose --data.root shapes {}".format
explain = "explain pooling --size 14x14 {}".format
classify = (
    "classify train --data.train crops --output new --backbone.name shapenet --backbone.weights random --view warp "
    "--sizes [40] --fit.epochs 1 {}"
).format
accuracy = "classify evaluate classifier --data crops {}".format


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda place: (place / name).write_text(text)


def usage(command: str, named: str, prepare: Callable[[Path], object] = str) -> tuple:
    return command, named, prepare, 2


def cut(name: str, size: int) -> Callable[[Path], object]:
    return lambda place: (place / name).write_bytes((place / name).read_bytes()[:size])


def list_a_missing_image(place: Path) -> None:
    with (place / "shapes/ImageSets/Main/trainval.txt").open("a") as names:
        names.write("999999\n")


def rename_a_class(place: Path) -> None:
    file = place / LAST
    file.write_text(file.read_text().replace("<name>", "<name>wheel", 1))


# A wrong command; what the error has to contain, in parts; what breaks something in the folder first; the exit code.
MISTAKES: dict[str, tuple] = {
    "no data": (f"train --output new {SMALL}", "data.root"),
    "no such folder": (train("--data.root nowhere"), "nowhere | folder not found"),
    "not VOC layout": (train("--data.root run"), "run | JPEGImages, Annotations, ImageSets/Main"),
    "no such split": (train("--data.split extra"), "extra.txt | split | trainval"),
    "no such val split": (train("--val extra"), "extra.txt | split | trainval"),
    "listed image is missing": (train(""), f"999999 | {TRAINVAL}", list_a_missing_image),
    "image file is missing": (train(""), f"{JPEG} | not found", lambda place: (place / JPEG).unlink()),
    "truncated JPEG": (train(""), f"{JPEG} | truncated", cut(JPEG, 3000)),
    "broken XML": (train(""), f"{XML} | not readable XML", cut(XML, 100)),
    "XML without a corner": (train(""), f"{XML} | object[1]/bndbox/xmin | missing", write(XML, CORNERLESS)),
    "broken COCO file": (train("--data.annotations keyless.json"), "keyless.json | categories | missing"),
    "no such val file": (train("--data.annotations coco.json --val nothing.json"), "nothing.json | not found"),
    "class the detector lacks": (evaluate(""), f"{LAST} | object[1]/name | wheel | disc", rename_a_class),
    "no such image": ("detect run nothing.jpg --output out", "nothing.jpg | not found"),
    "not an image": ("detect run text.jpg --output out", "text.jpg | decoded"),
    "folder without images": ("detect run run --output out", "run | no images"),
    "broken detections": ("evaluate --detections boxless.json --data.root shapes", "boxless.json | entry 0 | bbox"),
    "no such detections": (evaluate("--against nothing"), "nothing | no such file"),
    "broken detections of the other": (evaluate("--against boxless.json"), "boxless.json | entry 0"),
    "other run of other classes": (evaluate("--against other"), "other | classes | disc | got disc)"),
    "wrong checksum": ("download voc --archives .", f"{ARCHIVE} | checksum | c52e279531787c972589f7e41ab4ae64"),
    "archive is missing": ("download voc --archives shapes", f"{ARCHIVE} | not found"),
    "no such year": ("download voc --years [2006] --archives .", "years | 2007 or 2012 | 2006"),
    "weights of another network": (train("--backbone.weights other.pth"), "other.pth | layers.0.weight | shapenet"),
    "damaged weights": (train("--backbone.weights text.pth"), "text.pth | not a readable"),
    "damaged safetensors": (train("--backbone.weights text.safetensors"), "text.safetensors | not a readable"),
    "weights of Caffe's": (train("--backbone.weights text.caffemodel"), "text.caffemodel | sppdet convert"),
    "no caffemodel": ("convert text.caffemodel --backbone zf5", "text.caffemodel | of another kind"),
    "no such weights": (train("--backbone.weights nothing.pth"), "nothing.pth | backbone.weights"),
    "no such run": ("evaluate nothing --data.root shapes", "nothing | not found"),
    "misspelled run": ("evaluate runn --data.root shapes", "runn: file not found | did you mean run?"),
    "report of a folder": ("report shapes", "shapes: is not a run (expected detector.safetensors"),
    "run not evaluated": (diagnose("run"), "run/test/evaluation.json | not found | sppdet evaluate run"),
    "no such similar class": (
        diagnose("--detections empty.json --similar [[disc,disk]]"),
        "similar | no such class | disc | got disk",
    ),
    "run without a detector": ("evaluate shapes --data.root shapes", "detector.safetensors"),
    "truncated detector": (evaluate(""), WEIGHTS, cut(WEIGHTS, 9999)),
    "unknown key": usage(train("--svm.D 3"), "--svm.D"),
    "wrong type": usage(train("--svm.C many"), "--svm.C | a number | got many"),
    "too many digits": usage(train(f"--svm.C {'9' * 400}"), "a whole number is too large"),
    "wrong choice": usage(train("--features roi"), "--features | expected spp, crop, | got roi)"),
    "not a list": usage(train("--spp.scales 480"), "--spp.scales | a list such as [480] | got 480"),
    "names with commas": usage(train(f"{NAMES} RBC,WBC"), f"{NAMES} | a list such as [RBC,WBC] | got RBC,WBC"),
    "names with blanks": usage(train(f"{NAMES} RBC WBC"), f"{NAMES} | a list such as [RBC] | got RBC"),
    "not a number": usage(train("--data.max_images x"), "--data.max_images | a whole number or null | got x"),
    "no image": usage("detect run", "detect needs images; see sppdet detect --help"),
    "no output": usage("classify crops", "classify crops needs --output; see"),
    "no command of a group": usage("classify", "classify needs a command: train, evaluate, predict or crops"),
    "choice in capitals": usage(train("--data.format COCO"), "got COCO): did you mean coco?"),
    "choice in a list": usage("detect run x.jpg --formats [CSV]", "expected csv, voc, coco or yolo, got CSV): did you"),
    "no list": usage("detect run x.jpg --formats csv", "--formats: cannot be used (expected a list such as [csv], got"),
    "misspelled command": usage("evalute run", "no such command: evalute (did you mean evaluate?)"),
    "misspelled command of a group": usage("classify trian", "no such command: trian (did you mean train?)"),
    "misspelled key in a file": (
        train("--config c.yaml"),
        "c.yaml: finetune.epocs | mean finetune.epochs?",
        write("c.yaml", "finetune: {epocs: 3}"),
    ),
    "option of another command": usage(evaluate("--proposals.limit 50"), "--proposals.limit | 50"),
    "group that is an option": usage(train("--data shapes"), "--data | --data.NAME"),
    "YAML of YOLO": usage(train("--data d.yaml"), "--data: is a group | --data.NAME", write("d.yaml", "{0: a, 1: b}")),
    "option of other programs": usage(f"detect run {JPEG} --conf 0.5", "--conf: no such option (expected --threshold)"),
    "abbreviated option": usage(train("--conf c.yaml"), "--conf: no such option (expected --config)"),
    "misspelled option": usage(f"detect run {JPEG} --treshold 0.5", "--treshold: | (expected --threshold)"),
    "misspelled key": usage(train("--data.splitt=test"), "--data.splitt: | (expected --data.split or"),
    "option without its group": usage(train("--epochs 3"), "(expected --svm.epochs or --finetune.epochs)"),
    "option of nothing": usage(train("--xyzzy 3"), "--xyzzy: no such option (expected one that --help lists)"),
    "option of no command": usage("--config c.yaml", "no such command: c.yaml | (expected demo, train"),
    "weights in place of a run": ("evaluate text.pth", "text.pth | a run folder or detector.safetensors"),
    "not text": (train(f"--config {WEIGHTS}"), WEIGHTS),
    "no such file": (train("--config nothing.yaml"), "nothing.yaml | does not exist"),
    "fp16 gradients": (train("--precision fp16 --finetune.epochs 1"), "precision | fp32 or bf16 | got fp16"),
    "seed below 0": (train("--seed -1"), "seed | at least 0 | -1"),
    "C of 0": (train("--svm.C 0 --data.root nowhere"), "error: svm.C: out of range (expected more than 0, got 0.0)"),
    "unknown backbone": (train("--backbone.name vgg17"), "backbone.name | vgg16 | vgg17"),
    "map of another network": (train("--backbone.tap skip"), "backbone.tap | expected expansion"),
    "workers below 0": (train("--workers -1"), "workers | -1"),
    "no images": (train("--data.max_images 0"), "data.max_images | at least 1"),
    "detections that are not there": (evaluate("--detections x"), "x | no such file or folder"),
    "svd of detections": ("evaluate --detections d.json --data.root shapes --svd [8]", "svd | needs a run"),
    "svd of no layers": (evaluate("--svd [8]"), "svd | no fully connected layers | [8]"),
    "svd that is no list": usage(evaluate("--svd 8"), "--svd | a list such as [8]"),
    "layers deeper than fc7": (train("--fc.depth 3"), "fc.depth | from 0 to 2 | got 3"),
    "resamples below 0": (evaluate("--resamples -1"), "resamples | 0 or more | got -1"),
    "neither of them": ("evaluate --data.root shapes", "run | give a run or --detections"),
    "nothing to diagnose": (diagnose(""), "run | --detections"),
    "flat similar": usage(diagnose("run --similar [disc,cross]"), "--similar | a list such as [disc] | got disc"),
    "size that is none": ("explain pooling --size 14", "size | 14x14 | got 14"),
    "level of 0": (explain("--levels 4,0"), "levels | 4,2,1 | got 4,0"),
    "kernel of another form": (explain("--form window --kernel 9"), "kernel | general form only | form window"),
    "ceil_mode of another form": (explain("--form padded --ceil_mode"), "ceil_mode | form padded"),
    "picture of another kind": (explain("--output a.jpg"), "output | .png | a.jpg"),
    "unknown form": (explain("--form spp"), "form | window, padded | got spp"),
    "window that cannot be": (explain("--form general --padding 2"), "kernel | half a kernel | padding 2"),
    "nothing to explain": usage("explain heads --size 14x14", "heads | pooling"),
    "the same run twice": ("compare run run --data.root shapes", "runs | run, run"),
    "output under a file": (train("--output shapes/shapes.json/new"), "shapes/shapes.json | written"),
    "picture under a file": (explain("--output shapes/shapes.json/a.png"), "shapes/shapes.json | written"),
    "pictures over images": (f"detect run {JPEG} --output shapes/JPEGImages", "output: pictures would replace images"),
    "pictures under a file": (f"detect run {JPEG} --output shapes/shapes.json/new", "shapes/shapes.json | written"),
    "no images to classify": ("classify train", "data.train | --data.train PATH"),
    "no such folder of classes": (classify("--data.train nowhere"), "nowhere | folder not found"),
    "no classes": (classify("--data.train run"), "run | holds no folders"),
    "empty class": (classify(""), "crops/new | no images in the folder", lambda place: (place / "crops/new").mkdir()),
    "class that is not trained": (classify("--data.val shapes"), "shapes/Annotations | unknown class"),
    "unreadable image to train on": (classify(""), "crops/disc/0.jpg | decoded", write("crops/disc/0.jpg", "text")),
    "unknown key of a classifier": usage(classify("--fit.epocs 3"), "--fit.epocs"),
    "unknown key in a file": (classify("--config c.yaml"), "c.yaml | fit | epocs", write("c.yaml", "fit: {epocs: 3}")),
    "unknown view": usage(classify("--view whole"), "--view | expected full, crop or warp, got whole"),
    "size that is no list": usage(classify("--sizes 40"), "--sizes | a list such as [40]"),
    "too small a size": (classify("--backbone.name alexnet --sizes [224,20]"), "too small for alexnet | 20 x 20"),
    "no epochs": (classify("--fit.epochs 0"), "fit.epochs | at least 1"),
    "single images": (classify("--view full --blocks null"), "view | batch normalization | crop or warp"),
    "more blocks than there are": (classify("--blocks 6"), "blocks | 0 to 5 | got 6"),
    "no such classifier": ("classify evaluate nothing --data crops", "nothing | not found"),
    "run without a classifier": (
        "classify evaluate run --data crops",
        "run/classifier.safetensors | got a folder with detector.safetensors",
    ),
    "not a classifier": (f"classify evaluate {WEIGHTS} --data crops", f"{WEIGHTS} | not a classifier"),
    "class the classifier lacks": (accuracy("--data shapes"), "shapes/Annotations | unknown class | expected disc"),
    "no data to evaluate on": ("classify evaluate classifier", "data | --data PATH"),
    "too large a window": (
        accuracy("--views.kind 10views --views.window 90 --views.sizes [50]"),
        "views.window | at most 50 | got 90",
    ),
    "size of no pixels": (accuracy("--views.sizes [0]"), "views.sizes | at least 1 | got [0]"),
    "unknown format": (f"classify predict classifier {JPEG} --output out.txt", "output | .csv or .json | out.txt"),
    "no image to predict": ("classify predict classifier nothing.jpg", "nothing.jpg | not found"),
    "crops of no data": ("classify crops --output out", "data.root"),
    "crops where others are": (f"{CROPS} --data.split test --output used", "used/test | output | holds something else"),
    "another pyramid": (
        train("--backbone.weights classifier/classifier.safetensors --fc.depth 1"),
        "classifier.safetensors | pyramid: not that of the classifier | (2, 1) | (6, 3, 2, 1)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(place, mistake, capsys):
    command, named, prepare, code = (*mistake, *(str, 1)[len(mistake) - 2 :])
    prepare(place)
    line = error_of(run_error(capsys, *command.split(), code=code))
    assert all(text in line for text in named.split(" | ")), line


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
@pytest.mark.parametrize(
    "command",
    [train(""), evaluate(""), f"detect run {JPEG}", "compare run --data.root shapes", "demo --output out"],
    ids=lambda command: command.split()[0],
)
@pytest.mark.usefixtures("place")
def test_a_device_that_is_not_there(command, capsys):
    line = error_of(run_error(capsys, *command.split(), "--device", "cuda"))
    assert line.startswith("sppdet: error: device: ")
    assert line.endswith("got cuda)")


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [("train --svm.D 3", 2, "--svm.D"), (train("--data.root nowhere"), 1, "nowhere")],
    ids=["usage", "data"],
)
def test_a_process_ends_without_traceback(place, command, code, named):
    given = {"cwd": place, "env": {**os.environ, "SPPDET_CACHE": str(place / "cache")}}
    command = [sys.executable, "-m", "sppdet", *command.split()]
    ended = subprocess.run(command, **given, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert named in error_of(ended.stderr)
    assert ended.stdout == ""
