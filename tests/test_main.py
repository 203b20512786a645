"""The process of a command: Ctrl-C at any moment, and a stdout that takes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a shell ignore it
import sppdet.__main__
moment, swallow = sys.argv.pop(1), sys.argv.pop(1)
class Finder:
    def find_spec(self, name, *_):
        if name == moment:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
            except KeyboardInterrupt:
                if swallow == "True":  # as numpy's C code does
                    raise ImportError("numpy.core.multiarray failed to import")
                raise
sys.meta_path.insert(0, Finder())
sys.exit(sppdet.__main__.main())
"""
COMMAND = ["detect", "run", "image.jpg", "--output", "out"]


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("moment", ["sppdet.runtime.threads", "jsonargparse", "sppdet.commands.detect"])
def test_ctrl_c_during_the_imports_ends_with_130_and_one_line(moment, swallow):
    command = [sys.executable, "-c", INTERRUPTED, moment, str(swallow), *COMMAND]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr, ended.stdout) == (130, "sppdet: interrupted\n", "")


PRINTING = """
import sys
import sppdet.cli, sppdet.__main__
sppdet.cli._call = lambda *_: "a result"
sys.exit(sppdet.__main__.main())
"""


def test_a_full_stdout_is_one_line():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-c", PRINTING, *COMMAND]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "sppdet: error: output: No space left on device\n")
