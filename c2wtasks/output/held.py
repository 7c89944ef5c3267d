"""What a published bundle holds of what is asked for: packages by name and version, or a file."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from c2wtasks.disk import safely
from c2wtasks.output import record
from c2wtasks.output.places import PACKAGES, Places
from c2wtasks.packages import versions
from c2wtasks.tree import searched, treefile
from c2wtasks.tree.lookup import lookup

_COMPARE: dict[str, Callable[[versions.Key, versions.Key], bool]] = {
    "<": operator.lt,
    "@": operator.eq,
    ">": operator.gt,
}
_ASKED = re.compile(r"(?P<name>[^<>][^<>@]*)(?:(?P<sign>[<>@])(?P<version>[^<>@]+))?")


class Wanted(NamedTuple):
    """A package that is asked for: its name, and which versions."""

    name: str
    sign: str = ""
    version: str = ""

    def holds(self, kind: str, version: str) -> bool:
        """Whether this version of a package of a kind is one of those."""
        if not self.sign:
            return True
        return _COMPARE[self.sign](versions.key(kind, version), versions.key(kind, self.version))


def wanted(word: str) -> Wanted | None:
    """What `NAME`, `NAME<VERSION`, `NAME>VERSION` or `NAME@VERSION` asks for; None for anything else."""
    found = _ASKED.fullmatch(word)
    if found is None:
        return None
    return Wanted(found["name"].strip(), found["sign"] or "", (found["version"] or "").strip())


class Found(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a bundle holds: a package, or a file. `layer` is the number of the layer that brought it, if known."""

    name: str
    layer: int | None
    type: str = ""
    version: str = ""
    path: str = ""


class _Report(msgspec.Struct, frozen=True):
    packages: tuple[Found, ...]


_REPORTS = msgspec.json.Decoder(_Report)


def packages(places: Places, asked: Wanted) -> Iterator[Found]:
    """The packages of a published bundle that are asked for; none where it has no packages.json.

    Raises ValueError: that cannot be read.
    """
    try:
        text = safely.read(places.output(PACKAGES), record.MAX_SIZE)
    except OSError:
        return
    try:
        if msgspec.json.encode(asked.name) not in text:  # of most bundles no more is to be read
            return
    except UnicodeEncodeError:  # no package has a name that is not UTF-8
        return
    try:
        found = _REPORTS.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    for one in found.packages:
        if one.name == asked.name and asked.holds(one.type, one.version):
            yield one


def file(places: Places, path: str) -> Found | None:
    """The file at a path in the root of a published bundle, found as from inside it; None where there is none.

    Raises ValueError: what is known of the root cannot be read.
    """
    content = b""
    for known in (places.standing_tree, places.tree):
        try:
            content = safely.read(known, treefile.MAX_SIZE)
            break
        except OSError:
            continue
    if not content:
        return None
    root, _ = searched.root_of(content)
    try:
        inode = lookup(root, path.encode("utf-8", "surrogateescape").strip(b"/"), follow=False)
    except OSError:
        return None
    if inode is None:
        return None
    where = inode.node.content
    return Found(path, where.layer if where is not None else None, path=path)
