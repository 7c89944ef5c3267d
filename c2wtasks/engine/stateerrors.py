"""What can be wrong with the file in which doit's record lies, and what to do about it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from c2wtasks.errors import OutputError

_MAX_PATH = 503  # bytes: SQLite takes 511, with the name of the journal


def unrecordable(name: str, error: sqlite3.Error) -> OutputError:
    """The error of a file that cannot be written."""
    import sqlite3

    full = code_of(error) == sqlite3.SQLITE_FULL
    return trouble(name, "what was done cannot be recorded", str(error), full=full)


def unreadable(name: str, error: OSError) -> OutputError:
    """The error of a file that cannot be read."""
    from c2wtasks.errors import os_reason

    return trouble(name, "cannot be read", os_reason(error))


def in_the_way(path: str, mode: int) -> OutputError:
    """The error of what lies where the file must: of the kind that `mode` says."""
    from c2wtasks.errors import OutputError

    kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    return OutputError(f"{path}: is {kind}, where the record of what was done must lie", hint="move it away")


def trouble(name: str, what: str, cause: str = "", *, hint: str = "", full: bool = False) -> OutputError:
    """The error of the file `name`, with a hint that fits: `full` says that its disk is."""
    from c2wtasks.errors import OutputError

    elsewhere = "--db-file FILE puts the record elsewhere"
    length = len(os.fsencode(os.path.realpath(name)))
    owner = _other_owner(name)
    if not hint and length > _MAX_PATH:
        hint = f"its whole path has {length} bytes, and SQLite takes {_MAX_PATH}: {elsewhere}"
    elif not hint and full:
        hint = f"make room there, or {elsewhere}"
    elif not hint and owner:
        hint = f"it belongs to {owner}: run as {owner}, or {elsewhere}"
    return OutputError(f"{name}: {what}{cause and ': '}{cause}", hint=hint or elsewhere)


def code_of(error: sqlite3.Error) -> int:
    """The kind of an error of SQLite's (SQLITE_...); 0 where it is Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def tells_damage(error: sqlite3.Error, *, ours: bool = True) -> bool:
    """Whether SQLite says so of damaged files, and of what is no database, only. In one that is `ours` by its header
    nothing but damage makes it miss our table (SQLITE_ERROR)."""
    import sqlite3

    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG) or (
        ours and code_of(error) == sqlite3.SQLITE_ERROR
    )


def _other_owner(name: str) -> str:
    """Who the file, or else its folder, belongs to, if that is not this user."""
    import pwd

    try:
        uid = os.stat(name if os.path.exists(name) else os.path.dirname(name) or ".").st_uid
    except OSError:
        return ""
    if uid == os.geteuid():
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
