"""Changes of many bundles by their causes: what is new for 41 bundles is told once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from c2wtasks.changes.model import Change, FieldChange, Files, PackageChange

_SHORT = 12  # hex digits of a digest
_VALUE = 60  # characters of a value
_SAID = ("configDigest", "manifestDigest")
"""What follows from other changes, as a rule."""
_OF_PROCESS = ("args", "env", "cwd")
"""What spec.json has of image.json."""


class Group(msgspec.Struct, frozen=True):
    """Bundles with a cause, or several, in common. `packages` are those that changed for all of them and are told in
    no larger group, `files` what changed in all of them alike, None where that differs; `own` is what is left of
    single bundles, `size` by how many bytes all together have grown."""

    causes: tuple[str, ...]
    bundles: tuple[str, ...]
    packages: tuple[PackageChange, ...]
    files: Files | None
    own: dict[str, tuple[PackageChange, ...]]
    size: int
    unknown: tuple[str, ...]


def causes(change: Change) -> list[str]:
    """Why a bundle is another than it was, in words."""
    if change.is_new:
        return ["new"]
    if change.is_gone:
        return ["removed"]
    old, new = change.layers
    found = [f"layer {_layer(one)} new" for one in dict.fromkeys(new) if one not in old]
    if not found:
        found += [f"layer {_layer(one)} gone" for one in dict.fromkeys(old) if one not in new]
    found += list(_of_fields(change.fields))
    if not found and old != new:
        found.append("layers in another order")
    if not found:
        others = [one for one in change.fields if one.of == "bundle.json"]
        found += [f"{one.field[-1]} changed" for one in others] or ["other bytes"]
    return found


def _of_fields(found: Sequence[FieldChange]) -> Iterator[str]:
    documents = {one.of for one in found}
    for one in found:
        value = f"{_value(one.old)} -> {_value(one.new)}"
        if one.of == "bundle.json" and one.field[-1] not in _SAID:
            yield f"{'output version' if one.field == ('outputVersion',) else one.field[-1]}: {value}"
        elif one.of == "options":
            yield f"option {'.'.join(one.field)}: {value}"
        elif one.of == "image.json" and "options" not in documents and one.field != ("created",):
            yield f"image: {'.'.join(one.field).removeprefix('config.')}: {value}"
        elif one.of == "spec.json" and "options" not in documents and not _is_of_image(one):
            yield f"spec: {'.'.join(one.field)}: {value}"


def _is_of_image(one: FieldChange) -> bool:
    return one.field[:1] == ("process",) and one.field[1:2] != () and one.field[1] in _OF_PROCESS


def _layer(diff_id: str) -> str:
    return diff_id.partition(":")[2][:_SHORT]


def _value(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 3]}..."


def groups(changes: Iterable[Change]) -> list[Group]:
    """The changes, grouped by causes: the group of which there is least to say first."""
    by_bundle = {one.bundle: one for one in changes}
    by_cause: dict[str, list[str]] = {}
    for bundle, change in by_bundle.items():
        for cause in causes(change):
            by_cause.setdefault(cause, []).append(bundle)
    together: dict[tuple[str, ...], list[str]] = {}
    for cause, bundles in by_cause.items():
        together.setdefault(tuple(sorted(bundles)), []).append(cause)
    told: dict[str, set[tuple[str, ...]]] = {bundle: set() for bundle in by_bundle}
    made = [
        _group(found, [by_bundle[bundle] for bundle in bundles], told)
        for bundles, found in sorted(together.items(), key=lambda one: -len(one[0]))
    ]
    least = {bundle: group for group in made for bundle in group.bundles}  # the last is of the fewest bundles
    for bundle, change in by_bundle.items():
        left = tuple(one for one in change.packages or () if _key(one) not in told[bundle])
        if left:
            least[bundle].own[bundle] = left
    return sorted(made, key=lambda one: (_length(one), one.causes))


def _group(found: Sequence[str], changes: Sequence[Change], told: dict[str, set[tuple[str, ...]]]) -> Group:
    common = {_key(one): one for one in changes[0].packages or ()}
    for change in changes[1:]:
        if change.packages is not changes[0].packages:
            have = {_key(one) for one in change.packages or ()}
            common = {key: one for key, one in common.items() if key in have}
    fresh = [key for key in common if not all(key in told[change.bundle] for change in changes)]
    for change in changes:
        told[change.bundle].update(fresh)
    files = changes[0].files
    alike = all(change.files is files or change.files == files for change in changes)
    return Group(
        tuple(found),
        tuple(change.bundle for change in changes),
        tuple(common[key] for key in fresh),
        files if alike else None,
        {},
        sum(change.size[1] - change.size[0] for change in changes if change.before and change.after),
        tuple(dict.fromkeys(one for change in changes for one in change.unknown)),
    )


def _key(one: PackageChange) -> tuple[str, ...]:
    old, new = (side.versions if side is not None else () for side in (one.old, one.new))
    return one.kind, one.name, one.architecture, *old, "->", *new


def _length(group: Group) -> int:
    files = group.files.count if group.files is not None else 1
    return len(group.causes) + len(group.packages) + sum(map(len, group.own.values())) + files
