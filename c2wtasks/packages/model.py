"""What a database of packages says: the packages, and the files of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MAX_TEXT = 512
"""The most characters of a name, a version or an architecture."""
MAX_PACKAGES = 1 << 16
"""The most packages of one database."""


class Unread(ValueError):
    """A database that is not read, since it is none, damaged, or too large. Its text says why, without its path."""


class Package(NamedTuple):
    """One package, as its manager calls it; `architecture` is "" where it has none."""

    name: str
    version: str
    architecture: str = ""


File = tuple[bytes, bytes]
"""The folder of a file and its name in it, as a manager wrote them, without slashes at the ends. Many files share one
folder's text, so that a few bytes of a database never make many."""


class Parsed(NamedTuple):
    """What a database says: its packages, and by their numbers their files, which may have directories among them."""

    packages: Sequence[Package]
    files: Sequence[Sequence[File]]


def package(name: bytes | str, version: bytes | str, architecture: bytes | str = b"") -> Package:
    """A package with these texts.

    Raises Unread: one of them is no name, or no version.
    """
    named = _text(name, "name")
    return Package(
        named, _text(version, f"version of {named}"), _text(architecture or b"-", "architecture").strip("-")
    )


def _text(found: bytes | str, what: str) -> str:
    """Raises Unread: it is empty, too long, or holds what no such text does."""
    try:
        text = found if isinstance(found, str) else found.decode("utf-8")
    except UnicodeDecodeError:
        raise Unread(f"the {what} is not text: {_shown(found)}") from None
    if not text:
        raise Unread(f"a {what} is empty")
    if len(text) > MAX_TEXT:
        raise Unread(f"a {what} is longer than {MAX_TEXT} characters")
    if not text.isprintable() or " " in text:
        raise Unread(f"the {what} is not text: {_shown(found)}")
    return text


def _shown(found: bytes | str) -> str:
    return ascii(found[:60])


def file_at(path: bytes) -> File:
    """The file at a path from the root on."""
    folder, _, name = path.strip(b"/").rpartition(b"/")
    return folder, name


def check_count(count: int) -> None:
    """Raises Unread: a database has too many packages."""
    if count > MAX_PACKAGES:
        raise Unread(f"it has more than {MAX_PACKAGES} packages")
