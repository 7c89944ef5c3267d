"""What ext4 and EROFS have alike, as Linux's own file systems: names, targets, holes, xattrs, the numbers of devices,
and the UUIDs of an image."""

from __future__ import annotations

import hashlib
import uuid
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from c2wtasks.errors import OutputError
from c2wtasks.tree import acl
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK
from c2wtasks.tree.paths import shown_path
from c2wtasks.tree.treefile import Node

ACCESS_ACL, DEFAULT_ACL = 2, 3
"""The prefixes of POSIX ACLs, which are the whole name."""

_MAX_NAME = 255
_MAX_TARGET = 4095
_PARTS = 64
_PREFIXES = {b"user.": 1, b"trusted.": 4, b"security.": 6}
_ACLS = {acl.ACCESS: ACCESS_ACL, acl.DEFAULT: DEFAULT_ACL}


class Xattr(NamedTuple):
    """An xattr. `prefix` is the number that both file systems have for how its name begins, `name` is the rest."""

    prefix: int
    name: bytes
    value: bytes


def linux_xattrs(kind: str, xattrs: Iterable[tuple[bytes, bytes]]) -> list[Xattr]:
    """The xattrs that Linux has of a file of some kind, in the order given: `user.` only of files and directories, no
    ACL of a symlink, a default ACL only of a directory, no empty ACL, and nothing with another prefix (xattr(7)).

    Raises ValueError: one that Linux takes for malformed.
    """
    return [found for name, value in xattrs if (found := _linux_xattr(kind, name, value)) is not None]


def _linux_xattr(kind: str, name: bytes, value: bytes) -> Xattr | None:
    if which := _ACLS.get(name):
        if kind == SYMLINK or (which == DEFAULT_ACL and kind != DIRECTORY):
            return None
        try:
            return Xattr(which, b"", value) if acl.entries(value) else None
        except ValueError:
            raise ValueError(f"its xattr {name.decode()} is malformed") from None
    for text, prefix in _PREFIXES.items():
        if name.startswith(text) and name != text and (text != b"user." or kind in (FILE, DIRECTORY)):
            if len(name) > _MAX_NAME:
                raise ValueError(f"the name of an xattr has {len(name)} bytes, and Linux takes {_MAX_NAME}")
            return Xattr(prefix, name[len(text) :], value)
    return None


def device_number(numbers: tuple[int, int]) -> int:
    """The 32 bits of a device (major, minor): 12 bits of the one between 8 and 12 of the other, as Linux has it."""
    major, minor = numbers
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def uuids(key: bytes) -> tuple[bytes, bytes]:
    """Two random-looking UUIDs (RFC 9562, version 4): the same for the same key, different for another."""
    digest = hashlib.sha256(key).digest()
    first, second = (uuid.UUID(bytes=half, version=4).bytes for half in (digest[:16], digest[16:]))
    return first, second


def check_names(nodes: Sequence[Node], form: str) -> None:
    """Raises OutputError, which names the file: a name or the target of a symlink is longer than Linux takes, or the
    target is empty."""
    for index, node in enumerate(nodes):
        if len(node.name) > _MAX_NAME:
            raise refusal(nodes, index, f"its name has {len(node.name)} bytes, and {form} takes {_MAX_NAME}")
        if node.kind == SYMLINK and node.link < 0 and not 0 < len(node.target) <= _MAX_TARGET:
            raise refusal(nodes, index, f"a target of {len(node.target)} bytes: {form} takes 1 to {_MAX_TARGET}")


def refusal(nodes: Sequence[Node], index: int, wrong: str) -> OutputError:
    """The error for a node that the image cannot hold."""
    return OutputError(f"{shown_path(nodes, index)}: {wrong}", hint="leave it out of the image")


def in_order(indices: Iterable[int], keys: Sequence[int], largest: int) -> array[int]:
    """The indices by their keys, 0 to `largest`; those of one key stay as they are.

    They are sorted in parts: as a whole this takes ten times as much memory as its outcome.
    """
    parts = [array("I") for _ in range(_PARTS)]
    for index in indices:
        parts[keys[index] * _PARTS // (largest + 1)].append(index)
    ordered = array("I")
    for part in parts:
        ordered.extend(sorted(part, key=keys.__getitem__))
    return ordered


def block_runs(fragments: Iterable[tuple[int, int]], block: int) -> list[tuple[int, int]]:
    """The (first block, length) of the blocks that ascending (offset, length) in bytes touch."""
    return joined((at // block, (at + length - 1) // block) for at, length in fragments if length)


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The (first, length) of the runs that ascending (first, last) make."""
    runs: list[tuple[int, int]] = []
    for first, last in ranges:
        if runs and first <= sum(runs[-1]):
            first, _ = runs.pop()
        runs.append((first, last + 1 - first))
    return runs
