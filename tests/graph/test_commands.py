"""doit's own commands on our graph: bundles by their bare names, and near names for what fits nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.graph.catalogs import small_catalog
from tests.support.running import run_doit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog that has been built. The tests leave it so."""
    place = tmp_path_factory.mktemp("catalog")
    small_catalog(place)
    assert run_doit(place).exit == 0
    return place


@pytest.mark.parametrize("command", ["run", "clean", "forget", "info", "list"])
def test_a_name_that_fits_nothing(folder: Path, command: str) -> None:
    done = run_doit(folder, command, "wep@linux/amd64")
    assert done.exit == 3
    assert done.stderr == (
        "ERROR: 'wep@linux/amd64' is no task, bundle or target; did you mean web@linux/amd64 or db@linux/amd64"
        " or other@linux/amd64?\n"
    )


@pytest.mark.parametrize("command", ["run", "clean", "forget", "list"])
def test_a_pattern_that_fits_nothing(folder: Path, command: str) -> None:
    done = run_doit(folder, command, "bundle:nope*")
    assert done.exit == 3
    assert done.stderr.startswith("ERROR: 'bundle:nope*' fits no task; ")
    assert done.stderr.count("\n") == 1


def test_info_of_an_image(folder: Path) -> None:
    done = run_doit(folder, "info", "web")
    assert done.exit == 0
    assert "bundle:web@linux/amd64" in done.stdout
    assert "up-to-date" in done.stdout


def test_info_sees_an_edited_output(folder: Path) -> None:
    path = folder / "bundles/web/linux-amd64/spec.json"
    content = path.read_bytes()
    path.write_bytes(content + b" ")
    done = run_doit(folder, "info", "web")
    assert done.exit == 1
    assert "bundles/web/linux-amd64/spec.json" in done.stdout
    status = run_doit(folder, "list", "--all", "--status")
    assert "R bundle:web@linux/amd64" in status.stdout
    assert "U bundle:db@linux/amd64" in status.stdout
    assert run_doit(folder).exit == 0
    assert path.read_bytes() == content


def test_list_of_a_bundle(folder: Path) -> None:
    done = run_doit(folder, "list", "web@linux/amd64")
    header, row = (line.split() for line in done.stdout.splitlines())
    assert (header[:3], row[:3]) == (["IMAGE", "PLATFORM", "STATE"], ["web", "linux/amd64", "current"])
    assert run_doit(folder, "list", "-q", "web@linux/amd64").stdout.strip() == "bundle:web@linux/amd64"


def test_clean_and_forget_of_an_image(folder: Path) -> None:
    assert run_doit(folder, "clean", "web").exit == 0
    assert not (folder / "bundles/web").exists()
    assert (folder / "bundles/db/linux-amd64/spec.json").exists()
    assert run_doit(folder).exit == 0
    assert (folder / "bundles/web/linux-amd64/spec.json").exists()
    assert run_doit(folder, "forget", "web").stdout == "forgetting bundle:web@linux/amd64\n"
    assert run_doit(folder).exit == 0


def test_forget_without_names(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    done = run_doit(tmp_path, "forget")
    assert (done.exit, done.stdout, done.stderr) == (0, "forgetting all tasks\n", "")


def test_another_backend(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    done = run_doit(tmp_path, "run", "--backend", "json", "--db-file", "x")
    assert done.exit == 3
    assert done.stderr == "ERROR: backend cannot be chosen here: what was done is always kept in SQLite\n"
