"""Other processes that are at work in a folder are seen, in whatever way they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from c2wtasks.process import openers
from tests.support import mounts

READY = "echo; read end"


@contextmanager
def at_work(*command: str, cwd: Path | None = None, fds: tuple[int, ...] = ()) -> Iterator[None]:
    """A shell that executes a command, and waits."""
    shell = ["sh", "-c", f"{command[0]} && {READY}", "sh", *command[1:]]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(shell, cwd=cwd or "/", pass_fds=fds, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            yield
        finally:
            process.kill()


@contextmanager
def with_open(path: Path, flags: int = os.O_RDONLY) -> Iterator[None]:
    descriptor = os.open(path, flags)
    try:
        with at_work("true", fds=(descriptor,)):
            yield
    finally:
        os.close(descriptor)


def had_open(folder: Path) -> bool:
    openers._at_work.cache_clear()
    return openers.had_open(str(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a name that tables of mounts write otherwise."""
    found = tmp_path / "bundles/.parts/some where\\/linux-amd64/spare"
    (found / "usr/lib").mkdir(parents=True)
    (found / "usr/lib/file").write_text("")
    found.with_name("spare2").mkdir()
    return found


Way = Callable[[Path], AbstractContextManager[None]]
WAYS: dict[str, Way] = {
    "works there": lambda top: at_work("true", cwd=top),
    "works deeper": lambda top: at_work("true", cwd=top / "usr"),
    "has it open": with_open,
    "has it for its path": lambda top: with_open(top, os.O_PATH),
    "has a file open": lambda top: with_open(top / "usr/lib/file"),
    "works there by another name": lambda top: at_work('cd "$1"', f"/proc/self/cwd/{top}/usr/.."),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_who_is_there_is_seen(folder: Path, way: Way) -> None:
    assert not had_open(folder)
    with way(folder):
        assert had_open(folder)
        assert not had_open(folder.with_name("spare2"))
        folder.rename(folder.with_name("moved"))
        assert had_open(folder.with_name("moved"))
    assert not had_open(folder.with_name("moved"))


def test_who_is_beside_it_is_none(folder: Path) -> None:
    for other in (folder.parent, folder.with_name("spare2")):
        with at_work("true", cwd=other):
            assert not had_open(folder)


@mounts.NEEDS_ROOT
@pytest.mark.parametrize("inside", ["", "/usr"])
def test_a_mount_is_seen(folder: Path, inside: str) -> None:
    """In the mount namespace of a process, under another path; and as the root of one."""
    place = folder.with_name("elsewhere")
    place.mkdir()
    unshare = 'exec unshare -m sh -c \'mount --bind "$0" "$1" && echo && read end\' "$1" "$2"; true'
    with at_work(unshare, f"{folder}{inside}", str(place)):
        assert had_open(folder)
        folder.rename(folder.with_name("moved"))
        assert had_open(folder.with_name("moved"))
    with mounts.mounted_over(folder.with_name("moved"), place):
        assert had_open(folder.with_name("moved"))


def test_all_are_looked_at_once(folder: Path) -> None:
    """Who was not there then came too late for what had no name any more that others know."""
    assert not had_open(folder)
    with at_work("true", cwd=folder):
        assert not openers.had_open(str(folder))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        had_open(tmp_path / "none")
