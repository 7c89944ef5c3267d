"""What nobody expected: wherever one bundle makes it happen, that bundle fails in one line, with the trace in a file,
and the others are built."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog
from tests.support.hooking import WORKERS_AT_ONCE, hooked
from tests.support.running import Result, run_doit

AT_ONCE = pytest.mark.parametrize("at_once", ["1", "3"])
DB = "db@linux/amd64"
GOOD = ("web", "other")

# Where it happens: a function of a module, or the method of a class. One of its arguments, or the `bundle` of one, is
# the bundle; or one has the `places` of the bundle.
PLACES = {
    "resolving": ("c2wtasks.sources.locked", "LockedResolver", "_resolve"),
    "adding": ("c2wtasks.graph.resolved", "Resolved", "_add"),
    "tree task": ("c2wtasks.tasks.tree", "", "task"),
    "root tasks": ("c2wtasks.graph.graph", "Graph", "_rootfs_tasks"),
    "spec task": ("c2wtasks.tasks.spec", "", "task"),
    "boot task": ("c2wtasks.tasks.boot", "", "task"),
    "bundle task": ("c2wtasks.tasks.bundle", "", "task"),
    "tree": ("c2wtasks.tasks.tree", "", "make"),
    "rootfs": ("c2wtasks.tasks.folder", "", "make"),
    "spec": ("c2wtasks.tasks.spec", "", "make"),
    "boot": ("c2wtasks.tasks.boot", "", "make"),
    "facts": ("c2wtasks.tasks.bundle", "", "inputs"),
}
BREAKING = """
import functools, importlib, sys
from importlib.abc import MetaPathFinder
MODULE, CLASS, METHOD, RAISED = {module!r}, {kind!r}, {method!r}, {raised!r}

class Breaking(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            break_it(getattr(module, CLASS) if CLASS else module)
        spec.loader.exec_module = exec_module
        return spec

def break_it(kind):
    right = getattr(kind, METHOD)
    @functools.wraps(right)  # a worker finds it by its name
    def wrong(*args):
        if any(
            str(getattr(one, "bundle", one)) == {bundle!r}
            or getattr(getattr(one, "places", None), "published", "") == {published!r}
            for one in args
        ):
            exec(RAISED)
        return right(*args)
    is_static = isinstance(vars(kind)[METHOD], staticmethod)
    setattr(kind, METHOD, staticmethod(wrong) if is_static else wrong)

import importlib.util
sys.meta_path.insert(0, Breaking())
"""
RAISED = {
    "AssertionError": ("assert False, 'this cannot be'", "AssertionError: this cannot be"),
    "KeyError": ("{}['\\x1b[31m']", r"KeyError: '\x1b[31m'"),
    "RecursionError": ("deep = lambda: deep()\nglobals().update(deep=deep)\ndeep()", "RecursionError: maximum"),
    "OverflowError": ("import msgspec\nmsgspec.msgpack.encode(2**70)", "OverflowError: "),
    "UnicodeError": ("'\\udcff'.encode()", "UnicodeEncodeError: 'utf-8' codec can't encode"),
    "a text without end": ("raise ValueError('x' * 10**6)", "ValueError: xxxx"),
    "what cannot pass": (
        "class Odd(Exception):\n def __init__(self, a, b): self.odd = lambda: 0\n def __str__(self): raise OSError\n"
        "raise Odd(1, 2)",
        "<exception str() failed>",
    ),
}
COMMANDS = ("list --all", "plan", "why", "verify", "gc --dry-run", "gc", "lock", "doctor", "prune", "info catalog")


def broken(folder: Path, place: str, raised: str) -> dict[str, str]:
    module, kind, method = PLACES[place]
    published = "bundles/db/linux-amd64"
    code = BREAKING.format(module=module, kind=kind, method=method, raised=raised, bundle=DB, published=published)
    return hooked(folder / "hook", WORKERS_AT_ONCE + code)


def check(folder: Path, run: Result, said: str) -> None:
    """That db failed, as is said, and all else is built."""
    assert run.exit == 1, run
    assert "Traceback" not in run.stdout + run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"{DB}: ")
    assert f"unexpected {said}" in line or said in line
    assert len(line) < 600
    (trace,) = (folder / ".doit.traces").iterdir()
    assert line.endswith(f"; the trace is in .doit.traces/{trace.name}")
    assert "Traceback (most recent call last)" in trace.read_text()
    assert trace.stat().st_mode & 0o777 == 0o600
    for name in GOOD:
        assert (folder / f"bundles/{name}/linux-amd64/bundle.json").exists()
    listed = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    assert {bundle["name"]: bundle["status"] for bundle in listed} == {
        "db": "failed",
        "other": "built",
        "web": "built",
    }


@pytest.mark.parametrize("place", PLACES)
@AT_ONCE
def test_wherever_it_happens(tmp_path: Path, place: str, at_once: str) -> None:
    small_catalog(tmp_path)
    env = broken(tmp_path, place, RAISED["AssertionError"][0])
    check(tmp_path, run_doit(tmp_path, "-n", at_once, env=env), "AssertionError: this cannot be")


@pytest.mark.parametrize("name", RAISED)
@pytest.mark.parametrize("place", ["resolving", "tree"])
def test_whatever_it_is(tmp_path: Path, place: str, name: str) -> None:
    raised, said = RAISED[name]
    small_catalog(tmp_path)
    check(tmp_path, run_doit(tmp_path, "-n", "3", env=broken(tmp_path, place, raised)), said)


@pytest.mark.parametrize("place", ["resolving", "tree"])
@pytest.mark.parametrize(
    ("raised", "line"),
    [
        ("raise MemoryError", "out of memory"),
        ("raise OSError(28, 'No space left on device', 'out/x')", "out/x: No space left on device"),
        ("from c2wtasks.sources.fitting import Unfit\nraise Unfit('not for this', 'x', 'ask')", "not for this; ask"),
    ],
)
def test_what_is_no_fault_of_ours_has_no_trace(tmp_path: Path, place: str, raised: str, line: str) -> None:
    small_catalog(tmp_path)
    run = run_doit(tmp_path, "-n", "3", env=broken(tmp_path, place, raised))
    assert (run.exit, run.stderr) == (1, f"{DB}: {line}\n")
    assert not (tmp_path / ".doit.traces").exists()
    assert (tmp_path / "bundles/web/linux-amd64/bundle.json").exists()


@pytest.mark.parametrize("place", ["resolving", "spec task", "facts"])
def test_every_command_goes_on(tmp_path: Path, place: str) -> None:
    small_catalog(tmp_path)
    env = broken(tmp_path, place, RAISED["OverflowError"][0])
    assert run_doit(tmp_path, "web", "other", env=env).exit == 0
    for command in COMMANDS:
        run = run_doit(tmp_path, *command.split(), env=env)
        assert "Traceback" not in run.stdout + run.stderr, command
        assert run.exit in (0, 1), (command, run)
    assert (tmp_path / "bundles/web/linux-amd64/bundle.json").exists()


@pytest.mark.parametrize("method", ["publish", "end_of_run", "warn_before", "proven", "recover"])
def test_what_the_run_itself_does(tmp_path: Path, method: str) -> None:
    """No bundle's fault: the run still ends in a line, and the next is as if nothing had been."""
    small_catalog(tmp_path)
    code = (
        "def wrong(*args):\n    raise KeyError('odd')\n"
        f"from c2wtasks.graph.hooks import GraphHooks\nGraphHooks.{method} = wrong\n"
    )
    (tmp_path / ".doit.db.lock").write_text("pid 1 on host-a\n")  # as of a run that was cut short
    left = tmp_path / "bundles/.tmp-left"
    left.parent.mkdir()
    left.write_text("")
    run = run_doit(tmp_path, env=hooked(tmp_path / "hook", code))
    assert "Traceback" not in run.stdout + run.stderr
    assert "unexpected KeyError: 'odd'" in run.stderr
    assert run.exit == (0 if method == "warn_before" else 1)  # that only warns
    assert run_doit(tmp_path).exit == 0
    assert not left.exists()
    assert (tmp_path / "bundles/web/linux-amd64/bundle.json").exists()


def test_where_no_trace_can_be_kept_beside(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    (tmp_path / ".doit.traces").write_text("a file of somebody's")
    run = run_doit(tmp_path, env=broken(tmp_path, "tree", "assert False") | {"TMPDIR": str(tmp_path / "hook")})
    (path,) = re.findall(r"the trace is in (\S+)$", run.stderr)
    assert Path(path).parent == tmp_path / "hook"
    assert "AssertionError" in Path(path).read_text()
    os.unlink(path)
