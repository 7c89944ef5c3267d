"""Python's packages: `NAME.dist-info/METADATA`, `NAME.egg-info/PKG-INFO` or a file `NAME.egg-info`, which begin with
fields as mails do (core metadata specification); and `RECORD`, a row of comma-separated values a file."""

from __future__ import annotations

import csv
import posixpath

from c2wtasks.packages.model import File, Package, Unread, file_at, package

METADATA = {b".dist-info": b"METADATA", b".egg-info": b"PKG-INFO"}
"""Where the fields stand in a folder with such a name."""
FILES = {b".dist-info": b"RECORD", b".egg-info": b"installed-files.txt"}
"""Where the files are listed, if they are: their paths are those from the folder above, or from that folder."""
HEAD = 1 << 16
"""As many bytes of the fields are read: what follows is a description, of any length."""


def parse(content: bytes) -> Package:
    """The package that METADATA or PKG-INFO tells of, from the beginning of that file.

    Raises Unread.
    """
    fields: dict[bytes, bytes] = {}
    for line in content.split(b"\n"):
        name, colon, value = line.partition(b":")
        if not line.strip():
            break
        if colon and not line[:1].isspace():
            fields.setdefault(name.strip().lower(), value.strip())
    return package(fields.get(b"name", b""), fields.get(b"version", b""))


def recorded(content: bytes, folder: bytes) -> list[File]:
    """The files that a RECORD lists, of a package whose modules lie in `folder`.

    Raises Unread.
    """
    try:
        lines = content.decode("utf-8", "surrogateescape").splitlines()
        paths = [row[0] for row in csv.reader(lines) if row]
    except csv.Error as damage:
        raise Unread(str(damage)) from None
    return [_below(folder, path.encode("utf-8", "surrogateescape")) for path in paths]


def installed(content: bytes, folder: bytes) -> list[File]:
    """The files that an installed-files.txt lists, which lies in `folder`."""
    return [_below(folder, path) for path in content.split(b"\n") if path]


def _below(folder: bytes, path: bytes) -> File:
    """The file at a path from `folder` on."""
    return file_at(posixpath.normpath(posixpath.join(b"/" + folder, path)))
