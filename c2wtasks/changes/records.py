"""What two bundles differ in by their bundle.json, and by the small files beside it. Pure.

A bundle.json of any version is read as far as it says what is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from c2wtasks.changes import fields
from c2wtasks.changes.model import Change, Details, FieldChange, Files

IMAGE, SPEC, PACKAGES = "image.json", "spec.json", "packages.json"
_HISTORY = ("history", "rootfs")
"""What image.json says of layers, which are told otherwise."""
NO_DETAILS = Details((), Files())


class _Layer(msgspec.Struct, frozen=True, rename="camel"):
    diff_id: str = msgspec.field(name="diffID")


class _File(msgspec.Struct, frozen=True):
    size: int
    sha256: str


class _Root(msgspec.Struct, frozen=True):
    size: int


class Made(msgspec.Struct, frozen=True, rename="camel"):
    """What is compared of a bundle.json."""

    name: str
    platform: str
    source: str
    config_digest: str
    layers: tuple[_Layer, ...]
    options: dict[str, Any]
    outputs: dict[str, _File]
    manifest_digest: str | None = None
    rootfs: _Root | None = None
    output_version: int = 0

    @property
    def size(self) -> int:
        """The bytes of all files of the bundle but this one and SHA256SUMS."""
        return (self.rootfs.size if self.rootfs else 0) + sum(one.size for one in self.outputs.values())

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers, the lowest first."""
        return tuple(one.diff_id for one in self.layers)


_MADE = msgspec.json.Decoder(Made)
_VALUES = msgspec.json.Decoder()

Read = Callable[[str], bytes]
"""Gives the small file of a bundle that has a name. Raises OSError."""


def parse(text: bytes) -> Made | None:
    """What a bundle.json says; None where it is none."""
    try:
        return _MADE.decode(text)
    except (ValueError, RecursionError):
        return None


def digest(text: bytes) -> str:
    """What a bundle.json is known by."""
    return hashlib.sha256(text).hexdigest()


def has_same_root(old: Made, new: Made) -> bool:
    """Whether the roots of two bundles are known to differ in times at most, as they follow from the same; or both
    have none."""
    if PACKAGES not in old.outputs and PACKAGES not in new.outputs:
        return True
    same_options = old.options.get("same_owner") == new.options.get("same_owner")
    return PACKAGES in old.outputs and PACKAGES in new.outputs and same_options and old.diff_ids == new.diff_ids


def new(bundle: str, after: str, made: Made) -> Change:
    """A bundle that was not there before."""
    return Change(bundle=bundle, after=after, size=(0, made.size), layers=((), made.diff_ids))


def gone(bundle: str, before: str = "") -> Change:
    """A bundle that is no more."""
    return Change(bundle=bundle, before=before)


def compare(
    bundle: str,
    digests: tuple[str, str],
    made: tuple[Made, Made],
    read: tuple[Read, Read],
    details: Details = NO_DETAILS,
) -> Change:
    """What changed from one bundle.json, and what lies beside it, to another; each pair has the old first. `details`
    is what changed in the root."""
    old, now = made
    found = _of_record(old, now)
    unknown = []
    for name in (IMAGE, SPEC):
        if old.outputs.get(name) != now.outputs.get(name):
            try:
                was, is_now = (_document(name, made, read) for made, read in zip(made, read, strict=True))
                found += fields.compare(name, was, is_now)
            except (OSError, ValueError, RecursionError):
                unknown.append(f"what changed in {name} is not known: it cannot be read")
    return Change(
        bundle=bundle,
        before=digests[0],
        after=digests[1],
        size=(old.size, now.size),
        layers=(old.diff_ids, now.diff_ids),
        fields=tuple(found),
        packages=details.packages,
        files=details.files,
        unknown=tuple(unknown),
    )


def _of_record(old: Made, new: Made) -> list[FieldChange]:
    names = ("configDigest", "manifestDigest", "outputVersion", "source")
    values = [(made.config_digest, made.manifest_digest, made.output_version, made.source) for made in (old, new)]
    found = fields.compare("bundle.json", *(dict(zip(names, some, strict=True)) for some in values))
    return found + fields.compare("options", old.options, new.options)


def _document(name: str, made: Made, read: Read) -> Any:
    """Raises OSError, ValueError, RecursionError."""
    if name not in made.outputs:
        return None
    found = _VALUES.decode(read(name))
    if name == IMAGE and isinstance(found, dict):
        found = {key: value for key, value in found.items() if key not in _HISTORY}
    return found
