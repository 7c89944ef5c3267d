"""`doit` in a process forked from that of the tests, patched as that is; and killed."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import doit.cmd_run
from doit.doit_cmd import DoitMain

from tests.support.child import as_user
from tests.support.running import Result
from tests.support.starting import import_all

import_all()  # once, and not in each child


def doit_forked(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> Result:
    """`doit ARGS` in `folder`, with `env` on top of this process's environment."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.chdir(folder)
                os.environ.update(env or {})
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout = os.fdopen(1, "w")
                sys.stderr = os.fdopen(2, "w")
                sys.dont_write_bytecode = True
                doit.cmd_run.opt_outfile["default"] = sys.stdout  # it was set when doit was imported
                status = DoitMain().run(list(args))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, how = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return Result(os.waitstatus_to_exitcode(how), out.read(), err.read())


def doit_as_user(folder: Path) -> tuple[str, str]:
    """The status of `doit` in a folder of the user USER, and what it said, as that user."""

    def build() -> str:
        with open("said", "w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.stdout = sys.stderr = said
            return str(DoitMain().run([]))

    status = as_user(build, folder)
    return status, (folder / "said").read_text()


def killed_forked(folder: Path, after: float) -> None:
    """`doit` in `folder`, killed with all that it has started when so many seconds have passed."""
    child = os.fork()
    if child == 0:
        os.setsid()
        status = 70
        try:
            os.chdir(folder)
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            sys.dont_write_bytecode = True
            status = DoitMain().run([])
        finally:
            os._exit(status)
    time.sleep(after)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
