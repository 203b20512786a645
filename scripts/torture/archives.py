"""Archives of VOC from a stranger: tar files with a correct checksum, so that the check of their members is tested.

The one that is changed comes before or after one that is not. What is accepted is in place, and nothing else is. What
is refused leaves nothing that the next call, with a correct archive of that name, takes for its own.
"""

import hashlib
import os
import random
import shutil
import tarfile
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

from sppdet.data.download import Archive, download_voc
from sppdet.errors import SppdetError
from torture.mutate import NUMBERS, corrupt
from torture.target import Case, Target

NAME, OTHER = "changed.tar", "other.tar"
ESCAPED = Path("/tmp/sppdet-torture-escaped")
BLOCK = tarfile.BLOCKSIZE
LONG = f"VOCdevkit/VOC2007/{'long/' * 30}a.xml"  # of two headers
FILES = {
    "VOCdevkit/VOC2007/JPEGImages/1.jpg": b"one" * 400,
    "VOCdevkit/VOC2007/Annotations/1.xml": b"<a/>",
    LONG: b"<b/>",
    "VOCdevkit/VOC2007/ImageSets/Main/train.txt": b"1\n",
}
OTHER_FILES = {"VOCdevkit/VOC2007/JPEGImages/2.jpg": b"two", "VOCdevkit/VOC2007/ImageSets/Main/test.txt": b"2\n"}
NAMES = (
    *("", ".", "..", "/", "VOCdevkit", "VOCdevkit/", "VOCdevkit/VOC2007", "VOCdevkit/VOC2007/JPEGImages", "other/a"),
    *("../escaped", "../../escaped", "VOCdevkit/../../../escaped", str(ESCAPED), f"/{ESCAPED}", "C:\\escaped"),
    *(f"VOCdevkit/.{NAME}.done", f"VOCdevkit/.{OTHER}.done", f"VOCdevkit/.{OTHER}.done/a", ".unpacking-x/a"),
    *("VOCdevkit//a/./b", "VOCdevkit/a\nb", "VOCdevkit/\x1b[31m", "VOCdevkit/\udcff", f"VOCdevkit/{'x' * 300}"),
    *("VOCdevkit/a\0b", *FILES, *OTHER_FILES),
)
TYPES = b"0001255573467xxgLKSVX\0Z"
FIELDS = {  # of a header: where it begins, and its size
    **{"name": (0, 100), "mode": (100, 8), "uid": (108, 8), "size": (124, 12), "mtime": (136, 12), "type": (156, 1)},
    **{"linkname": (157, 100), "prefix": (345, 155)},
}
PAX = {
    **dict.fromkeys(("path", "linkpath", "GNU.sparse.name"), NAMES),
    **dict.fromkeys(
        ("size", "mtime", "uid", "GNU.sparse.size", "GNU.sparse.realsize"),
        ("0", "-512", "1e400", "nan", "9" * 30, "9" * 5000, "7", "x"),
    ),
    **{"GNU.sparse.map": ("0,4", "0", "-1,9", "x"), "GNU.sparse.major": ("1",), "GNU.sparse.minor": ("0",)},
    **{"hdrcharset": ("BINARY", "\udcff"), "uname": ("root",)},
}


def targets() -> list[Target]:
    return [Target("archive", _prepare)]


def write_tar(files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=kind) as tar:
        folder = tarfile.TarInfo("VOCdevkit")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5 if kind == tarfile.PAX_FORMAT else 1
            tar.addfile(member, BytesIO(data))
    return content.getvalue()


def change_tar(data: bytes, rng: random.Random) -> bytes:
    """An archive whose headers and blocks are changed; all headers have correct check sums again, or nearly all."""
    if rng.randrange(8) == 0:
        return corrupt(data, rng)
    blocks = [bytearray(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        heads = [i for i, block in enumerate(blocks) if block[257:262] == b"ustar"]
        at = rng.choice(heads or [0])
        match rng.randrange(8):
            case 0:
                blocks[at : at + rng.choice((1, 2, 3))] = []
            case 1:
                source = rng.choice(heads or [0])
                blocks[at:at] = map(bytearray, blocks[source : source + rng.choice((1, 2, 3))])
            case 2 | 3:
                blocks[at:at] = _pax_header(rng)
            case 4 if at + 1 < len(blocks):
                blocks[at + 1] = bytearray(corrupt(blocks[at + 1], rng).ljust(BLOCK, b"\0")[:BLOCK])
            case _:
                _change_field(blocks[at], rng)
        blocks = blocks or [bytearray(BLOCK)]
    for block in blocks:
        if block[257:262] == b"ustar" and rng.randrange(50):
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


def _change_field(block: bytearray, rng: random.Random) -> None:
    name = rng.choice(list(FIELDS))
    start, size = FIELDS[name]
    if name == "type":
        value = bytes([rng.choice(TYPES)])
    elif name in ("name", "linkname", "prefix"):
        value = _encode(rng.choice(NAMES))
    else:  # octal, or binary after a byte that gives the sign: a negative size leads back to a header
        number = rng.choice((*NUMBERS, 512, 1536, 1 << 33))
        value = rng.choice(
            (
                *(b"%o" % number, b"-1", b"x", b"\x80" + (number % (1 << 56)).to_bytes(size - 1)),
                b"\xff" * (size - 8) + (-BLOCK * rng.choice((1, 2, 3, 4, 6)) % (1 << 64)).to_bytes(8),
            )
        )
    block[start : start + size] = value[:size].ljust(size, b"\0")


def _pax_header(rng: random.Random) -> list[bytearray]:
    """An extended header with some records, for the next member or all that follow."""
    body = b""
    for _ in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice(list(PAX))
        record = _encode(f" {key}={rng.choice(PAX[key])}\n")
        length = len(record) + len(str(len(record) + 3))
        body += b"%d%b" % (length + rng.choice((0, 0, 0, 0, 1, 9)), record)
    member = tarfile.TarInfo("pax")
    member.type, member.size = rng.choice((tarfile.XHDTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE)), len(body)
    data = member.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK)
    return [bytearray(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _prepare(folder: Path) -> Case:
    seeds = [write_tar(FILES, kind) for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
    other, place = write_tar(OTHER_FILES), folder / "place"
    archives, output = place / "archives", place / "data"

    def download(data: bytes, names: list[str]) -> None:
        content = {NAME: data, OTHER: other}
        table = {"2007": [Archive(name, hashlib.md5(content[name]).hexdigest()) for name in names]}
        (archives / NAME).write_bytes(data)
        with patch.object(os, "sync"):  # which waits for all that others write on this machine
            download_voc(output, archives=archives, table=table)

    def read(data: bytes) -> None:
        shutil.rmtree(place, ignore_errors=True)
        archives.mkdir(parents=True)
        (archives / OTHER).write_bytes(other)
        names = [NAME, OTHER][:: 1 if len(data) // BLOCK % 2 else -1]
        refusal, unpacked, content = None, names, {OTHER: OTHER_FILES}
        try:
            download(data, names)
            content[NAME] = files_of(data)
        except SppdetError as error:
            refusal, unpacked = error, names[: names.index(NAME)]
        _check_outside(folder)
        _check_files(output, content, unpacked)
        try:
            download(seeds[0] if refusal else b"", names)  # empty: what is unpacked is not looked at again
        except SppdetError as error:
            raise AssertionError("the next call is refused") from error
        _check_files(output, {NAME: FILES, **content}, names)
        if refusal:
            raise refusal

    return Case(lambda rng: change_tar(rng.choice(seeds), rng), read)


def files_of(data: bytes) -> dict[str, bytes]:
    """The files below VOCdevkit of an archive that was accepted, all of it."""
    found = {}
    with tarfile.open(fileobj=BytesIO(data), mode="r:") as tar:
        for member in tar:
            assert member.isreg() or member.isdir()
            name = os.path.normpath(member.name)
            if member.isreg() and name.startswith("VOCdevkit/"):
                found[name] = tar.extractfile(member).read()
        assert not any(data[tar.offset : tar.offset + BLOCK]), "members after a damaged header are lost"
    return found


def _check_outside(folder: Path) -> None:
    assert not os.path.lexists(ESCAPED), "a file outside"
    found = {str(path.relative_to(folder)) for level in (folder, folder / "place") for path in level.iterdir()}
    assert found == {"place", "place/archives", "place/data"}, "a file outside"
    assert {path.name for path in (folder / "place/archives").iterdir()} == {NAME, OTHER}


def _check_files(output: Path, content: dict[str, dict[str, bytes]], names: list[str]) -> None:
    """The files of these archives, the later ones over the earlier ones, and their marks, and nothing else."""
    assert {path.name for path in output.iterdir()} <= {"VOCdevkit"}, "leftovers"
    paths = [path for path in output.rglob("*") if path.is_symlink() or not path.is_dir()]
    assert all(path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1 for path in paths), "a link"
    assert not any(path.stat().st_mode & 0o7000 for path in paths), "special modes"
    expected = {f"VOCdevkit/.{name}.done": b"" for name in names}
    for name in names:
        expected |= content[name]
    found = {str(path.relative_to(output)): path.read_bytes() for path in paths}
    assert found == expected, "other files"
