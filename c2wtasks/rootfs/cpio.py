"""The form `cpio`: the root as a "newc" cpio archive, which a Linux kernel unpacks as its initramfs (Linux's
`Documentation/driver-api/early-userspace/buffer-format.rst`; `init/initramfs.c` for what the kernel does with it).

Entries come in the tree's order, the root first as `.`, names without a slash before them. A file's number is that
of its node; its content comes with the last of its names, as GNU cpio and the kernel's own tools write it, and with
holes written out. The archive is filled to a multiple of 512 bytes.

What a cpio cannot hold: a file of 4 GiB or more is refused, and so is a path beyond 4,095 bytes, which a kernel skips
without a word. Xattrs, file capabilities among them, and fractions of seconds are left out; times before 1970 become
1970, those after 2106 the last second that 32 bits hold. A symlink with more names becomes as many symlinks, for most
readers. A file that is called as the end of the archive is, `TRAILER!!!`, is written as `./TRAILER!!!`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from c2wtasks.bundlefile.model import Form
from c2wtasks.errors import OutputError
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.holding import FormLimits
from c2wtasks.rootfs.writing import sending
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.rootfs.writing.pieces import Piece, expanded, with_paths
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK, TYPE_BITS
from c2wtasks.tree.treefile import Node, TreeFile

_LIMIT = 2**32
_PATH_MAX = 4096  # with the 0 at its end
_TRAILER = b"TRAILER!!!"
_ALIGN, _BLOCK = 4, 512
_HEADER_SIZE = 110


def write(tree: TreeFile, tars: TarByNumber, path: str) -> None:
    """Makes the file `path` hold the tree.

    Raises OutputError, and what `tars` raises.
    """
    sending.to_file(path, pieces, tree, tars)


def pieces(tree: TreeFile) -> Iterator[Piece]:
    """The cpio, in order.

    Raises OutputError.
    """
    nodes = tree.nodes
    more_names = Counter(node.link for node in nodes if node.link >= 0)
    last_names = {node.link: index for index, node in enumerate(nodes) if node.link >= 0}
    written = 0
    for index, (path, node) in enumerate(with_paths(nodes)):
        first = index
        if node.link >= 0:
            first = node.link
            node = nodes[first]
        size = 0
        if node.kind == FILE and last_names.get(first, index) == index:
            size = node.size
        head = _entry(node, first, path, more_names[first] + 1, size)
        yield head
        written += len(head)
        if size:
            yield from expanded(node, first)
            yield bytes(-size % _ALIGN)
            written += size + -size % _ALIGN
    end = _header(0, 0, 0, 0, 1, 0, 0, (0, 0), _TRAILER)
    yield end + bytes(-(written + len(end)) % _BLOCK)


def _entry(node: Node, number: int, path: bytes, links: int, size: int) -> bytes:
    """What comes before a file's content; all of any other entry. Raises OutputError."""
    if size >= _LIMIT:
        raise _refused(path, f"a cpio holds files below 4 GiB, and this one has {size} bytes")
    if len(path) >= _PATH_MAX:
        raise _refused(path, f"a kernel unpacks paths of at most {_PATH_MAX - 1} bytes, and this one has {len(path)}")
    if path == _TRAILER:
        path = b"./" + path
    if node.kind == DIRECTORY:
        links = 2
    elif node.kind == SYMLINK:
        size = len(node.target)
    mode = TYPE_BITS[node.kind] | node.mode
    seconds = min(max(node.mtime_ns // 10**9, 0), _LIMIT - 1)
    header = _header(number, mode, node.uid, node.gid, links, seconds, size, node.device, path or b".")
    return header + node.target + bytes(-len(node.target) % _ALIGN)


def _header(
    number: int,
    mode: int,
    uid: int,
    gid: int,
    links: int,
    seconds: int,
    size: int,
    device: tuple[int, int],
    name: bytes,
) -> bytes:
    """The header of an entry with the name, filled up to a multiple of 4 bytes."""
    fields = (number, mode, uid, gid, links, seconds, size, 0, 0, *device, len(name) + 1, 0)
    return b"070701%s%s%s" % (b"%08X" * 13 % fields, name, bytes(1 + -(_HEADER_SIZE + len(name) + 1) % _ALIGN))


def _refused(path: bytes, why: str) -> OutputError:
    shown = path.decode("utf-8", "backslashreplace")
    return OutputError(f"{shown}: {why}", hint="write another form of the root, or remove the file from the image")


def _make(making: Making, _form: Form, folder: str) -> None:
    write(making.tree, making.tars, f"{folder}/rootfs.cpio")


MAKER = Maker(_make, FormLimits(xattrs=(), whole_seconds=True, first=0, last=_LIMIT - 1), holes=lambda _form: False)
