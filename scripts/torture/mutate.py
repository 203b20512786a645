"""Changes of bytes, of trees of values and of lines; all of them follow from a `random.Random`."""

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

PIECES = b'<>/&"[]{}:, -.019eNax\xff\xfe\n\0'
NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = (
    *("", "0", "-1", "1e9", "1e400", "nan", "inf", "-inf", "1_0", "0x10", "1.5", "99999999999999999999", "-0", "+1"),
    *("\u0663", "true", "null", "cat", "../a", "/etc/passwd", "a b", "\u200b", "a\tb", "\x1b[31m", "x" * 300, "."),
)
VALUES = (
    *(None, True, False, 0, -1, 1, 3, 10**30, -(10**400), 0.5, float("nan"), float("inf"), -1e308, 2**63, 1e-320),
    *("", "1", "cat", "true", "\0", "\ud800", "../../a", "x" * 300, [], {}, [[1, 2]], [None], {"a": 1}, [[]]),
)


def damage(text: bytes, rng: random.Random) -> bytes:
    """Bytes of which some are changed, taken out, or doubled."""
    data = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.randint(0, 20))
        piece = bytes(rng.choice(PIECES) for _ in range(rng.randint(0, 3)))
        data[start:end] = rng.choice([b"", piece, bytes(data[start:end]) * 2])
    return bytes(data)


def corrupt(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Damage binary data: flipped bits, other numbers, missing ends, parts of itself or of other files."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = min(rng.randrange(len(result) + 1), rng.choice((64, 1 << 40)))
        match rng.randrange(8):
            case 0 | 1:
                result[at : at + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in result[at : at + 1])
            case 2 | 3:
                kind, number = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q", "B")), rng.choice(NUMBERS)
                size = struct.calcsize(kind)
                result[at : at + size] = struct.pack(kind, number % (1 << 8 * size))
            case 4:
                del result[at:]
            case 5:
                del result[at : at + rng.choice((1, 4, 100, 1000))]
            case 6:
                source = rng.choice([data, *others])
                start = rng.randrange(len(source) + 1)
                result[at : at + rng.choice((0, 8, 200))] = source[start : start + rng.choice((1, 8, 200, 5000))]
            case 7:
                result[at : at + rng.choice((1, 4, 32))] = rng.randbytes(rng.choice((1, 4, 32)))
    return bytes(result)


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The paths of all values inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, inner in items for place in places(inner, (*path, key)))]


def change_tree(value: object, rng: random.Random) -> object:
    """A value of JSON in which some values are replaced, removed, doubled or exchanged."""
    whole = [copy.deepcopy(value)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        *path, last = (0, *rng.choice(places(whole[0])))
        inner = whole
        for key in path:
            inner = inner[key]
        match rng.randrange(6):
            case 0 if path:
                del inner[last]
            case 1 if isinstance(inner, list) and path:
                inner.insert(rng.randrange(len(inner) + 1), copy.deepcopy(inner[last]))
            case 2 if isinstance(inner, dict):
                inner[rng.choice(("", "id", "bbox", "x" * 300, "\u0000", *inner))] = inner.pop(last)
            case 3:
                source = whole[0]
                for key in rng.choice(places(source)):
                    source = source[key]
                inner[last] = copy.deepcopy(source)
            case _:
                inner[last] = copy.deepcopy(rng.choice(VALUES))
    return whole[0]


def change_json(text: bytes, rng: random.Random) -> bytes:
    """Other JSON, or bytes that may be none."""
    if rng.randrange(3) == 0:
        return damage(text, rng)
    return json.dumps(change_tree(json.loads(text), rng)).encode("utf-8", "surrogatepass")


def change_xml(text: bytes, rng: random.Random) -> bytes:
    """XML with other elements, or bytes that may be none."""
    if rng.randrange(3) == 0:
        return damage(text, rng)
    root = ElementTree.fromstring(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        parents = list(root.iter())
        parent = rng.choice([each for each in parents if len(each)] or parents)
        child = rng.choice(list(parent) or parents)
        match rng.randrange(6):
            case 0 if child in list(parent):
                parent.remove(child)
            case 1:
                parent.append(copy.deepcopy(child))
            case 2:
                child.tag = rng.choice([each.tag for each in parents])
            case 3 if child.attrib:
                name = rng.choice(list(child.attrib))
                if rng.randrange(2):
                    child.attrib[name] = rng.choice(WORDS)
                else:
                    del child.attrib[name]
            case 4:
                child.append(copy.deepcopy(rng.choice(parents)))
            case _:
                child.text = rng.choice(WORDS)
    return ElementTree.tostring(root)


def change_lines(text: bytes, rng: random.Random) -> bytes:
    """Lines of words that are replaced, removed, doubled or exchanged, or damaged bytes."""
    if rng.randrange(3) == 0:
        return damage(text, rng)
    lines = [line.split(" ") for line in text.decode().split("\n")]
    for _ in range(rng.choice((1, 1, 2, 3))):
        line = rng.choice(lines)
        at = rng.randrange(len(line) + 1)
        match rng.randrange(5):
            case 0:
                lines.insert(rng.randrange(len(lines)), list(line))
            case 1:
                del line[at : at + 1]
            case 2:
                line[at : at + rng.randrange(2)] = rng.choices(WORDS, k=rng.choice((1, 1, 5)))
            case 3:
                line[at : at + 1] = [rng.choice(rng.choice(lines) or [""])]
            case _:
                lines[rng.randrange(len(lines))] = line
    end = rng.choice(("\n", "\n", "\r\n", "\r", "\n\n"))
    return end.join(map(" ".join, lines)).encode(rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")))


def change_png(data: bytes, rng: random.Random) -> bytes:
    """A PNG whose chunks, or the pixels in them, are changed and have correct check sums again."""
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    for _ in range(rng.choice((1, 1, 2))):
        chunk = rng.choice(chunks)
        if rng.randrange(4) == 0:
            chunks.insert(rng.randrange(len(chunks)), list(chunk))
        elif chunk[0] == b"IDAT":
            chunk[1] = zlib.compress(corrupt(zlib.decompress(chunk[1]), rng)) if rng.randrange(2) else chunk[1][:-9]
        else:
            chunk[1] = corrupt(chunk[1], rng)
    parts = (len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4) for kind, body in chunks)
    return data[:8] + b"".join(parts)


def either(*changes: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    """One of several changes."""
    return lambda data, rng: rng.choice(changes)(data, rng)
