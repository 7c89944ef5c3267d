"""The record of what was done, where it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import toys
from tests.graph.catalogs import small_catalog
from tests.support.running import executed, run_doit

IS_A_FOLDER = ".doit.db: is a folder, where the record of what was done must lie; move it away\n"


@pytest.mark.parametrize("parallel", [[], ["-n", "2"]], ids=["one by one", "-n 2"])
def test_a_folder_in_its_place(toy: Path, parallel: list[str]) -> None:
    (toy / ".doit.db").mkdir()
    (toy / ".doit.db/theirs").write_text("keep")
    result = run_doit(toy, *parallel)
    assert (result.exit, result.stdout, result.stderr) == (1, "", IS_A_FOLDER)
    assert (toy / ".doit.db/theirs").read_text() == "keep"
    assert not (toy / "calls").exists()
    (toy / ".doit.db").rename(toy / "elsewhere")
    assert executed(toy, *parallel) == toys.ALL


@pytest.mark.parametrize("command", ["why", "plan"])
def test_a_folder_in_its_place_is_told_by_commands(tmp_path: Path, command: str) -> None:
    small_catalog(tmp_path)
    (tmp_path / ".doit.db").mkdir()
    result = run_doit(tmp_path, command)
    assert (result.exit, result.stdout, result.stderr) == (1, "", IS_A_FOLDER)


def test_a_damaged_one_is_moved_aside(toy: Path) -> None:
    (toy / ".doit.db").write_text("no record")
    result = run_doit(toy)
    assert result.exit == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: .doit.db cannot be used (")
    assert line.endswith("); moved to .doit.db.unusable, and all is checked anew")
    assert (toy / ".doit.db.unusable").read_text() == "no record"
    assert executed(toy) == set()


def test_a_damaged_one_that_cannot_be_moved_aside(toy: Path) -> None:
    (toy / ".doit.db").write_text("no record")
    (toy / ".doit.db.unusable").mkdir()
    result = run_doit(toy)
    assert (result.exit, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(".doit.db cannot be used (")
    assert line.endswith("), and cannot be moved to .doit.db.unusable: Is a directory; remove both")
    assert (toy / ".doit.db").read_text() == "no record"
