"""`doit verify` of roots that share their files: a damaged one is found in all of them, and mended in all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graph.test_share import NAMES, POOL, catalog, files, own, root, write
from tests.support.hooking import hooked
from tests.support.running import executed, run_doit

__all__ = ["catalog"]
BUNDLES = {f"{name}@linux/amd64" for name in NAMES}


@pytest.fixture
def built(catalog: Path) -> Path:
    assert run_doit(catalog).exit == 0
    return catalog


def edited(path: Path) -> None:
    """So that no look at it tells."""
    found = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "content": ("content", edited),
    "mode": ("mode", lambda path: path.chmod(0o666)),
    "mtime": ("mtime", os.utime),
    "owner": ("owner", lambda path: os.chown(path, 5, 5)),
    "xattr": ("xattr user.a", lambda path: os.setxattr(path, "user.a", b"1")),
}


def report(folder: Path, *words: str) -> dict[str, Any]:
    done = run_doit(folder, "verify", "--json", *words)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit == int(bool(found["notMended"]) if "--repair" in words else bool(found["deviations"])), done
    return found


@pytest.mark.parametrize("names", [(), ("web",)], ids=["all", "one"])
@pytest.mark.parametrize(("what", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_all_bundles_are_named_and_mended(
    built: Path, names: tuple[str, ...], what: str, damage: Callable[[Path], object]
) -> None:
    """Also those that were not asked for."""
    damage(root(built, "db") / "lib/3")
    found = report(built, *names)["deviations"]
    assert {(one["of"], one["path"], one["what"]) for one in found} == {
        (f"{name}@linux/amd64", f"bundles/{name}/linux-amd64/rootfs/lib/3", what) for name in NAMES
    }
    mended = report(built, "--repair", *names)
    assert {(one["of"], one["mended"]) for one in mended["deviations"]} == {(bundle, True) for bundle in BUNDLES}
    assert report(built)["deviations"] == []
    assert {path for path, count in own(built).items() if count > 1} == {"srv/top"}
    assert executed(built) == set()
    write(built, {**dict.fromkeys(NAMES, (0, 0)), "new": (0, 3)})
    assert run_doit(built).exit == 0
    assert report(built)["deviations"] == []
    assert files(built, "new")["lib/3"] == files(built, "web")["lib/3"]


def test_a_file_of_one_bundle_is_told_of_that_alone(built: Path) -> None:
    edited(root(built, "db") / "srv/top")
    assert {one["of"] for one in report(built, "db")["deviations"]} == {"db@linux/amd64"}
    assert {one["of"] for one in report(built, "--repair")["deviations"]} == {"db@linux/amd64"}
    assert report(built)["deviations"] == []


def test_what_waits_for_later_roots_is_thrown_away_too(built: Path) -> None:
    """The spare root of a bundle that has another file by now; what only the pool has left."""
    write(built, {"web": (1, 0), "db": (0, 0), "mail": (0, 0)})
    assert run_doit(built).exit == 0
    spare = built / "bundles/.parts/web/linux-amd64/spare"
    assert (spare / "lib/changed").stat().st_ino == files(built, "db")["lib/changed"]
    edited(root(built, "db") / "lib/changed")
    mended = report(built, "--repair", "db")
    assert {one["of"] for one in mended["deviations"]} == BUNDLES - {"web@linux/amd64"}
    assert not spare.exists()
    write(built, dict.fromkeys(NAMES, (0, 0)))
    assert run_doit(built).exit == 0
    assert report(built)["deviations"] == []
    assert {path for path, count in own(built).items() if count > 1} == {"srv/top"}


def test_a_root_that_waits_to_be_published_is_written_again(built: Path) -> None:
    """It was written from what was damaged then."""
    write(built, {**dict.fromkeys(NAMES, (0, 0)), "new": (0, 3)})
    assert run_doit(built, "rootfs:new@linux/amd64:dir").exit == 0
    waiting = built / "bundles/.parts/new/linux-amd64/rootfs"
    assert (waiting / "lib/3").stat().st_ino == files(built, "web")["lib/3"]
    edited(root(built, "db") / "lib/3")
    report(built, "--repair", *NAMES)
    assert not waiting.exists()
    assert run_doit(built).exit == 0
    assert report(built)["deviations"] == []


def test_without_the_pool(built: Path) -> None:
    shutil.rmtree(built / POOL)
    edited(root(built, "db") / "lib/3")
    assert {one["of"] for one in report(built, "--repair", "web")["deviations"]} == BUNDLES
    assert report(built)["deviations"] == []


COUNTED = """
import os
import c2wtasks.audit.node as _node
_log = os.open(os.environ["COMPARED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
_compare = _node.first_difference
def _counted(*args):
    os.write(_log, b"x")
    return _compare(*args)
_node.first_difference = _counted
"""


def test_each_file_is_read_once(built: Path) -> None:
    log = built / "compared"
    env = hooked(built / "hook", COUNTED, COMPARED=str(log))
    assert run_doit(built, "verify", "-n", "1", env=env).exit == 0
    assert len(log.read_bytes()) == len(set().union(*(files(built, name).values() for name in NAMES)))
