"""How doit is told whether a file has changed: by its content, looked at only where the stat has moved."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable
from typing import Any

from doit.dependency import FileChangedChecker

from c2wtasks.disk import fingerprint
from c2wtasks.disk.filestate import tick_ns

# [mtime_ns, ctime_ns, size, inode, xxh3-128 of the content]; of a folder just [mtime_ns]; of a target that is a link
# [_LINK, its text].
FileState = list[Any]

_LINK = "link"
_UNKNOWN = ""  # in place of a fingerprint: equal to none, so the file counts as changed
_UNSETTLED = 0  # in place of a ctime: equal to none, so the content is looked at once more

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Checker(FileChangedChecker):  # type: ignore[misc]
    """Compares files with their recorded states.

    - Equal times, size and inode: unchanged. Another size: changed. Otherwise the content decides, so a
      touched or copied file is no reason to run anything, and one replaced under its old mtime is (its ctime
      has moved, and no user can set that).
    - A file changed twice within one tick of the clock keeps its times. So a state that is taken less than a
      tick after the change is recorded without its ctime, and the next run looks at the content again.
    - A dependency that changes while its task runs is recorded as it was before, so the next run sees the
      change. (doit's own checkers record what they find afterwards, and never see it.)
    - Only regular files are ever opened. Links are followed, but where a task has left a file or folder: what a link
      in its place leads to is not what the task left, whatever it holds.
    - Within a run each file is looked at once and hashed at most once, however many tasks name it; files made
      by a task (`made`) are looked at anew.

    `touched` holds the new states of files of which only times or inode have moved: recorded after the run,
    they need not be hashed again in the next.
    """

    def __init__(self) -> None:
        self.touched: dict[str, FileState] = {}
        self._stats: dict[str, os.stat_result] = {}
        self._fingerprints: dict[str, tuple[FileState, str]] = {}
        self._recorded: Callable[[str], FileState | None] = lambda _path: None

    def watch_targets(self, recorded: Callable[[str], FileState | None]) -> None:
        """From now on a target counts as there only if it is as in the state `recorded` gives for its path."""
        self._recorded = recorded

    def made(self, paths: Iterable[str]) -> None:
        """Forgets what was seen of `paths`: a task has just made them."""
        for path in paths:
            self._stats.pop(path, None)
            self._fingerprints.pop(path, None)
            self.touched.pop(path, None)

    def exists(self, file_path: str) -> bool:
        """Whether a target is there and as its task left it."""
        return self.is_as_left(file_path, self._recorded(file_path))

    def is_as_left(self, path: str, state: FileState | None) -> bool:
        """Whether a target is there and in the `state` in which its task left it, if that is known."""
        try:
            found = self._stat(path)
        except OSError:
            return False
        if state is None:
            return True
        if state[0] == _LINK:
            return _link(path) == state
        if stat.S_ISDIR(found.st_mode):
            return state == [found.st_mtime_ns]
        if _identity(found) == state[:4]:
            return True
        return stat.S_ISREG(found.st_mode) and not self.check_modified(path, found, state)

    def is_unchanged(self, path: str, state: FileState | None) -> bool:
        """Whether a dependency is there, a regular file, with the content that it had in `state`."""
        try:
            found = self.info(path)
        except OSError:
            return False
        return state is not None and not self.check_modified(path, found, state)

    def info(self, file_path: str) -> os.stat_result:
        """The stat of a dependency, as it was when this run first looked.

        Raises OSError, also for what is not a regular file.
        """
        found = self._stat(file_path)
        if not stat.S_ISREG(found.st_mode):
            kind = _KINDS.get(stat.S_IFMT(found.st_mode), "not a file")
            raise OSError(errno.EINVAL, f"is {kind}, where a regular file is needed", file_path)
        return found

    def check_modified(self, file_path: str, file_stat: os.stat_result, state: FileState) -> bool:
        """Whether the content is another than that of `state`. A file that cannot be read counts as changed."""
        if len(state) != 5:
            return True
        identity = _identity(file_stat)
        if identity == state[:4]:
            return False
        if file_stat.st_size != state[2]:
            return True
        try:
            current = self._state(file_path, file_stat)
        except OSError:
            return True
        if current[4] != state[4]:
            return True
        if current != state:
            self.touched[file_path] = current
        return False

    def get_state(self, dep: str, current_state: FileState | None) -> FileState | None:
        """The state to record of a dependency whose task has run; None if it is still `current_state`.

        Raises OSError.
        """
        now = self._look(dep)
        before = self._stats.get(dep, now)
        if (before.st_mtime_ns, before.st_size, before.st_ino) != (now.st_mtime_ns, now.st_size, now.st_ino):
            return [*_identity(before), self._known_fingerprint(dep, before)]
        self._stats[dep] = now  # the ctime alone moves with a chmod or a hard link, as publishing makes them
        if current_state is not None and _identity(now) == current_state[:4]:
            return None
        return self._state(dep, now)

    def target_state(self, path: str) -> FileState | None:
        """The state to record of what a task has made; None for what is not there, or neither file nor folder.

        Raises OSError.
        """
        try:
            found = self._stat(path)
        except FileNotFoundError:
            return None
        if (link := _link(path)) is not None:
            return link
        if stat.S_ISDIR(found.st_mode):
            return [found.st_mtime_ns]
        return self._state(path, found) if stat.S_ISREG(found.st_mode) else None

    def _stat(self, path: str) -> os.stat_result:
        found = self._stats.get(path)
        if found is None:
            found = self._stats[path] = self._look(path)
        return found

    def _look(self, path: str) -> os.stat_result:
        found = os.lstat(path)
        if not stat.S_ISLNK(found.st_mode):
            return found
        state = self._recorded(path)
        return os.stat(path) if state is None or state[0] == _LINK else found

    def _state(self, path: str, found: os.stat_result) -> FileState:
        identity = _identity(found)
        age = time.time_ns() - found.st_ctime_ns
        seen = self._fingerprints.get(path)
        if seen is not None and seen[0] == identity:
            known = seen[1]
        else:
            known = fingerprint.of_file(path)
            self._fingerprints[path] = (identity, known)
        if age < tick_ns(found.st_ctime_ns):
            return [identity[0], _UNSETTLED, *identity[2:], known]
        return [*identity, known]

    def _known_fingerprint(self, path: str, found: os.stat_result) -> str:
        seen = self._fingerprints.get(path)
        return seen[1] if seen is not None and seen[0] == _identity(found) else _UNKNOWN


def _link(path: str) -> FileState | None:
    """The state of a link; None where there is none."""
    try:
        return [_LINK, os.readlink(path)]
    except OSError:
        return None


def _identity(found: os.stat_result) -> FileState:
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]
