"""Download PASCAL VOC."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Download:
    """The folder of a downloaded data set, for --data.root."""

    folder: str

    def as_dict(self) -> dict[str, Any]:
        """Return the folder for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return self.folder


def download(folder: str = "data", *, years: tuple[int, ...] = (2007,), archives: str | None = None) -> Download:
    """Download PASCAL VOC and check it; repeat the command to resume.

    JSON: folder (VOCdevkit).

    Args:
        folder: folder that VOCdevkit is put into
        years: years of VOC, 2007 and 2012
        archives: folder with archives that are already downloaded
    """
    from sppdet.data.download import download_voc

    return Download(str(download_voc(folder, tuple(map(str, years)), archives)))
