"""Reads `bundle.yaml` and all that it includes."""

from __future__ import annotations

import glob
import os
import stat
from typing import NamedTuple

from c2wtasks.bundlefile.check import ImageEntry, Settings, check_file
from c2wtasks.bundlefile.expand import inherited, merged
from c2wtasks.bundlefile.nodes import parse, position_in
from c2wtasks.bundlefile.position import Position
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.values import Pattern
from c2wtasks.bundlefile.wording import shown
from c2wtasks.errors import os_reason

MAX_SIZE = 16 << 20  # bytes
NOT_THERE = "is not there"
_WRITE_ONE = "run in the folder that has one, or write one, e.g. images: {hello: 'oci:DIR'}"


class ReadFile(NamedTuple):
    """A file that was read and checked.

    `path` opens it; `folder` is its folder relative to that of the main file (or absolute), "" for the main
    file's own. `defaults` is what its images get that say nothing else.
    """

    path: str
    folder: str
    settings: Settings
    defaults: Settings

    @property
    def includes(self) -> tuple[tuple[str, str], ...]:
        """The patterns of other files, each with the folder that it is meant in."""
        patterns = self.settings["include"].value if "include" in self.settings else ()
        return tuple((os.path.dirname(self.path), pattern.text) for pattern in patterns)

    @property
    def images(self) -> tuple[ImageEntry, ...]:
        """The entries of `images:`, none where the file has no such key."""
        return self.settings["images"].value if "images" in self.settings else ()


class _Pending(NamedTuple):
    """A file to read: its name from the main file's folder, what it inherits, and which pattern matched it."""

    name: str
    inherits: Settings
    pattern: Pattern | None


def read_all(path: str, report: Problems) -> list[ReadFile]:
    """The main file `path`, then what it includes, each file followed by what that includes.

    A file is read once, whatever the number of patterns that match it: for the first that does. So includes
    may overlap and form cycles.
    """
    base = os.path.dirname(path)
    pending = [_Pending(os.path.basename(path), {}, None)]
    seen: set[str] = set()
    files: list[ReadFile] = []
    while pending:
        wanted = pending.pop()
        opened = os.path.join(base, wanted.name) if wanted.pattern is not None else path
        real = os.path.realpath(opened)
        if real in seen:
            continue
        seen.add(real)
        file = _read(opened, wanted, report)
        if file is not None:
            files.append(file)
            pending += reversed(_included(base, file, report))
    return files


def _read(opened: str, wanted: _Pending, report: Problems) -> ReadFile | None:
    pattern = wanted.pattern
    name = opened if pattern is None else wanted.name
    content = content_of(opened)
    if isinstance(content, str):
        if pattern is None:
            hint = _WRITE_ONE if content == NOT_THERE else None
            report.add(Position(name, 1, 1), "", f"the file {content}", hint)
        else:
            report.add(pattern.node, pattern.path, f"the file '{name}' {content}")
        return None
    text = decoded(content, name, report)
    root = parse(text, name, report) if text is not None else None
    if root is None:
        return None
    settings = check_file(report, root, main=pattern is None)
    defaults = merged(wanted.inherits, inherited(settings))
    return ReadFile(opened, os.path.dirname(wanted.name), settings, defaults)


def content_of(path: str) -> bytes | str:
    """The file's bytes, MAX_SIZE at most, or what is wrong with it. What could be waited for is not opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        return "is a link to what is not there" if os.path.islink(path) else NOT_THERE
    except OSError as error:
        return f"cannot be read: {os_reason(error)}"
    except ValueError as error:
        return f"cannot be read: {error}"
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "cannot be read: it is not a regular file"
        with open(descriptor, "rb", closefd=False) as stream:
            content = stream.read(MAX_SIZE + 1)
    except OSError as error:
        return f"cannot be read: {os_reason(error)}"
    finally:
        os.close(descriptor)
    if len(content) > MAX_SIZE:
        return f"is larger than {MAX_SIZE >> 20} MB"
    return content


def decoded(content: bytes, name: str, report: Problems) -> str | None:
    """The text of a file; None where it is not UTF-8, which is reported."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        place = position_in(before, len(before), name)
        report.add(place, "", f"not UTF-8 text: byte 0x{content[error.start]:02x}", "save the file as UTF-8")
        return None


def _included(base: str, file: ReadFile, report: Problems) -> list[_Pending]:
    """The files that `file` includes: pattern by pattern, the matches of each sorted."""
    if "include" not in file.settings:
        return []
    root = os.path.join(base, file.folder) or "."
    patterns: tuple[Pattern, ...] = file.settings["include"].value
    found: list[_Pending] = []
    for pattern in patterns:
        matches = sorted(glob.glob(pattern.text, root_dir=root))
        if not matches:
            report.add(pattern.node, pattern.path, f"{shown(pattern.text)} matches no file")
        for match in matches:
            name = os.path.normpath(os.path.join(file.folder, match))
            found.append(_Pending(name, file.defaults, pattern))
    return found
