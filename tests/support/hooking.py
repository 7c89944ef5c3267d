"""Code that runs first in every Python process of a run, its workers included: to count, to slow down, to break."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

WORKERS_AT_ONCE = """
import c2wtasks.engine.executor as _executor
import c2wtasks.engine.meta as _meta
_executor.worthwhile = lambda size: True
_meta.is_brief = lambda task: False
"""
"""Even the smallest task goes to a worker process."""

SMALL_PARTS = """
import c2wtasks.rootfs.dir.parts as _parts
_parts._LEAST = 1
"""
"""Even the smallest root is written by all workers that are idle."""

SHORT_WAITS = """
import c2wtasks.registry.limits as _limits
_limits.DEFAULT = _limits.Limits(connect=5, answer=5, stall=2, first_pause=0.01, longest_pause=0.05)
"""
"""Registries are not waited for as long as people would."""

LARGE_LAYERS = """
import c2wtasks.layers.receipt as _receipt
_receipt.MAX_SMALL_BLOB = -1
"""
"""All layers are read as large ones are: one at a time, and synced."""

_KILLED_IN = """
import os
import {module} as _module
_left = [int(os.environ["STEP"])]
def _counted(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        if not _left[0]:
            os.kill(os.getpid(), 9)
        _left[0] -= 1
        return real(*args, **kwargs)
    setattr(os, name, call)
_usual = _module.{function}
def _armed(*args, **named):
    for name in {calls}:
        _counted(name)
    return _usual(*args, **named)
_module.{function} = _armed
"""


def killed_in(module: str, function: str, calls: Sequence[str]) -> str:
    """A process is killed in a function, when it has made as many of these calls of `os` as STEP says."""
    return _KILLED_IN.format(module=module, function=function, calls=tuple(calls))


KILLED_IN_ROOTS = killed_in(
    "c2wtasks.tasks.root",
    "_written",
    ("rename", "link", "unlink", "rmdir", "mkdir", "symlink", "utime", "fchmod"),
)
"""A process that writes a root is killed there."""

STOPPED = """
import os, signal
import c2wtasks.output.publish as _publish
_usual = _publish.{name}
def _stopped(*args):
    found = _usual(*args)
    if os.path.exists("stop"):
        os.remove("stop")
        os.kill(os.getpid(), signal.SIGINT)
    return found
_publish.{name} = _stopped
"""
"""Ctrl-C comes when `name`, of what publishes, has been done for the first time, if there is a file `stop`."""

READINGS = (
    LARGE_LAYERS
    + """
import os, sys
_log = os.open(os.environ["READINGS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
import c2wtasks.layers.unpacking as _unpacking
_copy_checked = _unpacking.copy_checked
def _counted(layer, *more):
    os.write(_log, f"{layer.key}\\n".encode())
    return _copy_checked(layer, *more)
_unpacking.copy_checked = _counted
"""
)
"""Each reading of a layer's blob adds its key to the file that READINGS names."""


def hooked(folder: Path, code: str, **variables: str) -> dict[str, str]:
    """The environment that makes runs execute `code`, kept in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), **variables}
