"""What the system tells of folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from c2wtasks.disk import abilities, files
from tests.support import mounts


@mounts.NEEDS_ROOT
@pytest.mark.parametrize("name", ["plain", "a space", "tab\t", "back\\slash", "nl\n", "é"])
def test_mounts_below(tmp_path: Path, name: str) -> None:
    top = tmp_path / name
    (top / name).mkdir(parents=True)
    (tmp_path / f"{name}-beside").mkdir()
    (tmp_path / "link").symlink_to(top)
    assert abilities.mounts_below(str(top)) == frozenset()
    with mounts.memory(top / name), mounts.memory(tmp_path / f"{name}-beside"):
        for path in (top, tmp_path / "link"):
            assert abilities.mounts_below(str(path)) == {name}
        assert abilities.mounts_below(str(top / name)) == frozenset(), "a mount is not below itself"
        assert abilities.mounts_below(str(tmp_path)) == {f"{name}/{name}", f"{name}-beside"}
    assert abilities.mounts_below(str(tmp_path / "gone")) == frozenset()


@pytest.mark.parametrize("content", [[], ["a"], ["a", "A"], ["1"], ["É"]])
def test_cases_that_are_told_apart(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).touch()
    assert not abilities.ignores_case(str(tmp_path))
    assert not abilities.ignores_case(str(tmp_path / "gone/and/below"))
    assert sorted(os.listdir(tmp_path)) == sorted(content)


@mounts.NEEDS_ROOT
@pytest.mark.parametrize("content", [[], ["a"], ["1", "bB"], ["1"]])
def test_cases_that_are_not(tmp_path: Path, content: list[str]) -> None:
    with mounts.ignoring_case(tmp_path / "disk", tmp_path / "m") as here:
        for name in content:
            (here / name).touch()
        assert abilities.ignores_case(str(here))
        assert abilities.ignores_case(str(here / "gone/and/below"))
        assert sorted(os.listdir(here)) == sorted(map(str.lower, content)), "as it lists them"


@mounts.NEEDS_ROOT
def test_a_mode_where_there_are_none(tmp_path: Path) -> None:
    with mounts.bindfs(tmp_path / "back", tmp_path / "m", "--chmod-deny") as here:
        files.make_folders(str(here / "one/two"))
        files.write(str(here / "one/two/file"), b"x")
        assert (here / "one/two/file").read_bytes() == b"x"
