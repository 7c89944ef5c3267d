"""The pool of an output: one name for each file that roots share, so that the next root finds it.

<output>/.parts/.shared/<diffID, hex>/...    a folder for each layer; the names are `rootfs.dir.pool`'s
<output>/.parts/.shared/boot                 since which start of the machine it is in use
<output>/.parts/.shared/loose                of how many bytes it is not known whether roots still have them

A file that has no name but here is of no root any more. Nobody but the user who builds can look into the folder, so
nobody else can have put anything there.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

from c2wtasks.disk import files, safely
from c2wtasks.disk.filestate import disk_bytes
from c2wtasks.disk.opening import FOLDER
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.digest import Digest
from c2wtasks.output import waiting
from c2wtasks.output.places import PARTS, POOL
from c2wtasks.output.remove import remove_with_empty
from c2wtasks.rootfs.dir.pool import TEMPORARY, Pool, Shared

_BOOT, _LOOSE = "boot", "loose"
_MAX_NOTE = 100  # bytes
_PART = 16  # of all roots: so much that is loose is worth a look at each file of the pool


def path_of(output: str) -> str:
    """The pool of the folder `output`."""
    return f"{output}/{PARTS}/{POOL}"


@contextmanager
def opened(path: str, layers: Sequence[str], before: Collection[str]) -> Iterator[Pool]:
    """The pool `path`, which is made if need be, for a root of `layers` (diffIDs), of which files may stay that were
    written when its layers were `before`. Where there can be no pool, what is given says why.

    After a start of the machine only those files count that a root has: what is published was on disk before.
    """
    try:
        folder = _opened(path)
    except (OSError, OutputError) as error:
        yield Pool(-1, shared=Shared(cannot=os_reason(error) if isinstance(error, OSError) else str(error)))
        return
    try:
        # Two files of a tree could have one name in the folder of a layer that the image has twice.
        names = [Digest.parse(layer).hex if layers.count(layer) == 1 else "" for layer in layers]
        there = set(os.listdir(folder))
        unknown = {at for at, layer in enumerate(layers) if layer not in before or names[at] not in there}
        yield Pool(folder, names, unknown)
    finally:
        os.close(folder)


def has(path: str, diff_id: Digest) -> bool:
    """Whether the pool `path` has files of a layer."""
    return safely.is_folder(f"{path}/{diff_id.hex}")


def _opened(path: str) -> int:
    """A descriptor of the pool, fit for use. Raises OSError, OutputError."""
    folder = _ours(path)
    try:
        boot = waiting.boot().encode()
        if not boot or _read(f"{path}/{_BOOT}") != boot:
            _sweep(folder)
            files.write(f"{path}/{_BOOT}", boot)
    except BaseException:
        os.close(folder)
        raise
    return folder


def _ours(path: str) -> int:
    """A descriptor of the folder `path`, which is made if need be, and which only we can look into. What else lies
    there is thrown away.

    Raises OSError, OutputError.
    """
    for _ in range(2):
        with safely.entry(path) as (here, name), suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=here)
        if (folder := _found(path)) >= 0:
            return folder
        files.remove_tree(path)
    raise OSError(errno.EACCES, "others can have put files there", path)


def _found(path: str) -> int:
    """A descriptor of the folder `path`; -1 where there is none that only we can look into. Raises OSError."""
    with safely.entry(path) as (here, name):
        try:
            folder = os.open(name, os.O_RDONLY | FOLDER, dir_fd=here)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return -1
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return -1
    found = os.fstat(folder)
    if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        return folder
    os.close(folder)
    return -1


def _read(path: str) -> bytes:
    try:
        return safely.read(path, _MAX_NOTE)
    except OSError:
        return b""


def tidy(output: str, wanted: Collection[str], size: int, loose: int | None = None) -> int:
    """Removes from the pool the files of layers that are not `wanted` (diffIDs); and those that no root has: if many
    are to be expected, as so many bytes became `loose`, where all roots have `size`, or where nothing is said of it.
    Gives how many bytes of disk it has freed so.

    Raises OSError, OutputError.
    """
    path = path_of(output)
    with _existing(path) as folder:
        if folder < 0:
            return 0
        names = {Digest.parse(layer).hex for layer in wanted}
        freed = 0 if names else _sweep(folder)
        for layer in _layers(folder):
            if layer not in names:
                files.remove_tree(f"{path}/{layer}")
        if loose is None or _is_much(f"{path}/{_LOOSE}", loose, size):
            freed += _sweep(folder)
        if not _layers(folder):
            remove_with_empty(path, output)
        return freed


def _is_much(note: str, loose: int, size: int) -> bool:
    """Whether so many bytes, with those that the file `note` tells of, are much of `size`; if not, they are noted
    there.

    Raises OutputError.
    """
    noted = _read(note)
    loose += int(noted) if noted.isdigit() else 0
    if _PART * loose >= size:
        files.remove_tree(note)
        return True
    if loose:
        files.write_if_changed(note, str(loose).encode())
    return False


def unused(output: str) -> int:
    """The bytes of disk that files take which were shared, and which no root has any more.

    Raises OSError.
    """
    with _existing(path_of(output)) as folder:
        return _unused(folder)[0] if folder >= 0 else 0


def drop(output: str, inodes: Collection[int]) -> None:
    """Takes these files out of the pool: no root that is written from now on has them.

    Raises OSError.
    """
    with _existing(path_of(output)) as folder:
        for layer in _layers(folder) if folder >= 0 else ():
            with _inside(folder, layer) as here, os.scandir(here) as entries:
                for entry in entries:
                    if entry.inode() in inodes:
                        _unlink(entry.name, here)


def recover(output: str) -> None:
    """Removes what processes that were killed have left in the pool.

    Raises OSError, OutputError.
    """
    path = path_of(output)
    for name in files.names(path):
        if name.startswith(TEMPORARY):
            files.remove_tree(f"{path}/{name}")


@contextmanager
def _existing(path: str) -> Iterator[int]:
    """A descriptor of the pool; -1 where there is none. Raises OSError."""
    try:
        folder = _found(path)
    except FileNotFoundError:  # there is no private folder at all
        folder = -1
    try:
        yield folder
    finally:
        if folder >= 0:
            os.close(folder)


def _sweep(folder: int) -> int:
    """Removes the files that have no names but those in the pool. Gives the bytes of disk that they took.

    Raises OSError.
    """
    size, paths = _unused(folder)
    for path in paths:
        _unlink(path, folder)
    for layer in _layers(folder):
        with suppress(OSError):  # something is in it
            os.rmdir(layer, dir_fd=folder)
    return size


def _unused(folder: int) -> tuple[int, list[str]]:
    """The bytes of disk that files take which have no names but those in the pool; and these names.

    Raises OSError.
    """
    layers = _layers(folder)
    found: dict[int, os.stat_result] = {}
    names: dict[int, list[str]] = defaultdict(list)
    for layer in layers:
        with _inside(folder, layer) as here, os.scandir(here) as entries:
            for entry in entries:
                state = entry.stat(follow_symlinks=False)
                if state.st_nlink <= len(layers):  # it has at most one name in each
                    found[state.st_ino] = state
                    names[state.st_ino].append(f"{layer}/{entry.name}")
    unused = [inode for inode, state in found.items() if len(names[inode]) == state.st_nlink]
    size = sum(disk_bytes(found[inode]) for inode in unused)
    return size, [path for inode in unused for path in names[inode]]


def _layers(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


@contextmanager
def _inside(folder: int, layer: str) -> Iterator[int]:
    here = os.open(layer, os.O_RDONLY | FOLDER, dir_fd=folder)
    try:
        yield here
    finally:
        os.close(here)


def _unlink(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
