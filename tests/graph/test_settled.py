"""A catalog in which all is current is seen at once, and never where the ordinary way would do something."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from doit.doit_cmd import DoitMain

from c2wtasks import settled
from tests.graph.catalogs import DODO, small_catalog, write_catalog
from tests.support.forked import executed_forked

STEPS = int(os.environ.get("C2WTASKS_STEPS", "40"))
SEED = int(os.environ.get("C2WTASKS_SEED", "1"))
STANDS, STANDS_NOT = 100, 101


def in_child(folder: Path, *, runs: bool) -> int:
    """What a new process finds: STANDS where a seal says that nothing is to be done; else, if it `runs`, the exit
    status of the run."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(folder)
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            settled.begin([])
            status = STANDS if settled.stands([]) is not None else STANDS_NOT
            if runs and status == STANDS_NOT:
                status = DoitMain().run([])
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def settle(folder: Path) -> None:
    """Runs until a seal stands."""
    for _ in range(40):  # what was published twice within a second is of the next one
        if (status := in_child(folder, runs=True)) == STANDS:
            return
        assert status == 0
        time.sleep(0.05)
    raise AssertionError("no run leaves a seal")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    images = small_catalog(tmp_path)
    images["db"]["rootfs"] = ["dir", "tar"]
    (tmp_path / "more").mkdir()
    (tmp_path / "more/more.yaml").write_text('{"images": {"again": {"source": "oci:other"}}}')
    shutil.copytree(tmp_path / "other", tmp_path / "more/other")
    write_catalog(tmp_path, images, include=["more/*.yaml"])
    return tmp_path


def copied(path: Path) -> None:
    """Another file with the same content and mtime."""
    shutil.copy2(path, f"{path}.copy")
    os.rename(f"{path}.copy", path)


def linked(path: Path) -> None:
    os.rename(path, f"{path}.moved")
    path.symlink_to(f"{path}.moved")


def overwritten(path: Path) -> None:
    """Other content of the same length, under the old mtime."""
    before = path.stat()
    with path.open("r+b") as stream:
        content = stream.read()
        stream.seek(0)
        stream.write(bytes(255 - byte for byte in content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


FILE_CHANGES: list[Callable[[Path], object]] = [
    Path.touch,
    copied,
    linked,
    overwritten,
    lambda path: path.write_bytes(path.read_bytes() + b" "),
    lambda path: os.truncate(path, 0),
    Path.unlink,
    lambda path: path.chmod(0o600),
    lambda path: path.rename(f"{path}.gone"),
]
FOLDER_CHANGES: list[Callable[[Path], object]] = [
    lambda path: (path / "stray").write_text(""),
    lambda path: path.rename(f"{path}.gone"),
    shutil.rmtree,
    lambda path: path.chmod(0o777),
]


def test_it_says_yes_only_where_nothing_is_to_be_done(catalog: Path) -> None:
    """Anything that is there is changed in some way."""
    rng = random.Random(SEED)
    whole = catalog.parent / "whole"
    shutil.copytree(catalog, whole, symlinks=True)
    refused = 0
    for _ in range(STEPS):
        settle(catalog)
        paths = [path for path in sorted(catalog.rglob("*")) if not path.name.startswith(".doit.seal")]
        path = rng.choice(paths)
        change = rng.choice(FOLDER_CHANGES if path.is_dir() and not path.is_symlink() else FILE_CHANGES)
        change(path)
        stands = in_child(catalog, runs=False) == STANDS
        refused += not stands
        try:
            executed = executed_forked(catalog)
        except ValueError:  # there is no report: the dodo, or bundle.yaml, is wrong
            executed = {"nothing"}
        assert not (stands and executed), (path, executed)
        if in_child(catalog, runs=True) not in (0, STANDS):
            shutil.rmtree(catalog)
            shutil.copytree(whole, catalog, symlinks=True)
    assert refused > STEPS // 4


ADDED: dict[str, Callable[[Path], object]] = {
    "an included file": lambda folder: shutil.copy(folder / "more/more.yaml", folder / "more/new.yaml"),
    "a lock": lambda folder: (folder / "bundle.lock").write_text("nonsense"),
    "a configuration of doit": lambda folder: (folder / "doit.cfg").write_text("[GLOBAL]\nverbosity = 2\n"),
    "a run that was cut short": lambda folder: (folder / ".doit.db.lock").write_text("pid 1 on host-a\n"),
    "a damaged seal": lambda folder: os.truncate(folder / settled.FILE, 100),
    "a seal that others can write": lambda folder: (folder / settled.FILE).chmod(0o666),
}


@pytest.mark.parametrize("add", ADDED.values(), ids=ADDED)
def test_what_was_not_there_counts(catalog: Path, add: Callable[[Path], object]) -> None:
    settle(catalog)
    add(catalog)
    assert in_child(catalog, runs=False) == STANDS_NOT


def test_variables_count(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(catalog)
    monkeypatch.setenv("C2WTASKS_CACHE", "elsewhere")
    assert in_child(catalog, runs=False) == STANDS_NOT
    monkeypatch.delenv("C2WTASKS_CACHE")
    assert in_child(catalog, runs=False) == STANDS


OTHER_DODOS = {
    "reads a file": "text = open('settings').read()\n",
    "imports": "import os\n",
    "has checks of its own": "def task_mine():\n    return {'actions': ['true'], 'uptodate': [True]}\n",
    "has a task that always runs": "def task_mine():\n    return {'actions': ['true']}\n",
}


@pytest.mark.parametrize("more", OTHER_DODOS.values(), ids=OTHER_DODOS)
def test_a_dodo_that_may_look_at_more_is_never_sealed(catalog: Path, more: str) -> None:
    (catalog / "settings").write_text("")
    (catalog / "dodo.py").write_text(DODO.read_text() + more)
    for _ in range(3):
        assert in_child(catalog, runs=True) == 0
        time.sleep(0.05)
    assert not (catalog / settled.FILE).exists()


def test_a_dodo_with_tasks_of_files_is_sealed(catalog: Path) -> None:
    (catalog / "mine").write_text("1")
    (catalog / "dodo.py").write_text(
        DODO.read_text() + "def task_mine():\n    return {'actions': ['true'], 'file_dep': ['mine']}\n"
    )
    settle(catalog)
    (catalog / "mine").write_text("2")
    assert in_child(catalog, runs=True) == 0
