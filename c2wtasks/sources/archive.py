"""The members of a tar archive, compressed or not, read in place: nothing is unpacked."""

from __future__ import annotations

import os
from collections.abc import Mapping

from c2wtasks.errors import SourceError
from c2wtasks.sources.model import BlobPlace
from c2wtasks.sources.packed import Unpacked, compression_of
from c2wtasks.sources.reading import mistaken, open_regular, unreadable
from c2wtasks.sources.tarmembers import Member, read_members

_MAX_LINKS = 40  # as Linux follows
_START = 512

# What is taken for a tar, by its first bytes: what it is, and what unpacks it.
_NO_TARS = (
    (b"PK\x03\x04", "a zip archive", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
    (b"\x04\x22\x4d\x18", "lz4 data", "lz4 -d"),
    (b"\x1f\x9d", "compress data", "uncompress"),
    (b"\x1f\x8b", "gzip data", "gunzip"),  # these four only where they are packed once more
    (b"\x28\xb5\x2f\xfd", "zstd data", "unzstd"),
    (b"\xfd7zXZ\0", "xz data", "unxz"),
    (b"BZh", "bzip2 data", "bunzip2"),
)


class Archive:
    """A `Files` over the members of the tar `path`. Its table of contents is read once, here."""

    is_folder = False

    def __init__(self, path: str) -> None:
        """Raises SourceError: not a tar, damaged, or not readable."""
        self.path = path
        descriptor = open_regular(path)
        try:
            start = os.pread(descriptor, _START, 0)
            self._compression = compression_of(start)
            if self._compression:
                packed = Unpacked(descriptor, self._compression)
                start = packed.keep(0, _START)
                self._members = read_members(packed.read_at, packed.keep)
            else:
                self._members = read_members(lambda offset, count: os.pread(descriptor, count, offset))
        except OSError as error:
            raise unreadable(path, error) from error
        except ValueError as error:
            wrong = mistaken(path, start) or _no_tar(path, self._compression, start)
            raise wrong or SourceError(f"{path} {error}") from error
        finally:
            os.close(descriptor)

    def place(self, name: str) -> BlobPlace | None:
        """Where the member `name` lies, and what hard links lead to; None where there is none.

        Raises SourceError: it is no regular file, or a link that leads nowhere.
        """
        try:
            member = follow(self._members, name)
        except ValueError as error:
            raise SourceError(f"{self.path}: {error}") from error
        if member is None:
            return None
        if member.kind == "broken link":
            raise SourceError(
                f"{self.path}: {name!r} is a hard link to {member.target!r}, which is not in the archive"
            )
        if member.kind != "file":
            raise SourceError(f"{self.path}: {name!r} is a {member.kind}, not a regular file")
        return BlobPlace(self.path, member.offset, member.size, self._compression, member.fragments)

    def wrapping_folder(self, name: str) -> str | None:
        """The one folder at the archive's top that holds `name`, as in a tar made one level too high."""
        folders = [member.removesuffix("/" + name) for member in self._members if member.endswith("/" + name)]
        return folders[0] if len(folders) == 1 and "/" not in folders[0] else None


def _no_tar(path: str, compression: str, start: bytes) -> SourceError | None:
    """The error for what begins with `start`, unpacked, where that is known to be no tar; else None."""
    is_what = f"is {compression} data and holds" if compression else "is"
    for sign, kind, program in _NO_TARS:
        if start.startswith(sign):
            hint = f"unpack it ({'both, ' if compression else ''}{program}), and name what is in it"
            return SourceError(f"{path} {is_what} {kind}, not a tar archive", hint=hint)
    return None


def follow(members: Mapping[str, Member], name: str) -> Member | None:
    """The member that `name` leads to, symbolic links followed as if the archive were a whole file system's root;
    None where there is none.

    Raises ValueError: the way leads outside of the archive, or never ends.
    """
    pending = name.split("/")[::-1]
    here: list[str] = []
    found: Member | None = None
    links = 0
    if name.startswith("/"):
        raise ValueError(f"the file {name!r} lies outside of the archive")
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                raise ValueError(f"the file {name!r} lies outside of the archive")
            here.pop()
            continue
        here.append(part)
        found = members.get("/".join(here))
        if found is not None and found.kind == "symlink":
            links += 1
            if links > _MAX_LINKS:
                raise ValueError(f"the file {name!r} is behind more than {_MAX_LINKS} symbolic links")
            if found.target.startswith("/"):
                raise ValueError(f"the file {name!r} is a link to {found.target!r}, outside of the archive")
            here.pop()
            pending.extend(found.target.split("/")[::-1])
    return members.get("/".join(here))
