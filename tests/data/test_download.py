import gzip
import hashlib
import io
import logging
import os
import socket
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from factories import serving, stopping

from sppdet.data.download import VOC_ARCHIVES, Archive, _merge, download_voc
from sppdet.errors import DataError


def make_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


TRAINVAL = make_tar(
    {"VOCdevkit/VOC2007/JPEGImages/1.jpg": b"one" * 9999, "VOCdevkit/VOC2007/Annotations/1.xml": b"<a/>"}
)
TEST = make_tar({"VOCdevkit/VOC2007/JPEGImages/2.jpg": b"two", "VOCdevkit/VOC2007/ImageSets/Main/test.txt": b"2\n"})
CONTENT = {"trainval.tar": TRAINVAL, "test.tar": TEST}


def table(content: dict[str, bytes]) -> dict[str, list[Archive]]:
    return {"2007": [Archive(f"voc2007/{name}", hashlib.md5(data).hexdigest()) for name, data in content.items()]}


class Server(ThreadingHTTPServer):
    """Serves CONTENT under /voc2007/, and notes the Range of each request."""

    ranges: list[str | None]
    knows_ranges = True
    breaks_off_at: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        data = CONTENT.get(self.path.removeprefix("/voc2007/"))
        wanted = self.headers["Range"]
        self.server.ranges.append(wanted)
        if data is None:
            return self.send_error(404)
        if wanted and self.server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            data = data[start:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return self.wfile.write(data[: self.server.breaks_off_at])

    def log_message(self, *_):
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.ranges = []
    with serving(server):
        yield server


def download(server: Server, folder: Path) -> Path:
    return download_voc(folder, base_url=server.url, table=table(CONTENT))


def check(folder: Path) -> None:
    voc = folder / "VOCdevkit" / "VOC2007"
    files = {str(path.relative_to(voc)): path.read_bytes() for path in voc.rglob("*") if path.is_file()}
    assert files == {
        "JPEGImages/1.jpg": b"one" * 9999,
        "JPEGImages/2.jpg": b"two",
        "Annotations/1.xml": b"<a/>",
        "ImageSets/Main/test.txt": b"2\n",
    }


def test_downloads_checks_unpacks_leaves_no_archive_and_asks_no_second_time(server, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO, "sppdet")
    assert download(server, tmp_path / "data") == tmp_path / "data" / "VOCdevkit"
    check(tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["VOCdevkit"]
    assert capsys.readouterr().out == ""
    assert [text for text in caplog.messages if text.startswith("trainval.tar: ")]  # its progress, without a terminal
    caplog.clear()
    download(server, tmp_path / "data")
    assert server.ranges == [None, None]
    assert not [text for text in caplog.messages if text.startswith("trainval.tar: ")]


def test_resumes_a_download_that_broke_off(server, tmp_path):
    server.breaks_off_at = 5000
    with pytest.raises(DataError, match=r"broke off at 5000 of \d+ bytes; call again to resume"):
        download(server, tmp_path)
    assert (tmp_path / "trainval.tar.part").read_bytes() == TRAINVAL[:5000]
    server.breaks_off_at = None
    download(server, tmp_path)
    assert server.ranges == [None, "bytes=5000-", None]
    check(tmp_path)


@pytest.mark.parametrize("whole", [False, True])
def test_a_part_is_used_only_as_far_as_it_can_be(server, tmp_path, whole):
    """A whole one is not fetched again; another starts anew where the server ignores ranges."""
    server.knows_ranges = whole
    (tmp_path / "trainval.tar.part").write_bytes(TRAINVAL if whole else b"x" * 7)
    download(server, tmp_path)
    assert whole or server.ranges[0] == "bytes=7-"
    check(tmp_path)


def test_wrong_checksum_names_both_and_the_next_call_starts_anew(server, tmp_path):
    (tmp_path / "trainval.tar.part").write_bytes(b"x" * 10)
    right = hashlib.md5(TRAINVAL).hexdigest()
    wrong = hashlib.md5(b"x" * 10 + TRAINVAL[10:]).hexdigest()
    with pytest.raises(DataError, match=rf"trainval\.tar\.part: wrong checksum \(expected md5 {right}, got {wrong}\)"):
        download(server, tmp_path)
    assert not (tmp_path / "VOCdevkit").exists()
    download(server, tmp_path)
    check(tmp_path)


def test_http_error_and_no_network(server, tmp_path):
    absent = {"2007": [Archive("nowhere/a.tar", "0")]}
    with pytest.raises(DataError, match=r"nowhere/a\.tar: refused by the server: 404"):
        download_voc(tmp_path, base_url=server.url, table=absent)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(DataError, match=rf"{url}.*cannot be downloaded: .*refused"):
            download_voc(tmp_path, base_url=url, table=absent)


@pytest.mark.parametrize("in_destination", [True, False])
def test_archives_on_disk_are_used_checked_and_left_alone(tmp_path, in_destination):
    folder = tmp_path / "data"
    archives = folder if in_destination else tmp_path / "archives"
    archives.mkdir()
    for name, data in CONTENT.items():
        (archives / name).write_bytes(data)
    arguments = {} if in_destination else {"archives": archives}
    download_voc(folder, base_url="http://127.0.0.1:9/", table=table(CONTENT), **arguments)
    check(folder)
    assert all((archives / name).read_bytes() == data for name, data in CONTENT.items())


def test_bad_archives_on_disk(tmp_path):
    with pytest.raises(DataError, match=r"trainval\.tar: archive not found"):
        download_voc(tmp_path / "data", archives=tmp_path, table=table(CONTENT))
    (tmp_path / "trainval.tar").write_bytes(b"other")
    with pytest.raises(DataError, match=r"trainval\.tar: wrong checksum"):
        download_voc(tmp_path / "data", archives=tmp_path, table=table(CONTENT))
    assert (tmp_path / "trainval.tar").exists()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a tar", "cannot be unpacked"),
        (TRAINVAL[:9000], "cannot be unpacked"),
        (make_tar({"other/file": b"x"}), "holds no VOCdevkit"),
        (make_tar({"VOCdevkit/../../escaped": b"x"}), "cannot be unpacked"),
    ],
)
def test_damaged_or_hostile_archives_leave_nothing(tmp_path, data, words):
    archives = tmp_path / "archives"
    archives.mkdir()
    (archives / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.tar: {words}"):
        download_voc(tmp_path / "data", archives=archives, table=table({"a.tar": data}))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "archives", "data"]


def test_interrupted_unpacking_is_done_again(server, tmp_path):
    with pytest.raises(KeyboardInterrupt), stopping(os, "replace"):
        download(server, tmp_path)
    assert not (tmp_path / "VOCdevkit").exists()
    download(server, tmp_path)
    check(tmp_path)


def test_table_is_complete_and_an_unknown_year_is_named(tmp_path):
    archives = [archive for year in VOC_ARCHIVES.values() for archive in year]
    assert [archive.md5[:8] for archive in archives] == ["c52e2795", "b6e924de", "6cd6e144"]
    assert all(len(archive.md5) == 32 and archive.url.endswith(f"/{archive.name}") for archive in archives)
    with pytest.raises(DataError, match=r"years: no such year \(expected 2007 or 2012, got 2011\)"):
        download_voc(tmp_path, years=["2011"])


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        link("VOCdevkit/VOC2007", "elsewhere"),
        link("VOCdevkit/a", "VOCdevkit/b", tarfile.LNKTYPE),
        link("VOCdevkit/pipe", "", tarfile.FIFOTYPE),
        link("VOCdevkit/sparse", "", tarfile.GNUTYPE_SPARSE),
        tarfile.TarInfo("/VOCdevkit/a"),
        tarfile.TarInfo("VOCdevkit/a/../b"),
    ],
    ids=lambda member: member.name,
)
def test_nothing_is_extracted_if_a_member_is_not_a_plain_file(tmp_path, monkeypatch, member):
    """The link of one archive could lead the files of the next one out of the folder."""
    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda *_, **__: pytest.fail("extracted"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("VOCdevkit/first"))
        tar.addfile(member)
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"a\.tar: .*cannot be unpacked: "):
        download_voc(tmp_path / "data", archives=tmp_path, table=table({"a.tar": buffer.getvalue()}))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_compressed_archive_is_refused_and_leftovers_are_removed(tmp_path):
    data = gzip.compress(TRAINVAL)
    (tmp_path / "a.tar").write_bytes(data)
    (tmp_path / "data/.unpacking-x").mkdir(parents=True)
    (tmp_path / "data/.unpacking-x/planted").touch()
    with pytest.raises(DataError, match=r"a\.tar: cannot be unpacked"):
        download_voc(tmp_path / "data", archives=tmp_path, table=table({"a.tar": data}))
    assert list((tmp_path / "data").iterdir()) == []


def test_the_lists_of_an_archive_come_after_its_images(tmp_path):
    for name in ("VOC2007/ImageSets/Main/test.txt", "VOC2007/JPEGImages/2.jpg", "VOC2007/Annotations/2.xml"):
        (tmp_path / "new" / name).parent.mkdir(parents=True)
        (tmp_path / "new" / name).touch()
        (tmp_path / "old" / name).parent.mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt), stopping(os, "replace", after=2):
        _merge(tmp_path / "new", tmp_path / "old")
    assert {path.name for path in (tmp_path / "old").rglob("*.*")} == {"2.jpg", "2.xml"}


def header(name: str, **fields) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def make_tar_of(members: list[tarfile.TarInfo]) -> bytes:
    """An archive of headers alone."""
    kinds = (tarfile.PAX_FORMAT if member.pax_headers else tarfile.GNU_FORMAT for member in members)
    blocks = [member.tobuf(kind) for member, kind in zip(members, kinds, strict=True)]
    return b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize(
    "member",
    [
        header("VOCdevkit/a", size=-512),  # from which Python before 3.14 goes back, and comes to it again
        header("VOCdevkit/a", mtime=10**20),
        header("VOCdevkit/a", pax_headers={"mtime": "nan"}),
        header("VOCdevkit/a", size=1 << 70),
        header("VOCdevkit/a", pax_headers={"path": "VOCdevkit/a\0b"}),
        header("VOCdevkit/a", pax_headers={"GNU.sparse.map": "x"}),
        header("VOCdevkit/a", type=tarfile.GNUTYPE_LONGNAME, size=1 << 36),
    ],
    ids=lambda member: str(member.get_info()),
)
def test_headers_that_tarfile_stumbles_over_are_refused(tmp_path, member):
    data = make_tar_of([tarfile.TarInfo("VOCdevkit/first"), member])
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar: .*cannot be unpacked: "), stopping(tarfile.TarFile, "next", after=9):
        download_voc(tmp_path / "data", archives=tmp_path, table=table({"a.tar": data}))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_damaged_header_is_not_the_end_of_an_archive(tmp_path):
    data = bytearray(TRAINVAL)
    data[data.index(b"VOCdevkit/VOC2007/Annotations") + 10] ^= 1
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.tar: cannot be unpacked: damaged header \(got byte 30720\)"):
        download_voc(tmp_path / "data", archives=tmp_path, table=table({"a.tar": bytes(data)}))
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("name", [".test.tar.done", "./.trainval.tar.done", ".test.tar.done/a"])
def test_an_archive_marks_no_archive_as_unpacked(tmp_path, name):
    content = {"trainval.tar": make_tar({f"VOCdevkit/{name}": b""}), "test.tar": TEST}
    for archive, data in content.items():
        (tmp_path / archive).write_bytes(data)
    with pytest.raises(DataError, match=r"trainval\.tar: cannot be unpacked: marks an archive as unpacked"):
        download_voc(tmp_path / "data", archives=tmp_path, table=table(content))
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("name", ["VOC2007/JPEGImages", "VOC2007/JPEGImages/1.jpg/a"])
def test_nothing_is_moved_if_a_name_is_a_file_and_a_folder(tmp_path, name):
    content = {"trainval.tar": TRAINVAL, "test.tar": make_tar({f"VOCdevkit/{name}": b"", "VOCdevkit/A/b": b""})}
    for archive, data in content.items():
        (tmp_path / archive).write_bytes(data)
    with pytest.raises(DataError, match=r"test\.tar: cannot be unpacked: a file and a folder of one name"):
        download_voc(tmp_path / "data", archives=tmp_path, table=table(content))
    assert not (tmp_path / "data/VOCdevkit/A").exists()
