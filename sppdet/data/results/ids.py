"""The images and classes that the ids in a detection file mean."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sppdet.data.files import composed, stem_of
from sppdet.structures import Dataset, ImageId

SHOWN = 5  # ids that an error names


class Ids:
    """Indices by id, and by other forms of it that only one of them has."""

    def __init__(self, *forms: Sequence[ImageId | None]) -> None:
        """forms: of each index one id, the most exact form first; None: it has none."""
        self._index: dict[ImageId, int] = {}
        self._names = ", ".join(map(repr, forms[0][:SHOWN])) + (", …" if len(forms[0]) > SHOWN else "")
        for ids in reversed(forms):
            count = Counter(ids)
            self._index |= {id: i for i, id in enumerate(ids) if id is not None and (count[id] == 1 or ids is forms[0])}

    def __str__(self) -> str:
        return self._names

    def find(self, key: Any) -> int | None:
        """Return the index that an id of a file means, None if it means none. Text may be a path of any system."""
        if isinstance(key, float) and key.is_integer():
            key = int(key)
        if type(key) not in (int, str):  # as a dictionary key True equals 1, but it is no id
            return None
        if key in self._index:
            return self._index[key]
        name = composed(str(key)).rsplit("/", 1)[-1]
        forms = (composed(str(key)), name, stem_of(name))
        return next((self._index[form] for form in forms if form in self._index), None)


def image_ids(dataset: Dataset) -> Ids:
    """Return the images by id, its number or text, and the name and stem of their file."""
    ids = [image.id for image in dataset.images]
    texts = [composed(id) if isinstance(id, str) else None for id in ids]
    names = [composed(image.path.name) if image.path else None for image in dataset.images]
    return Ids(ids, list(map(_other_form, ids)), texts, names, [stem_of(name) if name else None for name in names])


def category_ids(dataset: Dataset) -> Ids:
    """Return the classes, from 0, by id, its text, and their name."""
    ids = list(dataset.category_ids)
    return Ids(ids, list(map(_other_form, ids)), dataset.classes)


def _other_form(image_id: ImageId) -> ImageId | None:
    """Return the number of a text id (None if it has none), or the text of a number."""
    if isinstance(image_id, int):
        return str(image_id)
    try:
        return int(image_id)
    except ValueError:
        return None
