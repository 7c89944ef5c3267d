"""Whatever goes wrong between a machine and its remote cache, or in the folder that it is, each byte is right, and a
few lines say what was wrong."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from c2wtasks.remote import uploading
from c2wtasks.remote.session import Session
from c2wtasks.remote.transport import RemoteFailure
from tests.remote.sharing import KEYS, Made, Shop
from tests.remote.test_reuse import RESULTS
from tests.support.disks import NEEDS_ROOT, small_disks
from tests.support.faults import Asked, Corrupt, Cut, Fault, FaultyProxy, Lost, Status, WrongLength
from tests.support.mounts import damaged, ignoring_case
from tests.support.remotes import FAST, NGINX, SERVERS, behind_faults, served

READING: Mapping[str, Fault] = {
    "an error": Status(500),
    "not there": Status(404),
    "cut": Cut(100),
    "longer than it said": WrongLength(-50),
    "swapped bytes": Corrupt(90),
}
WRITING: Mapping[str, Fault] = {"an error": Status(507), "lost": Lost()}
ON_NETWORKS = [kind for kind in SERVERS if kind != "folder"]
pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx (Debian's nginx-light)")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(Session, "is_worth", lambda *_: True)
    monkeypatch.setattr(uploading, "PATIENT", FAST)
    return Shop(tmp_path)


def is_right(shop: Shop, what: str) -> Made:
    """Builds all, and says what came of it."""
    made = shop.build(shop.remote())
    assert made.files == shop.truth, (what, made.lines)
    assert len(made.lines) <= 3, (what, made.lines)
    assert all(line.startswith(f"remote cache {shop.url}: ") and "\n" not in line for line in made.lines), made.lines
    return made


@contextmanager
def faulty(shop: Shop, kind: str) -> Iterator[FaultyProxy]:
    """A server of this kind, with a proxy before it that has the shop's remote cache pass through."""
    with served(kind, shop.folder / "server") as url, behind_faults(url) as (shop.url, proxy):
        yield proxy


@pytest.mark.parametrize("kind", ON_NETWORKS)
def test_what_comes_wrong_is_made_here(kind: str, shop: Shop) -> None:
    (shop.folder / "server").mkdir()
    rng = random.Random(f"faults of {kind}")
    with faulty(shop, kind) as proxy:
        shop.write(KEYS[0])
        proxy.asked.clear()
        assert is_right(shop, "well").count("hit") == RESULTS
        reads = len(proxy.asked)
        for name, fault in READING.items():
            left = [rng.randrange(reads)]

            def plan(_: Asked, fault: Fault = fault, left: list[int] = left) -> Fault:
                left[0] -= 1
                return fault if left[0] < 0 else None  # from then on

            proxy.plan = plan
            began = time.monotonic()
            made = is_right(shop, name)
            assert time.monotonic() - began < 40, name
            assert made.count("hit") < RESULTS or made.lines, name
            told = [line for line in made.lines if "taken" not in line]
            assert told or made.count("made") == 0, name


@pytest.mark.parametrize("kind", ON_NETWORKS)
def test_what_is_written_half_is_not_taken(kind: str, shop: Shop) -> None:
    (shop.folder / "server").mkdir()
    rng = random.Random(f"writes of {kind}")
    with faulty(shop, kind) as proxy:
        for name, fault in WRITING.items():
            left = [rng.randrange(4)]

            def plan(asked: Asked, fault: Fault = fault, left: list[int] = left) -> Fault:
                left[0] -= asked.method not in ("GET", "HEAD")
                return fault if left[0] < 0 else None

            proxy.plan = plan
            with suppress(RemoteFailure):
                shop.write(KEYS[0])
            assert left[0] < 0, "nothing was hindered"
            proxy.plan = lambda _: None
            assert is_right(shop, name).count("off") == 0, name
        shop.write(KEYS[0])
        assert is_right(shop, "mended").count("hit") == RESULTS


@NEEDS_ROOT
def test_a_disk_that_is_broken(shop: Shop) -> None:
    """Some of its files and folders cannot be read."""
    disk, at = shop.folder / "disk", shop.folder / "mounted"
    shop.write(KEYS[0])
    with ignoring_case(disk, at):
        shutil.copytree(shop.cache, at / "cache")
    shop.url = f"file://{at}/cache"
    broken, hits = 0, 0
    for seed in range(4):
        with damaged(disk, at, random.Random(seed)):
            made = is_right(shop, f"seed {seed}")
            broken += any("Input/output error" in line for line in made.lines)
            hits += made.count("hit")
    assert broken and 0 < hits < 4 * RESULTS


@NEEDS_ROOT
def test_a_mount_whose_server_has_died(shop: Shop) -> None:
    at = shop.folder / "mounted"
    at.mkdir()
    shop.write(KEYS[0])
    if shutil.which("bindfs") is None or not Path("/dev/fuse").exists():
        pytest.skip("needs bindfs and FUSE")
    server = subprocess.Popen(["bindfs", "-f", str(shop.cache), str(at)])
    try:
        shop.url = f"file://{at}"
        while not os.path.ismount(at):
            time.sleep(0.01)
        assert is_right(shop, "well").count("hit") == RESULTS
        server.kill()
        server.wait()
        assert is_right(shop, "dead").lines == [
            f"remote cache file://{at}: Transport endpoint is not connected; from then on all was made here"
        ]
    finally:
        server.kill()
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@NEEDS_ROOT
def test_a_disk_that_is_full(shop: Shop) -> None:
    with small_disks(shop.folder) as mount:
        mount("full", "64k")
        shop.url = f"file://{shop.folder}/full"
        with pytest.raises(RemoteFailure, match="No space left on device"):
            shop.write(KEYS[0])
        made = is_right(shop, "full")
        assert made.count("off") == made.count("wrong") == 0
        mount("full", "16m")
        shop.write(KEYS[0])
        assert is_right(shop, "with room").count("hit") == RESULTS
