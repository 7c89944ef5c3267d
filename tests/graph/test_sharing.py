"""A root whose tree has changed shares with the published one what is unchanged, if that can be trusted; and whoever
reads a bundle meanwhile sees the old one or the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support import roots
from tests.support.hooking import READINGS, hooked
from tests.support.images import Layout
from tests.support.published import own_files
from tests.support.running import executed, run_doit

WEB = "bundles/web/linux-amd64"
PARTS = "bundles/.parts/web/linux-amd64"


def another_top(folder: Path, **files: str) -> None:
    """Replaces the top layer of the image `web`."""
    shutil.rmtree(folder / "web")
    Layout(folder / "web").image(BASE, {"srv/": None, **files}, cmd=["httpd"])


@pytest.fixture
def built(tmp_path: Path) -> Path:
    small_catalog(tmp_path)
    another_top(tmp_path, **{"srv/index": "web\n", "srv/other": "same\n"})
    assert run_doit(tmp_path).exit == 0
    return tmp_path


def inodes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder / WEB)): path.lstat().st_ino
        for path in (folder / WEB / "rootfs").rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def test_what_is_unchanged_keeps_its_inode(built: Path) -> None:
    before = inodes(built)
    another_top(built, **{"srv/index": "changed\n", "srv/other": "same\n", "srv/new": ""})
    assert "rootfs:web@linux/amd64:dir" in executed(built)
    now = inodes(built)
    assert {name for name in now if now[name] == before.get(name)} == set(before) - {"rootfs/srv/index"}
    assert (built / WEB / "rootfs/srv/index").read_text() == "changed\n"
    names = {name: os.lstat(built / WEB / name).st_nlink for name in now}
    assert {name for name, count in names.items() if count == 2} == set(before) - {"rootfs/srv/index"}  # the spare's
    assert set(names.values()) <= {1, 2}
    assert executed(built) == set()


def test_layers_that_are_not_needed_are_not_read_again(built: Path) -> None:
    for tar in built.glob("cache/layers/sha256/*.tar"):
        tar.unlink()
    another_top(built, **{"srv/index": "changed\n"})
    log = built / "readings"
    assert run_doit(built, env=hooked(built / "hook", READINGS, READINGS=str(log))).exit == 0
    assert len(log.read_text().split()) == 1  # the new one
    assert (built / WEB / "rootfs/srv/index").read_text() == "changed\n"


def copied(folder: Path) -> None:
    (folder / WEB).rename(folder / "original")  # it stays, or new files might get the numbers of its inodes
    subprocess.run(["cp", "-a", folder / "original", folder / WEB], check=True)


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\0")


UNTRUSTED: dict[str, Callable[[Path], object]] = {
    "the folder is a copy": copied,
    "something was put in": lambda folder: (folder / WEB / "stray").touch(),
    "the record is gone": lambda folder: (folder / WEB / "bundle.json").unlink(),
    "the record is of another tree": lambda folder: (folder / WEB / "bundle.json").write_text(
        (folder / "bundles/db/linux-amd64/bundle.json").read_text()
    ),
    "nothing is noted": lambda folder: (folder / PARTS / "standing").unlink(),
    "the note is damaged": lambda folder: (folder / PARTS / "standing").write_text("[1,"),
    "the tree is gone": lambda folder: (folder / PARTS / "standing.tree").unlink(),
    "the tree is damaged": lambda folder: damaged(folder / PARTS / "standing.tree"),
}


@pytest.mark.parametrize("how", UNTRUSTED.values(), ids=UNTRUSTED)
def test_what_cannot_be_trusted_is_written_anew(built: Path, how: Callable[[Path], object]) -> None:
    before = inodes(built)
    path = built / WEB / "rootfs/srv/other"
    found = path.stat()
    path.write_text("SAME\n")  # what no plain run can see
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
    how(built)
    another_top(built, **{"srv/index": "changed\n", "srv/other": "same\n"})
    assert run_doit(built).exit == 0
    assert path.read_text() == "same\n"
    assert not set(inodes(built).values()) & set(before.values())
    assert executed(built) == set()


KILLED_WHEN_PUBLISHED = """
import os
import c2wtasks.output.publish as _publish
_take_place = _publish._take_place
def _killed(new, published):
    _take_place(new, published)
    os.kill(os.getpid(), 9)
_publish._take_place = _killed
"""


def test_a_root_that_was_replaced_does_not_come_back(built: Path) -> None:
    """Though the run was killed before it was removed, and the new one has the same tree."""
    path = built / WEB / "rootfs/srv/other"
    path.write_text("by hand\n")
    web = {"source": "oci:web", "process": {"args": ["other"]}}
    write_catalog(built, {"web": web, "db": {"source": "oci:db"}, "other": {"source": "oci:other"}})
    assert run_doit(built, "-n", "1", env=hooked(built / "hook", KILLED_WHEN_PUBLISHED)).exit == -9
    assert path.read_text() == "same\n"
    assert (built / PARTS / ".new/rootfs/srv/other").read_text() == "by hand\n"
    assert run_doit(built).exit == 0
    assert path.read_text() == "same\n"
    assert b'"other"' in (built / WEB / "spec.json").read_bytes()
    assert run_doit(built, "verify").exit == 0
    assert executed(built) == set()


def test_what_was_shared_is_what_would_have_been_written(
    built: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    another_top(built, **{"srv/index": "changed\n", "bin/extra": "x"})
    assert run_doit(built).exit == 0
    fresh = tmp_path_factory.mktemp("fresh")
    shutil.copytree(built, fresh, ignore=shutil.ignore_patterns("bundles", "cache", ".doit*"), dirs_exist_ok=True)
    assert run_doit(fresh).exit == 0
    assert roots.of_folder(str(built / WEB / "rootfs")) == roots.of_folder(str(fresh / WEB / "rootfs"))
    assert own_files(built / WEB) == own_files(fresh / WEB)


REBUILDS = int(os.environ.get("C2WTASKS_REBUILDS", "25"))


def test_a_reader_never_sees_a_mixture(tmp_path: Path) -> None:
    """Each version of the image says in every file, its process and its config, which it is."""
    versions = [str(number) for number in range(3)]
    layout = Layout(tmp_path / "web")
    for version in versions:
        files = {f"d{number % 5}/f{number}": version * 1000 for number in range(60)}
        layout.image({"same": "always"}, files, tag=version, env=[f"VERSION={version}"])

    def build(version: str) -> None:
        images: dict[str, Any] = {"web": {"source": f"oci:web:{version}", "process": {"env": {"V": version}}}}
        write_catalog(tmp_path, images)
        run = run_doit(tmp_path)
        assert (run.exit, run.stderr) == (0, ""), run

    build("0")
    seen: list[set[str]] = []
    stop = threading.Event()
    reader = threading.Thread(target=lambda: seen.extend(_readings(tmp_path / WEB, stop)))
    reader.start()
    try:
        for number in range(1, REBUILDS + 1):
            build(versions[number % len(versions)])
    finally:
        stop.set()
        reader.join()
    assert len(seen) > REBUILDS
    assert {len(versions) for versions in seen} == {1}
    assert {version for versions in seen for version in versions} == set(versions)


def _readings(bundle: Path, stop: threading.Event) -> list[set[str]]:
    """The versions that are met in one reading of the whole bundle, for many readings. What is published is there at
    any time; a bundle that is replaced while it is read loses files, and none changes."""
    seen = []
    while not stop.is_set():
        folder = os.open(bundle, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = set()
            for name in ("image.json", "spec.json"):
                found.add(_text(name, folder).split("V=")[1][0])
            for _, _, names, here in os.fwalk("rootfs", dir_fd=folder):
                for name in names:
                    content = _text(name, here)
                    if content != "always":
                        assert len(content) == 1000
                        found |= set(content)
            seen.append(found)
        except FileNotFoundError:  # replaced while it was read
            pass
        finally:
            os.close(folder)
    return seen


def _text(name: str, folder: int) -> str:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(descriptor, 1 << 16).decode()
    finally:
        os.close(descriptor)
