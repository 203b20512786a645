"""The files that `sppdet detect` leaves: pictures and videos with boxes, crops, and the detections as data."""

from __future__ import annotations

import csv
import io
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sppdet.errors import ConfigError, DataError
from sppdet.wording import counted

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sppdet.files.owned import OwnedFolder
    from sppdet.structures import Annotations, Detections
    from sppdet.videos import Video

logger = logging.getLogger(__name__)

Format = Literal["csv", "voc", "coco", "yolo"]
RESULT, TABLE, CROPS = "detections.json", "detections.csv", "crops"
SPLITS = {"voc": "default", "coco": "default", "yolo": "train"}  # of the data sets, which have no splits


class DetectionFiles:
    """Writes what is found, image by image, into a folder. Data sets and crops are new folders in it, to be corrected:
    they are never replaced. The rest replaces that of an earlier detect.

    classes: names of labels 1..K. scores: what the scores are. frames: a folder for frames of videos meanwhile.
    Detections without area, which box regression moved out of the image, are in no crop and no data set.
    """

    def __init__(
        self,
        owned: OwnedFolder,
        names: Sequence[str],
        classes: Sequence[str],
        scores: str,
        formats: Sequence[Format],
        save_crops: bool,
        frames: Path,
    ) -> None:
        """names: of the pictures. Raises ConfigError for a file of the user's in the place of one of them."""
        from sppdet.data.files import file_names

        self.owned, self.classes, self.scores, self.frames = owned, classes, scores, frames
        self.data_sets = [name for name in SPLITS if name in formats]
        self.table = TABLE if "csv" in formats else None
        self.crops = dict(enumerate(file_names(classes), start=1)) if save_crops else {}  # folders, by label
        self.entries: list[dict[str, Any]] = []
        self.records: list[Annotations] = []
        for name in (*self.data_sets, *([CROPS] if save_crops else [])):
            if os.path.lexists(owned.path / name):
                way = "another output; or move it away, if it is not needed"
                raise ConfigError("exists already", file=owned.path / name, field="output", expected=way)
        self.earlier = owned.files()
        owned.claim([*names, RESULT, *([self.table] if self.table else [])])

    def add_image(self, file: Path, name: str, image: Tensor, found: Detections) -> None:
        """Write the picture of an image, and note its detections."""
        from sppdet.drawing.detections import draw_enlarged, write_picture

        picture = self.owned.path / name
        write_picture(picture, draw_enlarged(image, found, self.classes))
        self._add(file, Path(name).stem, image, found)
        entry = {"image": str(file), "picture": str(picture), "scores": self.scores}
        self.entries.append({**entry, "detections": self._rows(found)})

    def add_video(
        self, video: Video, name: str, found: Iterable[tuple[int, Tensor, Detections]], every: int = 1
    ) -> None:
        """Write a video with boxes as its frames come, and note their detections. Ctrl-C ends it.

        found: number, pixels and detections of every so many frames. Pictures of a live video stay until the next.
        """
        from sppdet.drawing.detections import draw_enlarged, write_picture
        from sppdet.videos import write_video

        picture, rows, frames = self.owned.path / name, list[dict[str, Any]](), 0
        rate = video.rate if video.live else video.rate / every

        def draw() -> Iterator[np.ndarray]:
            nonlocal frames
            start, written = time.monotonic(), 0
            for number, image, detections in found:
                stem, file = f"{Path(name).stem}_{number:06d}", None
                if self.data_sets:
                    file = self.frames / f"{stem}.jpg"
                    write_picture(file, image.permute(1, 2, 0).numpy())
                self._add(file, stem, image, detections)
                rows.extend({"frame": number, **row} for row in self._rows(detections))
                frames += 1
                due = int((time.monotonic() - start) * rate) - written if video.live else 1
                written += max(1, due)
                yield from repeat(draw_enlarged(image, detections, self.classes), max(1, due))

        whole = write_video(picture, draw(), rate)
        entry = {"video": video.name, "picture": str(picture), "rate": video.rate, "every": every, "frames": frames}
        self.entries.append({**entry, "scores": self.scores, "detections": rows})
        if not whole and not video.live:  # Ctrl-C is the way to end a live one
            raise KeyboardInterrupt

    def _rows(self, found: Detections) -> list[dict[str, Any]]:
        return [{"class": self.classes[k - 1], "score": s, "box": box.tolist()} for box, k, s in found]

    def _add(self, file: Path | None, stem: str, image: Tensor, found: Detections) -> None:
        """Write the crops of an image, and keep its file for the data sets."""
        found = found[(found.boxes[:, :2] < found.boxes[:, 2:]).all(dim=1)]
        from sppdet.classification.crops import cut_objects
        from sppdet.drawing.detections import write_picture
        from sppdet.images import to_array
        from sppdet.structures import Annotations

        if self.crops:
            for k, pixels in cut_objects(Annotations(image, found.boxes, found.labels, id=stem)):
                place = self.owned.path / CROPS / self.crops[int(found.labels[k])] / f"{stem}_{k + 1}"
                names = (f"{place}{'' if n == 1 else f'-{n}'}.jpg" for n in count(1))
                write_picture(next(name for name in names if not os.path.lexists(name)), to_array(pixels))
        if file and self.data_sets:
            number = len(self.records) + 1
            self.records.append(Annotations(file, found.boxes, found.labels, id=number))

    def finish(self, sources: Iterable[Path]) -> None:
        """Write the data, and remove the pictures of the detections that they replace; those stay if there are no data.
        A picture whose detections are not noted, after Ctrl-C, is removed.

        sources: the images and videos, which stay even if they are such pictures.
        """
        from sppdet.files.atomic import write_json, write_text

        recorded = self.earlier
        if self.entries:
            write_json(self.owned.path / RESULT, self.entries)
            if self.table:
                write_text(self.owned.path / self.table, _table(self.entries))
            recorded = {RESULT, *([self.table] if self.table else [])}
            recorded |= {Path(entry["picture"]).name for entry in self.entries}
        places, kept = (
            {name: self.owned.path / name for name in self.owned.files()},
            {file.resolve() for file in sources},
        )
        places = {name: file for name, file in places.items() if file.is_file() and file.resolve() not in kept}
        for name in places.keys() - recorded:
            places[name].unlink()
        self.owned.record(recorded)
        replaced = places.keys() & self.earlier - {RESULT, TABLE}
        if replaced and self.entries:
            logger.info("replaced %s of an earlier detect in %s", counted(len(replaced), "picture"), self.owned.path)
        self._write_data_sets()

    def _write_data_sets(self) -> None:
        from sppdet.data.conversion.convert import WRITERS
        from sppdet.files.durable import new_folder
        from sppdet.structures import Dataset

        dataset = Dataset("detections", tuple(self.classes), tuple(self.records))
        for name in self.data_sets if self.records else ():
            with new_folder(self.owned.path / name) as folder:
                WRITERS[name](folder, {SPLITS[name]: dataset}, self.frames, shutil.copyfile)


def check_suffixes(files: Iterable[Path], formats: Sequence[Format]) -> None:
    """Raise DataError for an image without a suffix of one, which no reader of a data set would find."""
    from sppdet.images import IMAGE_SUFFIXES

    for file in files if set(formats) & {*SPLITS} else ():
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            expected = ", ".join(IMAGE_SUFFIXES)
            raise DataError("has no suffix of an image", file=file, expected=expected, got=file.suffix or None)


def _table(entries: Sequence[dict[str, Any]]) -> str:
    """Return a line for each detection as CSV; frame is empty for those in images."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["file", "frame", "class", "score", "x1", "y1", "x2", "y2"])
    for entry in entries:
        file = entry.get("image") or entry["video"]
        lines.writerows(
            [file, row.get("frame"), row["class"], row["score"], *row["box"]] for row in entry["detections"]
        )
    return text.getvalue()
