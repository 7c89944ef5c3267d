"""A catalog in which all is current is seen at once, and never where the ordinary way would do something."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.engine import settled
from tests.graph.catalogs import DODO
from tests.graph.settling import STANDS, STANDS_NOT, WORDS, catalog_in, found, settle
from tests.support.running import Result, run_doit, run_ours


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    catalog_in(tmp_path)
    return tmp_path


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
    assert found(catalog, runs=False) == STANDS_NOT


def test_variables_count(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(catalog)
    monkeypatch.setenv("C2WTASKS_CACHE", "elsewhere")
    assert found(catalog, runs=False) == STANDS_NOT
    monkeypatch.delenv("C2WTASKS_CACHE")
    assert found(catalog, runs=False) == STANDS


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
        assert found(catalog, runs=True) == 0
        time.sleep(0.05)
    assert not (catalog / settled.FILE).exists()


def test_a_dodo_with_tasks_of_files_is_sealed(catalog: Path) -> None:
    (catalog / "mine").write_text("1")
    (catalog / "dodo.py").write_text(
        DODO.read_text() + "def task_mine():\n    return {'actions': ['true'], 'file_dep': ['mine']}\n"
    )
    settle(catalog)
    (catalog / "mine").write_text("2")
    assert found(catalog, runs=True) == 0


def said(done: Result) -> tuple[int, str, str]:
    """The exit status and output of a program, without how long it took and when that was."""
    return done.exit, re.sub(r"in [\d.]+ s|last good .* \(|\d+ s  ", "", done.stdout), done.stderr


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_what_is_said_is_what_the_ordinary_way_says(catalog: Path, words: list[str]) -> None:
    settle(catalog)
    assert found(catalog, runs=False, words=[words]) == STANDS
    assert said(run_ours(catalog, *words)) == said(run_doit(catalog, *words))


def test_a_run_of_a_name_is_remembered_as_that(catalog: Path) -> None:
    settle(catalog)
    for words in (["db"], ["why"], ["list"]):
        assert run_ours(catalog, *words).exit == 0
    told = (catalog / settled.RUNS).read_text().splitlines()
    assert [line.split(" ")[1:] for line in told] == [["1", "db"]]
    run_doit(catalog, "other")
    lines = (catalog / "bundles/.history/null").read_text().splitlines()
    assert '"bundles":1,"asked":["db"]' in lines[-2]
    assert '"asked":["other"]' in lines[-1]


UNANSWERED: dict[str, list[str]] = {
    "no name": ["nothing"],
    "an empty word": [""],
    "a pattern": ["d*"],
    "a task": ["tree:web@linux/amd64"],
    "a family": ["bundle"],
    "a target": ["bundles/catalog.json"],
    "two names": ["web", "db"],
    "an option": ["-n2"],
    "an option of another command": ["why", "--json"],
    "another command": ["verify"],
}


@pytest.mark.parametrize("words", UNANSWERED.values(), ids=UNANSWERED)
def test_what_is_not_answered(catalog: Path, words: list[str]) -> None:
    settle(catalog)
    assert found(catalog, runs=False, words=[words]) == STANDS_NOT


def test_a_name_that_means_something_else_is_not_answered(catalog: Path) -> None:
    (catalog / "mine").write_text("1")
    more = "def task_web():\n    return {'actions': ['true'], 'file_dep': ['mine']}\n"
    (catalog / "dodo.py").write_text(DODO.read_text() + more)
    settle(catalog)
    assert found(catalog, runs=False, words=[["web"]]) == STANDS_NOT
    assert found(catalog, runs=False, words=[["web@linux/amd64"], ["db"]]) == STANDS


CONFIGURED: dict[str, Callable[[Path], object]] = {
    "by DOIT_CONFIG": lambda folder: (folder / "dodo.py").write_text(
        DODO.read_text() + "DOIT_CONFIG['default_tasks'] = ['bundle']\n"
    ),
    "by doit.cfg": lambda folder: (folder / "doit.cfg").write_text("[why]\nas_json = True\n"),
    "by doit ignore": lambda folder: run_doit(folder, "ignore", "tree:web@linux/amd64"),
}


@pytest.mark.parametrize("configure", CONFIGURED.values(), ids=CONFIGURED)
def test_only_a_run_is_answered_where_commands_are_configured(
    catalog: Path, configure: Callable[[Path], object]
) -> None:
    settle(catalog)
    configure(catalog)
    settle(catalog)
    assert found(catalog, runs=False, words=WORDS[1:2]) == STANDS
    assert found(catalog, runs=False, words=WORDS[2:]) == STANDS_NOT
