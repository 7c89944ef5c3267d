"""The form `tar`: the whole root as one POSIX tar (IEEE 1003.1-2017, pax, "pax Interchange Format").

Entries come in the tree's order, so directories before what is in them, and hard links after the first name of the
file. The root comes first, as `./`; all other names have no prefix, as in images' layers. An entry is a ustar header
where that holds it, and a PAX header before it has what it cannot: long names, large numbers, times before 1970,
fractions of seconds, xattrs (`SCHILY.xattr.`). Names of users and groups are left out. The archive ends with two zero
blocks and is not padded to a record of 10 KiB, which all readers take.

Short names are in the header even where they are not ASCII or not UTF-8, since readers take bytes there as they are.
Long ones that are not UTF-8 come with `hdrcharset=BINARY`: without it bsdtar fails, and GNU tar but warns of it.

Sparse files are written in GNU's sparse format 1.0 where that is smaller, unless readers are to come that know it not
(busybox, GNU cpio: they take the map for content, and say nothing). A hard link's entry repeats what its file
is (containerd sets owner, mode and xattrs again at each name).

What a tar cannot hold and is refused: an xattr whose name has a `=`, which ends the name in a PAX record. GNU tar
takes `%3D` and `%25` in the name of an xattr for `=` and `%`; others, and we, take the name as it stands.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import cast
from zlib import adler32

from c2wtasks.bundlefile.model import Form
from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import in_tar
from c2wtasks.oci.digest import Digest
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.writing import sending
from c2wtasks.rootfs.writing.compressing import Compression, compressor
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.rootfs.writing.pieces import Piece, TarPiece, Zeros, expanded, fragments, with_paths
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK
from c2wtasks.tree.paths import node_path
from c2wtasks.tree.treefile import Node, TreeFile

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_PADDING = [bytes(count) for count in range(_BLOCK)]
_FLAG = {FILE: b"0", SYMLINK: b"2", CHARACTER: b"3", BLOCK: b"4", DIRECTORY: b"5", FIFO: b"6"}
_LINK = b"1"
_EXTENDED = b"x"
_AFTER_SUM = struct.Struct("c100s8s64s16s155s12x")
_NO_DEVICE = b"0000000\x000000000\x00"
_NAME, _PREFIX = 100, 155
_HALF = 200  # of the 356 bytes after a header's checksum
_ID_LIMIT = 8**7
_LIMIT = 8**11  # of a size and of a time in seconds
_MAX_MAP = 1 << 20  # Go's archive/tar reads no longer one


def write(
    tree: TreeFile,
    tars: TarByNumber,
    path: str,
    *,
    compression: Compression | None = None,
    level: int | None = None,
    sparse: bool = True,
) -> None:
    """Makes the file `path` hold the tree, compressed or not; for the levels see `compressing.compressor`, for
    `sparse` `pieces`.

    Raises OutputError, and what `tars` raises.
    """
    sending.to_file(
        path, partial(pieces, sparse=sparse), tree, tars, compressor(compression, level) if compression else None
    )


def write_hashed(
    tree: TreeFile, tars: TarByNumber, path: str, *, compression: Compression | None = None
) -> tuple[Digest, Digest]:
    """Does what `write` does. Gives the digest of the tar, and that of the file: another where it is compressed."""
    return sending.to_hashed_file(path, pieces, tree, tars, compressor(compression) if compression else None)


def stream(tree: TreeFile, tars: TarByNumber, descriptor: int) -> None:
    """Writes the tar of the tree where `descriptor` stands: a pipe, or a file.

    Raises BrokenPipeError where nobody reads on, OutputError, and what `tars` raises.
    """
    sending.to_descriptor(descriptor, pieces, tree, tars)


def pieces(tree: TreeFile, *, sparse: bool = True) -> Iterator[Piece]:
    """The tar, in order. Each piece of an entry's content is followed by what fills its last block. Unless `sparse`,
    sparse files are written like others, for readers that know none.

    Raises OutputError.
    """
    nodes = tree.nodes
    padding = b""  # what fills the last block of the content before
    for index, (path, node) in enumerate(with_paths(nodes)):
        if node.kind == DIRECTORY:
            path += b"/" if path else b"./"
        if node.link >= 0:
            first = nodes[node.link]
            yield padding + _entry(first, path, _LINK, target=node_path(nodes, node.link))
        elif node.kind != FILE or not node.size:
            yield padding + _entry(node, path, _FLAG[node.kind], target=node.target)
        elif sparse and (holes := _sparse_map(node)) is not None:
            yield padding
            yield from _sparse(node, index, path, *holes)
        else:
            yield padding + (_short_entry(node, path) or _entry(node, path, b"0", size=node.size))
            content = node.content
            if content is not None and content.sparse is None:  # nearly all
                yield TarPiece(content.layer, content.offset, node.size, index)
            else:
                yield from expanded(node, index)
            padding = _PADDING[-node.size % _BLOCK]
            continue
        padding = b""
    yield padding + _END


def _short_entry(node: Node, path: bytes) -> bytes | None:
    """The header of a file that needs no more than a ustar header with a short name, as nearly all do: what `_entry`
    makes, in half the time. None for any other."""
    if len(path) > _NAME or node.xattrs or node.size >= _LIMIT:
        return None
    shared = _shared(node.mode, node.uid, node.gid, node.mtime_ns)
    if shared is None:
        return None
    owned, seconds, total, after = shared
    size = b"%011o" % node.size
    total += (adler32(path) & 0xFFFF) + (adler32(size) & 0xFFFF) - 2
    return b"%s%s%s\0%s%06o\0 %s" % (path.ljust(_NAME, b"\0"), owned, size, seconds, total, after)


@lru_cache(1 << 10)
def _shared(mode: int, uid: int, gid: int, mtime_ns: int) -> tuple[bytes, bytes, int, bytes] | None:
    """What the headers of many files share: what is before the size, before the checksum and after it; and the sum of
    all that. None where a ustar header does not hold it."""
    seconds, fraction = divmod(mtime_ns, 10**9)
    if fraction or not 0 <= seconds < _LIMIT or uid >= _ID_LIMIT or gid >= _ID_LIMIT:
        return None
    owned, time = _owned(mode, uid, gid), b"%011o\0" % seconds
    after, sum_after = _after_sum(b"0", b"", _NO_DEVICE, b"")
    return owned, time, _sum(owned) + _sum(time) + sum_after, after


def _sparse_map(node: Node) -> tuple[bytes, int] | None:
    """The map of a sparse file, padded, and how many bytes follow it; None where it is better written as any other.

    Fragments are grown to whole blocks, as GNU tar reads each from a new block, others where the one before ends.
    A file that ends with a hole has an empty fragment there, from which GNU tar knows its size.
    """
    assert node.content is not None
    if node.content.sparse is None:
        return None
    grown: list[tuple[int, int]] = []  # (start, end) of each
    for at, length in fragments(node):
        start, end = at - at % _BLOCK, min(node.size, at + length + -(at + length) % _BLOCK)
        if grown and start <= grown[-1][1]:
            grown[-1] = grown[-1][0], end
        else:
            grown.append((start, end))
    if not grown or grown[-1][1] < node.size:
        grown.append((node.size, node.size))
    text = _padded(b"%d\n" % len(grown) + b"".join(b"%d\n%d\n" % (start, end - start) for start, end in grown))
    stored = sum(end - start for start, end in grown)
    a_pax_header = 2 * _BLOCK
    if len(text) > _MAX_MAP or a_pax_header + len(text) + stored >= node.size:
        return None
    return text, stored


def _sparse(node: Node, index: int, path: bytes, sparse_map: bytes, stored: int) -> Iterator[Piece]:
    """A sparse file. Its header has another name, which only readers that know nothing of sparse files see."""
    assert node.content is not None
    folder, slash, name = path.rpartition(b"/")
    records = [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", path),
        (b"GNU.sparse.realsize", b"%d" % node.size),
    ]
    other = folder + slash + b"GNUSparseFile.0/" + name
    yield _entry(node, other, b"0", size=len(sparse_map) + stored, records=records)
    yield sparse_map
    reached = 0
    for at, length, offset in in_tar(node.content.offset, fragments(node)):
        # Of the hole before a fragment, what shares a block with a fragment is stored.
        yield Zeros(min(at - reached, -reached % _BLOCK + at % _BLOCK))
        yield TarPiece(node.content.layer, offset, length, index)
        reached = at + length
    yield Zeros(-reached % _BLOCK)


def _entry(
    node: Node,
    path: bytes,
    flag: bytes,
    *,
    target: bytes = b"",
    size: int = 0,
    records: list[tuple[bytes, bytes]] | None = None,
) -> bytes:
    """The headers of one entry, with PAX records for what a ustar header cannot hold, and for `records`."""
    pax: list[tuple[bytes, bytes]] = []
    prefix, name = b"", path
    if len(path) > _NAME:
        prefix, name = _split(path)
        if not prefix:
            pax.append((b"path", path))
    if len(target) > _NAME:
        pax.append((b"linkpath", target))
    uid, gid, stated = node.uid, node.gid, size
    if size >= _LIMIT:
        pax.append((b"size", b"%d" % size))
        stated = 0
    if uid >= _ID_LIMIT:
        pax.append((b"uid", b"%d" % uid))
        uid = 0
    if gid >= _ID_LIMIT:
        pax.append((b"gid", b"%d" % gid))
        gid = 0
    seconds, fraction = divmod(node.mtime_ns, 10**9)
    if fraction or not 0 <= seconds < _LIMIT:
        pax.append((b"mtime", _decimal(node.mtime_ns)))
        seconds = min(max(seconds, 0), _LIMIT - 1)
    if records:
        pax += records
    if pax and not (_is_utf8(path) and _is_utf8(target)):
        pax.insert(0, (b"hdrcharset", b"BINARY"))
    for key, value in node.xattrs:
        if b"=" in key:
            raise OutputError(
                f"{_shown(path)}: a tar cannot hold the xattr {_shown(key)}, as its name has a '='",
                hint="write another form of the root, or remove the xattr from the image",
            )
        pax.append((b"SCHILY.xattr." + key, value))
    device = b"%07o\0%07o\0" % node.device if node.kind in (CHARACTER, BLOCK) else _NO_DEVICE
    numbers = b"%s%011o\0%011o\0" % (_owned(node.mode, uid, gid), stated, seconds)
    header = _header(name, numbers, flag, target, device, prefix)
    return _extended(pax) + header if pax else header


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _split(path: bytes) -> tuple[bytes, bytes]:
    """A path as a ustar header's prefix and name, which a slash joins; no prefix where it cannot be split so."""
    slash = path.rfind(b"/", 0, _PREFIX + 1)
    if slash > 0 and 0 < len(path) - slash - 1 <= _NAME:
        return path[:slash], path[slash + 1 :]
    return b"", path


def _decimal(nanoseconds: int) -> bytes:
    """Seconds as PAX wants them: -1.5 is a second and a half before 1970."""
    seconds, fraction = divmod(abs(nanoseconds), 10**9)
    text = b"%s%d.%09d" % (b"-" if nanoseconds < 0 else b"", seconds, fraction)
    return text.rstrip(b"0").rstrip(b".")


def _extended(records: list[tuple[bytes, bytes]]) -> bytes:
    text = b"".join(_record(key, value) for key, value in records)
    numbers = b"0000644\x000000000\x000000000\x00%011o\x0000000000000\x00" % len(text)
    return _header(b"PaxHeaders/0", numbers, _EXTENDED, b"", _NO_DEVICE, b"") + _padded(text)


def _record(key: bytes, value: bytes) -> bytes:
    """A PAX record, `length key=value\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _header(name: bytes, numbers: bytes, flag: bytes, target: bytes, device: bytes, prefix: bytes) -> bytes:
    """One ustar header; a name or a target that is too long for it is cut. `numbers` are the fields from the mode to
    the mtime. What most headers share is made and summed up once: that saves a third of the time of a tar's entries.
    """
    before = name[:_NAME].ljust(_NAME, b"\0") + numbers
    after, sum_after = _after_sum(flag, target, device, prefix)
    return b"%s%06o\0 %s" % (before, _sum(before) + sum_after, after)


@lru_cache(1 << 10)
def _owned(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode, uid, gid)


@lru_cache(1 << 10)
def _after_sum(flag: bytes, target: bytes, device: bytes, prefix: bytes) -> tuple[bytes, int]:
    """What follows a header's checksum, the same in most headers; and what all but the fields before it add to it."""
    after = _AFTER_SUM.pack(flag, target, b"ustar\x0000", b"", device, prefix)
    return after, 8 * ord(" ") + _sum(after[:_HALF]) + _sum(after[_HALF:])


def _sum(content: bytes) -> int:
    """The sum of up to 256 bytes. The low half of an Adler-32 is that and one, in a fourth of the time of `sum`."""
    return (adler32(content) & 0xFFFF) - 1


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _BLOCK)


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _make(making: Making, form: Form, folder: str) -> None:
    compression = cast("Compression | None", form.option("compression"))
    suffix = {"gzip": ".gz", "zstd": ".zst", None: ""}[compression]
    level = cast("int | None", form.option("level"))
    path = f"{folder}/rootfs.tar{suffix}"
    write(making.tree, making.tars, path, compression=compression, level=level, sparse=_is_sparse(form))


def _is_sparse(form: Form) -> bool:
    return form.option("sparse") is not False


MAKER = Maker(_make, holes=_is_sparse)
