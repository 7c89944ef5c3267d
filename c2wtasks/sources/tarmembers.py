"""The table of contents of a tar that holds image blobs: names and where their bytes lie.

Only headers are read, so an archive of any size takes little time and memory, and no entry is trusted for
more than a name and a place. `tarfile` would do for honest archives; it reads extended headers of any size
into memory. This is not the reader of layers: those keep modes, owners, sparse files and much else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

BLOCK = 512
MAX_EXTENSION = 1 << 20  # bytes of one extended header, as in Go's archive/tar
MAX_NAME = 4096
MAX_MEMBERS = 250_000

ReadAt = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Member:
    """`size` bytes at `offset`; `target` of symbolic links, and of hard links to what the archive lacks."""

    kind: Literal["file", "folder", "symlink", "broken link", "special file"]
    offset: int
    size: int
    target: str = ""


@dataclass(slots=True)
class _Extensions:
    """What extended headers say of the entry that follows them. Empty text and None: nothing."""

    name: str = ""
    target: str = ""
    size: int | None = None


def read_members(read_at: ReadAt, size: int) -> dict[str, Member]:
    """Name -> member. Names have no leading `./` or `/`; the last entry of a name wins, as when unpacked.

    `read_at(offset, count)` gives that many bytes of the archive, which has `size`.

    Raises ValueError: not a tar, damaged, truncated, or with sparse members (their bytes do not lie together).
    """
    if size < BLOCK:
        raise ValueError("is too short for a tar archive")
    members: dict[str, Member] = {}
    said = _Extensions()
    at = 0
    # Two blocks of zeros end an archive. Many writers leave them out, or write only one.
    while at < size and (header := _exactly(read_at, at, min(BLOCK, size - at))).strip(b"\0"):
        if len(header) < BLOCK:
            raise ValueError(f"ends inside the header at offset {at}; it is truncated")
        _check_sum(header, at)
        kind = header[156:157]
        data = at + BLOCK
        stored = _stored_size(header, said, at)
        if data + stored > size:
            raise ValueError(f"ends inside the entry at offset {at}, which has {stored} bytes; it is truncated")
        if kind in b"xLK":
            _extend(said, kind, _extension(read_at, data, stored, at), at)
        elif kind != b"g":  # global headers are passed over, as Go does
            _add(members, header, said, Member("file", data, stored), at)
            said = _Extensions()
        at = data + -(-stored // BLOCK) * BLOCK
    return members


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
    """An octal number, or GNU's base-256."""
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
    kind = header[156:157]
    if kind == b"S":
        raise ValueError(f"has a sparse entry ({_text(header[:100])}); pack it again without --sparse")
    if kind in b"123456":
        return 0
    own = _number(header[124:136], at)
    return own if said.size is None or kind in b"xgLK" else said.size


def _extension(read_at: ReadAt, data: int, size: int, at: int) -> bytes:
    if size > MAX_EXTENSION:
        raise ValueError(
            f"has an extended header of {size} bytes at offset {at}, more than is read ({MAX_EXTENSION})"
        )
    return _exactly(read_at, data, size)


def _exactly(read_at: ReadAt, at: int, count: int) -> bytes:
    content = read_at(at, count)
    if len(content) != count:
        raise ValueError("became shorter while it was read")
    return content


def _extend(said: _Extensions, kind: bytes, content: bytes, at: int) -> None:
    if kind == b"L":
        said.name = _text(content)
    elif kind == b"K":
        said.target = _text(content)
    else:
        records = _pax_records(content, at)
        if any(key.startswith("GNU.sparse.") for key in records):
            raise ValueError(f"has a sparse entry ({records.get('path', '')}); pack it again without --sparse")
        said.name = records.get("path") or said.name
        said.target = records.get("linkpath") or said.target
        if text := records.get("size"):
            if not (text.isascii() and text.isdigit() and len(text) < 20):
                raise ValueError(f"is damaged: the extended header at offset {at} has the size {text!r}")
            said.size = int(text)


def _pax_records(content: bytes, at: int) -> dict[str, str]:
    """`length key=value\\n`, repeated."""
    records = {}
    while content:
        digits = content.partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        body = content[len(digits) + 1 : length]
        key, equals, value = body.partition(b"=")
        if not equals or length > len(content) or not value.endswith(b"\n"):
            raise ValueError(f"is damaged: the extended header at offset {at} cannot be read")
        records[key.decode("utf-8", "surrogateescape")] = value[:-1].decode("utf-8", "surrogateescape")
        content = content[length:]
    return records


def _add(members: dict[str, Member], header: bytes, said: _Extensions, found: Member, at: int) -> None:
    raw = said.name or _header_name(header)
    if len(raw) > MAX_NAME:
        raise ValueError(f"has a name of {len(raw)} characters at offset {at}, more than {MAX_NAME}")
    name = normal_name(raw)
    if not name:
        return
    target = said.target or _text(header[157:257])
    match header[156:157]:
        case b"1":
            # A hard link is a second name of what its target is at this point.
            kept = members.get(normal_name(target) or "")
            members[name] = kept or Member("broken link", found.offset, 0, target)
        case b"2":
            members[name] = Member("symlink", found.offset, 0, target)
        case b"5":
            members[name] = Member("folder", found.offset, 0)
        case b"3" | b"4" | b"6":
            members[name] = Member("special file", found.offset, 0)
        case _ if raw.endswith("/"):  # a folder, as the oldest tars wrote them
            members[name] = Member("folder", found.offset, 0)
        case _:
            members[name] = found
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"has more than {MAX_MEMBERS} entries, which no image archive has")


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
