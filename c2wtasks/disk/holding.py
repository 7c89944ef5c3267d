"""Folders that a thread keeps open while it works in them: what lies right in one is reached by its descriptor, with
no look at the path again, wherever the folder is moved meanwhile.
"""

from __future__ import annotations

import os
import threading

from c2wtasks.disk import keeping
from c2wtasks.disk.opening import FOLDER, explained


class _Held(threading.local):
    """The descriptors (O_PATH) of this thread's folders, by their paths."""

    def __init__(self) -> None:
        self.folders: dict[str, int] = {}


_held = _Held()


class _Hold:
    """Folders that are held while a `with` block runs. A class, since a small bundle takes dozens of such blocks, and
    a generator costs more than to open a folder."""

    __slots__ = ("_are_there", "_opened", "_paths")

    def __init__(self, paths: tuple[str, ...], *, are_there: bool) -> None:
        self._paths = paths
        self._are_there = are_there
        self._opened: list[str] = []

    def __enter__(self) -> None:
        folders = _held.folders
        for path in self._paths:
            if path in folders:
                continue
            try:
                folders[path] = keeping.open_path(f"{path}/.", FOLDER | os.O_PATH)
            except OSError:
                if self._are_there:
                    raise
                continue
            self._opened.append(path)

    def __exit__(self, *_error: object) -> None:
        folders = _held.folders
        while self._opened:
            os.close(folders.pop(self._opened.pop()))


def held(path: str) -> _Hold:
    """Keeps the folder `path`, which is there and is not to be replaced meanwhile, open for this thread: for a `with`
    block.

    Raises OSError, as the block is entered.
    """
    return _Hold((path,), are_there=True)


def held_if_there(*paths: str) -> _Hold:
    """As `held`, of those of the folders that can be opened."""
    return _Hold(paths, are_there=False)


def descriptor_of(path: str) -> int | None:
    """That of the folder `path`, if this thread holds it."""
    return _held.folders.get(path)


def open_path(path: str, flags: int, mode: int = 0) -> int:
    """As `keeping.open_path`, by way of the folder that `path` lies in, where that is held."""
    above, _, name = path.rpartition("/")
    folder = _held.folders.get(above)
    if folder is None:
        return keeping.open_path(path, flags, mode)
    try:
        return os.open(name or ".", flags | os.O_NOFOLLOW, mode, dir_fd=folder)
    except OSError as error:
        raise explained(error, path) from error
