"""The folder that takes the place of a bundle's published one: put together in private, file by file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from c2wtasks.disk import files, safely
from c2wtasks.disk.holding import held, held_if_there
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.output import times
from c2wtasks.output.places import NEW, RECORD, SUMS, Places


def put_together(
    places: Places, new: str, contents: Mapping[str, bytes], mtime_ns: int, put_rootfs: Callable[[], None]
) -> None:
    """Fills the folder `new`, a `fresh` one, which is to be published next, with these files, the record first, and
    with what `put_rootfs` puts in it.

    Every file is 0644; one that is published with the same content, and looks untouched, stays that very file. The
    folders have `mtime_ns`.

    Raises OutputError.
    """
    try:
        with files.removed_on_failure(new), held(new), held_if_there(places.published):
            folders = folders_of([*contents, places.rootfs])
            before = times.noted(places.times)
            for folder in folders:
                files.make_folders(f"{new}/{folder}")
            look = None  # of a fresh file here
            for name, content in contents.items():
                old, path, is_same = places.output(name), f"{new}/{name}", partial(_holds, content)
                if look is None:
                    files.write_unpublished(path, content)
                    look = times.Look.of(safely.lstat(path))
                    if not times.keep(old, path, before.get(name), is_same) and name == RECORD:
                        before.pop(SUMS, None)  # which has its hash
                elif not times.take(old, path, look._replace(size=len(content)), before.get(name), is_same):
                    files.write_unpublished(path, content)
            put_rootfs()  # last: a root that was moved here is told by the record beside it, if we are killed
            for folder in folders:
                safely.set_times(f"{new}/{folder}", mtime_ns)
            safely.set_times(new, mtime_ns)
    except OSError as error:
        size = sum(map(len, contents.values()))
        need = f" ({size} bytes beside the root)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise unpublished(places, error, need) from error


def _holds(content: bytes, path: str) -> bool:
    return safely.read(path, len(content)) == content


def fresh(places: Places) -> str:
    """Makes an empty folder, from which one rename leads to the published one: in the bundle's private folder, or,
    where the image's folder is a mount or a link to another disk, in one beside the published folder.

    Whether a rename leads there only a rename tells: mounts of one disk, subvolumes and quotas forbid it, too.

    Raises OutputError.
    """
    try:
        with files.at_work_in(os.path.dirname(places.published)):
            return _fresh(places)
    except OSError as error:
        raise unpublished(places, error) from error


def _fresh(places: Places) -> str:
    new, probe = places.part(NEW), places.probe
    for path in (new, probe, *([f"{places.beside}/{NEW}"] if _is_beside(places) else ())):
        files.remove_tree(path)
    files.make_folders(places.parts)
    files.make_folders(probe)
    try:
        safely.rename(probe, new)
    except OSError as error:
        safely.remove_folder(probe)
        if error.errno != errno.EXDEV:
            raise
        new = f"{places.beside}/{NEW}"
        files.make_folders(new)
    return new


def staging(places: Places) -> str:
    """The folder above the one (`.new`) in which the bundle was made ready."""
    return places.beside if _is_beside(places) and safely.is_folder(f"{places.beside}/{NEW}") else places.parts


def _is_beside(places: Places) -> bool:
    """Whether there may be something beside the published folder, as there is only where that is on another disk."""
    return safely.is_folder(os.path.dirname(places.beside))


def link(folder: str, paths: Iterable[str], new: str, mtime_ns: int) -> None:
    """Gives the files `paths` in `folder` the same names in the folder `new`, which is to be published. Their folders
    are 0755 and have `mtime_ns`. Where the file system has no hard links, they are copies.

    Raises OSError.
    """
    from c2wtasks.rootfs.writing.copying import link_file

    folders = folders_of(paths)
    for above in folders:
        files.make_folders(f"{new}/{above}")
    for path in paths:
        link_file(f"{folder}/{path}", f"{new}/{path}")
    for above in folders:
        safely.set_times(f"{new}/{above}", mtime_ns)


def folders_of(paths: Iterable[str]) -> list[str]:
    """The folders that the paths lie in, each after the one above it."""
    return sorted({path[:at] for path in paths for at, sign in enumerate(path) if sign == "/"})


def unpublished(places: Places, error: OSError, need: str = "") -> OutputError:
    """The error for a bundle that cannot be published."""
    where = error.filename or places.published
    if error.errno == errno.EBUSY:
        return is_mount(places)
    return OutputError(f"{where}: cannot be published: {os_reason(error)}{need}")


def is_mount(places: Places) -> OutputError:
    """The error for a published folder that is a mount itself."""
    return OutputError(
        f"{places.published}: cannot be published: it is a mount, which no folder can take the place of",
        hint=f"mount that disk at {os.path.dirname(places.published)}, the image's folder",
    )
