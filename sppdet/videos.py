"""The only decoder of videos: files, webcams and streams, frame by frame. Also the writer of videos."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from sppdet.errors import ImageError, SppdetError
from sppdet.files.durable import write_atomically
from sppdet.images import check_pixels, resize_array

logger = logging.getLogger(__name__)

MPEG = (".mpg", ".mpeg", ".ts", ".mts", ".m2ts")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".3gp", ".wmv", ".flv", ".ogv", *MPEG)
# A file is read as one of these, whatever its name: playlists, for one, would open other files and addresses.
CONTAINERS = "mov,matroska,avi,asf,flv,ogg,mpeg,mpegts,mpegvideo"
OPTIONS = f"protocol_whitelist;file|format_whitelist;{CONTAINERS}"
KEYS = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT)
LIVE_RATE = 10.0  # frames per second of a video written of a webcam or stream
USUAL_RATE = 25.0  # where a file does not say
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # nothing on stderr; read when a video is first opened
LARGEST = 8000  # pixels of a side of a video that is written
WHOLE = 0.9  # of the frames in its header, from which a file counts as whole: some formats only estimate them


def is_video(path: str | PathLike[str]) -> bool:
    """Return True for a name with a suffix of VIDEO_SUFFIXES, in either case."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def is_live(source: str) -> bool:
    """Return True for the number of a webcam and the address of a stream, unless a file has this name."""
    return (source.isdecimal() or "://" in source) and not os.path.exists(source)


class Video:
    """An open video: a file, the number of a webcam, or the address of a stream.

    name: its path, number or address, without user, password and what follows a question mark. rate: frames per second.
    count: frames that a file should have, by its header; None if it does not say or if the video is live.
    """

    def __init__(self, source: str | PathLike[str]) -> None:
        """Raises ImageError for a file that is missing or no video, and for frames that are too large."""
        text = str(source)
        self.live = is_live(text)
        self.name = re.sub("//.*@", "//", text).partition("?")[0] if self.live else text
        if not self.live and not os.path.isfile(text):
            raise ImageError("video file not found", file=self.name)
        with _quietly(None if self.live else OPTIONS):
            if self.live:
                self._capture = cv2.VideoCapture(int(text) if text.isdecimal() else text)
            else:
                self._capture = cv2.VideoCapture(text, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            if self.live:
                raise ImageError("no such webcam, or no stream there", file=self.name)
            raise ImageError("cannot be decoded: empty, damaged or no video", file=self.name)
        width, height, rate, count = (self._capture.get(key) for key in KEYS)
        check_pixels(int(width * height), self.name)
        self.rate = LIVE_RATE if self.live else rate if 0 < rate <= 1000 else USUAL_RATE
        self.count = int(count) if count > 0 and not self.live else None

    def frames(self, every: int = 1) -> Iterator[tuple[int, Tensor]]:
        """Yield the number, from 0 on, and the pixels uint8 (3, H, W) RGB, upright, of every so many frames.

        Raises ImageError if not a single one can be decoded. A file that ends early is logged.
        """
        number = 0
        try:
            with _quietly(None):
                while self._capture.grab():
                    if number % every == 0:
                        decoded, frame = self._capture.retrieve()
                        if not decoded:
                            break
                        yield number, torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
                    number += 1
        finally:
            self._capture.release()
        if not number:
            raise ImageError("no frame can be decoded: empty or damaged", file=self.name)
        if self.count and number < WHOLE * self.count:
            logger.warning("%s: ends after %d of %d frames: it may be damaged", self.name, number, self.count)


def write_video(path: str | PathLike[str], pictures: Iterable[np.ndarray], rate: float) -> bool:
    """Write pictures uint8 (H, W, 3) RGB as they come to an .mp4 file (MPEG-4), atomically; none is no file.

    Returns False if Ctrl-C ended the video, which is then as long as it got. Pictures with a side over LARGEST are
    resized, an odd side loses its last pixel, and rates are as near as MPEG-4 has them. Raises SppdetError if the file
    cannot be written.
    """
    whole = True

    def write(temporary: Path) -> None:
        nonlocal whole
        writer: Any = None
        size, count = (0, 0), 0
        try:
            for picture in pictures:
                if writer is None:
                    factor = min(1.0, LARGEST / max(picture.shape))
                    size = max(2, round(factor * picture.shape[1])), max(2, round(factor * picture.shape[0]))
                    code, known = cv2.VideoWriter.fourcc(*"mp4v"), min(max(rate, 0.1), 240.0)
                    known = known if known < 60 else round(known)
                    with _quietly(None):
                        writer = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, code, known, size)
                if picture.shape[:2] != size[::-1]:  # too large for MPEG-4, or a stream that changes its size
                    picture = resize_array(picture, *size[::-1])
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                count += 1
        except KeyboardInterrupt:
            if not count:
                raise
            whole = False
        finally:
            if writer is not None:
                writer.release()
        if not _holds(temporary, count):  # OpenCV says nothing of a full disk
            raise SppdetError("cannot be written: the disk may be full", file=path)

    write_atomically(path, write)
    return whole


def _holds(path: Path, count: int) -> bool:
    try:
        return Video(path).count == count
    except ImageError:
        return False


@contextmanager
def _quietly(options: str | None) -> Iterator[None]:
    """Keep OpenCV from writing to stderr, and give FFmpeg options."""
    level, name = cv2.utils.logging.getLogLevel(), "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    before = os.environ.get(name)
    cv2.utils.logging.setLogLevel(0)
    if options:
        os.environ[name] = options
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
        if options:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before
