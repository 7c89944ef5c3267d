"""Writing files so that whoever looks sees either the old one or the new one, whole."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENOSYS, ENOTDIR, EOPNOTSUPP, EPERM
from io import FileIO
from typing import BinaryIO

from c2wtasks.disk import safely
from c2wtasks.errors import OutputError, os_reason

TEMPORARY_PREFIX = ".tmp-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INHERITED = 0o2022
_PIECE = 1 << 20
_NO_MODES = (EPERM, ENOSYS, EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class Temporary:
    """A fresh file, named `name` in the folder that the descriptor `folder` stands for."""

    stream: BinaryIO
    folder: int
    name: str


@contextmanager
def temporary(folder: str, *, mode: int = 0o644, shared: bool = False) -> Iterator[Temporary]:
    """A fresh file in `folder` (made if need be, as `make_folders` does), removed at the end unless it was renamed.
    What is written to it can be read through its descriptor, too.

    The mode is exact, whatever the umask.
    """
    make_folders(folder or ".", shared=shared)
    name = f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    with safely.folder(folder) as here:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=here)
        try:
            with open(descriptor, "wb") as stream:
                set_mode(descriptor, mode)
                yield Temporary(stream, here, name)
        finally:
            try:
                os.unlink(name, dir_fd=here)
            except FileNotFoundError:
                pass


def set_mode(file: int | str, mode: int) -> None:
    """Gives a file or folder that we have made its mode, where the file system has modes (some for Windows have none,
    and refuse); where it has not, it stays as it is.

    Raises OSError.
    """
    try:
        os.chmod(file, mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            raise


def give_name(made: Temporary, path: str, *, sync: bool) -> None:
    """Gives a file from `temporary` its name, in one step.

    With `sync` its content is on disk before that: for files that other runs trust by their name. (The name itself
    may still be lost with the power, until `sync_folder`.)
    """
    made.stream.flush()
    if sync:
        os.fsync(made.stream.fileno())
    with safely.entry(path) as (here, name):
        os.rename(made.name, name, src_dir_fd=made.folder, dst_dir_fd=here)


def write(
    path: str,
    content: bytes,
    *,
    mode: int = 0o644,
    sync: bool = False,
    by_way_of: str | None = None,
    shared: bool = False,
) -> None:
    """Puts `content` at `path` in one step. The temporary file is beside it, or in the folder `by_way_of`, which is
    made as `make_folders` does.

    Raises OutputError.
    """
    folder = os.path.dirname(path) if by_way_of is None else by_way_of
    try:
        with temporary(folder, mode=mode, shared=shared) as made:
            made.stream.write(content)
            give_name(made, path, sync=sync)
    except OSError as error:
        wrong = f"{path}: cannot be written ({len(content)} bytes): {os_reason(error)}"
        raise OutputError(wrong, hint=_hint(error)) from error


def _hint(error: OSError) -> str | None:
    return "move away the folder that lies there" if isinstance(error, IsADirectoryError) else None


def write_pieces(path: str, pieces: Iterable[bytes], *, sync: bool = False) -> None:
    """Like `write`, for what is not to be in memory as a whole.

    Raises OutputError; and what `pieces` raises, but for OSError.
    """
    try:
        with temporary(os.path.dirname(path)) as made:
            made.stream.writelines(pieces)
            give_name(made, path, sync=sync)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {os_reason(error)}", hint=_hint(error)) from error


def write_unpublished(path: str, content: bytes) -> None:
    """Makes the file `path`, 0644, in a folder that nobody looks into before all in it is whole.

    Raises OSError.
    """
    descriptor = safely.create(path)
    with open(descriptor, "wb") as stream:
        set_mode(descriptor, 0o644)
        stream.write(content)


def write_if_changed(path: str, content: bytes, *, sync: bool = False, by_way_of: str | None = None) -> bool:
    """Like `write`, but leaves a file that already holds `content` alone. Says whether it wrote."""
    try:
        if safely.read(path, len(content)) == content:
            return False
    except OSError:
        pass
    write(path, content, sync=sync, by_way_of=by_way_of)
    return True


def give_name_if_changed(made: Temporary, path: str, *, sync: bool) -> None:
    """Like `give_name`, but leaves a file that already holds the same alone."""
    made.stream.flush()
    if not _holds(path, made.stream.fileno()):
        give_name(made, path, sync=sync)


def _holds(path: str, file: int) -> bool:
    """Whether there is a file whose content is that of an open one."""
    try:
        with FileIO(safely.open_file(path)) as have, FileIO(file, closefd=False) as want:
            want.seek(0)
            while (piece := want.read(_PIECE)) == have.read(_PIECE):
                if not piece:
                    return True
    except OSError:
        pass
    return False


def names(folder: str) -> list[str]:
    """What lies in a folder; nothing where there is none.

    Raises OSError.
    """
    try:
        return safely.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def make_folders(path: str, *, shared: bool = False) -> None:
    """Makes the folder `path` and those above it that are missing, each 0755 whatever the umask.

    `shared` ones can be written by whom the folder above can be written by, and keep its set-group-id bit.

    Raises OSError.
    """
    try:
        with safely.folder(path):
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    if parent := os.path.dirname(path):
        make_folders(parent, shared=shared)
    with safely.entry(path) as (here, name):
        try:
            os.mkdir(name, 0o755, dir_fd=here)
        except FileExistsError:
            found = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(found):
                what = "a link that leads to no folder" if stat.S_ISLNK(found) else "not a folder"
                raise NotADirectoryError(ENOTDIR, f"{path} is {what}") from None
            return
        made = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
        try:
            if os.fstat(made).st_uid == os.geteuid():  # else it is no longer the one that we made
                set_mode(made, 0o755 | (os.fstat(here).st_mode & _INHERITED if shared else 0))
        finally:
            os.close(made)


def below(folder: str) -> Iterator[str]:
    """The paths, relative to `folder`, of all files below it, in a fixed order.

    Raises OSError.
    """
    for at, folders, found in os.walk(folder, onerror=_raise):
        folders.sort()
        for name in sorted(found):
            yield os.path.relpath(f"{at}/{name}", folder)


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def removed_on_failure(path: str) -> Iterator[None]:
    """Removes `path` with all below it if the block raises an error; an interrupted run has no time for it."""
    try:
        yield
    except Exception:
        remove_tree(path)
        raise


def remove_tree(path: str) -> None:
    """Removes `path` with all below it, as `removing.remove_tree` does; nothing happens where it is not there.

    Raises OutputError.
    """
    from c2wtasks.disk import removing  # most runs remove nothing

    try:
        removing.remove_tree(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed: {os_reason(error)}") from error
