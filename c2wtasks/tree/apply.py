"""Applies a layer to a tree, in memory, exactly as containerd's `archive.Apply` applies one to a directory.

Where we part from it, on purpose: what AUFS kept for itself (`.wh..wh.plnk` and its kin) never stays in the
tree, though links to it work; an entry for the root gives the root its mtime, where containerd drops it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from errno import ENAMETOOLONG, ENOENT, ENOTDIR
from struct import Struct

from c2wtasks.errors import TreeError
from c2wtasks.layers.entry import UNCHANGED_ID, TarEntry
from c2wtasks.tree import acl, model
from c2wtasks.tree.folder import Folder, clean_path, directory_at
from c2wtasks.tree.hardlink import link_target
from c2wtasks.tree.limits import Spent
from c2wtasks.tree.lookup import NAME_MAX, PATH_MAX, holder, root_path
from c2wtasks.tree.making import inherited_gid, new_inode, plain_file
from c2wtasks.tree.model import DIRECTORY, SYMLINK, Inode, Linked
from c2wtasks.tree.refusal import refused, shown
from c2wtasks.tree.weight import PER_DIRECTORY, Weight
from c2wtasks.tree.whiteouts import AUFS, WHITEOUT, Removals
from c2wtasks.tree.xattrs import CAPABILITY, set_xattrs, settle_acl


def apply(root: Inode, entries: Iterable[TarEntry], layer: int, *, same_owner: bool = True) -> Weight:
    """Changes the tree below `root` as the `entries` of layer number `layer` say. Gives the weight of what it made
    that no entry states.

    Without `same_owner` everything new belongs to root (containerd's `WithNoSameOwner`).

    Raises TreeError, naming the entry; the tree is then half changed and of no use.
    """
    application = _Application(root, layer, same_owner)
    application.run(entries)
    return Weight(PER_DIRECTORY * application.spent.implied, application.spent.inherited)


class _Directories:
    """The directories that a layer names, with their mtimes: each takes 10 bytes and those of its name."""

    _HEAD = Struct("<qH")

    def __init__(self) -> None:
        self._packed = bytearray()

    def add(self, name: bytes, mtime_ns: int) -> None:
        self._packed += self._HEAD.pack(mtime_ns, len(name)) + name

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        at = 0
        while at < len(self._packed):
            mtime_ns, length = self._HEAD.unpack_from(self._packed, at)
            at += self._HEAD.size + length
            yield bytes(self._packed[at - length : at]), mtime_ns


class _Application:
    """The state of one `apply`."""

    def __init__(self, root: Inode, layer: int, same_owner: bool) -> None:
        self.root = root
        self.layer = layer
        self.mark = model.mark(layer)
        self.same_owner = same_owner
        self.spent = Spent()
        self.removals = Removals(layer, self.spent)
        self.directories = _Directories()
        self.aufs: list[tuple[Inode, bytes]] = []  # where AUFS's own directories were made
        # The folder of the latest entry, as the next is mostly in the same. None once any directory was removed.
        self.latest: Folder | None = None

    def run(self, entries: Iterable[TarEntry]) -> None:
        for entry in entries:
            try:
                self._entry(entry)
            except OSError as error:
                raise TreeError(f"entry {shown(entry.name)}: {error.strerror}") from error
        # As containerd does, at the end, by path: the directory may be another one by now, and must be there.
        for name, mtime_ns in self.directories:
            try:
                self._set_mtime(name, mtime_ns)
            except OSError as error:
                reason = error.strerror
                if error.errno in (ENOENT, ENOTDIR):
                    reason = f"the directory is removed again by the same layer ({reason})"
                raise TreeError(f"entry {shown(name)}: {reason}") from error
        for parent, name in self.aufs:
            parent.names().pop(name, None)

    def _set_mtime(self, name: bytes, mtime_ns: int) -> None:
        inode = directory_at(self.root, name)
        if inode is not None:
            inode.mtime_ns = mtime_ns
            return
        path = self._root_path(name)
        if not path:  # it is a link to the root by now
            self.root.mtime_ns = mtime_ns
            return
        place = holder(self.root, path, steps=self.spent.steps)
        if place is None:
            raise refused(ENOENT)
        names, last = place[0].names(), place[1]
        child = names[last]
        if isinstance(child, Inode):
            child.mtime_ns = mtime_ns
            return
        inode = model.unpack(model.leaf_of(child))
        inode.mtime_ns = mtime_ns
        leaf = model.pack(inode, model.mark_of(child))
        if isinstance(child, Linked):
            child.file.leaf = leaf
        else:
            names[last] = leaf

    def _entry(self, entry: TarEntry) -> None:
        clean = clean_path(entry.name)
        if not clean:
            if entry.kind == "5":
                self.root.mtime_ns = entry.mtime_ns
            return
        parent_name, _, base = clean.rpartition(b"/")
        folder = self._parent(parent_name)
        if base.startswith(WHITEOUT):
            self.latest = None
            self.removals.whiteout(folder, base)
            return
        names = folder.names
        existing = names.get(base)
        if existing is not None and not (entry.kind == "5" and isinstance(existing, Inode)):
            if isinstance(existing, Inode):
                self.latest = None
                self.removals.note(existing, folder.path_of(base))
            del names[base]
            existing = None
        if entry.kind == "g":  # a global PAX header only removes what has its name
            self.removals.add(folder.path_of(base))
            return
        if len(base) > NAME_MAX or len(folder.path) + 1 + len(base) >= PATH_MAX:  # with a slash before it
            raise refused(ENAMETOOLONG)
        match entry.kind:
            case "1":
                names[base] = self._linked(entry)
            case "5":
                if isinstance(existing, Inode):
                    inode = existing
                else:
                    inode = self._new(entry, folder.inode)
                    inode.changed = self.layer
                self._metadata(inode, entry)
                inode.marked = self.mark
                names[base] = inode
                self.spent.take_path(clean)
                self.directories.add(clean, entry.mtime_ns)
            case "0" if not folder.inode.xattrs and not entry.xattrs and self.same_owner:  # nearly all: the short way
                names[base] = plain_file(entry, folder.inode, self.layer, self.mark)
            case _:
                inode = self._new(entry, folder.inode)
                self._metadata(inode, entry)
                names[base] = model.pack(inode, self.mark)

    def _parent(self, name: bytes) -> Folder:
        """The folder an entry lies in; made if it is not there (`mkparent`)."""
        if self.latest is not None and name == self.latest.path:
            return self.latest
        here = directory_at(self.root, name)
        if here is None:
            folder = self._slow_parent(name)
            folder.inode.changed = self.layer
            return folder
        here.changed = self.layer
        self.latest = Folder(here, name, here.names())
        return self.latest

    def _root_path(self, path: bytes) -> bytes:
        return root_path(self.root, path, steps=self.spent.steps)

    def _slow_parent(self, name: bytes) -> Folder:
        try:
            path = self._root_path(name)
        except OSError as error:
            raise OSError(error.errno, f"its parent {shown(name)}: {error.strerror}") from error
        here = self.root
        so_far: list[bytes] = []
        for part in path.split(b"/") if path else ():
            so_far.append(part)
            names = here.names()
            following = names.get(part)
            if following is None:
                if len(part) > NAME_MAX:
                    raise OSError(ENAMETOOLONG, f"its parent {shown(name)}: {os.strerror(ENAMETOOLONG)}")
                self.spent.take_implied()
                following = names[part] = model.new_directory()
                following.gid = inherited_gid(here)
                here.changed = following.changed = self.layer
                if self.removals.has(so_far):
                    following.marked = self.mark
                self._inherit_acl(following, here)
                settle_acl(following)
                if part.startswith(AUFS):
                    self.aufs.append((here, part))
            elif not isinstance(following, Inode):
                raise OSError(ENOTDIR, f"its parent {shown(name)}: {os.strerror(ENOTDIR)}")
            here = following
        return Folder(here, path, here.names())

    def _new(self, entry: TarEntry, parent: Inode) -> Inode:
        made = new_inode(entry, inherited_gid(parent), self.layer)
        if parent.xattrs:
            self._inherit_acl(made, parent)
        return made

    def _inherit_acl(self, inode: Inode, parent: Inode) -> None:
        """Gives a file that is made in a directory with a default ACL what a kernel gives it."""
        inherited = (parent.xattrs or {}).get(acl.DEFAULT)
        if inherited and inode.kind != SYMLINK:
            inode.xattrs = {acl.ACCESS: inherited} | ({acl.DEFAULT: inherited} if inode.kind == DIRECTORY else {})
            self.spent.take_inherited(len(inherited) * len(inode.xattrs))

    def _linked(self, entry: TarEntry) -> Linked:
        """One more name of what a hard link names; what the entry says of it holds for all its names."""
        file = link_target(self.root, entry.target, self.spent.steps)
        inode = model.unpack(file.leaf)
        self._metadata(inode, entry)
        file.leaf = model.pack(inode, self.mark)
        return Linked(file, self.mark)

    def _metadata(self, inode: Inode, entry: TarEntry) -> None:
        if self.same_owner:
            if entry.uid != UNCHANGED_ID:
                inode.uid = entry.uid
            if entry.gid != UNCHANGED_ID:
                inode.gid = entry.gid
            if inode.xattrs and inode.kind != DIRECTORY and inode.xattrs.get(CAPABILITY):
                del inode.xattrs[CAPABILITY]  # a kernel drops it when the owner is set, unless it is empty
        if entry.xattrs:
            set_xattrs(inode, entry.xattrs)
        if inode.kind != SYMLINK:
            inode.mode = entry.mode
            if inode.xattrs:
                settle_acl(inode)
        inode.mtime_ns = entry.mtime_ns
