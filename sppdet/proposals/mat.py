"""Cell arrays in MATLAB's files (versions 5 to 7), read within bounds: scipy's reader crashes on some damaged files.

Layout: MathWorks, "MAT-File Format", chapter 1. A file is a row of elements: a type, a number of bytes, and those
bytes, padded to 8. A variable is an element of elements: flags, dimensions, name, then the cells or the numbers.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from sppdet.errors import DataError
from sppdet.runtime.limits import check_bytes, read_whole

HEADER = 128  # bytes
MATRIX, COMPRESSED = 14, 15  # types of elements
CELL, CHAR = 1, 4  # classes of variables; those of numbers are in NUMBERS
NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # by type
ENCODINGS = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}  # of texts, by type
MOST_CELLS = 2_000_000
MOST_DIMENSIONS = 32

Variable = tuple[int, list[int], list[tuple[int, memoryview]]]  # class, dimensions, elements after the name
Cell = np.ndarray | str


class MatFile:
    """The variables of these names in a file. Their numbers are not looked at before they are asked for.

    Raises DataError for a file that is of version 7.3 or larger unpacked than may be read, ValueError for one that is
    damaged or of another kind that is not read, and OSError.
    """

    def __init__(self, file: Path, names: Collection[str]) -> None:
        data = memoryview(read_whole(file))
        order, version = bytes(data[126:128]), bytes(data[124:126])
        if order not in (b"IM", b"MI"):
            raise ValueError("no MATLAB file of version 5 to 7")
        self._order = "<" if order == b"IM" else ">"
        if struct.unpack(f"{self._order}H", version)[0] != 0x100:
            raise DataError("is of MATLAB version 7.3; save it with -v7", file=file)
        self.variables: dict[str, Variable] = {}
        unpacked = 0
        for kind, content in self._elements(data[HEADER:]):
            if kind == COMPRESSED:
                most = len(content) + (1 << 20)
                packer, parts = zlib.decompressobj(), bytearray()
                while not packer.eof and (part := packer.decompress(packer.unconsumed_tail or content, most)):
                    parts += part
                    check_bytes(unpacked + len(parts), file)
                unpacked += len(parts)
                kind, content = next(self._elements(memoryview(parts)), (0, memoryview(b"")))
            if kind == MATRIX:
                name, variable = self._variable(content)
                if name in names:
                    self.variables[name] = variable

    def cells(self, name: str) -> list[Variable]:
        """Return the cells of a cell array, column after column. Raises KeyError if there is none of this name."""
        kind, dimensions, elements = self.variables[name]
        if kind != CELL or math.prod(dimensions) != len(elements):
            raise ValueError(f"{name} is no cell array, or incomplete")
        return [self._variable(content)[1] for _, content in elements]

    def array(self, variable: Variable) -> Cell:
        """Return text, or numbers in the shape of the variable."""
        kind, dimensions, elements = variable
        if kind == CHAR and dimensions[0] <= 1 and len(elements) == 1 and elements[0][0] in ENCODINGS:
            encoding = ENCODINGS[elements[0][0]]
            suffix = "" if encoding == "utf-8" else "-le" if self._order == "<" else "-be"
            return str(elements[0][1], encoding + suffix)
        if not elements and math.prod(dimensions) == 0:
            return np.zeros(dimensions)
        if kind not in NUMBERS or len(elements) != 1 or elements[0][0] not in STORED:
            raise ValueError(f"neither text nor real numbers but class {kind}")
        numbers = np.frombuffer(elements[0][1], self._order + STORED[elements[0][0]])
        return numbers.reshape(dimensions, order="F").astype(NUMBERS[kind])

    def _variable(self, content: memoryview) -> tuple[str, Variable]:
        if not content:
            return "", (6, [0, 0], [])
        (_, flags), (_, sizes), (_, name), *elements = self._elements(content)
        if len(flags) != 8 or not 8 <= len(sizes) <= 4 * MOST_DIMENSIONS or len(sizes) % 4:
            raise ValueError("wrong flags or dimensions of a variable")
        dimensions = list(struct.unpack(f"{self._order}{len(sizes) // 4}i", sizes))
        if min(dimensions) < 0:
            raise ValueError("negative dimensions of a variable")
        return str(name, "utf-8"), (struct.unpack(f"{self._order}I", flags[:4])[0] & 255, dimensions, elements)

    def _elements(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield the types and bytes of the elements in a row of them."""
        position = count = 0
        while position < len(data):
            kind, size = struct.unpack_from(f"{self._order}2I", data, position)
            start = position + 8
            if kind >> 16:  # up to 4 bytes, in place of their number
                kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
            if size > len(data) - start or count >= MOST_CELLS + 3 or (start == position + 4 and size > 4):
                raise ValueError(f"damaged, or more than {MOST_CELLS} cells")
            yield kind, data[start : start + size]
            position = start + size if kind == COMPRESSED else -(-(start + size) // 8) * 8
            count += 1
