"""Somebody who may write in the output swaps folders with links and with others, as fast as can be, while root
publishes, replaces, looks, cleans up and removes: a canary is as it was, and where nobody disturbs all works again.

More rounds: C2WTASKS_RACE_ROUNDS=10000 pytest tests/engine/test_output_races.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from c2wtasks.disk import clib, files, syncing
from c2wtasks.errors import OutputError
from c2wtasks.output import pool, publish, record, staged, standing, waiting
from c2wtasks.output.leftovers import Leftover, leftovers
from c2wtasks.output.places import Places
from c2wtasks.output.recover import recover
from c2wtasks.output.remove import remove
from c2wtasks.rootfs.dir.folders import made
from tests.rootfs.making import needs_root
from tests.support.hostile import STRANGER, Canary

ROUNDS = int(os.environ.get("C2WTASKS_RACE_ROUNDS", "200"))

# All that is swapped is in `bundles`, which the stranger's group may write to; what is in our own folders is not.
ATTACKER = """
import ctypes, itertools, os, sys
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
canary = sys.argv[1]
renameat2 = ctypes.CDLL(None).renameat2
names = ["bundles/.parts", "bundles/web", "bundles/old"]
for name in names:
    os.symlink(canary, name + ".link")
    os.makedirs(name + ".dir/linux-amd64/rootfs")
    os.symlink(canary + "/secret", name + ".dir/linux-amd64/bundle.json")
    os.symlink(canary, name + ".dir/linux-amd64/.new")
    os.symlink(canary, name + ".dir/linux-amd64/.ready")
    os.mkfifo(name + ".dir/linux-amd64/tree")
    os.mkfifo(name + ".dir/linux-amd64/boot")
print("ready", flush=True)
for name, other in itertools.cycle([(name, name + end) for end in (".link", ".dir") for name in names]):
    for _ in range(3):
        renameat2(-100, name.encode(), -100, other.encode(), 2)
        renameat2(-100, other.encode(), -100, name.encode(), 2)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    (tmp_path / "bundles").mkdir()
    os.chown(tmp_path / "bundles", 0, STRANGER)
    (tmp_path / "bundles").chmod(0o2775)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def attacked(canary: Canary) -> Iterator[None]:
    attacker = subprocess.Popen([sys.executable, "-c", ATTACKER, canary.folder], stdout=subprocess.PIPE)
    assert attacker.stdout is not None
    try:
        assert attacker.stdout.readline() == b"ready\n"
        yield
        assert attacker.poll() is None
    finally:
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()


def published(places: Places) -> None:
    new = staged.fresh(places)

    def put_rootfs() -> None:
        os.close(made(f"{new}/rootfs"))

    staged.put_together(places, new, {"bundle.json": b"{}", "spec.json": b"x"}, 0, put_rootfs)
    publish.publish([places])


WEB = Places("bundles/web/linux-amd64", "bundles/.parts/web/linux-amd64")
OLD = Places("bundles/old/linux-amd64", "bundles/.parts/old/linux-amd64")


def look() -> None:
    record.read(WEB.record)
    standing.root(WEB, shares=False)
    for one in leftovers("bundles", [WEB]):
        if isinstance(one, Leftover):
            remove(one.places, "bundles", one.published)


def share() -> None:
    layer = "sha256:" + "0" * 64
    with pool.opened(WEB.pool, [layer], ()):
        pool.tidy("bundles", [layer], 0)


STEPS: tuple[Callable[[], object], ...] = (
    lambda: published(WEB),
    lambda: published(OLD),
    lambda: files.write(WEB.tree, b"tree"),
    lambda: standing.note(WEB),
    share,
    lambda: waiting.note(WEB, WEB.output("rootfs")),
    lambda: waiting.take_back(WEB),
    lambda: waiting.move(WEB, WEB.part("rootfs"), WEB.part("moved")),
    look,
    lambda: recover("bundles"),
    lambda: remove(OLD, "bundles"),
    lambda: files.write_if_changed("bundles/catalog.json", b"{}"),
    lambda: remove(WEB, "bundles"),
)


@needs_root
@pytest.mark.parametrize("way", ["openat2", "by parts"])
def test_the_canary_is_never_touched(place: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "by parts":
        monkeypatch.setattr(clib, "openat2", lambda: None)
    monkeypatch.setattr(syncing, "sync_file_system", lambda _folder: None)
    canary = Canary.make(place / "canary")
    before = canary.state()
    done = 0
    with attacked(canary):
        for number in range(ROUNDS):
            for step in STEPS:
                try:
                    step()
                    done += 1
                except (OSError, OutputError):
                    pass
            if number % 20 == 19:
                assert canary.state() == before
    assert canary.state() == before
    assert done
    for name in os.listdir("bundles"):
        files.remove_tree(f"bundles/{name}")
    published(WEB)
    assert sorted(os.listdir(WEB.published)) == ["bundle.json", "rootfs", "spec.json"]
    assert canary.state() == before
