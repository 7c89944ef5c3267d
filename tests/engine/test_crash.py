"""Runs that are killed at any moment: the next one finishes the work and leaves what an undisturbed one would.

The long form is `python -m tests.soak.crashes`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog
from tests.soak.crashes import Soak
from tests.support.hooking import hooked
from tests.support.running import run_doit


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Soak:
    made = Soak(tmp_path_factory.mktemp("soak"), seed=30, images=3, layers=4, files=40)
    made.prepare()
    return made


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for the owners in the images")
@pytest.mark.parametrize("number", range(8))
def test_killed_at_random(soak: Soak, number: int) -> None:
    soak.round(number)


KILLED_IN_STORE = """
import os
import c2wtasks.disk.files as _files
_usual = _files.write_all
def _killed(descriptor, content):
    if os.path.exists(".doit.db.lock") and "/unfinished/" in os.readlink(f"/proc/self/fd/{descriptor}"):
        os.kill(os.getpid(), 9)
    _usual(descriptor, content)
_files.write_all = _killed
"""
"""A run is killed as it writes the first file of a small layer, which takes no lock of its own."""


@pytest.mark.parametrize("args", [["-n", "1"], ["-n", "2"]], ids=" ".join)
def test_killed_as_it_stores_a_small_layer(tmp_path: Path, args: list[str]) -> None:
    small_catalog(tmp_path)
    assert run_doit(tmp_path, *args, env=hooked(tmp_path / "hook", KILLED_IN_STORE)).exit == -signal.SIGKILL
    unfinished = tmp_path / "cache/layers/unfinished"
    assert len(list(unfinished.iterdir())) == 1
    again = run_doit(tmp_path, *args)
    assert (again.exit, again.stderr) == (0, "")
    assert list(unfinished.iterdir()) == []
