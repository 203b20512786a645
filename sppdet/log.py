"""The log of commands on stderr: above the progress bars, and warnings that may come for every file counted."""

import logging
import sys

from sppdet.wording import printable

NAMED = 3  # files of counted warnings


class _ProgressHandler(logging.Handler):
    """Writes log lines above the progress bars, and a warning only once, though its file may be read twice.

    Of warnings that may come for every file, logged with the extra `counted`, the first is written, then their number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.warned: set[str] = set()
        self.counted: dict[str, dict[str, None]] = {}  # the lines of each kind of warning

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        line = printable(self.format(record))
        alike = self.counted.setdefault(record.msg, {}) if hasattr(record, "counted") else {}
        if line not in self.warned and not alike:
            tqdm.write(line, file=sys.stderr)
        alike[line] = None
        if record.levelno >= logging.WARNING:
            self.warned.add(line)

    def count(self) -> None:
        """Write the number of counted warnings of each kind, with the first files, and begin again."""
        for message, lines in self.counted.items():
            if len(lines) > 1:
                ending = message.removeprefix("%s")
                files = ", ".join(line.removesuffix(ending) for line in list(lines)[:NAMED])
                more = ", ..." if len(lines) > NAMED else ""
                sys.stderr.write(f"{ending.removeprefix(': ')}: {len(lines)} files: {files}{more}\n")
        self.counted.clear()


def log_to_stderr(quiet: bool = False, verbose: bool = False) -> None:
    """Begin the log of a command. quiet: warnings only, and no progress bars. verbose: details as well."""
    logger = logging.getLogger("sppdet")
    if not logger.handlers:
        logger.addHandler(_ProgressHandler())
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    for handler in _handlers():
        handler.counted.clear()  # of what was called before this command


def write_counts() -> None:
    """Write the number of counted warnings, at the end of a command."""
    for handler in _handlers():
        handler.count()


def _handlers() -> list[_ProgressHandler]:
    return [handler for handler in logging.getLogger("sppdet").handlers if isinstance(handler, _ProgressHandler)]
