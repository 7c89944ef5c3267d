"""What a file system makes of the metadata that it is told: whole seconds only, another ACL."""

from __future__ import annotations

import errno
import os

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError
from c2wtasks.rootfs import dir as directory
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

# Others appear by themselves: labels of security modules, an overlay's or a file system's own.
ACL = b"system.posix_acl_"
OURS = (b"user.", b"security.capability", ACL)

Xattrs = dict[bytes, bytes]


class Sampler:
    """What the file system makes of a node's metadata: that of a like file, written by the code that writes all.

    `scratch` is a name on that file system that nobody uses.
    """

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        self._made: dict[object, tuple[os.stat_result, Xattrs] | None] = {}

    def mtime_ns(self, node: Node) -> int:
        """The mtime, in nanoseconds since 1970, that a file has which was given the node's."""
        sample = self._sample(node)
        return sample[0].st_mtime_ns if sample else node.mtime_ns

    def xattrs(self, node: Node) -> Xattrs:
        """The xattrs that a file has which was given the node's."""
        sample = self._sample(node)
        return sample[1] if sample else dict(node.xattrs)

    def _sample(self, node: Node) -> tuple[os.stat_result, Xattrs] | None:
        key = (node.kind, node.mode, node.uid, node.gid, node.mtime_ns, node.xattrs)
        if key not in self._made:
            self._made[key] = self._make(node)
        return self._made[key]

    def _make(self, node: Node) -> tuple[os.stat_result, Xattrs] | None:
        alike = Node(
            ROOT,
            b"sample",
            node.kind,
            mode=node.mode,
            uid=node.uid,
            gid=node.gid,
            mtime_ns=node.mtime_ns,
            target=node.target,
            device=node.device,
            xattrs=node.xattrs,
        )
        tree = TreeFile([], [Node(ROOT, b"", DIRECTORY, mode=0o700, uid=os.geteuid(), gid=os.getegid()), alike])
        try:
            files.make_folders(os.path.dirname(self.scratch))
            directory.write(tree, [].__getitem__, self.scratch)
            with safely.folder(self.scratch) as here:
                found = os.stat("sample", dir_fd=here, follow_symlinks=False)
                return found, xattrs_of(f"/proc/self/fd/{here}/sample".encode())
        except (OSError, OutputError):  # one who may not write here gets to know what the tree says
            return None
        finally:
            try:
                files.remove_tree(self.scratch)
            except OutputError:
                pass


def xattrs_of(path: bytes) -> Xattrs:
    """The xattrs of a file that are of the names we write.

    Raises OSError.
    """
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return {}
        raise
    return {os.fsencode(name): _value(path, name) for name in names if os.fsencode(name).startswith(OURS)}


def _value(path: bytes, name: str) -> bytes:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EINVAL:  # so the kernel gives an empty security.capability, which it lets be set
            return b""
        raise
