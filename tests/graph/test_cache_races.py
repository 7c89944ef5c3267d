"""An attacker's process swaps the folders and files of a shared cache with links as fast as it can, while root reads
layers, collects, audits and mends: nothing elsewhere is touched."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c2wtasks.audit import store as audit
from c2wtasks.cache import sweep
from c2wtasks.disk import clib, files, keeping
from c2wtasks.errors import UserError
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import BlobPlace, Layer
from tests.rootfs.making import needs_root
from tests.support.child import USER
from tests.support.tars import tar

pytestmark = needs_root

GROUP = 2000
ROUNDS = int(os.environ.get("C2WTASKS_RACE_ROUNDS", "200"))

ATTACK = """
import ctypes, os, random, sys
cache, canary, *swapped = sys.argv[1:]
os.chdir(cache)
os.makedirs("links")
renameat2 = ctypes.CDLL(None).renameat2
pairs = []
for number, path in enumerate(swapped):
    link = f"links/{number}"
    os.symlink(canary if os.path.isdir(path) else f"{canary}/secret", link)
    pairs.append((os.fsencode(path), os.fsencode(link)))
print(flush=True)
while True:
    path, link = random.choice(pairs)
    renameat2(-100, path, -100, link, 2)
    renameat2(-100, path, -100, link, 2)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """`cache`, which a group can write to, and `canary`, which is as a cache is within."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        cache = top / "cache"
        cache.mkdir()
        os.chown(cache, 0, GROUP)
        cache.chmod(0o2775)
        for name in ("secret", "sha256/secret", "receipts/sha256/secret", "locks/secret", "unfinished/secret/file"):
            path = top / "canary" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("secret")
        (top / "canary").chmod(0o711)
        yield top


def canary(place: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in sorted((place / "canary").rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else sorted(os.listdir(path))
        found[str(path)] = (content, state.st_mode, state.st_uid, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
    return found


def layer_of(place: Path, number: int) -> Layer:
    content = tar({f"file-{number}": "content\n" * 50})
    path = place / f"blob-{number}"
    path.write_bytes(content)
    digest = Digest.of(content)
    return Layer(digest, digest, BlobPlace(str(path), 0, len(content)))


def collected(cache: str) -> None:
    now_ns = time.time_ns()
    present = list(sweep.items(cache, now_ns))
    sweep.remove(sweep.plan(present, sweep.Needed(), shared=False, own="", now_ns=now_ns), cache, now_ns)


@pytest.mark.parametrize("way", ["openat2", "by parts"])
def test_links_that_come_and_go(place: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "by parts":
        monkeypatch.setattr(clib, "openat2", lambda: None)
    cache = str(place / "cache")
    store = Store(f"{cache}/layers")
    layers = [layer_of(place, number) for number in range(4)]
    for layer in layers:
        store.ensure([layer])
    files.make_folders(f"{cache}/layers/unfinished/left", shared=True)
    os.chown(store.tar(layers[0].diff_id), USER, GROUP)
    before = canary(place)
    swapped = ["layers/unfinished", "layers/locks", "layers/sha256", "layers/receipts", "layers"]
    swapped.append(os.path.relpath(store.tar(layers[0].diff_id), cache))
    attacker = subprocess.Popen(  # by the system's Python, which other users may run, too
        ["/usr/bin/python3", "-c", ATTACK, cache, str(place / "canary"), *swapped],
        stdout=subprocess.PIPE,
        user=USER,
        group=GROUP,
        extra_groups=[],
    )
    assert attacker.stdout is not None
    attacker.stdout.readline()
    steps: list[Callable[[Layer], object]] = [
        lambda layer: store.ensure([layer]),
        lambda layer: list(store.entries(layer.diff_id)),
        lambda layer: store.recover(),
        lambda layer: collected(cache),
        lambda layer: audit.check_layer(store, layer.diff_id),
        lambda layer: audit.check_receipt(store, layer.diff_id, [layer], {}),
        lambda layer: files.remove_tree(store.index(layer.diff_id)),
        lambda layer: store.use(layer.diff_id),
        lambda layer: files.make_folders(f"{cache}/layers/unfinished/x", shared=True),
    ]
    done = 0
    keeping.keep_to(cache)
    try:
        for number in range(ROUNDS):
            for step in steps:
                try:
                    step(layers[number % len(layers)])
                    done += 1
                except (UserError, OSError):
                    pass
            if number % 20 == 0:
                assert canary(place) == before
        assert attacker.poll() is None, "the attacker gave up"
    finally:
        keeping.keep_to_none()
        attacker.kill()
        attacker.wait()
        attacker.stdout.close()
    assert canary(place) == before
    assert ROUNDS < done < ROUNDS * len(steps), "the steps met the cache and the links"
