"""The content of packages.json, and its text."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

VERSION = 1
"""Of the schema (docs/records.md): raised where a reader has to know of a change. What is merely more is none."""

_encode = msgspec.json.Encoder().encode


class Listed(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """One package. `layer` is the number, in bundle.json, of the layer that brought it, if that is known; `files` how
    many of its files are there; `path` where it lies, of one that belongs to a language."""

    kind: str
    name: str
    version: str
    purl: str
    layer: int | None
    files: int
    architecture: str = ""
    path: str = ""


class Database(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    """A database of packages that was found, and read."""

    kind: str
    path: str
    packages: int


class Unowned(msgspec.Struct, frozen=True):
    """How many files in a folder, and the folders below it that are not listed themselves, belong to no package."""

    folder: str
    files: int


class Report(msgspec.Struct, frozen=True):
    """The content of packages.json, of the schema `version`. `notes` are sentences on what could not be read."""

    version: int
    distribution: dict[str, str]
    databases: tuple[Database, ...]
    notes: tuple[str, ...]
    packages: tuple[Listed, ...]
    unowned: tuple[Unowned, ...]


_REPORTS = msgspec.json.Decoder(Report)


def encode(report: Report) -> bytes:
    """The text of packages.json: a line a package, a folder or a note."""
    return text((name, encoded(getattr(report, name))) for name in report.__struct_fields__)


def decode(text: bytes) -> Report:
    """What a packages.json says. Raises ValueError: it is none."""
    try:
        return _REPORTS.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def encoded(value: object) -> bytes:
    """A value as JSON; of a tuple each item on a line of its own."""
    if not isinstance(value, tuple) or not value:
        return _encode(value)
    return b"[\n" + b",\n".join(map(_encode, value)) + b"\n]"


def text(fields: Iterable[tuple[str, bytes]]) -> bytes:
    """The text of a JSON object with these fields, whose values are JSON."""
    return b"{\n" + b",\n".join(b'"%s": %s' % (name.encode(), value) for name, value in fields) + b"\n}\n"
