"""Eviction goes by what we noted ourselves: it stays true where a cache is restored, moved, shared or cut short."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.cachedir import lastuse
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.caches import age, bytes_in, note_use
from tests.support.child import USER
from tests.support.forked import doit_as_user
from tests.support.running import executed, run_doit

HOUR = 3600
DAY = 24 * HOUR
Catalog = tuple[Path, dict[str, Any]]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Images web, db and other, built, in a cache beside their folder."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    images = small_catalog(folder)
    write_catalog(folder, images, cache="../cache")
    assert run_doit(folder).exit == 0
    return folder, images


def gc(folder: Path, *args: str) -> tuple[int, dict[str, Any]]:
    ended = run_doit(folder, "gc", "--json", *args)
    return ended.exit, json.loads(ended.stdout)


def tars(cache: Path) -> list[Path]:
    return sorted((cache / "layers/sha256").glob("*.tar"))


def by_tar(cache: Path) -> None:
    with tarfile.open(cache.parent / "saved.tar", "w") as out:
        out.add(cache, "cache")
    shutil.rmtree(cache)
    with tarfile.open(cache.parent / "saved.tar") as saved:
        for member in saved:
            member.mtime = int(time.time())
            saved.extract(member, cache.parent)


def by_zip(cache: Path) -> None:
    with zipfile.ZipFile(cache.parent / "saved.zip", "w") as out:
        for path in cache.rglob("*"):
            out.write(path, path.relative_to(cache.parent))
    shutil.rmtree(cache)
    with zipfile.ZipFile(cache.parent / "saved.zip") as saved:
        saved.extractall(cache.parent)


def touched(year: int) -> Callable[[Path], None]:
    def touch(cache: Path) -> None:
        for path in cache.rglob("*"):
            os.utime(path, ((year - 1970) * 365 * DAY,) * 2)

    return touch


RESTORED: dict[str, Callable[[Path], None]] = {
    "by tar, all times now": by_tar,
    "by zip": by_zip,
    "by rsync, times of 1970": touched(1970),
    "times of 2050": touched(2050),
    "with all files read": lambda cache: [path.read_bytes() for path in cache.rglob("*") if path.is_file()] and None,
}


@pytest.mark.parametrize("restore", RESTORED.values(), ids=RESTORED)
def test_a_restored_cache_keeps_what_was_used_last(catalog: Catalog, restore: Callable[[Path], None]) -> None:
    folder, _ = catalog
    cache = folder.parent / "cache"
    order = tars(cache)
    for number, tar in enumerate(order):
        note_use(tar, (10 - number) * HOUR)
    restore(cache)
    status, report = gc(folder, "--max-size", str(bytes_in(cache) - 15_000))
    assert status == 0
    assert [line["path"] for line in report["removed"]] == [f"../cache/layers/sha256/{tar.name}" for tar in order[:2]]
    assert tars(cache) == order[2:]
    assert not any(lastuse.noted(str(tar), time.time_ns()) for tar in order[:2])
    assert executed(folder) == set()


def test_what_a_run_uses_is_noted(catalog: Catalog) -> None:
    folder, _ = catalog
    cache = folder.parent / "cache"
    age(cache, 2 * HOUR)
    shutil.rmtree(folder / "bundles/web")
    assert run_doit(folder).exit == 0
    now = time.time_ns()
    used = [tar for tar in tars(cache) if now - (lastuse.noted(str(tar), now) or 0) < HOUR * 10**9]
    assert len(used) == 2, "those of web's layers"
    _, report = gc(folder, "--max-size", "0")
    assert len(report["removed"]) == 2
    assert tars(cache) == used


def test_a_run_with_nothing_to_do_writes_nothing_to_the_cache(catalog: Catalog) -> None:
    folder, _ = catalog
    run_doit(folder)  # the memo is brought up to date
    before = {path: path.lstat() for path in folder.parent.rglob("cache/**/*")}
    assert executed(folder) == set()
    after = {path: path.lstat() for path in folder.parent.rglob("cache/**/*")}
    assert after.keys() == before.keys()
    times = [("st_mtime_ns", "st_ctime_ns", "st_ino")[n] for n in range(3)]
    assert all(getattr(after[path], name) == getattr(before[path], name) for path in before for name in times)


def lost(tar: Path) -> None:
    tar.with_name(f"{tar.name}.used").unlink()


def noted_as(content: bytes) -> Callable[[Path], None]:
    return lambda tar: tar.with_name(f"{tar.name}.used").write_bytes(content) and None


def a_link(tar: Path) -> None:
    noted = tar.with_name(f"{tar.name}.used")
    noted.rename(tar.with_name("away"))
    noted.symlink_to("away")


def a_fifo(tar: Path) -> None:
    lost(tar)
    os.mkfifo(tar.with_name(f"{tar.name}.used"))


UNKNOWN: dict[str, Callable[[Path], None]] = {
    "nothing was noted": lost,
    "by a run that was killed": noted_as(b"\0"),
    "cut short": noted_as(b"17328"),
    "no number": noted_as(b"yesterday, or the day before\n"),
    "by a clock that was wrong": noted_as(b"3786912000000000000\n"),
    "a link": a_link,
    "a pipe": a_fifo,
}


@pytest.mark.parametrize("unknown", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_to_be_used_counts_as_used_now(catalog: Catalog, unknown: Callable[[Path], None]) -> None:
    """It stays at first; what was noted as old goes. The next time it is known."""
    folder, _ = catalog
    cache = folder.parent / "cache"
    age(cache, 2 * HOUR)
    first, *others = tars(cache)
    unknown(first)
    status, report = gc(folder, "--dry-run", "--max-size", "0")
    assert (status, len(report["removed"])) == (1, 3)
    status, report = gc(folder, "--max-size", "0")
    assert (status, len(report["removed"])) == (1, 3)
    assert tars(cache) == [first]
    assert abs(time.time_ns() - (lastuse.noted(str(first), time.time_ns()) or 0)) < HOUR * 10**9
    age(cache, 2 * HOUR)
    assert [line["kind"] for line in gc(folder, "--max-size", "0")[1]["removed"]] == ["tar"]
    assert len(others) == 3


def test_nothing_can_go_is_told(catalog: Catalog) -> None:
    folder, images = catalog
    cache = folder.parent / "cache"
    write_catalog(folder, images, cache="../cache", cache_max_size=0)
    size = f"{bytes_in(cache) / 1000:.1f} kB"
    recent = f"{sum(tar.stat().st_size for tar in tars(cache)) / 1000:.1f} kB"
    why = f"the cache is shared, and of what was used in the last hour ({recent}) nothing goes"
    line = f"../cache: nothing can go, to keep to cache_max_size; {size} stay, {size} too many: {why}"
    done = run_doit(folder)
    assert (done.exit, done.stderr) == (0, f"{line}\n")
    done = run_doit(folder, "gc", "--max-size", "0")
    assert (done.exit, done.stderr) == (1, f"the cache is still {size} larger than 0: {why}\n")


def test_notes_of_tars_that_are_gone_go(catalog: Catalog) -> None:
    folder, _ = catalog
    first, second, *_ = tars(folder.parent / "cache")
    first.unlink()
    strange = second.with_name("notes.tar.used")
    strange.write_text("keep")
    report = gc(folder)[1]
    assert [(line["kind"], line["why"]) for line in report["removed"]] == [("orphan", "its tar is gone")]
    assert strange.exists()


# Which catalog it is.


def inside(place: Path, **more: Any) -> dict[str, Any]:
    """A built catalog with its cache in its folder."""
    place.mkdir()
    images = small_catalog(place)
    write_catalog(place, images, **more)
    assert run_doit(place).exit == 0
    return images


def memos(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache/memo").iterdir() if path.suffix != ".used")


def test_a_catalog_that_moved_is_the_same(tmp_path: Path) -> None:
    images = inside(tmp_path / "one")
    before = memos(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    write_catalog(tmp_path / "two", {"db": images["db"]})
    assert run_doit(tmp_path / "two").exit == 0
    assert memos(tmp_path / "two") == before
    report = gc(tmp_path / "two")[1]
    assert report["shared"] is False
    assert len([line for line in report["removed"] if line["kind"] == "receipt"]) == 2


def test_a_catalog_that_is_cloned_elsewhere_each_night_is_the_same_by_its_name(tmp_path: Path) -> None:
    """Only its cache is kept from night to night."""
    for night in range(3):
        folder = tmp_path / f"night-{night}"
        folder.mkdir()
        if night:
            shutil.copytree(tmp_path / f"night-{night - 1}/cache", folder / "cache")
        images = small_catalog(folder)
        write_catalog(folder, images, name="nightly")
        assert run_doit(folder).exit == 0
        assert not (folder / ".doit.db-catalog").exists()
    assert len(memos(folder)) == 1
    write_catalog(folder, {"db": images["db"]}, name="nightly")
    assert gc(folder)[1]["shared"] is False
    write_catalog(folder, {"db": images["db"]}, name="another")
    assert gc(folder)[1]["shared"] is True


@pytest.mark.parametrize("content", ["", "x", "0" * 31, "../../../../etc/passwd", "0" * 64])
def test_a_file_that_says_nothing_of_use(tmp_path: Path, content: str) -> None:
    inside(tmp_path / "one")
    before = memos(tmp_path / "one")
    note = tmp_path / "one/.doit.db-catalog"
    right = note.read_text()
    note.write_text(content)
    assert run_doit(tmp_path / "one").exit == 0
    assert memos(tmp_path / "one") == before
    assert note.read_text() == right


def test_a_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    inside(tmp_path / "one")
    before = memos(tmp_path / "one")
    note, other = tmp_path / "one/.doit.db-catalog", tmp_path / "other"
    note.unlink()
    other.write_text("0" * 32)
    note.symlink_to(other)
    assert run_doit(tmp_path / "one").exit == 0
    assert memos(tmp_path / "one") == before
    assert other.read_text() == "0" * 32
    assert not note.is_symlink()


def test_another_catalog_counts_by_what_it_noted(tmp_path: Path) -> None:
    """Not by the times of its memo: a restored one would look as if it had just been used, or never been."""
    images = inside(tmp_path / "one")
    other = tmp_path / "two"
    other.mkdir()
    write_catalog(other, small_catalog(other), cache="../one/cache")
    assert run_doit(other).exit == 0
    write_catalog(tmp_path / "one", {"db": images["db"]})
    memo = tmp_path / "one/cache/memo"
    (theirs,) = {path.stem for path in memo.iterdir()} - {path.stem for path in memo.glob(mine(tmp_path / "one"))}
    touched(1970)(memo)
    assert gc(tmp_path / "one")[1]["shared"] is True
    note_use(memo / theirs, 31 * DAY)
    touched(2025)(memo)
    report = gc(tmp_path / "one")[1]
    assert report["shared"] is False
    assert {"memo", "catalog", "receipt", "tar"} <= {line["kind"] for line in report["removed"]}
    assert run_doit(other).exit == 0


def mine(folder: Path) -> str:
    return (folder / ".doit.db-catalog").read_text().strip() + "*"


# Whom the cache belongs to.


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o755), (0o077, 0o2775), (0o000, 0o775)])
def test_all_folders_take_the_rules_of_the_caches_own(tmp_path: Path, umask: int, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    images = small_catalog(tmp_path)
    write_catalog(tmp_path, images, cache_trust="group")
    before = os.umask(umask)
    try:
        assert run_doit(tmp_path).exit == 0
        assert run_doit(tmp_path).exit == 0
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in cache.rglob("*")}
    assert (cache / "memo") in found
    assert {found[path] for path in found if path.is_dir()} == {mode}
    assert {found[path] for path in found if path.is_file()} == {0o644}


def test_documents_take_the_rules_of_the_caches_own(tmp_path: Path) -> None:
    from c2wtasks.oci.digest import Digest
    from c2wtasks.sources.documents import Documents

    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o2775)
    Documents(f"{tmp_path}/cache/documents").put(Digest.of(b"x"), b"x")
    folders = [path for path in (tmp_path / "cache").rglob("*") if path.is_dir()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in folders] == [0o2775, 0o2775]


def test_a_cache_that_may_only_be_read(catalog: Catalog) -> None:
    """What is there is taken; that others cannot tell that it is used is told."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    folder, _ = catalog
    other = folder.parent / "other"
    other.mkdir()
    write_catalog(other, small_catalog(other), cache="../cache")

    with tempfile.TemporaryDirectory() as open_to_all:
        shutil.copytree(folder.parent, open_to_all, symlinks=True, dirs_exist_ok=True)
        os.chmod(open_to_all, 0o755)
        other = Path(open_to_all, "other")
        subprocess.run(["chown", "-R", str(USER), other], check=True)
        status, said = doit_as_user(other)
        assert status == "0", said
        assert (other / "bundles/web/linux-amd64/rootfs/srv/index").read_text() == "web\n"
    (line,) = [line for line in said.splitlines() if "cannot be written" in line]
    assert line.startswith("note: ../cache/memo/")
    assert line.endswith(
        "Permission denied; while that is so, other catalogs cannot tell that this one uses the cache"
    )
