"""Images with one VOC XML file each, without lists: side by side, or in folders that correspond."""

from collections.abc import Sequence
from pathlib import Path

from sppdet.data.entries import ORPHAN
from sppdet.data.formats.image_index import ImageIndex
from sppdet.data.formats.pairs import Pair, Pairs, PairSource, find_pairs, pair_of
from sppdet.data.formats.xml import LEAST_SIDE, annotate, count_objects, read_xml
from sppdet.data.problems import Problems
from sppdet.data.records import Records
from sppdet.errors import DataError


class XmlSource(PairSource):
    """A folder of images and XML files, its splits those that folders name (train, valid, test)."""

    format, title, expected = "xml", "images with VOC XML", "VOC XML files next to images"
    label_suffix = ".xml"
    least_side = LEAST_SIDE

    @classmethod
    def find(cls, root: Path, _year: str | None, /) -> "XmlSource | None":
        found = Problems()
        pairs = _pair_by_content(root, find_pairs(root, ".xml", found))
        for path in pairs.orphans:
            found.warn(ORPHAN, "no image file for this annotation", path)
        return cls(root, pairs, found) if any(pair.label for pair in pairs.images) else None

    def _read(self, pairs: Sequence[Pair], problems: Problems) -> Records:
        return self._read_pairs(pairs, lambda name, pair, own: annotate(name, pair.image, pair.label, own), problems)

    def _count_objects(self, label: Path) -> int:
        return count_objects(label)


def _pair_by_content(root: Path, pairs: Pairs) -> Pairs:
    """Pair XML files of other names with the image whose file name they hold, if that has no XML file."""
    if not pairs.orphans:
        return pairs
    index, found, orphans = ImageIndex(root), {pair.image: pair for pair in pairs.images}, []
    for path in pairs.orphans:
        try:
            content = read_xml(path, Problems(strict=False))
            image = content and index.find(content.image, path)
        except DataError:
            image = None
        if image is None or (image in found and found[image].label):
            orphans.append(path)
        else:
            found[image] = pair_of(root, image, path)
    return Pairs(sorted(found.values(), key=lambda pair: pair.key), orphans)
