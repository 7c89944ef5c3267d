from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import toys
from tests.support.running import executed, run_doit

WEB = {"bundle:web@linux/amd64", "bundle:web@linux/arm64"}


@pytest.mark.parametrize(
    ("words", "bundles"),
    [
        ("web", WEB),
        ("web@linux/arm64", {"bundle:web@linux/arm64"}),
        ("bundle:web@linux/arm64", {"bundle:web@linux/arm64"}),
        ("bundle:web@*", WEB),
        ("web@*", WEB),
        ("w*", WEB),
        ("bundle:*64", {*WEB, "bundle:api@linux/amd64"}),
        ("web api", {*WEB, "bundle:api@linux/amd64"}),
        ("out/api@linux/amd64.json", {"bundle:api@linux/amd64"}),
        ("web web@linux/amd64", WEB),
        ("bundle", {*WEB, "bundle:api@linux/amd64"}),
        ("layer", set()),
    ],
)
def test_words(toy: Path, words: str, bundles: set[str]) -> None:
    assert {name for name in executed(toy, *words.split()) if name.startswith("bundle:")} == bundles


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("wbe", "'wbe' is no task, bundle or target; did you mean web?"),
        ("web@linux/amd46", "'web@linux/amd46' is no task, bundle or target; did you mean web@linux/amd64 or "),
        ("bundle:api@linux/arm64", "'bundle:api@linux/arm64' is no task, bundle or target; did you mean bundle:"),
        ("wbe@linux/*", "'wbe@linux/*' fits no task; did you mean web@linux/"),
        ("zzz", "'zzz' is no task, bundle or target; 'doit list --all' shows all tasks"),
        ("*zzz", "'*zzz' fits no task; 'doit list --all' shows all tasks"),
    ],
)
def test_word_that_means_nothing(toy: Path, word: str, message: str) -> None:
    result = run_doit(toy, "-n", "2", "api", word)
    assert (result.exit, result.stdout) == (3, "")
    assert result.stderr.startswith(f"ERROR: {message}")
    assert result.stderr.count("\n") == 1
    assert not (toy / "out").exists()


def test_single_leaves_out_dependencies(toy: Path) -> None:
    assert executed(toy) == toys.ALL
    (toy / "blobs/base").write_text("other")
    assert executed(toy, "-s", "-a", "web") == WEB
    assert executed(toy, "-s", "bundle") == set()
    assert "layer:base" in executed(toy)


def test_options_of_tasks_are_left_to_doit(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "def hello(who, rest):\n    print('hello', who, rest)\n"
            "def task_hello():\n"
            "    return {'actions': [hello], 'pos_arg': 'rest', 'verbosity': 2,\n"
            "            'params': [{'name': 'who', 'short': 'w', 'default': ''}]}\n"
        )
    result = run_doit(toy, "api", "hello", "-w", "web", "no such", "bundle")
    assert (result.exit, result.stderr) == (0, "")
    assert "hello web ['no such', 'bundle']\n" in result.stdout
    assert run_doit(toy, "api", "-w", "x").exit == 3


def test_tasks_that_doit_creates_later_can_be_named(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(
            "from doit import create_after\n"
            "@create_after(executed='bundle', creates=['late'])\n"
            "def task_late():\n    yield {'basename': 'late', 'name': 'one', 'actions': ['true']}\n"
        )
    assert "late:one" in executed(toy, "late:one")
    assert run_doit(toy, "web", "nothing").exit == 3


def test_default_tasks_may_be_aliases(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write("DOIT_CONFIG['default_tasks'] = ['api']\n")
    assert executed(toy) == {"layer:base", "tree:api@linux/amd64", "bundle:api@linux/amd64"}
