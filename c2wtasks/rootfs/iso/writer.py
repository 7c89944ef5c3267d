"""Writes a tree as an image: plans all of it but the contents, and goes through it once."""

from __future__ import annotations

import errno
import os

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.rootfs import copying
from c2wtasks.rootfs.copying import SMALL, OpenTars, Tars
from c2wtasks.rootfs.directory import node_path
from c2wtasks.rootfs.gathering import Gathered
from c2wtasks.rootfs.iso.layout import Layout, layout
from c2wtasks.tree.treefile import ROOT, TreeFile

_VOLUME_ID_MAX = 32
_D_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def write(tree: TreeFile, tars: Tars, path: str, *, volume_id: str = "ROOTFS", created_ns: int = 0) -> None:
    """Makes the file `path`, 0644, an image of the tree. The same arguments give the same bytes, whoever calls and
    when.

    `volume_id` is 1 to 32 of A-Z, 0-9 and _; `created_ns` the time at which the volume says it was made.

    Raises OutputError, which names what in the tree cannot be held; and what `tars` raises.
    """
    if not 0 < len(volume_id) <= _VOLUME_ID_MAX or not _D_CHARACTERS.issuperset(volume_id):
        raise OutputError(f"{path}: {volume_id!r} is no volume id: that is 1 to {_VOLUME_ID_MAX} of A-Z, 0-9 and _")
    try:
        made = layout(tree, volume_id, created_ns)
    except OutputError as error:
        raise OutputError(f"{path}: {error.message}", hint=error.hint) from None
    writer = _Writer(tars)
    try:
        writer.image(tree, made, path)
    except OSError as error:
        where = node_path(tree.nodes, writer.at).decode("utf-8", "backslashreplace") or "/"
        need = f" (the whole image takes {made.size} bytes)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise OutputError(f"{path}: {where}: {os_reason(error)}{need}") from error
    finally:
        writer.close()


class _Writer:
    """Writes from the front to the end; what is not written is a hole, and reads as zeros.

    Small contents are gathered: one system call per file to read, one per megabyte to write.
    """

    def __init__(self, tars: Tars) -> None:
        self.tars = OpenTars(tars)
        self.target = -1
        self.at = ROOT  # the node at work, for messages

    def close(self) -> None:
        self.tars.close()
        if self.target >= 0:
            os.close(self.target)

    def image(self, tree: TreeFile, made: Layout, path: str) -> None:
        """Raises OSError and OutputError."""
        self.target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.fchmod(self.target, 0o644)
        os.ftruncate(self.target, made.size)
        copying.write(self.target, made.head, 0)
        small = Gathered(self.target)
        for index, node in enumerate(tree.nodes):
            if not node.size or node.link >= 0:
                continue
            self.at = index
            assert node.content is not None
            layer, offset, sparse = node.content
            tar, to = self.tars.descriptor(layer), made.offset(index)
            if sparse is not None:
                for start, length in sparse:
                    copying.copy(tar, offset, self.target, length, to + start)
                    offset += length
            elif node.size > SMALL:
                copying.copy(tar, offset, self.target, node.size, to)
            else:
                small.put(to, copying.read(tar, offset, node.size))
        small.flush()
