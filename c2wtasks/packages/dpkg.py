"""dpkg's databases: `var/lib/dpkg/status`, a paragraph a package (deb-control(5)); or, in images to which nothing is
added, a file a package in `status.d`. The files of a package are listed in files beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from c2wtasks.packages.model import File, Package, Unread, check_count, file_at, package

_FIELD = re.compile(
    rb"^(Package|Version|Architecture|Status)[ \t]*:[ \t]*([^\n]*?)[ \t\r]*$", re.MULTILINE | re.IGNORECASE
)
_BETWEEN = re.compile(rb"\n(?:[ \t\r]*\n)+")
_NOT_THERE = {b"not-installed", b"config-files"}
"""States of a package of which no file is there, or only its configuration."""


def packages(content: bytes) -> list[Package]:
    """The packages in a status file that are there, installed whole or in part.

    Raises Unread.
    """
    found = [one for one in map(_package, _paragraphs(content)) if one is not None]
    check_count(len(found))
    return found


def _paragraphs(content: bytes) -> Iterator[bytes]:
    at = 0
    for between in _BETWEEN.finditer(content):
        yield content[at : between.start()]
        at = between.end()
    yield content[at:]


def _package(paragraph: bytes) -> Package | None:
    """Raises Unread."""
    if not paragraph.strip():
        return None
    fields: dict[bytes, bytes] = {}
    for name, value in _FIELD.findall(paragraph):
        fields.setdefault(name.lower(), value)
    if b"package" not in fields:
        raise Unread(f"a paragraph names no package: {paragraph[:60]!a}")
    status = fields.get(b"status", b"").split()
    if status and status[-1] in _NOT_THERE:
        return None
    return package(fields[b"package"], fields.get(b"version", b""), fields.get(b"architecture", b""))


def listed(content: bytes) -> list[File]:
    """What `info/NAME.list` names: files and directories."""
    if b"//" in content or b"/\n" in content:
        return [file_at(path) for path in content.split(b"\n") if path and path != b"/."]
    paths = content.removeprefix(b"/").replace(b"\n/", b"\n").split(b"\n")  # the same, much faster
    return [path.rpartition(b"/")[::2] for path in paths if path and path != b"."]


def summed(content: bytes) -> list[File]:
    """The files in `NAME.md5sums`: those that have contents."""
    lines = (line.partition(b"  ") for line in content.split(b"\n"))
    return [file_at(path.removeprefix(b"./")) for _, between, path in lines if between and path]


def list_names(one: Package) -> tuple[bytes, bytes]:
    """What the files with a package's paths may be called, without their suffix: of one that may be installed for
    several architectures at once, the second."""
    return one.name.encode(), f"{one.name}:{one.architecture}".encode()
