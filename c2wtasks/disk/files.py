"""Writing files so that whoever looks sees either the old one or the new one, whole."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENOSYS, ENOTDIR, EOPNOTSUPP, EPERM
from io import FileIO
from typing import BinaryIO

from c2wtasks.disk import safely
from c2wtasks.disk.holding import descriptor_of, held, held_if_there
from c2wtasks.errors import OutputError, os_reason

TEMPORARY_PREFIX = ".tmp-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INHERITED = 0o2022
_umask = threading.Lock()
_PIECE = 1 << 20
_NO_MODES = (EPERM, ENOSYS, EOPNOTSUPP)


@dataclass(slots=True)
class Temporary:
    """A fresh file, named `name` in the folder that the descriptor `folder` stands for; "" once it was renamed."""

    stream: BinaryIO
    folder: int
    name: str


@contextmanager
def temporary(folder: str, *, mode: int = 0o644, shared: bool = False) -> Iterator[Temporary]:
    """A fresh file in `folder` (made if need be, as `make_folders` does), removed at the end unless it was renamed.
    What is written to it can be read through its descriptor, too.

    The mode is exact, whatever the umask.

    Raises OSError.
    """
    make_folders(folder or ".", shared=shared)
    with safely.folder(folder) as here:
        name, descriptor = _created(here, mode)
        made = None
        try:
            with open(descriptor, "wb") as stream:
                made = Temporary(stream, here, name)
                yield made
        finally:
            if made is None or made.name:
                _unlink(name, here)


def _created(folder: int, mode: int) -> tuple[str, int]:
    """The name and the descriptor of a fresh file in the folder that is open as `folder`."""
    name = f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    descriptor = os.open(name, safely.CREATE, mode, dir_fd=folder)
    try:
        _set_exact_mode(descriptor, mode)
    except OSError:
        os.close(descriptor)
        _unlink(name, folder)
        raise
    return name, descriptor


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def _set_exact_mode(descriptor: int, mode: int) -> None:
    """Gives a file that was made with `mode` what the umask has taken of it. Raises OSError."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        set_mode(descriptor, mode)


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
    """Gives a file from `temporary` the name `path`, in one step.

    With `sync` its content is on disk before that: for files that other runs trust by their name. (The name itself
    may still be lost with the power, until `sync_folder`.)

    Raises OSError.
    """
    made.stream.flush()
    if sync:
        os.fsync(made.stream.fileno())
    with safely.entry(path) as (here, name):
        os.rename(made.name, name, src_dir_fd=made.folder, dst_dir_fd=here)
    made.name = ""


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
        make_folders(folder or ".", shared=shared)
        with held(folder or "."), safely.folder(folder) as there:
            unfinished, descriptor = _created(there, mode)
            try:
                try:
                    write_all(descriptor, content)
                    if sync:
                        os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                with safely.entry(path) as (here, name):
                    os.rename(unfinished, name, src_dir_fd=there, dst_dir_fd=here)
            except BaseException:
                _unlink(unfinished, there)
                raise
    except OSError as error:
        wrong = f"{path}: cannot be written ({len(content)} bytes): {os_reason(error)}"
        raise OutputError(wrong, hint=hint_for(error)) from error


def write_all(descriptor: int, content: bytes) -> None:
    """Writes all of it, where one call may write a part. Raises OSError."""
    done = os.write(descriptor, content)
    while done < len(content):
        done += os.write(descriptor, content[done:])


def hint_for(error: OSError) -> str | None:
    """What to do where a file could not get its name, if that is known."""
    return "move away the folder that lies there" if isinstance(error, IsADirectoryError) else None


def write_pieces(path: str, pieces: Iterable[bytes], *, sync: bool = False) -> None:
    """Puts `pieces` at `path`, as `write` does: for what is not to be in memory as a whole.

    Raises OutputError; and what `pieces` raises, but for OSError.
    """
    try:
        with temporary(os.path.dirname(path)) as made:
            made.stream.writelines(pieces)
            give_name(made, path, sync=sync)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {os_reason(error)}", hint=hint_for(error)) from error


def write_unpublished(path: str, content: bytes) -> None:
    """Makes the file `path`, 0644, in a folder that nobody looks into before all in it is whole.

    Raises OSError.
    """
    descriptor = safely.create(path)
    try:
        _set_exact_mode(descriptor, 0o644)
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def write_if_changed(
    path: str, content: bytes, *, sync: bool = False, by_way_of: str | None = None, shared: bool = False
) -> bool:
    """Puts `content` at `path`, as `write` does, but leaves a file that already holds it alone. Says whether it
    wrote.

    Raises OutputError.
    """
    try:
        if safely.read(path, len(content)) == content:
            return False
    except OSError:
        pass
    write(path, content, sync=sync, by_way_of=by_way_of, shared=shared)
    return True


def give_name_if_changed(made: Temporary, path: str, *, sync: bool) -> None:
    """Gives a file its name, as `give_name` does, but leaves one that already holds the same alone. Raises
    OSError."""
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
    """The names of what lies in a folder; none where there is no folder.

    Raises OSError.
    """
    try:
        return safely.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def listed(folder: str) -> list[str]:
    """The names of what lies in a folder of ours; none where it is not there.

    Raises OutputError: it cannot be read.
    """
    try:
        return safely.names(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"{folder}: cannot be read: {os_reason(error)}") from error


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
        mode = 0o755 | (os.fstat(here).st_mode & _INHERITED if shared else 0)
        try:
            _make_folder(name, here, mode)
        except FileExistsError:
            found = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(found):
                what = "a link that leads to no folder" if stat.S_ISLNK(found) else "not a folder"
                raise NotADirectoryError(ENOTDIR, f"{path} is {what}") from None
            return
        made = os.stat(name, dir_fd=here, follow_symlinks=False)
        if stat.S_IMODE(made.st_mode) != mode:
            _set_folder_mode(name, here, mode)


def _make_folder(name: str, above: int, mode: int) -> None:
    """Raises OSError."""
    if not mode & _INHERITED:
        return os.mkdir(name, mode, dir_fd=above)
    with _umask:  # another process may make a folder in this one at once, and takes its mode over
        before = os.umask(0)
        try:
            os.mkdir(name, mode, dir_fd=above)
        finally:
            os.umask(before)


def _set_folder_mode(name: str, above: int, mode: int) -> None:
    """Raises OSError."""
    made = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
    try:
        if os.fstat(made).st_uid == os.geteuid():  # else it is no longer the one that we made
            set_mode(made, mode)
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
def at_work_in(*folders: str, shared: bool = False) -> Iterator[None]:
    """Makes the folders, as `make_folders` does, and holds them open (`holding`) while the block runs. Where one
    cannot be made, whatever is written there says why."""
    with held_if_there(*folders):
        missing = [path for path in folders if descriptor_of(path) is None]
        for path in missing:
            with suppress(OSError):
                make_folders(path, shared=shared)
        with held_if_there(*missing):
            yield


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
