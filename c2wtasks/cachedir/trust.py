"""Who may be believed about what lies in the cache: whoever can have put it there.

We believe root, ourselves, and who can write in the catalog's folder, as we run the dodo.py that lies there. Where
nobody else can write in the folders of the cache, what lies there is taken for true. Where others can, they may have
put anything there, and may change or swap at any time what we have looked at. So what we keep lies apart then, in a
folder of the cache that is ours alone, `<cache>/uid-<uid>`, and nothing else is read; but with `cache_trust: group`,
by which all who can write there are believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from c2wtasks.cachedir.layout import FOLDERS, own_part
from c2wtasks.disk import files, keeping, safely
from c2wtasks.errors import OutputError, os_reason


@dataclass(frozen=True, slots=True)
class Trusted:
    """The `folder` that is to be used as the cache. `owners` are the users who are believed; `note` is to be told to
    the user once, where there is anything to tell."""

    folder: str
    owners: frozenset[int]
    note: str = ""


def settle(cache: str, catalog: str, *, group: bool, looks: bool) -> Trusted:
    """Which folder is to be used for the folder `cache`, of the catalog in the folder `catalog`. It is made, unless
    we only look (`looks`), and kept to from now on. `group`: all who can write in it are believed.

    Raises OutputError: others can write there, and there is no folder of our own.
    """
    home = os.stat(catalog or ".")
    owners = frozenset((0, os.geteuid(), home.st_uid))
    keeping.keep_to_none()
    try:
        if not looks:
            files.make_folders(cache)
        keeping.keep_to(cache, None if group else owners)
        if group or all(_is_ours(found, owners, home) for found in _folders(cache)):
            return Trusted(cache, owners)
    except OSError as error:  # whoever needs it tells that; nobody knows who makes it meanwhile
        keeping.keep_out_of(cache, error)
        return Trusted(cache, owners)
    return _apart(cache, owners, home, looks=looks)


def _apart(cache: str, owners: frozenset[int], home: os.stat_result, *, looks: bool) -> Trusted:
    own = own_part(cache, os.geteuid())
    note = ""
    try:
        if not looks and not safely.exists(own):
            files.make_folders(own)
            note = (
                f"note: others can write in {cache}, so what is kept there for you lies apart, in {own}; if all who "
                "can may be believed, say 'cache_trust: group' in bundle.yaml, and it is shared with them"
            )
        found = keeping.keep_to(own, owners)
    except FileNotFoundError as error:  # we only look
        keeping.keep_out_of(own, error)
        return Trusted(own, owners)
    except OSError as error:
        raise _useless(own, os_reason(error)) from error
    if not _is_ours(found, owners, home):
        raise _useless(own, f"it is of uid {found.st_uid} and mode {stat.S_IMODE(found.st_mode):o}")
    return Trusted(own, owners, note)


def _useless(own: str, why: str) -> OutputError:
    return OutputError(
        f"{own}: others can write in the cache, and this folder, which they could not, cannot be used: {why}",
        hint="if all who can may be believed, say 'cache_trust: group' in bundle.yaml; else name another 'cache'",
    )


def _folders(cache: str) -> Iterator[os.stat_result]:
    """The folders of the cache that are there, the cache itself among them. Raises OSError."""
    with safely.folder(cache) as here:
        yield os.fstat(here)
        for name in FOLDERS:
            try:
                found = os.stat(name, dir_fd=here, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISDIR(found.st_mode):  # whatever else it is, it is not used
                yield found


def _is_ours(found: os.stat_result, owners: frozenset[int], home: os.stat_result) -> bool:
    """Whether nobody can write in a folder but `owners` and those who can write in the catalog's (`home`), too."""
    in_home = 0 if home.st_mode & stat.S_ISVTX else home.st_mode
    by_group = found.st_mode & stat.S_IWGRP and not (in_home & stat.S_IWGRP and found.st_gid == home.st_gid)
    by_any = found.st_mode & stat.S_IWOTH
    return found.st_uid in owners and (bool(in_home & stat.S_IWOTH) or not (by_group or by_any))
