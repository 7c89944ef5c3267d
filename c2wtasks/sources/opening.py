"""Opening a local source: a folder or a tar, and a helpful word where the transport does not fit what is there."""

from __future__ import annotations

import os
import shlex
import stat

from c2wtasks.errors import SourceError
from c2wtasks.sources.archive import Archive
from c2wtasks.sources.folder import Folder
from c2wtasks.sources.reading import Files, NoSuchPath, not_regular, unreadable

_NEEDED = {
    "oci": "index.json",
    "oci-archive": "index.json",
    "docker-archive": "manifest.json",
    "dir": "manifest.json",
}
_FORMS = {
    "oci": (True,),
    "oci-archive": (False,),
    "docker-archive": (True, False),
    "dir": (True,),
}  # whether a folder
_AS_FOLDER = {"oci-archive": "oci"}
_MEANT = {
    "oci": "an image layout",
    "oci-archive": "a tar of an image layout",
    "docker-archive": "a docker archive",
    "dir": "a folder written by skopeo",
}


def open_files(transport: str, path: str) -> Files:
    """The files of a source, which has the one that its transport begins with.

    Raises NoSuchPath; SourceError: not readable, or another transport's.
    """
    if not _is_folder(path):
        files = _open_archive(transport, path)
    else:
        # Names in an image layout are digests, so its blobs may be links to anywhere; docker's are any text.
        files = Folder(path, contained=transport == "docker-archive")
    needed = _NEEDED[transport]
    if files.is_folder not in _FORMS[transport]:
        raise misnamed(transport, path, *_looks(files))
    if files.place(needed) is None:
        raise _wrapped(files, transport, needed) or misnamed(transport, path, *_looks(files))
    return files


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


def _open_archive(transport: str, path: str) -> Files:
    try:
        return Archive(path)
    except SourceError:
        if transport == "oci":
            raise misnamed(transport, path, False, False, False) from None
        raise


def _looks(files: Files) -> tuple[bool, bool, bool]:
    """Whether a folder, whether it has index.json, and manifest.json."""
    return files.is_folder, files.place("index.json") is not None, files.place("manifest.json") is not None


def misnamed(transport: str, path: str, is_folder: bool, has_index: bool, has_manifest: bool) -> SourceError:
    """What to say where `path` is not of `transport`, from what it looks like. Pure."""
    if is_folder and transport == "oci-archive":
        wrong = f"{path} is a folder"
    elif not is_folder and transport == "oci":
        wrong = f"{path} is a file"
    else:
        wrong = f"{path} has no {_NEEDED[transport]}"
    if has_index:
        right = "oci" if is_folder else "oci-archive"
    elif has_manifest:
        right = "docker-archive"
    else:
        return SourceError(f"{wrong}, so it is not {_MEANT[transport]}")
    return SourceError(f"{wrong}: it is {_MEANT[right]}", hint=f"use {right}:{path}")


def _wrapped(files: Files, transport: str, needed: str) -> SourceError | None:
    """The error for a tar that holds the folder where its content is wanted."""
    folder = files.wrapping_folder(needed) if isinstance(files, Archive) else None
    if folder is None:
        return None
    source = f"{_AS_FOLDER.get(transport, transport)}:{folder}"
    return SourceError(
        f"{files.path} has {needed} not at its top but in {folder}/",
        hint=f"unpack it: tar -xf {shlex.quote(files.path)}; then use {source}",
    )
