"""Output that may fail while the work goes on: closed streams, pipes that nobody reads any more, full disks."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

_STANDARD = ("stdin", "stdout", "stderr")  # by descriptor


class _Lenient(io.TextIOWrapper):
    """Takes all that is written. What the file does not take is lost; `lost` says why."""

    lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.lost = self.lost or error
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.lost = self.lost or error

    def close(self) -> None:
        try:
            super().close()
        except OSError as error:
            self.lost = self.lost or error


def secure() -> None:
    """Makes what is printed from now on never fail; nothing happens where somebody else has replaced the streams.

    What is closed becomes /dev/null: else the next file that is opened would be what children take for their output.
    What does not block (a pipe that another program has left so) does from now on: it would lose what it has no room
    for.
    """
    for number, name in enumerate(_STANDARD):
        try:
            if not os.get_blocking(number) and name != "stdin":
                os.set_blocking(number, True)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
        before = getattr(sys, name)
        if name != "stdin" and before is getattr(sys, f"__{name}__") and not isinstance(before, _Lenient):
            setattr(sys, name, _lenient(number, before))
            setattr(sys, f"__{name}__", getattr(sys, name))


def _lenient(number: int, before: TextIO | None) -> TextIO:
    buffer = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
    buffer.raw.name = f"<{_STANDARD[number]}>"
    if not isinstance(before, io.TextIOWrapper):
        return _Lenient(buffer, encoding="utf-8", errors="backslashreplace")
    errors = "backslashreplace" if before.errors == "strict" else before.errors
    at_once = before.line_buffering or before.write_through
    return _Lenient(buffer, encoding=before.encoding, errors=errors, line_buffering=at_once)


def writing(path: str) -> TextIO:
    """A file for text whose writing never fails.

    Raises OSError: it cannot be opened.
    """
    return _Lenient(io.BufferedWriter(io.FileIO(path, "w")), encoding="utf-8")


def suits(stream: Any, environ: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal on which lines can be written anew."""
    try:
        return environ.get("TERM", "dumb") != "dumb" and os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def lost(stream: TextIO | None) -> str:
    """Why something that was written to the stream is lost: "No space left on device"; "" where nothing is, or where
    its reader has gone."""
    if not isinstance(stream, _Lenient):
        return ""
    if not stream.closed:
        stream.flush()
    error = stream.lost
    return "" if error is None or error.errno == errno.EPIPE else error.strerror or str(error)


def settled(status: object) -> object:
    """The exit status of what is there to be read, now that all is written: 1 where that is lost, which is said."""
    if why := lost(sys.stdout):
        print(f"stdout: cannot be written: {why}", file=sys.stderr)
        return status or 1
    return status
