"""Catalogs whose cache others can write to, runs that may hang on what lies there, and strange things to put
there."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from c2wtasks.disk import clib
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.child import USER
from tests.support.forked import doit_forked
from tests.support.images import File, Layout
from tests.support.running import Result, run_doit

GROUP = 2000
_OPENAT2 = clib.openat2
_TOO_LONG_S = 120  # that a command hangs, and is killed


def catalog_in(place: Path, mode: int = 0o2775, **more: object) -> Path:
    """A catalog of root's, whose cache beside it can be written by a group."""
    folder = place / "catalog"
    folder.mkdir()
    cache = place / "cache"
    cache.mkdir()
    os.chown(cache, 0, GROUP)
    cache.chmod(mode)
    images = small_catalog(folder)
    large = File(content=random.Random(1).randbytes(300 << 10))  # it takes a lock
    Layout(folder / "large").image({"large": large})
    images["large"] = {"source": "oci:large"}
    write_catalog(folder, images, cache="../cache", **more)
    return folder


def hangs(*_: object) -> None:
    raise TimeoutError


def run(folder: Path, *args: str) -> Result:
    """`doit ARGS`, as `built` has patched it."""
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(_TOO_LONG_S)
    ended = (run_doit if clib.openat2 is _OPENAT2 else doit_forked)(folder, *args)
    signal.alarm(0)
    assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
    return ended


def again(folder: Path) -> None:
    """Forgets all but the cache."""
    shutil.rmtree(folder / "bundles")
    for path in folder.glob(".doit.db*"):
        if path.name != ".doit.db-catalog":
            path.unlink()


def index_of(folder: Path) -> str:
    return (folder / "bundles/web/linux-amd64/rootfs/srv/index").read_text()


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link to a folder": lambda path, canary: path.symlink_to(canary),
    "link to a file": lambda path, canary: path.symlink_to(canary / "secret"),
    "link to nothing": lambda path, canary: path.symlink_to(canary / "new"),
    "hard link": lambda path, canary: path.hardlink_to(canary / "secret"),
    "FIFO": lambda path, canary: os.mkfifo(path),
    "socket": lambda path, canary: bind(path),
    "device": lambda path, canary: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "folder": lambda path, canary: path.mkdir(),
    "huge": lambda path, canary: huge(path),
    "another's": lambda path, canary: (path.write_text("x"), os.chown(path, USER, USER)),
}


def bind(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def canary(place: Path) -> dict[str, tuple[object, ...]]:
    top = place / "canary"
    if not top.exists():
        (top / "sha256").mkdir(parents=True)
        for name in ("secret", "sha256/secret", f"{'a' * 64}"):
            (top / name).write_text("secret")
    found: dict[str, tuple[object, ...]] = {}
    for path in (top, *top.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else sorted(os.listdir(path))
        found[str(path)] = (content, state.st_mode, state.st_uid, state.st_gid, state.st_ino, state.st_mtime_ns)
    return found


def put_in_place(path: Path, kind: str, place: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    KINDS[kind](path, place / "canary")
