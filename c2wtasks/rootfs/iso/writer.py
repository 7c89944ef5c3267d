"""Writes a tree as an image: plans all of it but the contents, and goes through it once."""

from __future__ import annotations

import errno
import os

from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.store import TOO_SHORT
from c2wtasks.rootfs.directory import Tars, node_path
from c2wtasks.rootfs.iso.layout import Layout, layout
from c2wtasks.rootfs.iso.records import BLOCK
from c2wtasks.tree.treefile import ROOT, TreeFile

_VOLUME_ID_MAX = 32
_D_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SMALL = 1 << 16
_BATCH = 1 << 20
_UNSUPPORTED = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


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
        self.tars = tars
        self.open_tars: dict[int, int] = {}
        self.target = -1
        self.at = ROOT  # the node at work, for messages
        self.batch = bytearray()
        self.batch_at = 0

    def close(self) -> None:
        for descriptor in (*self.open_tars.values(), self.target):
            if descriptor >= 0:
                os.close(descriptor)

    def tar(self, layer: int) -> int:
        descriptor = self.open_tars.get(layer)
        if descriptor is None:
            path = self.tars(layer)
            try:
                descriptor = self.open_tars[layer] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint="run again") from error
        return descriptor

    def image(self, tree: TreeFile, made: Layout, path: str) -> None:
        """Raises OSError and OutputError."""
        self.target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.fchmod(self.target, 0o644)
        os.ftruncate(self.target, made.size)
        _write(self.target, made.head, 0)
        for index, node in enumerate(tree.nodes):
            if not node.size or node.link >= 0:
                continue
            self.at = index
            assert node.content is not None
            layer, offset, sparse = node.content
            tar, to = self.tar(layer), made.offset(index)
            if sparse is not None:
                for start, length in sparse:
                    _copy(tar, offset, self.target, to + start, length)
                    offset += length
            elif node.size > _SMALL:
                _copy(tar, offset, self.target, to, node.size)
            else:
                self.gather(_read(tar, offset, node.size), to)
        self.flush()

    def gather(self, content: bytes, to: int) -> None:
        """Puts in the batch what belongs at `to`, and writes those before it if it does not follow them."""
        batch = self.batch
        if to != self.batch_at + len(batch) or len(batch) >= _BATCH:
            self.flush()
            self.batch_at = to
        batch += content
        batch += bytes(-len(content) % BLOCK)

    def flush(self) -> None:
        _write(self.target, self.batch, self.batch_at)
        self.batch.clear()


def _read(source: int, offset: int, length: int) -> bytes:
    content = os.pread(source, length, offset)
    while len(content) < length:
        more = os.pread(source, length - len(content), offset + len(content))
        if not more:
            raise OSError(errno.EIO, TOO_SHORT)
        content += more
    return content


def _write(target: int, content: bytes | bytearray, to: int) -> None:
    with memoryview(content) as left:
        done = 0
        while done < len(left):
            done += os.pwrite(target, left[done:], to + done)


def _copy(source: int, offset: int, target: int, to: int, length: int) -> None:
    """Copies from `offset` of one file to `to` in another; in the kernel, where it can."""
    try:
        while length:
            count = os.copy_file_range(source, target, length, offset, to)
            if count == 0:
                raise OSError(errno.EIO, TOO_SHORT)
            offset, to, length = offset + count, to + count, length - count
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    while length:
        content = _read(source, offset, min(length, _BATCH))
        _write(target, content, to)
        offset, to, length = offset + len(content), to + len(content), length - len(content)
