"""`python -m sppdet` and the console command."""

import os
import signal
import sys
from types import FrameType

MESSAGE = "sppdet: interrupted\n"


def main() -> int:
    """Run the command that the arguments of the process name, and return the exit code; 130 after Ctrl-C."""
    interrupts: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as for the background jobs of a script
    try:
        if not ignored:
            signal.signal(signal.SIGINT, _leave)
        from sppdet.runtime.threads import wait_passively

        wait_passively()  # before numpy
        from sppdet.cli import main as run

        if not ignored:
            signal.signal(signal.SIGINT, interrupt)
        return run()
    except BaseException:
        if not interrupts:
            raise
        sys.stderr.write(MESSAGE)  # An import in C code makes another error of it.
        return 130
    finally:
        if not ignored:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        _end_stdout()


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End the process: during the first imports nothing is to be kept, and some of them swallow exceptions."""
    os.write(2, MESSAGE.encode())
    os._exit(130)


def _end_stdout() -> None:
    """Write what is left for stdout, so that the interpreter does not complain where the command has done so."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
