"""`cache_max_size:` in bundle.yaml: after a good run the cache is no larger."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import families, small_catalog, write_catalog
from tests.support.caches import bytes_in, note_use
from tests.support.images import File, Layout
from tests.support.running import executed, run_doit

Catalog = tuple[Path, dict[str, Any]]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Three small images, not built yet."""
    return tmp_path, small_catalog(tmp_path)


def size(folder: Path) -> int:
    return bytes_in(folder / "cache")


def tars(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache/layers").rglob("*.tar")}


@pytest.mark.parametrize("args", [["-n", "0"], ["-n", "2"]], ids=" ".join)
def test_the_tars_used_longest_ago_go(catalog: Catalog, args: list[str]) -> None:
    folder, images = catalog
    assert run_doit(folder, *args).exit == 0
    oldest = min(tars(folder))
    note_use(folder / "cache/layers/sha256" / oldest, 60)
    before = tars(folder)
    write_catalog(folder, images, cache_max_size=size(folder) - 1)
    result = run_doit(folder, *args)
    assert result.exit == 0
    assert result.stderr == f"cache: freed 10.2 kB, to keep to cache_max_size; {size(folder) / 1000:.1f} kB stay\n"
    assert tars(folder) == before - {oldest}
    result = run_doit(folder, *args)
    assert (result.exit, result.stderr) == (0, "")
    assert executed(folder, *args) == set()  # nothing is stale for that


def test_what_no_bundle_needs_goes_first(catalog: Catalog) -> None:
    folder, images = catalog
    assert run_doit(folder).exit == 0
    everything = size(folder)
    other = images.pop("other")
    write_catalog(folder, images, cache_max_size=everything + 10_000)
    gone = "note: bundles has what bundle.yaml no longer has (other@linux/amd64): doit prune removes it\n"
    assert run_doit(folder).stderr in ("", gone)  # there is room
    assert len(tars(folder)) == 4
    write_catalog(folder, images, cache_max_size=everything - 5_000)
    before = size(folder)
    told = run_doit(folder).stderr.removeprefix(gone)
    assert told.startswith(f"cache: freed {(before - size(folder)) / 1000:.1f} kB, to keep to")
    assert len(tars(folder)) == 3
    write_catalog(folder, {**images, "other": other})
    assert families(executed(folder)) == {"layer", "catalog"}  # the bundle still stands


def test_a_cache_that_cannot_be_as_small(catalog: Catalog) -> None:
    folder, images = catalog
    write_catalog(folder, images, cache_max_size=0)
    result = run_doit(folder)
    assert result.exit == 0
    left = f"{size(folder) / 1000:.1f} kB"
    assert result.stderr.endswith(f"; {left} stay, {left} too many: no more tars can go\n")
    assert tars(folder) == set()
    result = run_doit(folder)
    too_many = f"{left} stay, {left} too many: no more tars can go"
    assert (result.exit, result.stderr) == (0, f"cache: nothing can go, to keep to cache_max_size; {too_many}\n")
    Layout(folder / "next").image({"srv/next": "2"}, cmd=["httpd"])
    write_catalog(folder, {**images, "web": {"source": "oci:next"}}, cache_max_size=0)
    assert run_doit(folder).exit == 0
    assert (folder / "bundles/web/linux-amd64/rootfs/srv/next").read_text() == "2"


def test_a_run_that_failed_leaves_all(catalog: Catalog) -> None:
    folder, images = catalog
    write_catalog(folder, {**images, "gone": {"source": "oci:gone"}}, cache_max_size="1")
    result = run_doit(folder)
    assert result.exit == 1
    assert result.stderr.count("\n") == 1
    assert len(tars(folder)) == 4


@pytest.fixture
def stuck(catalog: Catalog) -> Iterator[list[Path]]:
    """The tars of the built catalog, none of which can be removed."""
    folder, _ = catalog
    assert run_doit(folder).exit == 0
    store = folder / "cache/layers/sha256"
    paths = sorted(store.glob("*.tar"))
    if os.geteuid() != 0:
        store.chmod(0o555)
        yield paths
        store.chmod(0o755)
        return
    mounted = []
    try:
        for path in paths:  # root is stopped by nothing less than a mount
            done = subprocess.run(["mount", "--bind", path, path], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"may not mount: {done.stderr.strip()}")
            mounted.append(path)
        yield paths
    finally:
        for path in mounted:
            subprocess.run(["umount", path], check=True)


def test_what_cannot_be_removed_fails_nothing(catalog: Catalog, stuck: list[Path]) -> None:
    folder, images = catalog
    write_catalog(folder, images, cache_max_size=0)
    result = run_doit(folder)
    assert result.exit == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("cache/layers/sha256/")
    assert ".tar: cannot be removed: " in line
    assert line.endswith(", nor can 3 more")
    assert tars(folder) == {path.name for path in stuck}


def test_a_cache_that_cannot_be_listed_fails_nothing(catalog: Catalog) -> None:
    folder, images = catalog
    write_catalog(folder, images, cache_max_size="1G")
    assert run_doit(folder).exit == 0
    for memo in (folder / "cache/memo").iterdir():
        memo.unlink()
    (folder / "cache/memo").rmdir()
    (folder / "cache/memo").symlink_to("memo")
    result = run_doit(folder)
    assert result.exit == 0
    note, line = result.stderr.splitlines()
    assert note.startswith("note: cache/memo/")
    assert line == "cache/memo: cannot be read: a symbolic link lies there, which is not followed"


def test_repairing_takes_nothing_away(catalog: Catalog) -> None:
    folder, images = catalog
    Layout(folder / "big").image({"big": File(content=random.Random(1).randbytes(50_000))}, cmd=["sh"])
    images["big"] = {"source": "oci:big"}
    write_catalog(folder, images)
    assert run_doit(folder).exit == 0
    (folder / "bundles/big/linux-amd64/rootfs/big").write_text("edited")
    write_catalog(folder, images, cache_max_size=0)
    before = tars(folder)
    assert run_doit(folder, "verify", "--repair").exit == 0
    assert tars(folder) == before
