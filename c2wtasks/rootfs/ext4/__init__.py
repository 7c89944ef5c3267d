"""The form `ext4`: the tree as an image of an ext4 file system, made without root and without e2fsprogs.

Linux 3.x and later mount it, for reading and for writing; `e2fsck -f` finds nothing to say about it.
"""

from c2wtasks.rootfs.ext4.writer import write

__all__ = ["write"]
