"""The table of contents of a tar that holds image blobs: names and where their bytes lie.

Only headers are read, so an archive of any size takes little time and memory, and no entry is trusted for
more than a name and a place. `tarfile` would do for honest archives; it reads extended headers of any size
into memory. This is not the reader of layers: those keep modes, owners, sparse files and much else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from c2wtasks.sources.model import Fragments

BLOCK = 512
MAX_EXTENSION = 1 << 20  # bytes of one extended header, as in Go's archive/tar
MAX_NAME = 4096
MAX_MEMBERS = 250_000
MAX_TEXT = 32 << 20  # characters of all names and targets
MAX_RECORDS = 1_000_000  # of PAX, in all headers
MAX_FRAGMENTS = 1 << 18  # of all sparse members
MAX_HOLES = 64 << 30  # bytes of all sparse members that are not stored, and are read as zeros all the same
_SMALL = 1 << 16
_LONG_NUMBER = re.compile(rb"[0-9]{100}")  # `tarfile` takes time that grows with the square of the length
_MAX_OFFSET = 1 << 62

ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Member:
    """One member: `size` bytes at `offset`, of which only the `fragments` are stored where it is sparse. `target` is
    that of symbolic links, and of hard links to what the archive lacks."""

    kind: Literal["file", "folder", "symlink", "broken link", "special file"]
    offset: int
    size: int
    target: str = ""
    fragments: Fragments | None = None


@dataclass(slots=True)
class _Extensions:
    """What extended headers say of the entry that follows them; the first of them is at `begin`. Empty text and None
    mean that they say nothing."""

    begin: int
    name: str = ""
    target: str = ""
    size: int | None = None
    sparse: bool = False
    long_number: bool = False


@dataclass(slots=True)
class _Found:
    """The members, and how much there was of what is limited."""

    members: dict[str, Member] = field(default_factory=dict)
    text: int = 0
    records: int = 0
    fragments: int = 0
    holes: int = 0

    def check(self) -> None:
        """Raises ValueError: there is more of something than any archive has."""
        for count, limit, what in (
            (len(self.members), MAX_MEMBERS, "entries"),
            (self.text, MAX_TEXT, "characters in names and targets of links"),
            (self.records, MAX_RECORDS, "PAX records"),
            (self.fragments, MAX_FRAGMENTS, "fragments of sparse entries"),
            (self.holes, MAX_HOLES, "bytes of holes in sparse entries"),
        ):
            if count > limit:
                raise ValueError(f"has more than {limit} {what}, which no image archive has")


def read_members(read_at: ReadAt, keep: ReadAt | None = None) -> dict[str, Member]:
    """The members by their names, which have no leading `./` or `/`. Of several entries of one name the last counts,
    as when unpacked.

    `read_at(offset, count)` gives that many bytes of the archive; fewer where it ends, none from there on. What it is
    asked for lies ever further on, but for the headers of sparse members, which are read twice. `keep` is asked for
    the content of small members.

    Raises ValueError: not a tar, damaged, or truncated.
    """
    found = _Found()
    header = read_at(0, BLOCK)
    if len(header) < BLOCK:
        raise ValueError("is too short for a tar archive")
    at = 0
    said = _Extensions(at)
    # Two blocks of zeros end an archive. Many writers leave them out, or write only one.
    while header.strip(b"\0"):
        if len(header) < BLOCK:
            raise ValueError(f"ends inside the header at offset {at}; it is truncated")
        _check_sum(header, at)
        kind = header[156:157]
        if kind in b"xLK":
            at = _extend(said, read_at, header, at, found)
        elif kind == b"g":  # global headers are passed over, as Go does
            at = _following(read_at, at, at + BLOCK, _number(header[124:136], at))
        else:
            is_sparse = kind == b"S" or said.sparse
            if is_sparse:
                at = _add_sparse(found, read_at, header, said, at)
            else:
                at = _add_plain(found, read_at, keep, header, said, at)
            found.check()
            said = _Extensions(at)
        header = read_at(at, BLOCK)
    return found.members


def _following(read_at: ReadAt, at: int, data: int, stored: int) -> int:
    """Where the next header is, behind the `stored` bytes at `data` of the entry at `at`.

    Raises ValueError: they are not all there.
    """
    if stored and (data + stored > _MAX_OFFSET or not read_at(data + stored - 1, 1)):
        raise _truncated(at, stored)
    return _behind(data, stored)


def _behind(data: int, stored: int) -> int:
    return data + -(-stored // BLOCK) * BLOCK


def _truncated(at: int, stored: int) -> ValueError:
    return ValueError(f"ends inside the entry at offset {at}, which has {stored} bytes; it is truncated")


def _add_plain(found: _Found, read_at: ReadAt, keep: ReadAt | None, header: bytes, said: _Extensions, at: int) -> int:
    """Adds a member whose bytes lie together. Gives where the next header is."""
    stored = _stored_size(header, said, at)
    if keep is not None and 0 < stored <= _SMALL:
        if len(keep(at + BLOCK, stored)) < stored:
            raise _truncated(at, stored)
        following = _behind(at + BLOCK, stored)
    else:
        following = _following(read_at, at, at + BLOCK, stored)
    _add(found, header, said, Member("file", at + BLOCK, stored), at)
    return following


def _add_sparse(found: _Found, read_at: ReadAt, header: bytes, said: _Extensions, at: int) -> int:
    """Adds a sparse member, old GNU's or PAX's, as `tarfile` reads it. Gives where the next header is.

    Raises ValueError.
    """
    import tarfile  # few archives have such members, and need it

    name = said.name or _header_name(header)
    damaged = f"has a sparse entry ({name}) whose map cannot be read; pack it again without --sparse"
    window: Any = _Window(read_at, said.begin, at + BLOCK + MAX_EXTENSION)
    try:
        if said.long_number:
            raise ValueError
        archive: Any = tarfile.TarFile(fileobj=window, mode="r", encoding="utf-8", errors="surrogateescape")
        info = archive.next()
        found.fragments += len(info.sparse)
        offset, fragments = said.begin + info.offset_data, tuple(one for one in info.sparse if one[1])
        stored = sum(length for _, length in fragments)
        following: int = said.begin + archive.offset
        reached = 0
        for start, length in fragments:
            if not reached <= start <= start + length <= info.size:
                raise ValueError
            reached = start + length
        if offset + -(-stored // BLOCK) * BLOCK != following:
            raise ValueError
    except (tarfile.TarError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
        raise ValueError(damaged) from None
    _following(read_at, at, offset, stored)
    found.holes += info.size - stored
    said.name = said.name or info.name
    _add(found, header, said, Member("file", offset, info.size, "", fragments), at)
    return following


class _Window:
    """The bytes of an archive from `begin` to `end`, as a file."""

    def __init__(self, read_at: ReadAt, begin: int, end: int) -> None:
        self._read_at, self._begin, self._end = read_at, begin, end
        self._at = begin

    def tell(self) -> int:
        return self._at - self._begin

    def seek(self, at: int) -> None:
        self._at = self._begin + at

    def read(self, count: int) -> bytes:
        content = self._read_at(self._at, max(0, min(count, self._end - self._at)))
        self._at += len(content)
        return content


def _check_sum(header: bytes, at: int) -> None:
    want = _number(header[148:156], at)
    plain = header[:148] + b" " * 8 + header[156:]
    unsigned = sum(plain)
    signed = unsigned - 256 * sum(byte > 127 for byte in plain)  # as some old writers do
    if want not in (unsigned, signed):
        raise ValueError(
            "is not a tar archive" if at == 0 else f"is damaged: the header at offset {at} has a wrong checksum"
        )


def _number(field: bytes, at: int) -> int:
    """The number in a field of the header at `at`: octal, or GNU's base-256. Raises ValueError."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise ValueError(f"is damaged: the header at offset {at} has a negative number")
        return int.from_bytes(bytes((field[0] & 0x3F,)) + field[1:], "big")
    digits = field.strip(b" \0").partition(b"\0")[0]
    if digits.strip(b"01234567"):
        raise ValueError("is not a tar archive" if at == 0 else f"is damaged: no number in the header at offset {at}")
    return int(digits or b"0", 8)


def _stored_size(header: bytes, said: _Extensions, at: int) -> int:
    """The bytes that follow the header. Links, folders and devices have none, whatever their size says."""
    if header[156:157] in b"123456":
        return 0
    own = _number(header[124:136], at)
    return own if said.size is None else said.size


def _extend(said: _Extensions, read_at: ReadAt, header: bytes, at: int, found: _Found) -> int:
    """Takes note of what an extended header says. Gives where the next header is."""
    size = _number(header[124:136], at)
    if size > MAX_EXTENSION:
        raise ValueError(
            f"has an extended header of {size} bytes at offset {at}, more than is read ({MAX_EXTENSION})"
        )
    content = read_at(at + BLOCK, size)
    if len(content) < size:
        raise _truncated(at, size)
    match header[156:157]:
        case b"L":
            said.name = _text(content)
        case b"K":
            said.target = _text(content)
        case _:
            said.long_number = said.long_number or _LONG_NUMBER.search(content) is not None
            _extend_by_pax(said, _pax_records(content, at, found), at)
    return at + BLOCK + -(-size // BLOCK) * BLOCK


def _extend_by_pax(said: _Extensions, records: dict[str, str], at: int) -> None:
    said.sparse = said.sparse or any(key.startswith("GNU.sparse.") for key in records)
    said.name = records.get("GNU.sparse.name") or records.get("path") or said.name
    said.target = records.get("linkpath") or said.target
    if text := records.get("size"):
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise ValueError(f"is damaged: the extended header at offset {at} has the size {text!r}")
        said.size = int(text)


def _pax_records(content: bytes, at: int, found: _Found) -> dict[str, str]:
    """The PAX records in `content`: `length key=value\\n`, repeated. Raises ValueError."""
    records = {}
    done = 0
    while done < len(content):
        digits = content[done : done + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        body = content[done + len(digits) + 1 : done + length]
        key, equals, value = body.partition(b"=")
        if not equals or done + length > len(content) or not value.endswith(b"\n"):
            raise ValueError(f"is damaged: the extended header at offset {at} cannot be read")
        records[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        found.records += 1
        done += length
    found.check()
    return records


def _add(found: _Found, header: bytes, said: _Extensions, member: Member, at: int) -> None:
    raw = said.name or _header_name(header)
    if len(raw) > MAX_NAME:
        raise ValueError(f"has a name of {len(raw)} characters at offset {at}, more than {MAX_NAME}")
    name = normal_name(raw)
    if not name:
        return
    target = said.target or _text(header[157:257])
    if len(target) > MAX_NAME and header[156:157] in b"12":
        raise ValueError(f"has a link to a name of {len(target)} characters at offset {at}, more than {MAX_NAME}")
    members = found.members
    found.text += len(name) + (len(target) if header[156:157] in b"12" else 0)
    match header[156:157]:
        case b"1":
            # A hard link is a second name of what its target is at this point.
            kept = members.get(normal_name(target) or "")
            members[name] = kept or Member("broken link", member.offset, 0, target)
        case b"2":
            members[name] = Member("symlink", member.offset, 0, target)
        case b"5":
            members[name] = Member("folder", member.offset, 0)
        case b"3" | b"4" | b"6":
            members[name] = Member("special file", member.offset, 0)
        case _ if raw.endswith("/"):  # a folder, as the oldest tars wrote them
            members[name] = Member("folder", member.offset, 0)
        case _:
            members[name] = member


def _header_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def normal_name(name: str) -> str | None:
    """`name` without empty and `.` parts; None where a `..` would lead elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)
