"""Writing files so that whoever looks sees either the old one or the new one, whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from c2wtasks.errors import OutputError, os_reason

TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def temporary(folder: str, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A fresh writable file in `folder` (made if need be), removed at the end unless it was renamed.

    The mode is exact, whatever the umask.
    """
    os.makedirs(folder or ".", exist_ok=True)
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


def sync_folder(folder: str) -> None:
    """Makes the names in `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Removes `path` with all below it; nothing happens if it is not there.

    Folders that their owner may not write (0o555 in an image) are made writable first.

    Raises OutputError.
    """
    try:
        _remove(path)
    except OSError as error:
        raise OutputError(f"{error.filename or path}: cannot be removed: {os_reason(error)}") from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        if os.path.islink(path) or not os.path.isdir(path):
            raise
    if os.geteuid() != 0:
        os.chmod(path, 0o700)
    with os.scandir(path) as entries:
        children = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for child, is_folder in children:
        if is_folder:
            _remove(child)
        else:
            os.unlink(child)
    os.rmdir(path)
