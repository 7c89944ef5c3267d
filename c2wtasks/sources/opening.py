"""Opening a local source: a folder or a tar, and a helpful word where the transport does not fit what is there."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Set

from c2wtasks.errors import SourceError
from c2wtasks.oci.transport import TRANSPORTS, Transport
from c2wtasks.sources.archive import Archive
from c2wtasks.sources.folder import Folder
from c2wtasks.sources.reading import Files, NoSuchPath, not_regular, unreadable


def open_files(transport: str, path: str, *, contained: bool = False) -> Files:
    """The files of a source, which has the one that its transport needs. For `contained` see `Folder`: names in an
    image layout are digests, so its blobs may be links to anywhere; docker's are any text.

    Raises NoSuchPath; SourceError: not readable, or another transport's.
    """
    row = TRANSPORTS[transport]
    files = Folder(path, contained=contained) if _is_folder(path) else _open_archive(row, path)
    if not _fits(row, files.is_folder):
        raise misnamed(row, path, files.is_folder, _needed_files(files))
    if files.place(row.needs) is None:
        raise _wrapped(files, row) or misnamed(row, path, files.is_folder, _needed_files(files))
    return files


def _fits(row: Transport, is_folder: bool) -> bool:
    return row.may_be_folder if is_folder else row.may_be_archive


def _is_folder(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise NoSuchPath(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise not_regular(path, mode)
    return stat.S_ISDIR(mode)


def _open_archive(row: Transport, path: str) -> Files:
    try:
        return Archive(path)
    except SourceError:
        if not row.may_be_archive:
            raise misnamed(row, path, False, frozenset()) from None
        raise


def _needed_files(files: Files) -> Set[str]:
    """Which of the files that transports need are there."""
    needed = {row.needs for row in TRANSPORTS.values() if row.needs}
    return {name for name in needed if files.place(name) is not None}


def misnamed(row: Transport, path: str, is_folder: bool, has: Set[str]) -> SourceError:
    """The error where what lies at `path` is not of the transport, told from what it looks like: a folder or not, and
    which of the files it `has` that some transport needs. Pure."""
    if _fits(row, is_folder):
        wrong = f"{path} has no {row.needs}"
    else:
        wrong = f"{path} is a {'folder' if is_folder else 'file'}"
    right = next((one for one in TRANSPORTS.values() if one.needs in has and _fits(one, is_folder)), None)
    if right is None:
        return SourceError(f"{wrong}, so it is not {row.what}")
    return SourceError(f"{wrong}: it is {right.what}", hint=f"use {right.name}:{path}")


def _wrapped(files: Files, row: Transport) -> SourceError | None:
    """The error for a tar that holds the folder where its content is wanted."""
    folder = files.wrapping_folder(row.needs) if isinstance(files, Archive) else None
    if folder is None:
        return None
    return SourceError(
        f"{files.path} has {row.needs} not at its top but in {folder}/",
        hint=f"unpack it: tar -xf {shlex.quote(files.path)}; then use {row.unpacked or row.name}:{folder}",
    )
