"""Which packages differ in two packages.json. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from c2wtasks.changes.model import Installed, PackageChange, Way
from c2wtasks.packages import versions

Key = tuple[str, str, str]
"""What a package is known by: its type, name and architecture."""


class _Listed(msgspec.Struct, frozen=True, rename={"kind": "type"}):
    kind: str
    name: str
    version: str
    layer: int | None = None
    architecture: str = ""


class _Report(msgspec.Struct, frozen=True):
    packages: tuple[_Listed, ...]


_REPORTS = msgspec.json.Decoder(_Report)


def compare(old: bytes, new: bytes, layers: tuple[Sequence[str], Sequence[str]]) -> tuple[PackageChange, ...]:
    """What the text `new` of a packages.json says otherwise than `old`; `layers` are the diffIDs of both.

    Raises ValueError: one of them cannot be read.
    """
    was, now = _REPORTS.decode(old).packages, _REPORTS.decode(new).packages
    same = set(was).intersection(now)
    others = {_key(one) for one in (*was, *now) if one not in same}
    before, after = (_installed(some, others, names) for some, names in zip((was, now), layers, strict=True))
    return tuple(changes((key, before.get(key), after.get(key)) for key in others))


def changes(found: Iterable[tuple[Key, Installed | None, Installed | None]]) -> Iterator[PackageChange]:
    """The packages, sorted, of which other versions are there than were."""
    for (kind, name, architecture), old, new in sorted(found, key=lambda one: one[0]):
        if old is None or new is None or old.versions != new.versions:
            yield PackageChange(kind, name, _way(kind, old, new), architecture, old, new)


def key_of(change: PackageChange) -> Key:
    """What its package is known by."""
    return change.kind, change.name, change.architecture


def _key(one: _Listed) -> Key:
    return one.kind, one.name, one.architecture


def _installed(found: Iterable[_Listed], keys: set[Key], layers: Sequence[str]) -> dict[Key, Installed]:
    """What is there of each of these packages: of Python and npm there may be several versions."""
    by_key: dict[Key, dict[str, str]] = {}
    for one in found:
        if (key := _key(one)) in keys:
            layer = layers[one.layer] if one.layer is not None and 0 <= one.layer < len(layers) else ""
            by_key.setdefault(key, {})[one.version] = layer
    made = {}
    for key, known in by_key.items():
        ordered = sorted(known, key=lambda version: (versions.key(key[0], version), version))
        made[key] = Installed(tuple(ordered), known[ordered[-1]])
    return made


def _way(kind: str, old: Installed | None, new: Installed | None) -> Way:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    was, now = versions.key(kind, old.versions[-1]), versions.key(kind, new.versions[-1])
    return "up" if now > was else "down" if now < was else "other"
