"""The one folder that all paths into it are reached by, once a run has looked at whose it is.

What lies in the folder that we `keep_to` is reached by way of that very folder, wherever it is moved, and through no
link at all. So what was found out about it once stays true.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from c2wtasks.disk.clib import CURRENT_FOLDER
from c2wtasks.disk.opening import FOLDER, open_way


@dataclass(frozen=True, slots=True)
class _Kept:
    """A folder that is held open. `prefix` is its path, with a slash, as seen from the folder `seen_from` (empty
    where it is absolute). Of what lies in it, only files of `owners` count, where these are told. Where there is an
    `error`, nothing in it can be reached, and there is no descriptor."""

    prefix: str
    seen_from: str
    descriptor: int = -1
    owners: frozenset[int] | None = None
    error: OSError | None = None

    def below(self, path: str) -> str | None:
        """The path as seen from this folder; None where it does not lead into it."""
        if not path.startswith(self.prefix) or (self.seen_from and os.getcwd() != self.seen_from):
            return None
        return path[len(self.prefix) :].lstrip("/") or "."


_kept: _Kept | None = None


def keep_to(path: str, owners: frozenset[int] | None = None) -> os.stat_result:
    """From now on all paths that begin with `path` lead into the folder that this is now, and through no link. With
    `owners`, files in it that belong to others cannot be opened. One folder can be kept to at a time.

    Raises OSError.
    """
    global _kept
    keep_to_none()
    descriptor = open_path(f"{path}/.", FOLDER | os.O_PATH)
    _kept = _Kept(f"{path}/", _seen_from(path), descriptor, owners)
    return os.fstat(descriptor)


def keep_out_of(path: str, error: OSError) -> None:
    """From now on whatever is to be reached below `path` fails with `error`, though it may be there by then."""
    global _kept
    keep_to_none()
    _kept = _Kept(f"{path}/", _seen_from(path), error=error)


def keep_to_none() -> None:
    """Ends what `keep_to` or `keep_out_of` has begun."""
    global _kept
    if _kept is not None and _kept.error is None:
        os.close(_kept.descriptor)
    _kept = None


def open_path(path: str, flags: int, mode: int = 0) -> int:
    """A descriptor of whatever lies at `path`: by way of the folder that is kept to, where it leads into that.

    Raises OSError, of ELOOP for a link that is not followed.
    """
    kept = _kept
    inside = kept.below(path) if kept is not None else None
    if kept is None or inside is None:
        return open_way(path, flags, mode, CURRENT_FOLDER, path)
    if kept.error is not None:
        raise OSError(kept.error.errno, kept.error.strerror, path)
    return open_way(inside, flags, mode, kept.descriptor, path)


def check_owner(found: os.stat_result, path: str) -> None:
    """Raises PermissionError for a file of a user whose files do not count in the folder that is kept to."""
    kept = _kept
    if kept is not None and kept.owners is not None and found.st_uid not in kept.owners and kept.below(path):
        raise PermissionError(errno.EACCES, f"it belongs to another user (uid {found.st_uid})", path)


def _seen_from(path: str) -> str:
    return "" if path.startswith("/") else os.getcwd()
