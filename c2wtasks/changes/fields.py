"""Which values differ in two JSON documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from c2wtasks.changes.model import FieldChange

DOCUMENTS = ("bundle.json", "options", "image.json", "spec.json")
"""What is compared, in the order in which changes are told."""
_DEPTH = 20

Way = tuple[str, ...]


def compare(of: str, old: Any, new: Any) -> list[FieldChange]:
    """The values that differ, by the way to them: members of objects one by one, lists as a whole, but for lists of
    NAME=VALUE, which are as objects."""
    return [FieldChange(of, way, was, now) for way, was, now in sorted(_others(old, new, ()), key=lambda one: one[0])]


def _others(old: Any, new: Any, way: Way) -> Iterator[tuple[Way, Any, Any]]:
    """The values that differ: of what is an object on one side only, its members are on that side alone."""
    if old == new:
        return
    was, now = (_members(value, way) if len(way) < _DEPTH else None for value in (old, new))
    if was is None and now is None:
        yield way, old, new
        return
    if was is None and old is not None:
        yield way, old, None
    if now is None and new is not None:
        yield way, None, new
    was, now = was or {}, now or {}
    for name in was.keys() | now.keys():
        yield from _others(was.get(name), now.get(name), (*way, str(name)))


def in_order(found: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    """Changes of several documents, as they are told."""
    return tuple(sorted(found, key=lambda one: (DOCUMENTS.index(one.of), one.field)))


def _members(value: Any, way: Way) -> Mapping[str, Any] | None:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and way and way[-1].lower() == "env":
        pairs = [one.partition("=") for one in value if isinstance(one, str)]
        if len(pairs) == len(value):
            return {name: text for name, _, text in pairs}
    return None
