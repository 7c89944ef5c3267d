"""Writing files so that whoever looks sees either the old one or the new one, whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOTDIR
from typing import BinaryIO

from c2wtasks.errors import OutputError, os_reason

TEMPORARY_PREFIX = ".tmp-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def temporary(folder: str, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A fresh writable file in `folder` (made if need be), removed at the end unless it was renamed.

    The mode is exact, whatever the umask.
    """
    make_folders(folder or ".")
    path = os.path.join(folder, f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}")
    try:
        with open(path, "xb") as stream:
            os.fchmod(stream.fileno(), mode)
            yield stream
    finally:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def publish(stream: BinaryIO, path: str, *, sync: bool) -> None:
    """Gives a file from `temporary` its name, in one step.

    With `sync` data and name are on disk before this returns: for files that other runs trust by their name.
    """
    stream.flush()
    if sync:
        os.fsync(stream.fileno())
    os.rename(stream.name, path)
    if sync:
        sync_folder(os.path.dirname(path) or ".")


def write(path: str, content: bytes, *, mode: int = 0o644, sync: bool = False) -> None:
    """Puts `content` at `path` in one step.

    Raises OutputError.
    """
    try:
        with temporary(os.path.dirname(path), mode=mode) as stream:
            stream.write(content)
            publish(stream, path, sync=sync)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({len(content)} bytes): {os_reason(error)}") from error


def write_if_changed(path: str, content: bytes) -> bool:
    """Like `write`, but leaves a file that already holds `content` alone. Says whether it wrote."""
    try:
        with open(path, "rb") as stream:
            if stream.read(len(content) + 1) == content:
                return False
    except OSError:
        pass
    write(path, content)
    return True


def make_folders(path: str) -> None:
    """Makes the folder `path` and those above it that are missing, each 0755 whatever the umask.

    Raises OSError.
    """
    if os.path.isdir(path):
        return
    if parent := os.path.dirname(path):
        make_folders(parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(ENOTDIR, f"{path} is not a folder") from None
        return
    os.chmod(path, 0o755)


def sync_folder(folder: str) -> None:
    """Makes the names in `folder` survive a power loss."""
    descriptor = os.open(folder, _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Removes `path` with all below it, however deep; nothing happens if it is not there.

    Folders that their owner may not write (0o555 in an image) are made writable first.

    Raises OutputError.
    """
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            if os.path.islink(path) or not os.path.isdir(path):
                raise
            _empty(path)
            os.rmdir(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {os_reason(error)}") from error


def _empty(path: str) -> None:
    """Goes down and up by the names of single folders, as a whole path may be longer than a kernel takes."""
    here = _open_for_removal(path, None)
    try:
        above: list[tuple[str, list[str]]] = []  # per open folder but the first: its name, what is left beside it
        folders = _unlink_files(here)
        while folders or above:
            if folders:
                above.append((folders.pop(), folders))
                inner = _open_for_removal(above[-1][0], here)
                os.close(here)
                here = inner
                folders = _unlink_files(here)
            else:
                outer = os.open("..", _FOLDER, dir_fd=here)
                os.close(here)
                here = outer
                name, folders = above.pop()
                os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)


def _open_for_removal(name: str, folder: int | None) -> int:
    if os.geteuid() != 0:
        os.chmod(name, 0o700, dir_fd=folder)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)


def _unlink_files(folder: int) -> list[str]:
    """Removes all that is no folder; returns the names of the folders."""
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders
