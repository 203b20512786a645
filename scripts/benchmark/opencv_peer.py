"""OpenCV's selective search, run by path in any interpreter that has opencv-contrib-python, without sppdet.

A message in either direction is a line of JSON followed by `bytes` bytes of a .npy array. The script first sends
{"opencv": version}. It answers each {"mode": "fast" or "quality", "threads": n}, with an image uint8 (H, W, 3) BGR, by
{"seconds": s} with boxes int32 (N, 4): x y width height, best first. It ends with its input.
"""

import io
import json
import sys
import time

import cv2
import numpy as np


def main() -> None:
    """Answer requests until the input ends."""
    if not hasattr(cv2, "ximgproc"):
        sys.exit(f"OpenCV {cv2.__version__} here has no cv2.ximgproc: opencv-contrib-python is not installed")
    send({"opencv": cv2.__version__}, b"")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        image = np.load(io.BytesIO(sys.stdin.buffer.read(request["bytes"])), allow_pickle=False)
        cv2.setNumThreads(request["threads"])
        seconds, boxes = search(image, request["mode"])
        array = io.BytesIO()
        np.save(array, boxes)
        send({"seconds": seconds}, array.getvalue())


def search(image: np.ndarray, mode: str) -> tuple[float, np.ndarray]:
    """Seconds from setBaseImage to the end of process(), and the boxes int32 (N, 4)."""
    contrib = vars(cv2)["ximgproc"]  # missing in the type hints of plain OpenCV
    segmentation = contrib.segmentation.createSelectiveSearchSegmentation()
    start = time.perf_counter()
    segmentation.setBaseImage(image)
    if mode == "fast":
        segmentation.switchToSelectiveSearchFast()
    else:
        segmentation.switchToSelectiveSearchQuality()
    boxes = segmentation.process()
    seconds = time.perf_counter() - start
    return seconds, np.asarray(boxes, np.int32).reshape(-1, 4)


def send(message: dict[str, object], array: bytes) -> None:
    """Write one message."""
    sys.stdout.buffer.write(json.dumps({**message, "bytes": len(array)}).encode() + b"\n" + array)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
