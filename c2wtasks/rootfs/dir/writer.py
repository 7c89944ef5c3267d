"""The form `dir`: the tree as real files in a folder, each created once, straight from the layers' tars."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from c2wtasks.disk import safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.layers.fragments import in_tar, unpack
from c2wtasks.rootfs.rights import SET_IDS, LeftOut, builder, mode_and_owner, xattr_name
from c2wtasks.rootfs.writing.copying import CANNOT_LINK, OpenTars, TarByNumber, copy
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, TYPE_BITS
from c2wtasks.tree.paths import node_path, shown_path
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_MAX = 4096
_SEARCH_AND_WRITE = 0o700
_SET_ID = 0o7000
_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_DEVICES = (BLOCK, CHARACTER)
_SPECIAL = {SYMLINK: "a symbolic link", FIFO: "a FIFO"}
_NO_SUCH_KIND = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO, errno.EINVAL)
_NO_SUCH_NAME = (errno.EILSEQ, errno.EINVAL)  # no UTF-8, or a character that Windows does not have in names
_ELSEWHERE = "name an 'output' on another file system, or a form of the root that is a file, such as ext4 or tar"
_NOT_OF_THE_OLD_ONE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_TRIED = b"tried"

# Not allowed; an id that the user namespace does not map, or that the file system has no room for; not known there.
_CANNOT = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOVERFLOW, errno.EOPNOTSUPP, errno.ENOSYS)
_CANNOT_XATTR = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)

Owner = tuple[int, int]
State = tuple[int, int, int]
"""A mode, and an owner."""


@dataclass(frozen=True, slots=True)
class Previous:
    """A folder that holds another tree, but for the xattrs `lacking`; and for each node of the new one what
    `tree.difference.kept` says."""

    folder: str
    kept: Sequence[bool]
    lacking: Container[str] = frozenset()


def write(tree: TreeFile, tars: TarByNumber, folder: str, previous: Previous | None = None) -> LeftOut:
    """Makes `folder`, which must not exist, hold the tree. Gives what could not be made so.

    Whatever the builder may not do, or the file system cannot, is left out: an owner, who is the builder then; bits
    of a mode; a device; an xattr; a hard link, which is a copy then. All else is exact: mode, links, content, mtime
    in nanoseconds (atime is the same). Where a file has more names than the file system allows (65,000 on ext4),
    copies of it take the rest.

    What `previous` holds unchanged becomes a hard link to the file there, unless that is seen to be another one by
    now; nothing is ever written into it.

    Raises OutputError, and what `tars` raises.
    """
    writer = _Writer(tars, previous)
    try:
        writer.tree(tree, folder)
    except OSError as error:
        raise _explained(error, folder, writer.at, tree) from error
    finally:
        writer.close()
    return writer.left_out(tree.nodes)


def _explained(error: OSError, folder: str, at: int, tree: TreeFile) -> OutputError:
    where, kind = shown_path(tree.nodes, at), tree.nodes[at].kind
    if error.errno == errno.EEXIST and at != ROOT:
        twin = _twin(tree.nodes, at)
        same = f"{twin}, whose name differs in case alone," if twin else "another name that the image has"
        return OutputError(f"{folder}: {where}: this file system takes it for {same}", hint=_ELSEWHERE)
    if kind in _SPECIAL and error.errno in _NO_SUCH_KIND:
        wrong = f"{_SPECIAL[kind]} cannot be made on this file system"
        return OutputError(f"{folder}: {where}: {wrong}: {os_reason(error)}", hint=_ELSEWHERE)
    if error.errno in _NO_SUCH_NAME:
        return OutputError(f"{folder}: {where}: {os_reason(error)}", hint=_ELSEWHERE)
    need = f" (the whole root takes {tree.size} bytes)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return OutputError(f"{folder}: {where}: {os_reason(error)}{need}")


def _twin(nodes: list[Node], at: int) -> str:
    """The path of the node beside node `at` whose name differs in case alone; "" where there is none."""
    node = nodes[at]
    folded = node.name.decode("utf-8", "surrogateescape").casefold()
    for index, other in enumerate(nodes[1:], 1):
        beside = other.parent == node.parent and index != at
        if beside and other.name.decode("utf-8", "surrogateescape").casefold() == folded:
            return shown_path(nodes, index)
    return ""


class _Writer:
    """Walks the nodes with the descriptors of the open directories on a stack: paths are never looked up twice.

    What comes of a mode and an owner is seen at the first file of each kind that is to have them: the kernel drops
    set-id bits without a word, and file systems ignore what they are told. All others come out the same.
    """

    def __init__(self, tars: TarByNumber, previous: Previous | None) -> None:
        self.tars = OpenTars(tars)
        self.previous = previous
        self.kept = previous.kept if previous is not None else ()
        self.old = [_old_root(previous.folder)] if previous is not None else []  # as `open`, -1 where it has none
        self.root = -1
        self.open: list[tuple[int, int]] = []  # (index of the directory's node, its descriptor)
        self.locked: list[int] = []  # directories whose mode shuts out their owner: it is set last of all
        self.copies: dict[int, int] = {}  # a file with too many names -> the name that the next ones link to
        self.at = 0
        self.own: Owner = (-1, -1)
        self.gives = False  # files to other users
        self.not_at_once = _SET_ID | _umask()
        self.came: dict[tuple[str, bool, State], State] = {}  # (kind, made with its mode at once, wanted) -> seen
        self.as_wanted: set[State] = set()  # of files that were made with their mode at once
        self.not_given: set[tuple[str, Owner]] = set()  # seen to have another owner after all
        self.lost: dict[int, State] = {}  # nodes that did not come out as they should -> how they did
        self.lost_xattrs: dict[int, list[bytes]] = {}
        self.no_device: set[int] = set()
        self.no_link = 0

    def close(self) -> None:
        folders = (self.root, *self.old, *(descriptor for _, descriptor in self.open))
        self.tars.close()
        for descriptor in folders:
            if descriptor >= 0:
                os.close(descriptor)

    def tree(self, tree: TreeFile, folder: str) -> None:
        nodes = tree.nodes
        self.root = _made(folder)
        self.own = _shed_inherited(self.root)
        self.gives = _may_give(self.root, self.own, {node.uid for node in nodes})
        self.open.append((ROOT, os.dup(self.root)))
        _allow_descriptors(nodes)
        for index in range(1, len(nodes)):
            node = self.nodes_at(nodes, index)
            parent = self.open[-1][1]
            if node.link >= 0:
                self.link(nodes, index, parent)
            elif node.kind == DIRECTORY:
                self.directory(index, node, parent)
            elif not (self.old and self.kept[index] and self.take(node, parent)):
                self.leaf(node, parent)
        while len(self.open) > 1:
            self.leave(nodes)
        for index in self.locked:  # in the order they were left: inner ones first
            self.lock(nodes, index)
        self.locked.clear()
        self.leave(nodes)  # the root last: until now nobody else came into it, whatever the modes in it
        for index in self.locked:
            self.lock(nodes, index)

    def directory(self, index: int, node: Node, parent: int) -> None:
        os.mkdir(node.name, node.mode & 0o777 | _SEARCH_AND_WRITE, dir_fd=parent)
        self.open.append((index, os.open(node.name, _FOLDER, dir_fd=parent)))
        if self.old:
            old = self.old[-1]
            self.old.append(_opened(node.name, old) if old >= 0 and self.kept[index] else -1)

    def nodes_at(self, nodes: list[Node], index: int) -> Node:
        """The node to make next, after closing the directories that it does not lie in."""
        node = nodes[index]
        while self.open[-1][0] != node.parent:
            self.leave(nodes)
        self.at = index
        return node

    def leave(self, nodes: list[Node]) -> None:
        """Finishes a directory: only now, since what is made in it changes its mtime."""
        self.at, descriptor = self.open.pop()
        if self.old and (old := self.old.pop()) >= 0:
            os.close(old)
        node = nodes[self.at]
        open_mode = node.mode | _SEARCH_AND_WRITE
        if open_mode != node.mode:
            self.locked.append(self.at)
        try:
            self.metadata(node, descriptor, open_mode)
        finally:
            os.close(descriptor)

    def lock(self, nodes: list[Node], index: int) -> None:
        """Sets the mode of a directory after all its names have been linked to."""
        self.at, node = index, nodes[index]
        with _reached(self.root, node_path(nodes, index) or b".") as (folder, path):
            _try(lambda: os.chmod(path, node.mode, dir_fd=folder))
            state = _state(node.kind, node.mode, os.stat(path, dir_fd=folder, follow_symlinks=False))
        self.lost.pop(index, None)
        if state != (node.mode, node.uid, node.gid):
            self.lost[index] = state

    def owner(self, node: Node) -> Owner | None:
        """The owner to give to a file, where that is another than its maker and can be."""
        owner = (node.uid, node.gid)
        if owner == self.own or not (self.gives or node.uid == self.own[0]) or (node.kind, owner) in self.not_given:
            return None
        return owner

    def at_once(self, node: Node) -> bool:
        """Whether a file needs nothing but to be made with its mode."""
        return node.kind == FILE and not (node.mode & self.not_at_once or node.xattrs or self.owner(node))

    def look(self, node: Node, at_once: bool, mode: int, found: Callable[[], os.stat_result]) -> None:
        """Notes where the file that was just made is not as it should be."""
        wanted = (mode, node.uid, node.gid)
        key = (node.kind, at_once, wanted)
        came = self.came.get(key)
        if came is None or self.at == ROOT:  # that was made with a mode of its own
            came = _state(node.kind, mode, found())
            if self.at != ROOT:
                self.came[key] = came
        if came == wanted:
            if at_once:
                self.as_wanted.add(wanted)
        else:
            self.lost[self.at] = came
            if came[1:] != wanted[1:]:
                self.not_given.add((node.kind, wanted[1:]))

    def metadata(self, node: Node, descriptor: int, mode: int) -> None:
        """Owner first, since a change of it drops set-id bits and capabilities."""
        if owner := self.owner(node):
            _try(lambda: os.fchown(descriptor, *owner))
        for name, value in node.xattrs:
            self.xattr(descriptor, name, value)
        _try(lambda: os.fchmod(descriptor, mode))
        os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
        self.look(node, False, mode, lambda: os.fstat(descriptor))

    def xattr(self, descriptor: int | bytes, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(descriptor, name, value, follow_symlinks=isinstance(descriptor, int))
        except OSError as error:
            of_no_id = error.errno == errno.EINVAL and os.fsdecode(name) in _ACLS and builder().ids
            if error.errno not in _CANNOT_XATTR and not of_no_id:
                raise
            self.lost_xattrs.setdefault(self.at, []).append(name)

    def link(self, nodes: list[Node], index: int, parent: int) -> None:
        node = nodes[index]
        source = self.copies.get(node.link, node.link)
        if source in self.no_device:
            self.no_device.add(index)
            return
        try:
            with _reached(self.root, node_path(nodes, source)) as (folder, path):
                os.link(path, node.name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno not in CANNOT_LINK:
                raise
            self.copies[node.link] = index
            self.no_link += error.errno != errno.EMLINK
            self.leaf(msgspec.structs.replace(nodes[node.link], name=node.name), parent)
            return
        if source in self.lost:
            self.lost[index] = self.lost[source]
        if source in self.lost_xattrs:
            self.lost_xattrs[index] = self.lost_xattrs[source]

    def take(self, node: Node, parent: int) -> bool:
        """Links to the file that the previous root has under this name; says whether it could."""
        old = self.old[-1]
        try:
            if old < 0 or not self.is_as_written(node, os.stat(node.name, dir_fd=old, follow_symlinks=False), parent):
                return False
            os.link(node.name, node.name, src_dir_fd=old, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOT_OF_THE_OLD_ONE:
                raise
            return False
        return True

    def is_as_written(self, node: Node, found: os.stat_result, parent: int) -> bool:
        """Whether a file looks as if it had been left alone. One that could not be made as it should be will do where
        it cannot be this time either."""
        assert self.previous is not None
        if not (
            found.st_mtime_ns == node.mtime_ns
            and (node.kind != FILE or found.st_size == node.size)
            and stat.S_IFMT(found.st_mode) == TYPE_BITS[node.kind]
            and not (node.xattrs and any(xattr_name(name) in self.previous.lacking for name, _ in node.xattrs))
        ):
            return False
        wanted, state = (node.mode, node.uid, node.gid), _state(node.kind, node.mode, found)
        if state == wanted:
            return True
        key = (node.kind, self.at_once(node), wanted)
        if key not in self.came:
            self.rehearse(node, parent)
        if state != self.came.get(key):
            return False
        self.lost[self.at] = state
        return True

    def rehearse(self, node: Node, parent: int) -> None:
        """Sees what comes of a file's mode and owner, at one that is empty and gone again."""
        self.leaf(msgspec.structs.replace(node, size=0, content=None), parent)
        os.unlink(node.name, dir_fd=parent)
        self.lost.pop(self.at, None)
        self.lost_xattrs.pop(self.at, None)

    def leaf(self, node: Node, parent: int) -> None:
        if node.kind == FILE:
            self.file(node, parent)
        else:
            self.special(node, parent)

    def file(self, node: Node, parent: int) -> None:
        # Most files are to be our own, with a mode that the umask takes nothing of: made so at once, they need no
        # fchmod, which is one call of five.
        known = not node.xattrs and (node.mode, node.uid, node.gid) in self.as_wanted
        at_once = known or self.at_once(node)
        descriptor = os.open(node.name, _CREATE, node.mode if at_once else 0o600, dir_fd=parent)
        try:
            if node.size:
                self.content(node, descriptor)
            if not at_once:
                self.metadata(node, descriptor, node.mode)
                return
            os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
            if not known:
                self.look(node, True, node.mode, lambda: os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def content(self, node: Node, descriptor: int) -> None:
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

    def special(self, node: Node, parent: int) -> None:
        if node.kind == SYMLINK:
            os.symlink(node.target, node.name, dir_fd=parent)
        elif node.kind == FIFO:
            os.mkfifo(node.name, 0o600, dir_fd=parent)
        else:
            device = TYPE_BITS[node.kind] | 0o600, os.makedev(*node.device)
            if not _try(lambda: os.mknod(node.name, *device, dir_fd=parent), (*_CANNOT, *_NO_SUCH_KIND)):
                self.no_device.add(self.at)
                return
        if owner := self.owner(node):
            _try(lambda: os.chown(node.name, *owner, dir_fd=parent, follow_symlinks=False))
        for name, value in node.xattrs:
            # There is no setxattr relative to a directory; the directory's descriptor has a path in /proc.
            self.xattr(f"/proc/self/fd/{parent}/".encode() + node.name, name, value)
        if node.kind != SYMLINK:
            _try(lambda: os.chmod(node.name, node.mode, dir_fd=parent))
        times = (node.mtime_ns, node.mtime_ns)
        os.utime(node.name, ns=times, dir_fd=parent, follow_symlinks=False)
        self.look(node, False, node.mode, lambda: os.stat(node.name, dir_fd=parent, follow_symlinks=False))

    def left_out(self, nodes: list[Node]) -> LeftOut:
        owners, set_ids, xattrs, modes = Counter[str](), Counter[str](), Counter[str](), 0
        for index, (mode, *owner) in sorted(self.lost.items()):
            node = nodes[nodes[index].link if nodes[index].link >= 0 else index]
            wanted = f"{node.uid}:{node.gid}"
            if owner != [node.uid, node.gid]:
                owners[wanted] += 1
            if (mode ^ node.mode) & ~SET_IDS:
                modes += 1
            elif mode != node.mode:
                set_ids[mode_and_owner(node.mode, node.uid, node.gid)] += 1
        for names in self.lost_xattrs.values():
            xattrs.update(map(xattr_name, names))
        by_name = [dict(sorted(counts.items())) for counts in (owners, set_ids, xattrs)]
        return LeftOut(by_name[0], by_name[1], modes, len(self.no_device), by_name[2], self.no_link or msgspec.UNSET)


def _try(call: Callable[[], None], cannot: Container[int] = _CANNOT) -> bool:
    """Says whether that could be done, or cannot be.

    Raises OSError: it could be done another time.
    """
    try:
        call()
    except OSError as error:
        if error.errno not in cannot:
            raise
        return False
    return True


def _state(kind: str, mode: int, found: os.stat_result) -> State:
    """A symlink has the mode that it is wanted to have: it has none."""
    return (mode if kind == SYMLINK else stat.S_IMODE(found.st_mode)), found.st_uid, found.st_gid


def _may_give(root: int, own: Owner, uids: Iterable[int]) -> bool:
    """Tries with an empty folder whether one that is given to another user can still be worked with, and taken back:
    who cannot could not finish the root, nor ever remove it."""
    os.mkdir(_TRIED, 0o700, dir_fd=root)
    try:
        return any(uid != own[0] and _is_given(root, uid) for uid in uids) and (
            _try(lambda: os.utime(_TRIED, (0, 0), dir_fd=root))
            and _try(lambda: os.mkdir(_TRIED + b"/in", dir_fd=root))
            and _try(lambda: os.rmdir(_TRIED + b"/in", dir_fd=root))
            and _try(lambda: os.chown(_TRIED, own[0], -1, dir_fd=root))
        )
    finally:
        os.rmdir(_TRIED, dir_fd=root)


def _is_given(root: int, uid: int) -> bool:
    return _try(lambda: os.chown(_TRIED, uid, -1, dir_fd=root))


def _umask() -> int:
    """What the process's umask takes away; all there is where that cannot be told without changing it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        return 0o777


def _made(folder: str) -> int:
    """A descriptor of the folder, which is made, 0700.

    Raises OSError, also where another lies there at once.
    """
    with safely.entry(folder) as (here, name):
        os.mkdir(name, 0o700, dir_fd=here)
        descriptor = os.open(name, _FOLDER, dir_fd=here)
        ours = (os.geteuid(), os.fstat(here).st_uid)  # the latter where all in a file system belongs to one user
    if os.fstat(descriptor).st_uid not in ours or os.listdir(descriptor):
        os.close(descriptor)
        raise OSError(errno.ESTALE, "somebody moves what is in this folder", folder)
    return descriptor


def _opened(folder: bytes, inside: int) -> int:
    """A descriptor of a directory, -1 where there is none that can be opened."""
    try:
        return os.open(folder, _FOLDER, dir_fd=inside)
    except OSError:
        return -1


def _old_root(folder: str) -> int:
    try:
        with safely.folder(folder) as here:
            return os.open(".", _FOLDER, dir_fd=here)
    except OSError:
        return -1


def _shed_inherited(folder: int) -> Owner:
    """Keeps the group of a set-group-id folder around `folder`, and a default ACL, from passing on to all in it.
    Gives the owner of what is made in it."""
    for name in _ACLS:
        try:
            os.removexattr(folder, name)
        except OSError:  # it has none, or the file system knows none
            pass
    if os.fstat(folder).st_gid != os.getegid():
        _try(lambda: os.fchown(folder, -1, os.getegid()))
    _try(lambda: os.fchmod(folder, 0o700))
    found = os.fstat(folder)
    return found.st_uid, found.st_gid


@contextmanager
def _reached(root: int, path: bytes) -> Iterator[tuple[int, bytes]]:
    """An open directory, and the rest of `path` from there, which is as short as a kernel wants it."""
    here = os.dup(root)
    try:
        while len(path) >= _PATH_MAX:
            cut = path.rindex(b"/", 0, _PATH_MAX)
            inner = os.open(path[:cut], _FOLDER, dir_fd=here)
            os.close(here)
            here, path = inner, path[cut + 1 :]
        yield here, path
    finally:
        os.close(here)


def _allow_descriptors(nodes: list[Node]) -> None:
    """Each level of directories takes one or two descriptors; the usual soft limit of 1024 would end there."""
    depths = [0] * len(nodes)
    for index in range(1, len(nodes)):
        depths[index] = depths[nodes[index].parent] + 1
    needed = 2 * max(depths) + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard < 0 else min(needed, hard), hard))
