"""The digest of a tensor file: what is read is what was written."""

import hashlib
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

ROW_BYTES = 4096
# Odd, so that no change of a single word of a row is lost.
WEIGHTS = np.frombuffer(hashlib.shake_256(b"sppdet").digest(ROW_BYTES), "<u8") | np.uint64(1)


def digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of a text and of the names, types, shapes and bytes of contiguous tensors on the CPU.

    It is the CRC-32 of one weighted sum of each 4 KiB: at 5 to 10 GB/s four times as fast as the CRC-32 of all bytes,
    which would take longer than to read a file from memory. It finds accidents (every change within 8 bytes, others but
    for 1 in 2^32), and is no protection from a forger.
    """
    layout = [(name, str(tensor.dtype), tuple(tensor.shape)) for name, tensor in sorted(tensors.items())]
    value = zlib.crc32(repr((text, layout)).encode())
    for _, tensor in sorted(tensors.items()):
        data = tensor.reshape(-1).view(torch.uint8).numpy()
        rows = data[: len(data) // ROW_BYTES * ROW_BYTES].view("<u8").reshape(-1, len(WEIGHTS))
        value = zlib.crc32(rows.dot(WEIGHTS).tobytes(), value)
        value = zlib.crc32(data[rows.nbytes :].tobytes(), value)
    return f"{value:08x}"
