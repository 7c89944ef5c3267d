"""Writing small files in the cache, which may be shared: whoever may write in its folder may write in those below."""

from __future__ import annotations

import os

from c2wtasks.disk import files
from c2wtasks.errors import OutputError, os_reason


def write(cache: str, path: str, content: bytes) -> None:
    """Puts `content` at `path`, which lies in the folder `cache`, in one step. What a killed run leaves of it is
    removed with all else that it left unfinished.

    Raises OutputError.
    """
    try:
        files.make_folders(os.path.dirname(path), shared=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error
    unfinished = f"{cache}/layers/unfinished"
    try:
        files.write(path, content, by_way_of=unfinished, shared=True)
    except OutputError:  # another run may just have cleared up there
        files.write(path, content, by_way_of=unfinished, shared=True)
