"""What changed from one bundle to another. `old` is what was, `new` what is; docs/records.md has it as JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

MOST_FILES = 10_000
"""So many changes of files are kept one by one; of more the first, by their paths, and counts by folder."""

Way = Literal["added", "removed", "up", "down", "other"]
"""How a package changed. `other`: another text of an equal version, or other versions beside the same latest."""


class FileState(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """A file, whatever its kind, without its times. `mode` is in octal, `owner` UID:GID, `size` in bytes; `content`
    is the xxh3-128 of what is stored of it: "" of what has none, or where that is not known. The values of xattrs are
    in hex, `device` is MAJOR:MINOR."""

    kind: str
    mode: str
    owner: str
    size: int = 0
    content: str = ""
    target: str = ""
    device: str = ""
    xattrs: dict[str, str] = {}


class FileChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A path that is new (`old` is None), gone (`new` is None), or another file than it was."""

    path: str
    old: FileState | None = None
    new: FileState | None = None


class FolderCount(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many paths changed in a folder, and in those below it that are not listed."""

    folder: str
    added: int = 0
    removed: int = 0
    changed: int = 0


class Files(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The paths that changed, sorted: of more than `MOST_FILES` the first, and all by `folders`. `uncompared` are
    files of equal size and time in layers that could not be read, which count as equal. `at_most` says that counts
    are sums of several nights of which not all is listed: what changed back in between is in them."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    listed: tuple[FileChange, ...] = ()
    folders: tuple[FolderCount, ...] = ()
    uncompared: int = 0
    at_most: bool = False

    @property
    def count(self) -> int:
        """How many paths changed."""
        return self.added + self.removed + self.changed

    @property
    def is_cut(self) -> bool:
        """Whether not all are listed."""
        return len(self.listed) < self.count


class Installed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The versions of a package that are there, the earliest first, and the diffID of the layer that brought the last
    of them, where that is known."""

    versions: tuple[str, ...]
    layer: str = ""


class PackageChange(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "type"}):
    """A package, known by its type, name and architecture, of which other versions are there."""

    kind: str
    name: str
    way: Way
    architecture: str = ""
    old: Installed | None = None
    new: Installed | None = None


class FieldChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that changed in `of`: `bundle.json`, its `options`, `image.json` or `spec.json`. `field` is the way to
    it, name by name; None is a value that is not there."""

    of: str
    field: tuple[str, ...]
    old: Any = None
    new: Any = None


class Details(msgspec.Struct, frozen=True):
    """What changed in a root. Many bundles may share it."""

    packages: tuple[PackageChange, ...] | None
    files: Files | None


UNKNOWN = Details(None, None)


class Change(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What changed of a bundle (`name@platform`). `before` and `after` are the SHA-256 of its bundle.json, "" where
    there was, or is, none; `size` the bytes of its files, and `layers` the diffIDs, before and after. `packages` and
    `files` are None where that is not known, and `unknown` says in sentences what is not, and why. `details` is what
    these two are stored under."""

    bundle: str
    before: str = ""
    after: str = ""
    size: tuple[int, int] = (0, 0)
    layers: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    fields: tuple[FieldChange, ...] = ()
    packages: tuple[PackageChange, ...] | None = ()
    files: Files | None = Files()
    unknown: tuple[str, ...] = ()
    details: str = ""

    @property
    def is_new(self) -> bool:
        """Whether nothing stood there before."""
        return not self.before

    @property
    def is_gone(self) -> bool:
        """Whether the bundle is no more."""
        return not self.after
