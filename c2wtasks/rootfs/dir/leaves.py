"""Makes what is no directory: files, straight from the tars of the layers, symlinks, FIFOs and devices."""

from __future__ import annotations

import os

from c2wtasks.layers.fragments import in_tar, unpack
from c2wtasks.rootfs.dir.attributes import CANNOT, NO_SUCH_KIND, Attributes, attempt
from c2wtasks.rootfs.writing.copying import OpenTars, TarByNumber, copy
from c2wtasks.tree.model import FIFO, FILE, SYMLINK, TYPE_BITS
from c2wtasks.tree.treefile import Node

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Leaves:
    """Makes the first names of files, each in an open directory."""

    def __init__(self, given: Attributes, tars: TarByNumber) -> None:
        self.given = given
        self.tars = OpenTars(tars)

    def close(self) -> None:
        """Closes the tars that were opened."""
        self.tars.close()

    def make(self, at: int, node: Node, parent: int) -> None:
        """Makes the file of node number `at`.

        Raises OSError, and what the tars raise.
        """
        if node.kind == FILE:
            self.file(at, node, parent)
        else:
            self.special(at, node, parent)

    def file(self, at: int, node: Node, parent: int) -> None:
        """Makes a regular file, with its content."""
        # Most files are to be our own, with a mode that the umask takes nothing of: made so at once, they need no
        # fchmod, which is one call of five.
        given = self.given
        known = given.is_known(node)
        at_once = known or given.at_once(node)
        descriptor = os.open(node.name, _CREATE, node.mode if at_once else 0o600, dir_fd=parent)
        try:
            if node.size:
                self.content(node, descriptor)
            if not at_once:
                given.give(at, node, descriptor, node.mode)
                return
            os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
            if not known:
                given.look(at, node, True, node.mode, lambda: os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def content(self, node: Node, descriptor: int) -> None:
        """Writes the content of a file."""
        assert node.content is not None
        layer, offset, sparse = node.content
        tar = self.tars.descriptor(layer)
        if sparse is not None:
            os.ftruncate(descriptor, node.size)
            for at, length, start in in_tar(offset, unpack(sparse)):
                os.lseek(descriptor, at, os.SEEK_SET)
                copy(tar, start, descriptor, length)
        else:
            copy(tar, offset, descriptor, node.size)

    def special(self, at: int, node: Node, parent: int) -> None:
        """Makes a symlink, a FIFO or a device."""
        if node.kind == SYMLINK:
            os.symlink(node.target, node.name, dir_fd=parent)
        elif node.kind == FIFO:
            os.mkfifo(node.name, 0o600, dir_fd=parent)
        else:
            device = TYPE_BITS[node.kind] | 0o600, os.makedev(*node.device)
            if not attempt(lambda: os.mknod(node.name, *device, dir_fd=parent), (*CANNOT, *NO_SUCH_KIND)):
                self.given.lacking.devices.add(at)
                return
        self.given.give_by_name(at, node, parent)
