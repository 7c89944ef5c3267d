"""The form `erofs`: the tree as an uncompressed image of EROFS, a read-only file system, made without root and
without erofs-utils.

Linux 5.4 and later mount it; 5.15 and later if it holds a file that is for the most part holes. Blocks are 4 KiB, all
inodes extended ones: 32-bit owners, times in nanoseconds, any number of names of a file. The end of a small file, of
a directory and a symlink's target lie beside the inode. The format is described in the kernel's
Documentation/filesystems/erofs.rst.

EROFS holds all that Linux has; times are 64-bit and signed. What it cannot hold, or Linux would not show:
- xattrs that Linux does not have of such a file (in another namespace than user, trusted, security and the ACLs;
  `user.` of what is neither file nor directory): left out;
- an xattr of 64 KiB or more or with a name of more than 255 bytes, xattrs of one file that take more than 256 KiB, a
  malformed ACL, a name of more than 255 bytes, a symlink's target that is empty or longer than 4,095 bytes, more than
  16 TiB without the holes of sparse files: OutputError.
"""

from __future__ import annotations

from c2wtasks.bundlefile.model import Form
from c2wtasks.rootfs.erofs.writer import write
from c2wtasks.rootfs.forms import Maker, Making

__all__ = ["MAKER", "write"]


def _make(making: Making, _form: Form, folder: str) -> None:
    write(making.tree, making.tars, f"{folder}/rootfs.erofs", key=making.key, created_ns=making.created_ns)


MAKER = Maker(_make)
