"""Code that runs first in every Python process of a run, its workers included: to count, to slow down, to break."""

from __future__ import annotations

import os
from pathlib import Path

WORKERS_AT_ONCE = """
import c2wtasks.engine.executor as _executor
_executor.worthwhile = lambda size: True
"""
"""Even the smallest task goes to a worker process."""

SHORT_WAITS = """
import c2wtasks.registry.limits as _limits
_limits.DEFAULT = _limits.Limits(connect=5, answer=5, stall=2, first_pause=0.01, longest_pause=0.05)
"""
"""Registries are not waited for as long as people would."""

READINGS = """
import os, sys
_log = os.open(os.environ["READINGS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
import c2wtasks.layers.unpacking as _unpacking
_copy_checked = _unpacking.copy_checked
def _counted(layer, *more):
    os.write(_log, f"{layer.key}\\n".encode())
    return _copy_checked(layer, *more)
_unpacking.copy_checked = _counted
"""
"""Each reading of a layer's blob adds its key to the file that READINGS names."""


def hooked(folder: Path, code: str, **variables: str) -> dict[str, str]:
    """The environment that makes runs execute `code`, kept in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), **variables}
