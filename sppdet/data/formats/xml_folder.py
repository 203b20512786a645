"""Images with one VOC XML file each, without lists: side by side, or in folders that correspond."""

from collections.abc import Sequence
from pathlib import Path

from sppdet.data.files import ImageIndex
from sppdet.data.formats.pairs import Pair, Pairs, find_pairs, pair_of, short_names
from sppdet.data.formats.xml import LEAST_SIDE, read_xml
from sppdet.data.problems import Problems, check_splits
from sppdet.data.records import AnnotatedImage, Records, names_of
from sppdet.data.split import choose_splits
from sppdet.errors import DataError
from sppdet.wording import counted


class XmlSource:
    """A folder of images and XML files, its splits those that folders name (train, valid, test)."""

    format = "xml"
    least_side = LEAST_SIDE

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.resolve().name
        self.found = Problems()  # of the folder, which is looked at once
        self.pairs = _pair_by_content(root, find_pairs(root, ".xml", self.found))
        self.splits = tuple(sorted(self.pairs.splits()))
        strays = sum(pair.split is None for pair in self.pairs.images)
        if strays and self.splits:
            self.found.warn("images of no split", f"{counted(strays, 'image')} in no split", root)
        for path in self.pairs.orphans:
            self.found.warn("annotation without an image", "no image file for this annotation", path)

    def read(self, splits: Sequence[str] | None, problems: Problems) -> Records:
        """Read the images of these splits, in the order of their names; None: of all."""
        check_splits(splits, self.splits, self.root)
        problems.found += self.found.found
        pairs = [pair for pair in self.pairs.images if splits is None or pair.split in splits]
        names = short_names(pair.key for pair in pairs)
        images = []
        for pair in pairs:
            with problems.collect("unusable file"):
                images.append(_read(pair, names[pair.key], problems))
        return Records([image for image in images if image])

    def class_names(self, problems: Problems) -> tuple[str, ...]:
        """Return the sorted class names of train and val if there are such splits, else of all objects."""
        classes = names_of(self.read(choose_splits("trainval", self.splits), Problems(problems.strict)).images)
        if not classes:
            raise DataError("no annotated object, so no classes", file=self.root)
        return classes


def find_xml(root: Path) -> XmlSource | None:
    """Return the images with XML files below a folder; None if there are none."""
    source = XmlSource(root)
    return source if any(pair.label for pair in source.pairs.images) else None


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


def _read(pair: Pair, name: str, problems: Problems) -> AnnotatedImage | None:
    if pair.label is None:
        problems.warn("no annotation file", "no annotation file, taken as without objects", pair.image)
        return AnnotatedImage(name, pair.image, pair.image, None, ())
    content = read_xml(pair.label, problems)
    return content and AnnotatedImage(name, pair.image, pair.label, content.size, content.objects)
