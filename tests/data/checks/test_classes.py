import json

from data_checks import change, check, found
from data_sets import coco_of, write_coco, write_text


def test_class_names_that_differ_in_case_or_blanks(voc):
    file = change(voc / "Annotations/d.xml", "<name>cat</name>", "<name>C at</name>")
    (problem,) = found(check(voc), "class names alike")
    assert problem[:4] == (str(file), "object[1]/name", "class names alike", "warning")
    assert problem.message == 'classes "C at" (1 object) and "cat" (2 objects) differ in case or blanks only'
    assert not found(check(voc, classes=["C at", "cat", "dog"]), "class names alike"), "they are meant"


def test_classes_without_objects_in_a_split(voc):
    change(voc / "Annotations/f.xml", "<name>cat</name>", "<name>cat</name><difficult>1</difficult>")
    change(voc / "Annotations/e.xml", "<name>dog</name>", "<name>cat</name>")
    fields = [(problem.field, problem.message) for problem in found(check(voc), "class without objects")]
    assert fields == [
        ("test", "class cat has no objects, except difficult ones, in test"),
        ("val, test", "class dog has no objects, except difficult ones, in val, test"),
    ]


def test_unknown_classes_and_classes_that_are_left_out(voc):
    file = change(voc / "Annotations/f.xml", "<name>cat</name>", "<name>bird</name>")
    (problem,) = found(check(voc), "unknown class")
    assert problem[:4] == (str(file), "object[1]/name", "unknown class", "error")
    assert not [problem for problem in check(voc, classes=["cat"]).problems if problem.severity == "error"]


def test_classes_whose_objects_errors_refuse_are_not_said_to_have_none(tmp_path):
    root, content = write_coco(tmp_path, "images", "val.json"), coco_of("abcdef")
    write_coco(root, "images", "train.json")
    for thing in content["annotations"]:
        if thing["category_id"] == 1:
            thing["bbox"] = list(map(str, thing["bbox"]))
    write_text(root / "val.json", json.dumps(content))
    checked = check(root)
    assert len(found(checked, "malformed object")) == 3
    assert not found(checked, "class without objects")


def test_classes_of_images_that_errors_leave_out_are_not_said_to_have_none(voc):
    for name in "ab":  # all of train but d, which has a cat only
        change(voc / f"Annotations/{name}.xml", "<width>64", "<width>640")
    checked = check(voc)
    assert len(found(checked, "annotated size")) == 2
    assert "train" not in {problem.field for problem in found(checked, "class without objects")}
