"""Applies a layer to a tree, in memory, exactly as containerd's `archive.Apply` applies one to a directory.

Where we part from it, on purpose: what AUFS kept for itself (`.wh..wh.plnk` and its kin) never stays in the
tree, though links to it work; an entry for the root gives the root its mtime, where containerd drops it.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from errno import E2BIG, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, ERANGE

from c2wtasks.errors import TreeError
from c2wtasks.layers.entry import UNCHANGED_ID, Entry
from c2wtasks.tree import acl, model
from c2wtasks.tree.lookup import NAME_MAX, PATH_MAX, lookup, root_path
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK, Content, Inode

_WHITEOUT = b".wh."
_AUFS = b".wh..wh."
_OPAQUE = b".wh..wh..opq"
_XATTR_MAX = 65536
_CAPABILITY = b"security.capability"
_CAPABILITY_REVISIONS = {20: 0x0200_0000, 24: 0x0300_0000}  # by size in bytes
_DEVICES = {"3": model.CHARACTER, "4": model.BLOCK, "6": model.FIFO}


def apply(root: Inode, entries: Iterable[Entry], layer: int, *, same_owner: bool = True) -> None:
    """Changes the tree below `root` as the `entries` of layer number `layer` say.

    Without `same_owner` everything new belongs to root (containerd's `WithNoSameOwner`).

    Raises TreeError, naming the entry; the tree is then half changed and of no use.
    """
    _Application(root, layer, same_owner).run(entries)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class _Application:
    """The state of one `apply`."""

    def __init__(self, root: Inode, layer: int, same_owner: bool) -> None:
        self.root = root
        self.layer = layer
        self.same_owner = same_owner
        self.unpacked: set[bytes] = set()  # resolved paths that this layer wrote: an opaque marker spares them
        self.directories: list[tuple[bytes, int]] = []
        self.aufs: list[tuple[Inode, bytes]] = []  # where AUFS's own directories were made
        # The directory of the latest entry, as the next is mostly in the same. None once any directory was removed.
        self.latest: tuple[Inode, bytes] | None = None

    def run(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            try:
                self._entry(entry)
            except OSError as error:
                raise TreeError(f"entry {_shown(entry.name)}: {error.strerror}") from error
        # As containerd does, at the end, by path: the directory may be another one by now, and must be there.
        for name, mtime_ns in self.directories:
            try:
                inode = _directory(self.root, name) or lookup(self.root, root_path(self.root, name), follow=False)
                if inode is None:
                    raise _error(ENOENT)
            except OSError as error:
                reason = f"the directory is removed again by the same layer ({error.strerror})"
                raise TreeError(f"entry {_shown(name)}: {reason}") from error
            inode.mtime_ns = mtime_ns
        for parent, name in self.aufs:
            parent.names().pop(name, None)

    def _entry(self, entry: Entry) -> None:
        clean = _clean(entry.name)
        if not clean:
            if entry.kind == "5":
                self.root.mtime_ns = entry.mtime_ns
            return
        parent_name, _, base = clean.rpartition(b"/")
        parent, parent_path = self._parent(parent_name)
        if base.startswith(_WHITEOUT):
            self._whiteout(parent, parent_path, base)
            return
        names = parent.names()
        existing = names.get(base)
        path = parent_path + b"/" + base if parent_path else base
        if existing is not None and not (existing.kind == DIRECTORY and entry.kind == "5"):
            if existing.kind == DIRECTORY:
                self.latest = None
            del names[base]
            existing = None
        if entry.kind != "g":  # a global PAX header only removes what has its name
            if len(base) > NAME_MAX or len(path) >= PATH_MAX:  # with a slash before it
                raise _error(ENAMETOOLONG)
            inode = existing or self._new(entry, parent)
            names[base] = inode
            self._metadata(inode, entry)
            if entry.kind == "5":
                self.directories.append((clean, entry.mtime_ns))
        self.unpacked.add(path)

    def _parent(self, name: bytes) -> tuple[Inode, bytes]:
        """The directory an entry lies in, with its resolved path; made if it is not there (`mkparent`)."""
        if self.latest is not None and name == self.latest[1]:
            return self.latest
        here = _directory(self.root, name)
        if here is None:
            return self._slow_parent(name)
        self.latest = (here, name)
        return self.latest

    def _slow_parent(self, name: bytes) -> tuple[Inode, bytes]:
        try:
            path = root_path(self.root, name)
        except OSError as error:
            raise OSError(error.errno, f"its parent {_shown(name)}: {error.strerror}") from error
        here = self.root
        for part in path.split(b"/") if path else ():
            names = here.names()
            following = names.get(part)
            if following is None:
                if len(part) > NAME_MAX:
                    raise OSError(ENAMETOOLONG, f"its parent {_shown(name)}: {os.strerror(ENAMETOOLONG)}")
                following = names[part] = model.new_directory()
                following.gid = _inherited_gid(here)
                _inherit_acl(following, here)
                _settle_acl(following)
                if part.startswith(_AUFS):
                    self.aufs.append((here, part))
            elif following.kind != DIRECTORY:
                raise OSError(ENOTDIR, f"its parent {_shown(name)}: {os.strerror(ENOTDIR)}")
            here = following
        return here, path

    def _whiteout(self, parent: Inode, parent_path: bytes, base: bytes) -> None:
        self.latest = None
        if base == _OPAQUE:
            self._clear(parent, parent_path)
            return
        hidden = base[len(_WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise OSError(EINVAL, "invalid whiteout name")
        if len(hidden) > NAME_MAX:
            raise _error(ENAMETOOLONG)
        parent.names().pop(hidden, None)

    def _clear(self, directory: Inode, path: bytes) -> None:
        """Removes what lower layers left in `directory`, however deep, and spares what this layer wrote."""
        todo = [(directory, path)]
        while todo:
            here, here_path = todo.pop()
            names = here.names()
            for name in list(names):
                child_path = here_path + b"/" + name if here_path else name
                if child_path not in self.unpacked:
                    del names[name]
                elif names[name].kind == DIRECTORY:
                    todo.append((names[name], child_path))

    def _new(self, entry: Entry, parent: Inode) -> Inode:
        if entry.kind == "1":
            return self._link_target(entry)
        made = self._made(entry, _inherited_gid(parent))
        if parent.xattrs:
            _inherit_acl(made, parent)
        return made

    def _made(self, entry: Entry, gid: int) -> Inode:
        match entry.kind:
            case "0":
                content = Content(self.layer, entry.offset, entry.sparse)
                return Inode(FILE, gid=gid, size=entry.size, content=content)
            case "5":
                return Inode(DIRECTORY, gid=gid, children={})
            case "2":
                if not entry.target:
                    raise OSError(ENOENT, "a symlink without a target")
                if len(entry.target) > PATH_MAX:
                    raise OSError(ENAMETOOLONG, f"a symlink's target of {len(entry.target)} bytes")
                return Inode(SYMLINK, 0o777, gid=gid, target=entry.target)
            case "3" | "4":
                return Inode(_DEVICES[entry.kind], gid=gid, device=(entry.major, entry.minor))
            case "6":
                return Inode(model.FIFO, gid=gid)
        flag = entry.kind.encode("latin-1")[0]
        what = "an old-GNU sparse file" if entry.kind == "S" else f"of type {flag:#04x}"
        raise OSError(EINVAL, f"{what}, which container runtimes refuse")

    def _link_target(self, entry: Entry) -> Inode:
        """The inode that a hard link names (`hardlinkRootPath`): links in its parents are followed, itself not."""
        parent, _, base = entry.target.rpartition(b"/")
        try:
            resolved = root_path(self.root, parent + b"/" if parent or entry.target.startswith(b"/") else b"")
            joined = posixpath.normpath(b"/" + resolved + b"/" + base)
            target = lookup(self.root, joined, follow=False)
        except OSError as error:
            raise OSError(error.errno, f"its hard link target {_shown(entry.target)}: {error.strerror}") from error
        if target is None:
            raise OSError(ENOENT, f"its hard link target {_shown(entry.target)} does not exist")
        if target.kind == DIRECTORY:
            raise OSError(EPERM, f"its hard link target {_shown(entry.target)} is a directory")
        return target

    def _metadata(self, inode: Inode, entry: Entry) -> None:
        if self.same_owner:
            if entry.uid != UNCHANGED_ID:
                inode.uid = entry.uid
            if entry.gid != UNCHANGED_ID:
                inode.gid = entry.gid
            if inode.xattrs and inode.kind != DIRECTORY and inode.xattrs.get(_CAPABILITY):
                del inode.xattrs[_CAPABILITY]  # a kernel drops it when the owner is set, unless it is empty
        if entry.xattrs:
            self._xattrs(inode, entry.xattrs)
        if inode.kind != SYMLINK:
            inode.mode = entry.mode
            if inode.xattrs:
                _settle_acl(inode)
        inode.mtime_ns = entry.mtime_ns

    @staticmethod
    def _xattrs(inode: Inode, xattrs: dict[bytes, bytes]) -> None:
        """containerd ignores what the kernel does not support: foreign name spaces, `user.` on what is neither
        file nor directory; and never sets `trusted.`. Where the kernel finds a name or value malformed, it fails."""
        for name, value in xattrs.items():
            space, dot, rest = name.partition(b".")
            if space == b"trusted" and dot:
                continue
            if not 0 < len(name) <= NAME_MAX:
                raise OSError(ERANGE, f"an xattr with a name of {len(name)} bytes")
            if len(value) > _XATTR_MAX:
                raise OSError(E2BIG, f"xattr {_shown(name)} has a value of {len(value)} bytes")
            if name in (acl.ACCESS, acl.DEFAULT):
                _set_acl(inode, name, value)
                continue
            if not dot or space not in (b"security", b"user"):
                continue
            if space == b"user" and inode.kind not in (FILE, DIRECTORY):
                continue
            if not rest or (name == _CAPABILITY and value and not _is_capability(value)):
                raise OSError(EINVAL, f"xattr {_shown(name)} is malformed")
            inode.xattrs = (inode.xattrs or {}) | {name: value}


def _clean(name: bytes) -> bytes:
    """Go's `filepath.Clean` of an absolute path, without its first slash."""
    if b"/." in name or b"//" in name or name[:1] in (b"/", b"."):
        return posixpath.normpath(b"/" + name.lstrip(b"/"))[1:]
    return name[:-1] if name.endswith(b"/") else name  # as nearly all are


def _directory(root: Inode, path: bytes) -> Inode | None:
    """The directory at a clean path that no link is part of; None where there is none."""
    here = root
    for part in path.split(b"/") if path else ():
        following = here.names().get(part)
        if following is None or following.kind != DIRECTORY:
            return None
        here = following
    return here


def _is_capability(value: bytes) -> bool:
    revision_and_effective = int.from_bytes(value[:4], "little")
    return revision_and_effective & ~1 == _CAPABILITY_REVISIONS.get(len(value))


def _inherited_gid(parent: Inode) -> int:
    """The group of what is made in `parent`, before any owner is set: of root, or of a set-group-id directory."""
    return parent.gid if parent.mode & stat.S_ISGID else 0


def _set_acl(inode: Inode, name: bytes, value: bytes) -> None:
    try:
        left = acl.as_set(inode.kind, name, value)
    except OSError as error:
        wrong = "is malformed" if error.errno == EINVAL else "can only be a directory's"
        raise OSError(error.errno, f"xattr {_shown(name)} {wrong}") from error
    if left is not None:
        _put_acl(inode, name, left)


def _put_acl(inode: Inode, name: bytes, value: bytes) -> None:
    xattrs = {key: kept for key, kept in (inode.xattrs or {}).items() if key != name}
    inode.xattrs = xattrs | {name: value} if value else xattrs


def _inherit_acl(inode: Inode, parent: Inode) -> None:
    """Gives a file that is made in a directory with a default ACL what a kernel gives it."""
    inherited = (parent.xattrs or {}).get(acl.DEFAULT)
    if inherited and inode.kind != SYMLINK:
        inode.xattrs = {acl.ACCESS: inherited} | ({acl.DEFAULT: inherited} if inode.kind == DIRECTORY else {})


def _settle_acl(inode: Inode) -> None:
    """The ACL as it is once the mode is set: they never disagree."""
    value = (inode.xattrs or {}).get(acl.ACCESS)
    if value:
        _put_acl(inode, acl.ACCESS, acl.with_mode(value, inode.mode))


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
