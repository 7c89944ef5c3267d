"""Putting a bundle where its consumers look, in one step: they see the old one or the new one, never a mixture."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from c2wtasks.disk import files, safely, syncing
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.output import waiting
from c2wtasks.output.places import NEW, OLD, PARTS, READY, RECORD, ROOTFS, Places
from c2wtasks.rootfs.writing.copying import link_file

# What a rename to the name of another folder is refused with; the last three by SFTP, CIFS and others, which have few
# words.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EPERM, errno.EACCES, errno.EIO)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failed` are the bundles that could not be published, `in_place` those of which the old folder could not be
    renamed, so that it was removed before the new one had its name."""

    failed: dict[Places, OutputError] = field(default_factory=dict)
    in_place: list[Places] = field(default_factory=list)


def put_together(
    places: Places, new: str, contents: Mapping[str, bytes], mtime_ns: int, put_rootfs: Callable[[], None]
) -> None:
    """Fills the folder `new`, a `fresh` one, which is to be published next, with these files and what `put_rootfs`
    puts in it.

    Every file is 0644 and, like the folder, has `mtime_ns`: what is published depends on nothing but its inputs.

    Raises OutputError.
    """
    try:
        with files.removed_on_failure(new):
            folders = folders_of([*contents, places.rootfs])
            for folder in folders:
                files.make_folders(f"{new}/{folder}")
            for name, content in contents.items():
                files.write_unpublished(f"{new}/{name}", content, mtime_ns)
            put_rootfs()  # last: a root that was moved here is told by the record beside it, if we are killed
            for folder in folders:
                safely.set_times(f"{new}/{folder}", mtime_ns)
            safely.set_times(new, mtime_ns)
    except OSError as error:
        size = sum(map(len, contents.values()))
        need = f" ({size} bytes beside the root)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise _unpublished(places, error, need) from error


def fresh(places: Places) -> str:
    """Makes an empty folder, from which one rename leads to the published one: in the bundle's private folder, or,
    where the image's folder is a mount or a link to another disk, in one beside the published folder.

    Whether a rename leads there only a rename tells: mounts of one disk, subvolumes and quotas forbid it, too.

    Raises OutputError.
    """
    try:
        return _fresh(places)
    except OSError as error:
        raise _unpublished(places, error) from error


def _fresh(places: Places) -> str:
    new, probe = places.part(NEW), places.probe
    for path in (new, probe, f"{places.beside}/{NEW}"):
        files.remove_tree(path)
    files.make_folders(os.path.dirname(probe))
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


def _staging(places: Places) -> str:
    """The folder in which the bundle was made ready."""
    return places.beside if safely.is_folder(f"{places.beside}/{NEW}") else places.parts


def link(folder: str, paths: Iterable[str], new: str, mtime_ns: int) -> None:
    """Gives the files `paths` in `folder` the same names in the folder `new`, which is to be published. Their folders
    are 0755 and have `mtime_ns`. Where the file system has no hard links, they are copies.

    Raises OSError.
    """
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


def publish(staged: Sequence[Places]) -> Outcome:
    """Replaces the published folders by the staged ones. Those for which it cannot are as they were.

    All that is staged is on disk before it gets the published name, and that name is before the old folder goes.
    That takes two syncs of each file system, however many bundles they are for: as a rule there is one.
    """
    outcome = Outcome()
    together: dict[int, list[Places]] = {}
    for places in staged:
        try:
            together.setdefault(safely.lstat(f"{_staging(places)}/{NEW}").st_dev, []).append(places)
        except OSError as error:
            outcome.failed[places] = _unpublished(places, error)
    for group in together.values():
        _publish_together(group, outcome)
    return outcome


def _publish_together(staged: Sequence[Places], outcome: Outcome) -> None:
    """Publishes bundles that are on one file system."""
    folder = os.path.dirname(staged[0].published)
    try:
        syncing.sync_file_system(folder)
        for places in staged:
            try:
                if _take_place(f"{_staging(places)}/{NEW}", places.published):
                    outcome.in_place.append(places)
            except OutputError as error:
                outcome.failed[places] = error
            except OSError as error:
                outcome.failed[places] = _unpublished(places, error)
        syncing.sync_file_system(folder)
    except OSError as error:
        outcome.failed.update((places, _unpublished(places, error)) for places in staged)
        return
    for places in staged:
        try:
            files.remove_tree(places.part(NEW))
            _remove_with_empty(f"{places.beside}/{NEW}", os.path.dirname(places.published))
        except OutputError as error:
            outcome.failed[places] = error


def _unpublished(places: Places, error: OSError, need: str = "") -> OutputError:
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


def _take_place(new: str, published: str) -> bool:
    """Gives the folder `new` the name `published`; what had that name, if anything, is called `new` afterwards, or,
    if it could not be renamed, is gone: says whether that is so.

    Raises OSError, OutputError.
    """
    ready = f"{os.path.dirname(new)}/{READY}"
    if not safely.is_folder(ready) and _renamed(new, published):
        return False
    if not _renamed(new, ready):  # one that is there was to be published in place, and could not
        files.remove_tree(ready)
        safely.rename(new, ready)
    syncing.sync_folder(os.path.dirname(new))
    _replace(ready, published)
    return True


def _renamed(new: str, published: str) -> bool:
    """Gives `new` the name `published`, and what has that, if anything, the name `new`; False where the latter cannot
    be renamed, since it is a folder in a lower layer of an overlay.

    Raises OSError, OutputError.
    """
    try:
        safely.rename(new, published)
        return True
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
    try:
        if not safely.exchange(new, published):
            _swap(new, published)
        return True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False


def _swap(new: str, published: str) -> None:
    """The same by way of a third name, where a file system does not exchange names (NFS, some FUSE): the name is gone
    for an instant, the content never."""
    old = f"{os.path.dirname(new)}/{OLD}"
    files.remove_tree(old)
    safely.rename(published, old)
    try:
        safely.rename(new, published)
    except OSError:
        safely.rename(old, published)
        raise
    safely.rename(old, new)


def _replace(ready: str, published: str) -> None:
    """Removes `published`, which cannot be renamed, and gives `ready` its name. Should this be cut short, `recover`
    goes on with it: what is called `.ready` is whole and on disk.

    Raises OSError, OutputError.
    """
    _remove_in_place(published)
    safely.rename(ready, published)


def _remove_in_place(published: str) -> None:
    """The record goes first, as what has none is no bundle.

    Raises OutputError.
    """
    if safely.is_folder(published):
        files.remove_tree(f"{published}/{RECORD}")
    files.remove_tree(published)


def remove(places: Places, output: str, only: safely.Identity | None = None) -> None:
    """Removes all that the bundle has in the output folder, and the folders that this leaves empty. Where `only` is
    given, no other folder than that one is removed as the published one.

    Nobody sees a bundle that is half there: it loses its name first, or, where it cannot be renamed, its record.

    Raises OutputError.
    """
    if safely.is_folder(places.published):
        doomed = places.part(NEW)
        files.remove_tree(doomed)
        try:
            files.make_folders(places.parts)
            _check(places, places.published, only)
            safely.rename(places.published, doomed)
            try:
                _check(places, doomed, only)
            except OutputError:
                safely.rename(doomed, places.published)
                raise
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise _unremoved(places.published, error) from error
            _remove_in_place(places.published)
    _remove_with_empty(places.beside, os.path.dirname(places.published))
    for path in (places.published, places.parts):
        _remove_with_empty(path, output)


def _check(places: Places, path: str, only: safely.Identity | None) -> None:
    if only is not None and safely.identity(path) != only:
        raise OutputError(f"{places.published}: was replaced meanwhile, and is left alone", hint="run again")


def _unremoved(path: str, error: OSError) -> OutputError:
    if error.errno == errno.EBUSY:
        return OutputError(f"{path}: cannot be removed: it is a mount", hint="unmount it first")
    return OutputError(f"{path}: cannot be removed: {os_reason(error)}")


def remove_private(places: Places, output: str) -> None:
    """Removes what the bundle has in private, and leaves alone what is published.

    Raises OutputError.
    """
    _remove_with_empty(places.parts, output)


def _remove_with_empty(path: str, output: str) -> None:
    """Removes `path`, and the folders above it that this leaves empty, up to `output`; but no mounts or links."""
    files.remove_tree(path)
    folder = os.path.dirname(path)
    while folder != output:
        try:
            safely.remove_folder(folder)
        except OSError:  # something is in it, or it is a mount, or a link, which somebody made
            return
        folder = os.path.dirname(folder)


def recover(output: str) -> None:
    """Removes what a run that was killed left unfinished in the output folder. Nobody else may be at work there.

    Raises OutputError.
    """
    for name in _names(output):
        if name.startswith(files.TEMPORARY_PREFIX):
            files.remove_tree(f"{output}/{name}")
    for name in _names(f"{output}/{PARTS}"):
        for platform in _names(f"{output}/{PARTS}/{name}"):
            try:
                _recover_bundle(Places(f"{output}/{name}/{platform}", f"{output}/{PARTS}/{name}/{platform}"))
            except (OSError, OutputError):  # told when that bundle is built: others have nothing to do with it
                continue


def _names(folder: str) -> list[str]:
    try:
        return files.names(folder)
    except OSError:
        return []


def _recover_bundle(places: Places) -> None:
    if not all(_finish_publishing(private, places.published) for private in (places.parts, places.beside)):
        return  # it is tried again when the bundle is published, which it has to be
    waiting.take_back(places)
    for name in files.names(places.parts):
        if name.startswith(".") or (name == ROOTFS and not waiting.is_of_this_boot(places)):
            files.remove_tree(places.part(name))
    files.remove_tree(places.probe)
    _remove_with_empty(places.beside, os.path.dirname(places.published))


def _finish_publishing(private: str, published: str) -> bool:
    """Puts back the last good bundle, where names cannot be exchanged, or goes on to put the new one in its place,
    where it cannot be renamed. Says whether all is well with what is published."""
    old, ready = f"{private}/{OLD}", f"{private}/{READY}"
    try:
        if safely.is_folder(old) and not safely.exists(published):
            safely.rename(old, published)
        if safely.exists(f"{ready}/{RECORD}"):
            _replace(ready, published)
    except (OSError, OutputError):
        return False
    return True
