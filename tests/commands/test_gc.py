"""`doit gc`: what goes, what stays, and that what stays is enough."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.telling import sizes
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.caches import age, bytes_in, note_use
from tests.support.running import environment, executed, run_doit

DAY = 86400
HOUR = 3600


@pytest.fixture
def catalog(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Images web, db and other, built; nothing in the cache has been used for two hours."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    images = small_catalog(folder)
    assert run_doit(folder).exit == 0
    age(folder / "cache", 2 * HOUR)
    return folder, images


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """What lies in a folder, without reading it: (size, mtime) of each file."""
    found = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (one.st_size, one.st_mtime_ns) for path, one in found.items()}


def gc(folder: Path, *args: str) -> tuple[int, dict[str, Any]]:
    ended = run_doit(folder, "gc", "--json", *args)
    return ended.exit, json.loads(ended.stdout)


def kinds(report: dict[str, Any]) -> list[str]:
    return [line["kind"] for line in report["removed"]]


def test_nothing_that_is_needed_goes(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    before = files(folder / "cache")
    done = run_doit(folder, "gc")
    assert done.exit == 0
    assert done.stdout.startswith("freed nothing; ")
    assert files(folder / "cache") == before


def test_what_no_bundle_needs_goes(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    del images["web"]
    write_catalog(folder, images)
    before = files(folder / "cache/layers")
    status, report = gc(folder)
    after = files(folder / "cache/layers")
    assert (status, report["shared"]) == (0, False)
    assert kinds(report) == ["receipt", "index", "tar"]  # one layer: the other is db's, too
    gone = {f"cache/layers/{path}": before[path][0] for path in before.keys() - after.keys()}
    (noted,) = (path for path in gone if path.endswith(".used"))
    del gone[noted]  # goes with its tar
    assert {line["path"]: line["bytes"] for line in report["removed"]} == gone
    assert report["freed"] == sum(gone.values())
    assert report["kept"] == bytes_in(folder / "cache")
    assert executed(folder) == {"catalog"}
    assert gc(folder)[1]["removed"] == []


def test_what_was_used_in_the_last_hour_stays_in_a_shared_cache(
    two_catalogs: tuple[Path, Path, dict[str, Any]],
) -> None:
    one, _, _ = two_catalogs
    age(one.parent / "cache", HOUR - 60)
    status, report = gc(one, "--max-size", "0")
    assert (status, report["removed"]) == (1, [])  # not as small as asked for
    age(one.parent / "cache", HOUR + 60)
    assert kinds(gc(one, "--max-size", "0")[1]) == ["tar"] * 4


def test_a_run_that_is_at_work_is_waited_for(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    write_catalog(folder, {"db": images["db"]})
    before = files(folder / "cache/layers")
    lock = folder / ".doit.db.lock"
    lock.write_text("pid 1 on there\n")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [sys.executable, "-m", "doit", "gc"], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting for pid 1 on there, which is at work here\n"
        assert files(folder / "cache/layers") == before
    assert process.wait(timeout=60) == 0
    process.stderr.close()
    assert files(folder / "cache/layers") != before


def test_a_dry_run_changes_nothing(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    write_catalog(folder, {"db": images["db"]})
    run_doit(folder)  # the memo is brought up to date
    leave_behind(folder)
    before = files(folder)
    status, would = gc(folder, "--dry-run", "--max-size", "1K")
    assert (status, would["dryRun"]) == (1, True)
    text = run_doit(folder, "gc", "--dry-run").stdout
    assert "would remove cache/layers/" in text
    assert "would free " in text
    assert files(folder) == before
    status, done = gc(folder, "--max-size", "1K")
    assert done == would | {"dryRun": False}


def leave_behind(folder: Path) -> list[Path]:
    """What killed runs leave: a layer half read, and a temporary file of a process that is no more."""
    half = folder / "cache/layers/unfinished" / ("0" * 64) / ".tmp-1-abc"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    lock = folder / "cache/layers/locks" / ("0" * 64)
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("pid 4194305 on here\n")
    memo = folder / "cache/memo/.tmp-4194305-abc"
    memo.write_bytes(b"x")
    return [half, lock, memo]


def test_what_killed_runs_left_goes(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    left = leave_behind(folder)
    ours = folder / f"cache/memo/.tmp-{os.getpid()}-abc"
    ours.write_bytes(b"")
    status, report = gc(folder)
    assert (status, kinds(report), report["freed"]) == (0, ["temporary", "abandoned"], 5)
    assert not any(path.exists() for path in left)
    assert not left[0].parent.exists()
    assert ours.exists()
    age(folder / "cache", DAY + 1)
    assert kinds(gc(folder)[1]) == ["temporary"]


def test_a_layer_that_is_being_read_is_left_alone(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    half, lock, _ = leave_behind(folder)
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert kinds(gc(folder)[1]) == ["temporary"]
        assert half.exists()


def test_max_size_takes_the_tars_used_longest_ago(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    tars = sorted((folder / "cache/layers/sha256").glob("*.tar"))
    for number, tar in enumerate(tars):
        note_use(tar, (10 - number) * HOUR)
    everything = bytes_in(folder / "cache")
    status, report = gc(folder, "--max-size", str(everything - 1))
    assert status == 0
    assert [line["path"] for line in report["removed"]] == [f"cache/layers/sha256/{tars[0].name}"]
    status, report = gc(folder, "--max-size", "0")
    assert status == 1
    assert kinds(report) == ["tar"] * 3
    assert report["kept"] == report["over"] > 0
    assert executed(folder) == set()  # nothing is stale for that
    shutil.rmtree(folder / "bundles/web")
    assert "bundle:web@linux/amd64" in executed(folder)
    assert (folder / "bundles/web/linux-amd64/rootfs/srv/index").read_text() == "web\n"


def test_the_last_good_bundle_of_an_image_that_cannot_be_read_keeps_its_layers(
    catalog: tuple[Path, dict[str, Any]],
) -> None:
    folder, _ = catalog
    os.rename(folder / "web", folder / "away")
    assert gc(folder)[1]["removed"] == []
    os.rename(folder / "away", folder / "web")
    assert executed(folder) <= {"bundle:web@linux/amd64", "catalog"}


@pytest.fixture
def two_catalogs(tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Two catalogs with one cache, in the folder of neither; the first has no images any more."""
    cache = str(tmp_path / "cache")
    places = [tmp_path / name for name in ("one", "two")]
    for folder in places:
        folder.mkdir()
        images = small_catalog(folder)
        write_catalog(folder, images, cache=cache)
        assert run_doit(folder).exit == 0
    write_catalog(places[0], {"db": images["db"]}, cache=cache)
    return places[0], places[1], images


def test_a_shared_cache_keeps_what_others_need(two_catalogs: tuple[Path, Path, dict[str, Any]]) -> None:
    one, two, _ = two_catalogs
    cache = one.parent / "cache"
    age(cache, 29 * DAY)
    status, report = gc(one)
    assert (status, report["shared"], report["removed"]) == (0, True, [])
    age(cache, 31 * DAY)
    _, report = gc(one)
    assert kinds(report) == ["tar", "tar", "memo", "catalog"]  # never a receipt or an index
    assert executed(two) == set()


def test_a_cache_of_ours_that_another_catalog_uses_is_shared(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    other = folder.parent / "other"
    other.mkdir()
    images_there = small_catalog(other)
    write_catalog(other, images_there, cache="../catalog/cache")
    assert run_doit(other).exit == 0
    age(folder / "cache", 2 * HOUR)
    write_catalog(folder, {"db": images["db"]})
    _, report = gc(folder)
    assert (report["shared"], report["removed"]) == (True, [])


def test_what_is_not_ours_stays(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    write_catalog(folder, {"other": images["other"]})
    strange = [folder / "cache/layers/sha256/notes.tar", folder / "cache/README.md", folder / "cache/layers/x"]
    for path in strange:
        path.write_text("keep")
    age(folder / "cache", 2 * DAY)
    gc(folder)
    assert all(path.exists() for path in strange)
    assert len(list((folder / "cache/layers/receipts").rglob("?" * 64))) == 1


@pytest.mark.parametrize("args", [["--max-size", "lots"], ["--max-size", "-1"], ["web"], ["--bogus"]])
def test_a_wrong_command_line(catalog: tuple[Path, dict[str, Any]], args: list[str]) -> None:
    folder, _ = catalog
    before = files(folder / "cache/layers")
    done = run_doit(folder, "gc", *args)
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr.startswith("ERROR: ")
    assert files(folder / "cache/layers") == before


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("20000", 20000),
        ("20G", 20 << 30),
        ("1.5K", 1536),
        ("2GB", 2 * 10**9),
        ("3 MiB", 3 << 20),
        ("1t", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert sizes.parse(text) == size


@pytest.mark.parametrize("text", ["", "G", "1X", "1GG", "-1", "1e3", "NaN", "1\u212a", "9" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        sizes.parse(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5e15, "5000.0 TB")],
)
def test_sizes_for_people(count: float, text: str) -> None:
    assert sizes.human(count) == text
