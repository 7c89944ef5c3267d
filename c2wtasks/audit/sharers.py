"""Damaged files that several roots share: in which other bundles they are, and how none goes on to have them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping

from c2wtasks.audit.finding import Finding, shown
from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.disk import files, safely
from c2wtasks.disk.opening import FOLDER
from c2wtasks.disk.safely import Identity
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.output import pool, record, spare
from c2wtasks.output.places import ROOTFS, Places
from c2wtasks.rootfs.dir.folders import allow_depth

Damaged = Mapping[Identity, Collection[Finding]]
"""Files, and what was found of each by one of its names."""


def found_in(places: Places, damaged: Damaged) -> list[Finding]:
    """What is to be said of a bundle in whose root these files are."""
    published = record.read(places.record)
    if published is None or published.rootfs is None:
        return []
    root = places.output(published.folder)
    return [
        Finding(f"{shown(root)}/{shown(path)}", one.what, one.want, one.have)
        for path, identity in sorted(_names(root, damaged))
        for one in damaged[identity]
    ]


def forget(file: BundleFile, damaged: Damaged) -> None:
    """Sees to it that no root gets these files any more: neither from the pool nor from what bundles keep for the
    roots that they are to have next. No run may be at work.

    Raises OutputError.
    """
    if not damaged:
        return
    try:
        pool.drop(file.output, {inode for _, inode in damaged})
        for places in (Places.of(file.output, bundle) for bundle in file.bundles if bundle.folder_form):
            if any(_names(places.spare, damaged)):
                spare.discard(places)
            if any(_names(places.part(ROOTFS), damaged)):
                files.remove_tree(places.rootfs_facts_file)  # so that it is written anew
                files.remove_tree(places.part(ROOTFS))
    except OSError as error:
        raise OutputError(f"{error.filename or file.output}: {os_reason(error)}") from error


def _names(root: str, damaged: Collection[Identity]) -> Iterator[tuple[str, Identity]]:
    """The paths in a folder that are names of these files; none where there is no folder.

    Raises OSError.
    """
    inodes = {inode for _, inode in damaged}
    try:
        with safely.open_folder(root) as top:
            levels = [(os.dup(top), "", list[str]())]
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        yield from _here(*levels[0], inodes, damaged)
        while levels:
            above, path, folders = levels[-1]
            if not folders:
                os.close(levels.pop()[0])
                continue
            name = folders.pop()
            allow_depth(len(levels) + 1)
            inside = os.open(name, os.O_RDONLY | FOLDER, dir_fd=above)
            levels.append((inside, f"{path}{name}/", []))
            yield from _here(*levels[-1], inodes, damaged)
    finally:
        for folder, _, _ in levels:
            os.close(folder)


def _here(
    folder: int, path: str, folders: list[str], inodes: Collection[int], damaged: Collection[Identity]
) -> Iterator[tuple[str, Identity]]:
    """Those in one open folder; what is a folder in it is added to `folders`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif entry.inode() in inodes:
                state = entry.stat(follow_symlinks=False)
                identity = state.st_dev, state.st_ino
                if identity in damaged:
                    yield f"{path}{entry.name}", identity
