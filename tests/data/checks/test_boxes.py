import json
from pathlib import Path

import pytest
from data_checks import assert_only, change, check, faults, found
from data_sets import coco_of, write_coco, write_text, xml_of

from sppdet.config.data import ProposalConfig


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ("<xmin>80</xmin><ymin>3</ymin><xmax>90</xmax><ymax>32</ymax>", "box outside the image"),
        ("<xmin>21</xmin><ymin>3</ymin><xmax>2</xmax><ymax>32</ymax>", "box reversed"),
        ("<xmin>21</xmin><ymin>3</ymin><xmax>20</xmax><ymax>32</ymax>", "box no area"),
        ("<xmin>2</xmin><ymin>3</ymin><xmax>nan</xmax><ymax>32</ymax>", "box not finite"),
        ("<xmin>2</xmin><ymin>3</ymin><xmax>4</xmax><ymax>32</ymax>", "tiny box"),
        ("<xmin>2</xmin><ymin>3</ymin><xmax>80</xmax><ymax>32</ymax>", "box beyond the image"),
    ],
)
def test_boxes(voc, box, kind):
    file = change(voc / "Annotations/a.xml", "<xmin>2</xmin><ymin>3</ymin><xmax>21</xmax><ymax>32</ymax>", box)
    assert [problem[:4] for problem in faults(check(voc))] == [(str(file), "object[1]", kind, "warning")]


def test_doubled_boxes_are_of_one_class(voc):
    text = xml_of("a")
    thing = text[text.index("<object>") : text.index("</object>") + len("</object>")]
    file = change(voc / "Annotations/a.xml", "</annotation>", thing + thing.replace("cat", "dog") + "</annotation>")
    assert_only(check(voc), "doubled box", "warning", file, "object[3]", "object[1]")


def test_objects_that_proposals_are_too_large_for(voc):
    checked = check(voc, ProposalConfig(width=32, min_side=10))
    fields = {(Path(problem.file).name, problem.field) for problem in found(checked, "small object")}
    assert fields == {("d.xml", "object[1]"), ("e.xml", "object[2]"), ("f.xml", "object[1]")}
    change(voc / "Annotations/d.xml", "<name>cat</name>", "<name>cat</name><difficult>1</difficult>")
    assert len(found(check(voc, ProposalConfig(width=32, min_side=10)), "small object")) == 2
    assert not faults(check(voc, ProposalConfig(file="others.json")))
    almost = found(check(voc, ProposalConfig(width=6397, min_side=1000)), "small object")
    assert any("is 999.5 x 1099.4 pixels at a width of 6397, but" in str(problem) for problem in almost)


def test_boxes_in_other_units(voc, tmp_path):
    text = "<xmin>0.1</xmin><ymin>0.1</ymin><xmax>0.5</xmax><ymax>0.5</ymax>"
    file = change(voc / "Annotations/b.xml", "<xmin>1</xmin><ymin>1</ymin><xmax>64</xmax><ymax>48</ymax>", text)
    checked = check(voc)
    assert_only(checked, "units", "error", file, "object[1]/bndbox", "fractions")
    assert len(checked.parts["train"]) == 2, "the image is left out"
    root, content = write_coco(tmp_path / "coco", "images", "all.json"), coco_of("abcdef")
    for record in content["annotations"]:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    write_text(root / "all.json", json.dumps(content))
    checked = check(root)
    assert [problem.kind for problem in faults(checked)] == ["units"]
    assert checked.problems[0].file == str(root / "all.json")
    assert checked.problems[0].field.startswith("annotations[")
    assert not any(checked.parts.values())
