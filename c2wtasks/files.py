"""Writing files so that whoever looks sees either the old one or the new one, whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from c2wtasks.errors import OutputError, os_reason

TEMPORARY_PREFIX = ".tmp-"


def temporary_beside(path: str) -> str:
    """A name for a temporary file in the folder of `path`, so that a rename never crosses file systems."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f"{TEMPORARY_PREFIX}{name[:100]}-{os.getpid()}-{secrets.token_hex(4)}")


@contextmanager
def replacing(path: str, *, mode: int = 0o644, sync: bool = False) -> Iterator[BinaryIO]:
    """A writable file that takes the place of `path` when the block ends well, and vanishes otherwise.

    The mode is exact, whatever the umask. With `sync` data and name are on disk before this returns: for
    files that other runs trust by their name. Makes the folder if need be.
    """
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with open(temporary, "xb") as stream:
            os.fchmod(stream.fileno(), mode)
            yield stream
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
    if sync:
        sync_folder(folder or ".")


def write(path: str, content: bytes, *, mode: int = 0o644, sync: bool = False) -> None:
    """Puts `content` at `path` in one step.

    Raises OutputError.
    """
    try:
        with replacing(path, mode=mode, sync=sync) as stream:
            stream.write(content)
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
