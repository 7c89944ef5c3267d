"""Tars made header by header, for what `tars.tar` (which is `tarfile`) cannot say: any byte in a name, exact
nanoseconds, old formats, damage.

    archive(folder(b"etc/"), file(b"etc/motd", b"hi\\n", mtime_ns=5), symlink(b"lib", b"usr/lib"))
    archive(pax([(b"path", b"long")]), header(b"x", size=3, magic=GNU), padded(b"abc"), end=b"")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BLOCK = 512
USTAR, GNU, V7 = b"ustar\x0000", b"ustar  \x00", bytes(8)
STAR = b"tar\0"  # the trailer that tells star's headers from ustar's
END = bytes(2 * BLOCK)
_MAX_SECONDS = 8**11

Number = int | bytes


def number(value: Number, size: int) -> bytes:
    """A header's field: octal where it fits, else base-256; bytes are taken as they are."""
    if isinstance(value, bytes):
        return value.ljust(size, b"\0")
    if 0 <= value < 8 ** (size - 1):
        return b"%0*o\0" % (size - 1, value)
    return ((1 << 8 * size - 1 | value) & (1 << 8 * size) - 1 if value >= 0 else value % (1 << 8 * size)).to_bytes(
        size
    )


def header(
    name: bytes = b"",
    kind: bytes = b"0",
    *,
    size: Number = 0,
    mode: Number = 0o644,
    uid: Number = 0,
    gid: Number = 0,
    mtime: Number = 0,
    target: bytes = b"",
    magic: bytes = USTAR,
    device: tuple[Number, Number] = (0, 0),
    prefix: bytes = b"",
    trailer: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block. Too long a name or target is cut, as it would be."""
    fields = [
        name[:100].ljust(100, b"\0"),
        number(mode, 8),
        number(uid, 8),
        number(gid, 8),
        number(size, 12),
        number(mtime, 12),
        b" " * 8,
        kind,
        target[:100].ljust(100, b"\0"),
        magic,
        bytes(64),
        number(device[0], 8) if magic != V7 else bytes(8),
        number(device[1], 8) if magic != V7 else bytes(8),
        prefix.ljust(155, b"\0"),
        trailer.rjust(12, b"\0"),
    ]
    return checked(b"".join(fields), checksum)


def checked(block: bytes, checksum: bytes | None = None) -> bytes:
    """A header block with its checksum made right, or as given."""
    plain = block[:148] + b" " * 8 + block[156:]
    stated = b"%06o\0 " % sum(plain) if checksum is None else checksum.ljust(8, b"\0")
    return plain[:148] + stated + plain[156:]


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def record(key: bytes, value: bytes) -> bytes:
    """A PAX record, which begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def pax(records: Iterable[tuple[bytes, bytes]] | bytes, kind: bytes = b"x", **fields: Number) -> bytes:
    """An extended header of these records, or of this text; `kind` b"g" makes it global."""
    text = records if isinstance(records, bytes) else b"".join(record(*pair) for pair in records)
    return header(b"PaxHeaders/x", kind, **{"size": len(text), **fields}) + padded(text)  # type: ignore[arg-type]


def gnu_long(text: bytes, kind: bytes = b"L") -> bytes:
    """GNU's entry that holds the next entry's name (b"L") or link target (b"K")."""
    return header(b"././@LongLink", kind, size=len(text) + 1, magic=GNU) + padded(text + b"\0")


def archive(*parts: bytes, end: bytes = END) -> bytes:
    return b"".join(parts) + end


def member(
    name: bytes,
    kind: bytes = b"0",
    content: bytes = b"",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime_ns: int = 0,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """A whole entry, with a PAX header for what ustar cannot hold."""
    records = [(b"SCHILY.xattr." + key, value) for key, value in (xattrs or {}).items()]
    if len(name) > 100:
        records.append((b"path", name))
    if len(target) > 100:
        records.append((b"linkpath", target))
    seconds, fraction = divmod(mtime_ns, 10**9)
    if fraction or not 0 <= seconds < _MAX_SECONDS:
        sign, (whole, part) = ("-", divmod(-mtime_ns, 10**9)) if mtime_ns < 0 else ("", (seconds, fraction))
        records.append((b"mtime", f"{sign}{whole}.{part:09}".encode()))
        seconds = 0
    block = header(
        name,
        kind,
        size=len(content),
        mode=mode,
        uid=uid,
        gid=gid,
        mtime=seconds,
        target=target,
        device=device,
    )
    return (pax(records) if records else b"") + block + padded(content)


def file(name: bytes, content: bytes = b"", **more: object) -> bytes:
    return member(name, b"0", content, **more)  # type: ignore[arg-type]


def folder(name: bytes, mode: int = 0o755, **more: object) -> bytes:
    return member(name, b"5", mode=mode, **more)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes, **more: object) -> bytes:
    return member(name, b"2", mode=0o777, target=target, **more)  # type: ignore[arg-type]


def hardlink(name: bytes, target: bytes, **more: object) -> bytes:
    return member(name, b"1", target=target, **more)  # type: ignore[arg-type]
