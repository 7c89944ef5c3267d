"""Errors that nobody expected: each ends what it came from and no more, and is told in one line like any other, with
its trace in a file."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from types import FrameType

from c2wtasks.disk import files, fingerprint
from c2wtasks.errors import MachineError, OutputError, UserError, of_the_machine, one_line, os_reason
from c2wtasks.process import runoptions

TRACES = ".doit.traces"  # beside bundle.yaml: the current folder of every command

_MACHINE_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_PACKAGE = __name__.partition(".")[0]
_CALLERS = (f"{_PACKAGE}.engine.", __name__)  # what calls a user's own tasks, too


def as_user_error(error: BaseException) -> UserError:
    """`error` as one that is told in a line: itself, if it is one; the machine's trouble by its name; of all others
    the type, the text and the line of code, with the trace in a file that the hint names."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError):
        return MachineError("out of memory")
    if no_more := _of_what_there_is_no_more(error):
        return MachineError(
            f"no more {no_more} can be started: their number is limited (ulimit -u, pids.max)", hint="run with -n 1"
        )
    if isinstance(error, OSError) and (machine := of_the_machine(error, error.filename)) is not None:
        return machine
    if isinstance(error, OSError) and error.errno in _MACHINE_TROUBLE:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return UserError(f"{where}{os_reason(error)}")
    return _told(error)


def _of_what_there_is_no_more(error: BaseException) -> str:
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "threads"
    return "processes" if isinstance(error, BlockingIOError) and error.filename is None else ""


def _told(error: BaseException) -> UserError:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if _is_ours(frame)]
    what = one_line("".join(traceback.format_exception_only(error)).strip(), 300)
    where = _place((ours or frames)[-1]) if frames else ""
    hint = f"the trace is in {_kept(error)}"
    if ours:
        hint = f"this is a fault of {_PACKAGE}: please report it; {hint}"
    return UserError(f"unexpected {what}{where}", hint=hint)


def _is_ours(frame: FrameType) -> bool:
    module: str = frame.f_globals.get("__name__", "")
    return module.startswith(f"{_PACKAGE}.") and not module.startswith(_CALLERS)


def _place(frame: FrameType) -> str:
    code = frame.f_code
    folder, name = os.path.split(code.co_filename)
    return f" ({os.path.basename(folder)}/{name}:{frame.f_lineno})"


def _kept(error: BaseException) -> str:
    """The file that now holds the trace; the same for the same trace. Readable by its owner only: an error's text may
    hold what was read."""
    text = "".join(traceback.format_exception(error))
    content = f"Python {sys.version}\n\n{text}".encode("utf-8", "backslashreplace")
    path = f"{TRACES}/{fingerprint.of_bytes(content)[:16]}.txt"
    if not runoptions.current().looks:
        try:
            files.write(path, content, mode=0o600)
            return path
        except OutputError:
            pass
    import tempfile  # hardly ever needed

    try:
        with tempfile.NamedTemporaryFile(prefix=f"{_PACKAGE}-", suffix=".txt", delete=False) as stream:
            stream.write(content)
            return stream.name
    except OSError as failure:
        return f"no file, as none can be written ({os_reason(failure)})"
