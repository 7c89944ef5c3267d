"""The form `ext4`: the tree as an image of an ext4 file system, made without root and without e2fsprogs.

Linux mounts it, for reading and for writing, and `e2fsck -f` finds nothing to mend. Blocks are 4 KiB, inodes 256
bytes, directories of more than a block hash trees. There are no checksums of metadata: each inode would
need a CRC32C, which Python does not have. There is always a directory lost+found, which e2fsck wants: the tree's own
where it has one.

What ext4 cannot hold:
- times before December 1901 and after May 2446: the nearest that it can;
- more than 65,000 names of a file: a copy of it takes the next ones, as in a folder on ext4;
- xattrs that Linux does not have of such a file (in another namespace than user, trusted, security and the ACLs;
  `user.` of what is neither file nor directory): left out;
- xattrs of one file that take more than about 4 KiB, a name of more than 255 bytes, a symlink's target that is empty
  or longer than 4,095 bytes, a file or an image of more than 16 TiB, a malformed ACL: OutputError.
"""

from __future__ import annotations

from c2wtasks.bundlefile.model import Form
from c2wtasks.rootfs.ext4.writer import write
from c2wtasks.rootfs.forms import Maker, Making
from c2wtasks.rootfs.holding import FormLimits

__all__ = ["MAKER", "write"]


def _make(making: Making, form: Form, folder: str) -> None:
    size = form.option("size")
    write(
        making.tree,
        making.tars,
        f"{folder}/rootfs.ext4",
        key=making.key,
        size=size if isinstance(size, int) else None,
        journal=bool(form.option("journal")),
    )


MAKER = Maker(_make, FormLimits(first=-(2**31), last=2**34 - 2**31 - 1, most_names=65_000))
