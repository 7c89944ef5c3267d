"""What runs have changed, in `<output>/.history/`: a file for each run that published something other than there was.
docs/records.md has what is in them; here they are bytes.

A file grows while its run goes on: what is to be published is noted before. Who calls these keeps other runs away.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.output.history import stamp
from c2wtasks.output.places import HISTORY

SUFFIX = ".changes.zst"
MAX_TOTAL = 256 << 20
"""The most bytes of all files together: the oldest go first."""
MAX_SIZE = MAX_TOTAL
"""The most bytes of one that is read."""

_NAME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3})Z(?:-\d+)?" + re.escape(SUFFIX))


class Log:
    """The file of a run, made with the first that is noted."""

    def __init__(self, output: str) -> None:
        self._folder = f"{output}/{HISTORY}"
        self.path = ""

    def append(self, documents: bytes) -> None:
        """Adds documents at the end: all of them, or nothing.

        Raises OutputError.
        """
        path = self.path or f"{self._folder}/{re.sub('[-:]', '', stamp(time.time()))}{SUFFIX}"
        try:
            files.make_folders(self._folder)
            descriptor = safely.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self.path = path
            try:
                size = os.fstat(descriptor).st_size
                try:
                    if not size:  # whatever the umask: as what else is in the history
                        files.set_mode(descriptor, 0o644)
                    files.write_all(descriptor, documents)
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error

    def close(self, stem: str) -> None:
        """Gives the file, if there is one, the name of the run that is noted as `stem`. Raises OSError."""
        path = f"{self._folder}/{stem}{SUFFIX}"
        if self.path and not safely.exists(path):
            safely.rename(self.path, path)
        self.path = ""


def tidy(output: str, keep: int) -> None:
    """Removes the oldest of more than `keep` files, and of those that take more than `MAX_TOTAL` together; but never
    the last one.

    Raises OSError, OutputError.
    """
    folder, total = f"{output}/{HISTORY}", 0
    for number, name in enumerate(reversed(_names(folder))):
        total += safely.lstat(f"{folder}/{name}").st_size
        if number and (number >= keep or total > MAX_TOTAL):
            files.remove_tree(f"{folder}/{name}")


def read(output: str) -> Iterator[tuple[str, bytes]]:
    """When each run began (UTC, RFC 3339) that has changed something, the last one first, and what its file holds.
    What cannot be read is passed over."""
    for path in reversed(paths(output)):
        try:
            yield _began(os.path.basename(path)), safely.read(path, MAX_SIZE)
        except (OSError, ValueError):
            continue


def paths(output: str) -> list[str]:
    """The files, the oldest first."""
    folder = f"{output}/{HISTORY}"
    return [f"{folder}/{name}" for name in _names(folder)]


def moments(output: str) -> Iterator[str]:
    """When each run began that has changed something, the last one first."""
    return map(_began, reversed(_names(f"{output}/{HISTORY}")))


def _began(name: str) -> str:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(name)
    year, month, day, hour, minute, second = found.groups()
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}Z"


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in files.names(folder) if _NAME.fullmatch(name))
    except OSError:
        return []
