import pytest

from sppdet.data.formats.xml import read_xml
from sppdet.data.problems import Problems
from sppdet.errors import DataError

BOX = "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>50</xmax><ymax>60</ymax></bndbox>"


def read(tmp_path, text: str | bytes, problems: Problems | None = None):
    path = tmp_path / "a.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_xml(path, problems or Problems())


def make(inner: str, name: str = "cat") -> str:
    return f"<annotation><object><name>{name}</name>{inner}</object></annotation>"


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (BOX, (10, 20, 50, 60)),
        (BOX.replace("11", "11,5"), (10.5, 20, 50, 60)),
        ("<polygon><x1>7</x1><y1>3</y1><x2>9.5</x2><y2>3</y2><x3>9</x3><y3>8</y3></polygon>", (7, 3, 9.5, 8)),
        ("<polygon><pt><x>7</x><y>3</y></pt><pt><x>9</x><y>8</y></pt></polygon>", (7, 3, 9, 8)),
        ("<robndbox><cx>20</cx><cy>10</cy><w>8</w><h>4</h><angle>0</angle></robndbox>", (16, 8, 24, 12)),
    ],
)
def test_shapes(tmp_path, shape, box):
    assert read(tmp_path, make(shape)).objects[0].box == box


@pytest.mark.parametrize(
    ("text", "difficult"),
    [
        *(("<difficult/>", False), ("<difficult>no</difficult>", False), ("", False)),
        *(("<difficult> 1 </difficult>", True), ("<difficult>True</difficult>", True)),
    ],
)
def test_difficult_may_be_text(tmp_path, text, difficult):
    problems = Problems()
    assert read(tmp_path, make(BOX + text), problems).objects[0].difficult is difficult
    assert not problems.found


def test_a_difficult_that_is_neither_is_said(tmp_path):
    problems = Problems()
    assert read(tmp_path, make(BOX + "<difficult>maybe</difficult>"), problems).objects[0].difficult is False
    assert str(problems.found[0]).endswith("a.xml: object[1]/difficult: neither 0 nor 1 but 'maybe', taken as 0")


@pytest.mark.parametrize("size", ["", "<width/><height/>", "<width>wide</width><height>9</height>", "<width>0</width>"])
def test_a_size_that_is_none(tmp_path, size):
    assert read(tmp_path, f"<annotation><size>{size}</size></annotation>").size is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb2312", "cp1252"])
def test_encodings(tmp_path, encoding):
    name = "é" if encoding == "cp1252" else "测试"
    declared = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
    content = read(tmp_path, (declared + make(BOX, name)).encode(encoding))
    assert content.objects[0].name == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (make(BOX, "测试").encode("gbk"), "not in the encoding that its first line declares"),
        (b'<?xml version="1.0" encoding="gb2312"?><a>\xff\xff</a>', "not readable XML"),
        (b'<?xml version="1.0" encoding="none"?><a/>', "not readable XML: unknown encoding: none"),
        (b" ", "the file is empty; remove it if its image has no objects"),
        (make("<polygon><x1>1</x1></polygon>").encode(), r"object\[1\]/polygon: not an outline"),
        (make("<polygon><x1>1</x1><y1>b</y1></polygon>").encode(), r"object\[1\]/polygon/y1: not a number .*got b"),
        (
            make(BOX.replace("11", "0.1").replace("21", "0.2").replace("50", "0.3").replace("60", "0.4")).encode(),
            r"object\[1\]/bndbox: fractions of the image, not pixels .*got \[0\.1, 0\.2, 0\.3, 0\.4\]",
        ),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, words):
    with pytest.raises(DataError, match=rf"a\.xml: .*{words}") as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
