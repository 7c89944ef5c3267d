"""catalog.json: all bundles of bundle.yaml, with what became of them. Written at the end of every run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import msgspec

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.output import record
from c2wtasks.output.places import Places
from c2wtasks.output.record import Record

Status = Literal["built", "failed", "missing"]
CATALOG = "catalog.json"
MAX_SIZE = 256 << 20  # bytes

VERSION = 1
"""Of the schema (docs/records.md): raised where a reader has to know of a change. What is merely more is none."""


class Line(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One bundle. `path` is its folder, relative to catalog.json.

    `failed`: the last run that tried failed with `error`; `bundle`, if there, is then the last good one, which
    still stands. `missing`: not built yet.
    """

    name: str
    platform: str
    path: str
    status: Status
    error: str = ""
    bundle: Record | None = None


class Catalog(msgspec.Struct, frozen=True):
    """The content of catalog.json, of the schema `version`."""

    version: int
    bundles: tuple[Line, ...]


class _Error(msgspec.Struct, frozen=True):
    name: str
    platform: str
    error: str = ""


class _Errors(msgspec.Struct, frozen=True):
    """What the catalog of any version says of what failed."""

    bundles: tuple[_Error, ...]


_CATALOGS = msgspec.json.Decoder(Catalog)
_OF_ANY_VERSION = msgspec.json.Decoder(_Errors)


def update(
    output: str,
    bundles: Iterable[Bundle],
    failed: Mapping[str, str],
    succeeded: frozenset[str],
    previous: bytes | None,
) -> bytes:
    """The text of catalog.json after a run.

    `failed` maps the bundles (`name@platform`) that failed in it to the reason, `succeeded` are those that are
    now as they should be; what the run did not look at keeps the status that `previous`, the catalog before, gave.
    """
    before = errors(previous)
    lines = []
    for bundle in sorted(bundles, key=lambda bundle: (bundle.name, str(bundle.platform))):
        key = str(bundle)
        published = record.read(Places.of(output, bundle).record)
        error = failed.get(key) or (None if key in succeeded else before.get(key))
        status: Status = "failed" if error else "built" if published else "missing"
        path = f"{bundle.name}/{bundle.platform.folder}"
        lines.append(Line(bundle.name, str(bundle.platform), path, status, error or "", published))
    return msgspec.json.format(msgspec.json.encode(Catalog(VERSION, tuple(lines))), indent=2) + b"\n"


class Sizes(NamedTuple):
    """Bytes: what all bundles hold, and how much smaller the layer store is since bundles share layers."""

    size: int
    shared: int


def lines(catalog: bytes) -> tuple[Line, ...]:
    """What the text of a catalog lists.

    Raises ValueError: it is none of this version.
    """
    try:
        found = _CATALOGS.decode(catalog)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if found.version != VERSION:
        raise ValueError("of another version")
    return found.bundles


def sizes(listed: Iterable[Line]) -> Sizes:
    """What the lines of a catalog say of its bundles together."""
    size = of_all = 0
    layers: dict[str, int] = {}
    for line in listed:
        if line.bundle is None:
            continue
        size += line.bundle.size
        for layer in line.bundle.layers:
            layers[layer.diff_id] = layer.tar_size or 0
            of_all += layer.tar_size or 0
    return Sizes(size, of_all - sum(layers.values()))


def errors(catalog: bytes | None) -> dict[str, str]:
    """The errors in a catalog's text, by bundle; none where it cannot be read."""
    try:
        lines = _OF_ANY_VERSION.decode(catalog or b"").bundles
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return {f"{line.name}@{line.platform}": line.error for line in lines if line.error}
