"""Runs of `doit` without the start of an interpreter: a process that has imported what they need forks each of them.
All else is as in a new process: folder, umask, variables, streams, and how it ends."""

from __future__ import annotations

import atexit
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from functools import cache
from importlib import import_module

Ended = tuple[int, str, str]
"""Exit status, -N for signal N; stdout; stderr."""

_EARLY = ("PYTHON", "LC_", "LANG", "LD_")
"""How the variables begin that count when an interpreter starts."""
_MOST = 1 << 20  # bytes of a message
_PATIENCE = 600  # seconds
_OURS = os.getpid()  # those that are forked from this process may have other rights


def run(folder: str, program: str, words: list[str], env: Mapping[str, str]) -> Ended | None:
    """`python -m PROGRAM WORDS` in `folder`, with the variables `env`. None where that takes a new interpreter."""
    if os.getpid() != _OURS or os.environ.get("HYPOTHESIS_PROFILE") == "long":
        return None
    return _starter().run(folder, program, words, env)


def import_all() -> None:
    """All of c2wtasks but what runs as it is imported."""
    package = import_module("c2wtasks")
    for module in pkgutil.walk_packages(package.__path__, "c2wtasks."):
        if module.name not in ("c2wtasks.__main__", "c2wtasks.dodo") and ".templates." not in module.name:
            import_module(module.name)


def _early(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_EARLY)}


@cache
def _starter() -> _Starter:
    return _Starter()


class _Starter:
    def __init__(self) -> None:
        self._early = _early(os.environ)
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(_PATIENCE)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(self, folder: str, program: str, words: list[str], env: Mapping[str, str]) -> Ended | None:
        if _early(env) != self._early or not self._lock.acquire(blocking=False):  # two at once: a test of just that
            return None
        umask = os.umask(0)
        os.umask(umask)
        asked = json.dumps([folder, program, words, dict(env), umask]).encode()
        try:
            with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
                socket.send_fds(self._socket, [asked], [out.fileno(), err.fileno()])
                status = int(self._socket.recv(_MOST))
                out.seek(0)
                err.seek(0)
                return status, out.read(), err.read()
        except BaseException:
            os.killpg(self._process.pid, signal.SIGKILL)
            _starter.cache_clear()
            raise
        finally:
            self._lock.release()


def _start(number: int) -> None:
    """Forks a process for each message that comes; returns in each of these, which then is to run what is asked."""
    with socket.socket(fileno=number) as ours:
        while True:
            asked, descriptors, _, _ = socket.recv_fds(ours, _MOST, 2)
            if not asked:
                os._exit(0)
            if not (child := os.fork()):
                break
            for descriptor in descriptors:
                os.close(descriptor)
            ours.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    for stream, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    folder, program, words, env, umask = json.loads(asked)
    os.chdir(folder)
    os.umask(umask)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.path[0] = os.getcwd()
    sys.dont_write_bytecode = True  # as `running.environment` says
    sys.argv[1:] = words
    os._exit(_status(program))  # what else Python does as it ends takes as long as a short run


def _status(program: str) -> int:
    """Runs it, and all that Python does as it ends that shows."""
    status: object = 0
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        status = ending.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    descriptor = int(sys.argv.pop())
    sys.argv[0], sys.path[0] = "-m", ""  # as while `python -m` imports
    import_all()
    gc.freeze()
    _start(descriptor)
