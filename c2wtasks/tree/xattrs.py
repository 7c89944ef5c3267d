"""Sets the xattrs of a file in a tree, as containerd and the kernel do with those of an entry."""

from __future__ import annotations

from errno import E2BIG, EINVAL

from c2wtasks.tree import acl
from c2wtasks.tree.model import DIRECTORY, FILE, Inode
from c2wtasks.tree.refusal import shown

MAX_XATTRS = 1024
"""Xattrs of one file, from all its entries."""
CAPABILITY = b"security.capability"
_CAPABILITY_REVISIONS = {20: 0x0200_0000, 24: 0x0300_0000}  # by size in bytes


def set_xattrs(inode: Inode, xattrs: dict[bytes, bytes]) -> None:
    """Gives a file the xattrs of an entry. As in containerd, what the kernel does not support is ignored: foreign
    name spaces, `user.` on what is neither file nor directory.

    Raises OSError: a name or value is malformed to the kernel, or there are too many.
    """
    for name, value in xattrs.items():
        space, dot, rest = name.partition(b".")
        if name in (acl.ACCESS, acl.DEFAULT):
            _set_acl(inode, name, value)
            continue
        if not dot or space not in (b"security", b"user"):
            continue
        if space == b"user" and inode.kind not in (FILE, DIRECTORY):
            continue
        if not rest or (name == CAPABILITY and value and not _is_capability(value)):
            raise OSError(EINVAL, f"xattr {shown(name)} is malformed")
        if inode.xattrs is None:
            inode.xattrs = {}
        inode.xattrs[name] = value
    if len(inode.xattrs or ()) > MAX_XATTRS:
        raise OSError(E2BIG, f"more than {MAX_XATTRS} xattrs")


def _is_capability(value: bytes) -> bool:
    revision_and_effective = int.from_bytes(value[:4], "little")
    return revision_and_effective & ~1 == _CAPABILITY_REVISIONS.get(len(value))


def _set_acl(inode: Inode, name: bytes, value: bytes) -> None:
    try:
        left = acl.as_set(inode.kind, name, value)
    except OSError as error:
        wrong = "is malformed" if error.errno == EINVAL else "can only be a directory's"
        raise OSError(error.errno, f"xattr {shown(name)} {wrong}") from error
    if left is not None:
        _put_acl(inode, name, left)


def _put_acl(inode: Inode, name: bytes, value: bytes) -> None:
    xattrs = {key: kept for key, kept in (inode.xattrs or {}).items() if key != name}
    inode.xattrs = xattrs | {name: value} if value else xattrs


def settle_acl(inode: Inode) -> None:
    """Makes the access ACL of a file agree with its mode, as chmod(2) does."""
    value = (inode.xattrs or {}).get(acl.ACCESS)
    if value:
        _put_acl(inode, acl.ACCESS, acl.with_mode(value, inode.mode))
