"""Download PASCAL VOC."""

from sppdet.commands.summary import Summary


def download(folder: str = "data", *, years: tuple[int, ...] = (2007,), archives: str | None = None) -> Summary:
    """Download PASCAL VOC and check it; repeat the command to resume.

    Example: sppdet download data --years [2007]

    Args:
        folder: folder that VOCdevkit is put into
        years: years of VOC, 2007 and 2012
        archives: folder with archives that are already downloaded
    """
    from sppdet.data.download import download_voc

    path = str(download_voc(folder, tuple(map(str, years)), archives))
    return Summary({"folder": path}, path)
