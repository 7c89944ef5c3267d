"""What a run that was killed left unfinished in the output folder: finished where that is safe, and else removed."""

from __future__ import annotations

import os

from c2wtasks.disk import files, safely
from c2wtasks.errors import OutputError
from c2wtasks.output import pool, waiting
from c2wtasks.output.places import FEEDS, HISTORY, OLD, PARTS, POOL, READY, RECORD, ROOTFS, Places
from c2wtasks.output.publish import replace
from c2wtasks.output.remove import remove_empty, remove_with_empty


def recover(output: str) -> None:
    """Removes what a run that was killed left unfinished in the output folder. Nobody else may be at work there.

    Raises OutputError.
    """
    for folder in (output, *(f"{output}/{name}" for name in (HISTORY, FEEDS, PARTS))):
        for name in _names(folder):
            if name.startswith(files.TEMPORARY_PREFIX):
                files.remove_tree(f"{folder}/{name}")
    try:
        pool.recover(output)
    except (OSError, OutputError):  # it is another user's
        pass
    for name in _names(f"{output}/{PARTS}"):
        if name == POOL:
            continue
        for platform in _names(f"{output}/{PARTS}/{name}"):
            try:
                _recover_bundle(Places(f"{output}/{name}/{platform}", f"{output}/{PARTS}/{name}/{platform}"))
            except (OSError, OutputError):  # told when that bundle is built: others have nothing to do with it
                continue
            remove_empty(f"{output}/{PARTS}/{name}/{platform}", output)
        remove_empty(f"{output}/{PARTS}/{name}", output)


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
    from c2wtasks.output import spare  # most runs have nothing to recover

    if not spare.is_whole(places):
        spare.discard(places)
    files.remove_tree(places.probe)
    remove_with_empty(places.beside, os.path.dirname(places.published))


def _finish_publishing(private: str, published: str) -> bool:
    """Puts back the last good bundle, where names cannot be exchanged, or goes on to put the new one in its place,
    where it cannot be renamed. Says whether all is well with what is published."""
    old, ready = f"{private}/{OLD}", f"{private}/{READY}"
    try:
        if safely.is_folder(old) and not safely.exists(published):
            safely.rename(old, published)
        if safely.exists(f"{ready}/{RECORD}"):
            replace(ready, published)
    except (OSError, OutputError):
        return False
    return True
