from data_checks import change, check, found


def test_class_names_that_differ_in_case_or_blanks(voc):
    file = change(voc / "Annotations/d.xml", "<name>cat</name>", "<name>C at</name>")
    (problem,) = found(check(voc), "class names alike")
    assert problem[:4] == (str(file), "object[1]/name", "class names alike", "warning")
    assert problem.message == 'classes "C at" (1 objects) and "cat" (2 objects) differ in case or blanks only'
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
