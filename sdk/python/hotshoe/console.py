"""The output of `print` without WASI. For the file that `hotshoe build` writes."""

import sys
from collections.abc import Callable


class Console:
    """A text file that gives whole lines to a function."""

    encoding = "utf-8"
    errors = "strict"

    def __init__(self, write_line: Callable[[str], None]) -> None:
        self._write_line = write_line
        self._rest = ""

    def write(self, text: str) -> int:
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            self._write_line(line)
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def print_to_log() -> None:
    """Every line becomes a line of the device's log."""
    from . import log

    sys.stdout = Console(log.info)
    sys.stderr = Console(log.warn)


def print_nowhere() -> None:
    """Drops the output: the release grants neither `log` nor `wasi`."""
    sys.stdout = sys.stderr = Console(lambda line: None)
