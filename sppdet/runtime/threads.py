"""The waiting of OpenMP threads."""

import os

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def wait_passively() -> None:
    """Let waiting OpenMP threads sleep, where by default they spin and keep other programs from their cores.

    The commands do so. OpenMP reads these environment variables when it is loaded, so a script that wants the same has
    to call this before it imports torch. Variables that are set already are left as they are.
    """
    for name, value in PASSIVE.items():
        os.environ.setdefault(name, value)
    if threads := os.environ.get("OMP_NUM_THREADS"):  # which torchrun sets
        os.environ.setdefault("NUMBA_NUM_THREADS", threads)
