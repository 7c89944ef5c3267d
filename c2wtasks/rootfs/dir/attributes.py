"""Owners, modes and xattrs of what was made: given as far as that can be done, and what came of them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container, Iterable

from c2wtasks.process.rights import builder
from c2wtasks.rootfs.dir.lacking import Lacking, Owner, State
from c2wtasks.tree.model import FILE, SYMLINK
from c2wtasks.tree.treefile import ROOT, Node

NO_SUCH_KIND = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO, errno.EINVAL)
"""How file systems refuse a kind of file that they do not have."""
# Not allowed; an id that the user namespace does not map, or that the file system has no room for; not known there.
CANNOT = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOVERFLOW, errno.EOPNOTSUPP, errno.ENOSYS)
_CANNOT_XATTR = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)
_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_SET_ID = 0o7000
_TRIED = b"tried"


class Attributes:
    """Gives files their owner, mode, xattrs and mtime, and notes what did not come out as it should.

    What comes of a mode and an owner is seen at the first file of each kind that is to have them: the kernel drops
    set-id bits without a word, and file systems ignore what they are told. All others come out the same.
    """

    def __init__(self, root: int, uids: Iterable[int]) -> None:
        """`root` is the descriptor of the new root, still empty; `uids` the owners of what is to be in it.

        Raises OSError.
        """
        self.own = shed_inherited(root)
        self.gives = _may_give(root, self.own, uids)  # files to other users
        self.not_at_once = _SET_ID | _umask()
        self.came: dict[tuple[str, bool, State], State] = {}  # (kind, made with its mode at once, wanted) -> seen
        self.as_wanted: set[State] = set()  # of files that were made with their mode at once
        self.not_given: set[tuple[str, Owner]] = set()  # seen to have another owner after all
        self.lacking = Lacking()

    def owner(self, node: Node) -> Owner | None:
        """The owner to give to a file, where that is another than its maker and can be."""
        owner = (node.uid, node.gid)
        if owner == self.own or not (self.gives or node.uid == self.own[0]) or (node.kind, owner) in self.not_given:
            return None
        return owner

    def at_once(self, node: Node) -> bool:
        """Whether a file needs nothing but to be made with its mode."""
        return node.kind == FILE and not (node.mode & self.not_at_once or node.xattrs or self.owner(node))

    def is_known(self, node: Node) -> bool:
        """Whether it was seen that such a file, made with its mode at once, is as it should be."""
        return not node.xattrs and (node.mode, node.uid, node.gid) in self.as_wanted

    def look(self, at: int, node: Node, at_once: bool, mode: int, found: Callable[[], os.stat_result]) -> None:
        """Notes where the file that was just made, of node number `at`, is not as it should be."""
        wanted = (mode, node.uid, node.gid)
        key = (node.kind, at_once, wanted)
        came = self.came.get(key)
        if came is None or at == ROOT:  # that was made with a mode of its own
            came = _state(node.kind, mode, found())
            if at != ROOT:
                self.came[key] = came
        if came == wanted:
            if at_once:
                self.as_wanted.add(wanted)
        else:
            self.lacking.states[at] = came
            if came[1:] != wanted[1:]:
                self.not_given.add((node.kind, wanted[1:]))

    def give(self, at: int, node: Node, descriptor: int, mode: int) -> None:
        """Gives all to an open file or directory: the owner first, as a change of it drops set-ids and capabilities.

        Raises OSError.
        """
        if owner := self.owner(node):
            attempt(lambda: os.fchown(descriptor, *owner))
        for name, value in node.xattrs:
            self._xattr(at, descriptor, name, value)
        attempt(lambda: os.fchmod(descriptor, mode))
        os.utime(descriptor, ns=(node.mtime_ns, node.mtime_ns))
        self.look(at, node, False, mode, lambda: os.fstat(descriptor))

    def give_by_name(self, at: int, node: Node, parent: int) -> None:
        """Gives all to what is never opened: a symlink, a device, a FIFO.

        Raises OSError.
        """
        if owner := self.owner(node):
            attempt(lambda: os.chown(node.name, *owner, dir_fd=parent, follow_symlinks=False))
        for name, value in node.xattrs:
            # There is no setxattr relative to a directory; the directory's descriptor has a path in /proc.
            self._xattr(at, f"/proc/self/fd/{parent}/".encode() + node.name, name, value)
        if node.kind != SYMLINK:
            attempt(lambda: os.chmod(node.name, node.mode, dir_fd=parent))
        times = (node.mtime_ns, node.mtime_ns)
        os.utime(node.name, ns=times, dir_fd=parent, follow_symlinks=False)
        self.look(at, node, False, node.mode, lambda: os.stat(node.name, dir_fd=parent, follow_symlinks=False))

    def give_last_mode(self, at: int, node: Node, path: bytes, folder: int) -> None:
        """Gives its mode to a directory that had another for the time in which it was written.

        Raises OSError.
        """
        attempt(lambda: os.chmod(path, node.mode, dir_fd=folder))
        state = _state(node.kind, node.mode, os.stat(path, dir_fd=folder, follow_symlinks=False))
        self.lacking.states.pop(at, None)
        if state != (node.mode, node.uid, node.gid):
            self.lacking.states[at] = state

    def _xattr(self, at: int, file: int | bytes, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(file, name, value, follow_symlinks=isinstance(file, int))
        except OSError as error:
            of_no_id = error.errno == errno.EINVAL and os.fsdecode(name) in _ACLS and builder().ids
            if error.errno not in _CANNOT_XATTR and not of_no_id:
                raise
            self.lacking.xattrs.setdefault(at, []).append(name)

    def is_linked(self, at: int, source: int) -> None:
        """Notes that node `at` is a second name of node `source`."""
        if source in self.lacking.states:
            self.lacking.states[at] = self.lacking.states[source]
        if source in self.lacking.xattrs:
            self.lacking.xattrs[at] = self.lacking.xattrs[source]

    def will_do(self, at: int, node: Node, found: os.stat_result, rehearse: Callable[[], None]) -> bool:
        """Whether a file that was written before has the mode and owner that it would have if it were made now.
        `rehearse` makes it and takes it away again."""
        wanted, state = (node.mode, node.uid, node.gid), _state(node.kind, node.mode, found)
        if state == wanted:
            return True
        key = (node.kind, self.at_once(node), wanted)
        if key not in self.came:
            rehearse()
            self.lacking.states.pop(at, None)
            self.lacking.xattrs.pop(at, None)
        if state != self.came.get(key):
            return False
        self.lacking.states[at] = state
        return True


def attempt(call: Callable[[], None], cannot: Container[int] = CANNOT) -> bool:
    """Calls `call`; says whether it did what it should, or cannot.

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
    """The mode and owner of a file. A symlink, which has none, has the mode that it is wanted to have."""
    return (mode if kind == SYMLINK else stat.S_IMODE(found.st_mode)), found.st_uid, found.st_gid


def _may_give(root: int, own: Owner, uids: Iterable[int]) -> bool:
    """Tries with an empty folder whether one that is given to another user can still be worked with, and taken back:
    who cannot could not finish the root, nor ever remove it."""
    os.mkdir(_TRIED, 0o700, dir_fd=root)
    try:
        return any(uid != own[0] and _is_given(root, uid) for uid in uids) and (
            attempt(lambda: os.utime(_TRIED, (0, 0), dir_fd=root))
            and attempt(lambda: os.mkdir(_TRIED + b"/in", dir_fd=root))
            and attempt(lambda: os.rmdir(_TRIED + b"/in", dir_fd=root))
            and attempt(lambda: os.chown(_TRIED, own[0], -1, dir_fd=root))
        )
    finally:
        os.rmdir(_TRIED, dir_fd=root)


def _is_given(root: int, uid: int) -> bool:
    return attempt(lambda: os.chown(_TRIED, uid, -1, dir_fd=root))


def _umask() -> int:
    """What the process's umask takes away; all there is where that cannot be told without changing it."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        return 0o777


def shed_inherited(folder: int) -> Owner:
    """Keeps the group of a set-group-id folder around `folder`, and a default ACL, from passing on to all in it.
    Gives the owner of what is made in it."""
    for name in _ACLS:
        try:
            os.removexattr(folder, name)
        except OSError:  # it has none, or the file system knows none
            pass
    if os.fstat(folder).st_gid != os.getegid():
        attempt(lambda: os.fchown(folder, -1, os.getegid()))
    attempt(lambda: os.fchmod(folder, 0o700))
    found = os.fstat(folder)
    return found.st_uid, found.st_gid
