"""A run that is killed at any step of publishing, on any kind of file system: the next one finds the old bundle or
the new one, whole, once it has seen to what was left. And in which order things get to the disk."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from c2wtasks.disk import clib, files, safely, syncing
from c2wtasks.output import publish, staged
from c2wtasks.output.places import Places
from c2wtasks.output.recover import recover
from c2wtasks.output.remove import remove
from tests.support import mounts

OLD, NEW = "1", "2"
NAMES = ("bundle.json", "spec.json", "rootfs/a", "rootfs/in/b")
STEPS = ("rename", "unlink", "rmdir", "fsync")  # of `os`: what others see, and what the disk keeps


def stage(places: Places, version: str) -> None:
    new = staged.fresh(places)

    def put_rootfs() -> None:
        os.makedirs(f"{new}/rootfs/in")
        for name in ("a", "in/b"):
            Path(f"{new}/rootfs/{name}").write_text(version)

    staged.put_together(places, new, {name: version.encode() for name in NAMES[:2]}, 0, put_rootfs)


def standing(places: Places) -> str | None:
    """The version of all files that are published; None where they are not of one."""
    try:
        found = {Path(places.output(name)).read_text() for name in NAMES}
    except FileNotFoundError:
        return None
    return found.pop() if len(found) == 1 else None


def killed_at(step: int, places: Places, output: str, arm: Callable[[], None]) -> bool:
    """Publishes in a process that is killed at the given step; says whether it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            arm()
            left = [step]
            for module, name in [*((os, name) for name in STEPS), (syncing, "sync_file_system")]:
                _count(module, name, left)
            assert not publish.publish([places]).failed
        finally:
            os._exit(7)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (7, -signal.SIGKILL)
    return status == 7


def _count(module: object, name: str, left: list[int]) -> None:
    real = getattr(module, name)

    def call(*args: object, **kwargs: object) -> object:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(*args, **kwargs)

    setattr(module, name, call)


@contextmanager
def _plainly(lower: Path, _at: Path, _scratch: Path) -> Iterator[Path]:
    yield lower


@contextmanager
def _other_disk(lower: Path, at: Path, scratch: Path) -> Iterator[Path]:
    """The image's folder is a mount."""
    image = lower / "bundles/web"
    (scratch / "other").mkdir()
    with mounts.mounted_over(scratch / "other", image):
        yield lower


def _no_exchange() -> None:
    safely.exchange = lambda one, other: False


def _all_well() -> None:
    pass


Placing = Callable[[Path, Path, Path], AbstractContextManager[Path]]
PLACES: dict[str, tuple[Placing, Callable[[], None]]] = {
    "exchange": (_plainly, _all_well),
    "no exchange": (_plainly, _no_exchange),
    "another disk": (_other_disk, _all_well),
    "another disk, no exchange": (_other_disk, _no_exchange),
    "overlay": (mounts.overlay, _all_well),
    "overlay, no exchange": (mounts.overlay, _no_exchange),
    "fuse-overlayfs": (mounts.fuse_overlay, _all_well),
}


@mounts.NEEDS_ROOT
@pytest.mark.parametrize("place", PLACES)
def test_killed_at_each_step(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    placing, arm = PLACES[place]
    seen = set()
    for step in range(100):
        folder = tmp_path / str(step)
        (folder / "lower/bundles/web").mkdir(parents=True)
        (folder / "scratch").mkdir()
        in_lower = Places(*(f"{folder}/lower/bundles/{part}web/linux-amd64" for part in ("", ".parts/")))
        if "disk" not in place:
            stage(in_lower, OLD)
            publish.publish([in_lower])
        with placing(folder / "lower", folder / "m", folder / "scratch") as here:
            output = f"{here}/bundles"
            places = Places(f"{output}/web/linux-amd64", f"{output}/.parts/web/linux-amd64")
            if "disk" in place:
                stage(places, OLD)
                publish.publish([places])
            assert standing(places) == OLD
            stage(places, NEW)
            ended = killed_at(step, places, output, arm)
            recover(output)
            found = standing(places)
            assert found is not None, step
            seen.add(found)
            left = [path for path in Path(output).rglob(".*") if path.name != ".parts" or path.parent.name == "web"]
            assert left == [], step
            stage(places, "3")  # whatever was left is in nobody's way
            assert publish.publish([places]).failed == {}
            assert standing(places) == "3"
            remove(places, output)
            assert not os.path.exists(places.published)
        if ended:
            assert found == NEW
            break
    else:
        raise AssertionError("it never came to its end")
    assert seen == {OLD, NEW}


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.EIO, errno.EEXIST, errno.ENOTEMPTY])
def test_a_rename_to_a_taken_name_is_refused_in_any_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """And an exchange is taken for such a rename."""
    places = Places(*(f"{tmp_path}/{part}web/linux-amd64" for part in ("", ".parts/")))
    stage(places, OLD)
    publish.publish([places])
    stage(places, NEW)
    real = os.rename

    def rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        try:
            os.stat(target, dir_fd=dst_dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        else:
            raise OSError(error, os.strerror(error), target)

    class Library:
        @staticmethod
        def renameat2(*_: object) -> int:
            ctypes.set_errno(error)
            return -1

        syncfs = staticmethod(lambda _: 0)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(clib, "libc", Library)
    monkeypatch.setattr(clib, "openat2", lambda: None)
    assert publish.publish([places]).failed == {}
    assert standing(places) == NEW
    assert not os.path.exists(places.part(".new"))


@mounts.NEEDS_ROOT
def test_what_could_not_be_replaced_is_replaced_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full in the middle of it, say: what was ready then never takes the place of what comes later."""
    lower = tmp_path / "lower"
    lower.mkdir()
    in_lower = Places(*(f"{lower}/bundles/{part}web/linux-amd64" for part in ("", ".parts/")))
    stage(in_lower, OLD)
    publish.publish([in_lower])
    with mounts.overlay(lower, tmp_path / "m", tmp_path) as here:
        output = f"{here}/bundles"
        places = Places(f"{output}/web/linux-amd64", f"{output}/.parts/web/linux-amd64")
        stage(places, NEW)
        with monkeypatch.context() as patched:
            real = os.unlink

            def full(path: str, **more: int) -> None:
                if path == "a":
                    raise OSError(28, "No space left on device", path)
                real(path, **more)

            patched.setattr(os, "unlink", full)
            outcome = publish.publish([places])
            assert "No space left" in str(outcome.failed[places])
            recover(output)  # cannot do it either, and leaves it for later
            assert os.path.isdir(places.part(".ready"))
        stage(places, "3")
        assert publish.publish([places]).failed == {}
        assert standing(places) == "3"
        assert not os.path.exists(places.part(".ready"))
        recover(output)
        assert standing(places) == "3"


@mounts.NEEDS_ROOT
def test_the_new_one_is_on_disk_before_the_old_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    in_lower = Places(*(f"{lower}/bundles/{part}web/linux-amd64" for part in ("", ".parts/")))
    stage(in_lower, OLD)
    publish.publish([in_lower])
    calls: list[str] = []

    def noted(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*args: str) -> object:
            result = real(*args)
            calls.append(" ".join([name, *(os.path.relpath(path, tmp_path / "m/bundles") for path in args)]))
            return result

        monkeypatch.setattr(module, name, call)

    with mounts.overlay(lower, tmp_path / "m", tmp_path) as here:
        output = f"{here}/bundles"
        places = Places(f"{output}/web/linux-amd64", f"{output}/.parts/web/linux-amd64")
        stage(places, NEW)
        noted(safely, "rename")
        noted(files, "remove_tree")
        for name in ("sync_file_system", "sync_folder"):
            noted(syncing, name)
        assert publish.publish([places]).in_place == [places]
    parts, published = ".parts/web/linux-amd64", "web/linux-amd64"
    assert calls == [
        "sync_file_system web",
        f"rename {parts}/.new {parts}/.ready",
        f"sync_folder {parts}",
        f"remove_tree {published}/bundle.json",
        f"remove_tree {published}",
        f"rename {parts}/.ready {published}",
        "sync_file_system web",
        f"remove_tree {parts}/.new",
        f"remove_tree {parts}/times",
        "remove_tree web/.parts/linux-amd64/.new",
    ]
