"""Small files of a source, read whole: bounded, and never anything but a regular file.

Where a file lies is asked of a `Files`, a folder or an archive; reading it is the same for both.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from contextlib import closing
from typing import Protocol, TypeVar

from c2wtasks.errors import SourceError, os_reason
from c2wtasks.sources.model import BlobPlace, Place

T = TypeVar("T")

UNTOLD = "what it holds is not told, since a link leads to it, out of the image's folder"
MIB = 1 << 20
MAX_INDEX_FILE = 32 * MIB  # index.json and manifest.json: one line for each of an archive's many images
MAX_MANIFEST = 4 * MIB  # what registries accept
MAX_CONFIG = 8 * MIB  # what containerd reads


class NoSuchPath(SourceError):
    """The source's own file or folder is not there."""


class Files(Protocol):
    """Named files, below one folder or in one archive."""

    @property
    def path(self) -> str:
        """The folder or the archive, for messages."""

    @property
    def is_folder(self) -> bool:
        """Whether the files lie in a folder, not in an archive."""

    def place(self, name: str) -> BlobPlace | None:
        """Where the regular file `name` lies; None where there is none.

        Raises SourceError: it is something else, cannot be reached, or lies outside.
        """


def unreadable(path: str, error: Exception) -> SourceError:
    """The SourceError for what the system said of `path`."""
    return SourceError(f"cannot read {path}: {os_reason(error) if isinstance(error, OSError) else error}")


def not_regular(path: str, mode: int) -> SourceError:
    """The SourceError for a path that must be a regular file and has `mode`."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return SourceError(f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a regular file")


def open_regular(path: str) -> int:
    """A descriptor of the regular file `path`, links followed. The caller closes it.

    Raises NoSuchPath, SourceError.
    """
    try:
        # Opening a FIFO would wait for a writer, and opening a terminal could make it ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise NoSuchPath(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise not_regular(path, mode)
    return descriptor


def read_place(place: BlobPlace, what: str, limit: int) -> bytes:
    """All bytes at `place`. `what` begins each message: the file, and the digest where there is one.

    Raises SourceError.
    """
    if place.size > limit:
        raise SourceError(f"{what} is {place.size} bytes, more than the {limit} that are read of such a file")
    if not place.folder:
        os.close(open_regular(place.path))  # which tells better what is wrong
    try:
        content = b"".join(place.chunks())
    except OSError as error:
        raise unreadable(place.path, error) from error
    if len(content) < place.size:
        raise SourceError(f"{what} ended after {len(content)} of {place.size} bytes")
    return content


_SIGNS = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
    (b"<!doctype html", "an HTML page, not the file itself", "download it again"),
    (b"<html", "an HTML page, not the file itself", "download it again"),
    (b"<?xml", "an XML document, not the file itself", "download it again"),
)
_SIGN = 512


def mistaken(what: str, found: bytes | Place) -> SourceError | None:
    """The error for a file in whose place another lies that is often met there, told by its first bytes; None where
    it looks like none of these. `what` begins the message."""
    start = found if isinstance(found, bytes) else start_of(found)
    start = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for sign, kind, remedy in _SIGNS:
        if start.startswith(sign):
            return SourceError(f"{what} is {kind}", hint=remedy)
    return None


def start_of(place: Place) -> bytes:
    """The first bytes at `place`; none where it cannot be read, or nothing may be told of it."""
    start = b""
    if not place.is_local or not place.may_be_told:
        return start
    try:
        with closing(place.open()) as blob:
            while content := blob.read(_SIGN - len(start)):
                start += content
    except (OSError, SourceError):
        return b""
    return start


def parse_at(place: BlobPlace, what: str, parser: Callable[[bytes], T], content: bytes) -> T:
    """What `parse` gives, for the content of `place`, of which errors tell nothing that may not be told.

    Raises SourceError.
    """
    try:
        return parse(what, parser, content)
    except SourceError:
        if place.may_be_told:
            raise
        raise SourceError(f"{what} is not what it should be; {UNTOLD}") from None


def parse(what: str, parser: Callable[[bytes], T], content: bytes) -> T:
    """`parser(content)`, its ValueError made a SourceError that begins with `what`.

    Raises SourceError.
    """
    try:
        return parser(content)
    except json.JSONDecodeError as error:
        raise mistaken(what, content[:_SIGN]) or SourceError(f"{what} is not JSON: {error}") from error
    except ValueError as error:
        raise SourceError(f"{what}: {error}") from error
