"""Running a function in a child process, for what cannot be undone: another user, another root, a lower limit."""

from __future__ import annotations

import ctypes
import os
import traceback
from collections.abc import Callable

USER = 1000
_PR_SET_DUMPABLE = 4


def in_child(function: Callable[[], str | None]) -> str:
    """What `function` returns in a child process; an AssertionError with its trace, if it raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            try:
                said = "ok " + (function() or "")
            except BaseException:
                said = traceback.format_exc()
            with os.fdopen(writer, "w") as out:
                out.write(said)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    assert answer.startswith("ok "), answer
    return answer.removeprefix("ok ")


def as_user(function: Callable[[], str | None], folder: str | os.PathLike[str]) -> str:
    """Like `in_child`, as the user USER with no rights of root's, in a folder given to that user."""

    def child() -> str | None:
        os.chdir(folder)  # the folders above may be closed to that user
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self stays root's
        return function()

    os.chown(folder, USER, USER)
    return in_child(child)
