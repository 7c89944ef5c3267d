"""Removing what a bundle has in the output folder."""

from __future__ import annotations

import errno
import os

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.output.places import NEW, RECORD, Places


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
            remove_in_place(places.published)
    remove_with_empty(places.beside, os.path.dirname(places.published))
    remove_with_empty(places.published, output)
    _remove_parts(places, output)


def remove_private(places: Places, output: str) -> None:
    """Removes what the bundle has in private, and leaves alone what is published.

    Raises OutputError.
    """
    if not safely.exists(places.published):
        remove_empty(os.path.dirname(places.published), output)
    _remove_parts(places, output)


def _remove_parts(places: Places, output: str) -> None:
    """Raises OutputError."""
    try:
        inside = files.names(places.parts)
    except OSError:  # that it cannot be removed says why
        inside = []
    for path in map(places.part, inside):
        if path != places.tree:  # which goes last: should we be killed, the next one tells by it whose this is
            files.remove_tree(path)
    remove_with_empty(places.parts, output)


def remove_in_place(published: str) -> None:
    """Removes a published folder, its record first, as what has none is no bundle.

    Raises OutputError.
    """
    if safely.is_folder(published):
        files.remove_tree(f"{published}/{RECORD}")
    files.remove_tree(published)


def remove_with_empty(path: str, output: str) -> None:
    """Removes `path`, and the folders above it that this leaves empty, up to `output`; but no mounts or links.

    Raises OutputError.
    """
    files.remove_tree(path)
    remove_empty(os.path.dirname(path), output)


def remove_empty(folder: str, output: str) -> None:
    """Removes `folder`, and those above it up to `output`, as long as they are empty; but no mounts or links."""
    while folder != output:
        try:
            safely.remove_folder(folder)
        except OSError:  # something is in it, or it is a mount, or a link, which somebody made
            return
        folder = os.path.dirname(folder)


def _check(places: Places, path: str, only: safely.Identity | None) -> None:
    if only is not None and safely.identity(path) != only:
        raise OutputError(f"{places.published}: was replaced meanwhile, and is left alone", hint="run again")


def _unremoved(path: str, error: OSError) -> OutputError:
    if error.errno == errno.EBUSY:
        return OutputError(f"{path}: cannot be removed: it is a mount", hint="unmount it first")
    return OutputError(f"{path}: cannot be removed: {os_reason(error)}")
