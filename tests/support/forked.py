"""`doit` in a forked child: what `running` does, without starting an interpreter each time."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import doit.cmd_run
from doit.doit_cmd import DoitMain

# What each child would import again.
for _name in ("engine.build", "commands.why", "commands.plan", "graph", "layers.decompress", "engine.state"):
    importlib.import_module(f"c2wtasks.{_name}")


class Ended(NamedTuple):
    exit: int
    stdout: str
    stderr: str


def run_forked(folder: Path, *args: str) -> tuple[int, str]:
    """`doit ARGS` in `folder`: exit status and what it wrote to stdout."""
    ended = doit_forked(folder, *args)
    return ended.exit, ended.stdout


def doit_forked(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> Ended:
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
        return Ended(os.waitstatus_to_exitcode(how), out.read(), err.read())


def executed_forked(folder: Path, *args: str) -> set[str]:
    """The tasks that `doit ARGS` executed with success, groups left out."""
    _, text = run_forked(folder, "-r", "json", *args)
    found = {task["name"]: task["result"] for task in json.loads(text)["tasks"]}
    groups = {name.partition(":")[0] for name in found if ":" in name}
    return {name for name, result in found.items() if result == "success" and name not in groups}


def json_forked(folder: Path, *args: str) -> Any:
    """What a command with --json says."""
    return json.loads(run_forked(folder, *args, "--json")[1])


def foretold(folder: Path) -> tuple[set[str], set[str]]:
    """The tasks that `doit why` says would surely run, and all that might."""
    stale = json_forked(folder, "why")["stale"]
    return {task["task"] for task in stale if task["reasons"]}, {task["task"] for task in stale}


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
