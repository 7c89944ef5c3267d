"""Running the real `doit`, as a user does, and reading its own report of what ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support import starting


class Result(NamedTuple):
    exit: int
    stdout: str
    stderr: str


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with `env` on top, and doit told to write no byte code beside a dodo.py.

    A dodo.py that is rewritten within a second keeps the mtime that its byte code is judged by.
    """
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}


def run_doit(folder: Path | str, *args: str, env: Mapping[str, str] | None = None) -> Result:
    """`doit ARGS` in `folder`."""
    return _run("doit", folder, *args, env=env)


def run_ours(folder: Path | str, *args: str, env: Mapping[str, str] | None = None) -> Result:
    """`c2wtasks ARGS` in `folder`, as the program `doit` of an environment does it, too: a seal may answer."""
    return _run("c2wtasks", folder, *args, env=env)


def _run(program: str, folder: Path | str, *args: str, env: Mapping[str, str] | None = None) -> Result:
    ended = starting.run(os.fspath(folder), program, list(args), {**os.environ, **(env or {})})
    return Result(*ended) if ended else run_python(folder, "-m", program, *args, env=env)


def run_python(folder: Path | str, *args: str, env: Mapping[str, str] | None = None) -> Result:
    """`python ARGS` in `folder`."""
    done = subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def results(folder: Path | str, *args: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """What `doit -r json ARGS` reports for each task: success, up-to-date, fail or ignore. Groups are left out."""
    return _reported(run_doit(folder, "-r", "json", *args, env=env))


def our_results(folder: Path | str) -> dict[str, str]:
    """The same of `c2wtasks -r json`, which needs no dodo.py."""
    return _reported(run_ours(folder, "-r", "json"))


def _reported(done: Result) -> dict[str, str]:
    try:
        report = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"doit exited with {done.exit}\n{done.stdout}\n{done.stderr}") from None
    found: dict[str, str] = {task["name"]: task["result"] for task in report["tasks"]}
    groups = {name.partition(":")[0] for name in found if ":" in name}
    return {name: result for name, result in found.items() if name not in groups}


def executed(folder: Path | str, *args: str, env: Mapping[str, str] | None = None) -> set[str]:
    """The tasks that `doit ARGS` executed with success. Groups, which do nothing, are left out."""
    return {name for name, result in results(folder, *args, env=env).items() if result == "success"}


def json_of(folder: Path | str, *args: str) -> Any:
    """What a command with --json says."""
    return json.loads(run_doit(folder, *args, "--json").stdout)


def foretold(folder: Path | str) -> tuple[set[str], set[str]]:
    """The tasks that `doit why` says would surely run, and all that might."""
    stale = json_of(folder, "why")["stale"]
    return {task["task"] for task in stale if task["reasons"]}, {task["task"] for task in stale}
