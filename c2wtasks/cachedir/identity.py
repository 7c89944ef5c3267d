"""Which catalog this is, wherever it lies: among those that share a cache, it must be told from the others.

By its name, where bundle.yaml has one; else by a file beside bundle.yaml, which goes with it where it is moved; else
by where it lies, which the first run then writes into that file.
"""

from __future__ import annotations

import os
import re

from c2wtasks.disk import files, fingerprint
from c2wtasks.errors import OutputError

FILE = ".doit.db-catalog"

_TEXT = re.compile(rb"([0-9a-f]{32})\n?")
_READ_ONLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def of(folder: str, name: str) -> str:
    """The identity, 32 hex digits, of the catalog in `folder`; `name` is the one in bundle.yaml, or empty."""
    if name:
        return fingerprint.of_bytes(b"name\0" + name.encode())
    return _written(folder) or _of_place(folder)


def path_of(folder: str) -> str:
    """The file beside bundle.yaml that says the identity, where that is kept."""
    return os.path.join(folder, FILE)


def keep(folder: str, name: str) -> None:
    """Sees to it that the identity stays what it is where the catalog is moved. Where that cannot be written, it is
    another one then."""
    if name or _written(folder):
        return
    path = path_of(folder)
    unfinished = f"{path}.new"
    try:
        files.write(path, _of_place(folder).encode() + b"\n", by_way_of=unfinished)
        files.remove_tree(unfinished)
    except OutputError:
        pass


def _written(folder: str) -> str:
    """What the file says; empty where there is none, or where it is none of ours."""
    try:
        descriptor = os.open(path_of(folder), _READ_ONLY)
    except OSError:
        return ""
    try:
        found = _TEXT.fullmatch(os.read(descriptor, 64))
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return found[1].decode() if found else ""


def _of_place(folder: str) -> str:
    return fingerprint.of_bytes(os.fsencode(os.path.realpath(folder)))
