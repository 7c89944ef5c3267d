"""Which bundles the words of a command line are about, and that no registry is asked for the others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from c2wtasks.bundlefile.load import load
from c2wtasks.graph.wanted import wanted
from tests.graph.catalogs import BASE, write_catalog
from tests.support.held import HeldRegistry
from tests.support.images import Layout
from tests.support.running import run_doit

NOTHING = "127.0.0.1:1"  # nobody listens there
OWN_TASKS = (
    "from c2wtasks.dodo import *\n\n\n"
    "def task_deploy():\n    return {'actions': ['touch deployed'], 'task_dep': ['tree:slow@linux/amd64']}\n"
)

HERE, SLOW, ALL = {"here@linux/amd64"}, {"slow@linux/amd64"}, {"here@linux/amd64", "slow@linux/amd64"}
WORDS = [
    ((), ALL),
    (("here",), HERE),
    (("slow@linux/amd64", "slow"), SLOW),
    (("bundle:here@linux/amd64",), HERE),
    (("rootfs:slow@linux/amd64:dir",), SLOW),
    (("tree:here@linux/amd64", "boot:slow@linux/amd64"), ALL),
    (("tree",), ALL),
    (("catalog",), ALL),
    (("layer:0123",), ALL),
    (("lay*",), ALL),
    (("*",), ALL),
    (("*ere*",), ALL),  # layers, too
    (("*here*",), HERE),
    (("he*e",), HERE),
    (("tree:s*",), SLOW),
    (("h?re",), None),  # a pattern has a star
    (("bundles/here/linux-amd64/spec.json",), ALL),
    (("hree",), None),
    (("*hree*",), None),
    (("here", "hree"), None),
    (("tree:here@linux/arm64",), None),
    (("rootfs:here@linux/amd64:tar",), None),
    (("deploy",), None),
]


@pytest.mark.parametrize(("words", "found"), WORDS, ids=lambda value: " ".join(sorted(value or ())))
def test_words(
    words: tuple[str, ...], found: set[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_catalog(tmp_path, {"here": "oci:here", "slow": f"docker://{NOTHING}/slow:1"})
    monkeypatch.chdir(tmp_path)
    assert wanted(words, load("bundle.yaml")) == found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[HeldRegistry]:
    Layout(tmp_path / "a").image(BASE, {"slow": "1"}, tag="1")
    with HeldRegistry(tmp_path / "a") as server:
        yield server


@pytest.fixture
def catalog(tmp_path: Path, registry: HeldRegistry) -> Path:
    """`here` is a local image; `slow` and `other` are those of a registry that does not answer before it may."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    Layout(folder / "here").image(BASE, {"here": "1"})
    at = f"docker://127.0.0.1:{registry.server_port}"
    write_catalog(folder, {"here": "oci:here", "slow": f"{at}/slow:1", "other": f"{at}/other:1"})
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "here nonsense",
        "run nonsense",
        "list nonsense",
        "why nonsense",
        "plan *nonsense*",
        "verify nonsense",
        "verify --repair nonsense",
        "lock --update nonsense",
        "clean nonsense",
        "forget nonsense",
        "info nonsense",
    ],
)
def test_a_word_that_means_nothing_asks_no_registry(line: str, catalog: Path, registry: HeldRegistry) -> None:
    done = run_doit(catalog, *line.split())
    assert done.exit == 3
    assert "nonsense" in done.stderr
    assert registry.asked == []


@pytest.mark.parametrize(
    "line", ["list", "list --json", "why here", "plan here", "verify here", "here", "clean here"]
)
def test_what_needs_no_registry_asks_none(line: str, catalog: Path, registry: HeldRegistry) -> None:
    assert run_doit(catalog, *line.split()).exit in (0, 1)
    assert registry.asked == []


def test_options_after_names_leave_them_names(catalog: Path, registry: HeldRegistry) -> None:
    assert run_doit(catalog, "here", "-n", "1").exit == 0
    assert registry.asked == []


@pytest.mark.parametrize("command", ["why", "plan", "verify", "info"])
def test_only_what_is_named_is_asked_for_and_briefly(command: str, catalog: Path, registry: HeldRegistry) -> None:
    done = run_doit(catalog, command, "bundle:slow@linux/amd64" if command == "info" else "slow")
    assert f"127.0.0.1:{registry.server_port}/slow" in done.stdout + done.stderr
    assert re.search("no data for 1.5 s|no answer within 2.5 s", done.stdout + done.stderr)
    assert "trying again" not in done.stderr
    assert {path for path in registry.asked if "other" in path} == set()


def test_the_rest_is_told(tmp_path: Path) -> None:
    """Where nobody listens, that is known at once, and once."""
    Layout(tmp_path / "here").image(BASE, {"here": "1"})
    write_catalog(tmp_path, {"here": "oci:here", "slow": f"docker://{NOTHING}/slow:1"})
    why = run_doit(tmp_path, "why")
    told = f"{NOTHING}/slow: tag '1': cannot be reached: Connection refused; run again later"
    assert why.stdout.splitlines() == ["here@linux/amd64: never built", f"slow@linux/amd64: {told}"]
    assert why.stderr == ""
    plan = run_doit(tmp_path, "plan")
    assert f"  bundle:slow@linux/amd64 fails: {told}" in plan.stdout.splitlines()
    assert "  bundle:here@linux/amd64" in plan.stdout.splitlines()
    steps = json.loads(run_doit(tmp_path, "plan", "--json").stdout)["steps"]
    assert {step["task"]: step["fails"] for step in steps if "fails" in step} == {"bundle:slow@linux/amd64": told}


def test_what_only_a_registry_can_tell_is_unknown(catalog: Path, registry: HeldRegistry) -> None:
    def states() -> dict[str, str]:
        rows = json.loads(run_doit(catalog, "list", "--json").stdout)["bundles"]
        return {row["image"]: row["state"] for row in rows}

    assert states() == {"here": "missing", "slow": "missing", "other": "missing"}
    registry.released.set()
    assert run_doit(catalog).exit == 0
    assert states() == {"here": "current", "slow": "current", "other": "current"}
    (catalog / "bundle.lock").unlink()
    registry.released.clear()
    registry.asked.clear()
    assert states() == {"here": "current", "slow": "unknown", "other": "unknown"}
    assert registry.asked == []


@pytest.mark.parametrize("words", [("deploy",), ("here",), ("here", "deploy")])
def test_tasks_of_ones_own_get_what_they_need(words: tuple[str, ...], catalog: Path, registry: HeldRegistry) -> None:
    registry.released.set()
    (catalog / "dodo.py").write_text(OWN_TASKS)
    assert run_doit(catalog, "why", *words).exit == 1
    done = run_doit(catalog, *words)
    assert done.exit == 0, done.stderr
    assert (catalog / "deployed").exists() == ("deploy" in words)
    assert run_doit(catalog, "clean", *words).exit == 0
