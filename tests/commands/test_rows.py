"""`doit list`: what became of each bundle, since when, and how large it is."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from c2wtasks.commands.rows import Row, lines
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import run_doit


def states(folder: Path, *words: str) -> dict[str, str]:
    found = json.loads(run_doit(folder, "list", *words, "--json").stdout)["bundles"]
    return {row["image"]: row["state"] for row in found}


def test_the_states(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    assert states(tmp_path) == {"db": "missing", "other": "missing", "web": "missing"}
    assert run_doit(tmp_path).exit == 0
    assert states(tmp_path) == {"db": "current", "other": "current", "web": "current"}
    images["web"]["boot"] = {"vmtouch": False}
    images["db"] = {"source": "oci:nowhere"}
    write_catalog(tmp_path, images)
    assert states(tmp_path, "web", "other") == {"other": "current", "web": "stale"}
    assert run_doit(tmp_path).exit == 1
    assert states(tmp_path) == {"db": "failed", "other": "current", "web": "current"}
    assert run_doit(tmp_path, "list", "nope").exit == 3


def test_what_is_said_of_one(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    before = int(time.time())
    assert run_doit(tmp_path, "web").exit == 0
    (row,) = json.loads(run_doit(tmp_path, "list", "web", "--json").stdout)["bundles"]
    assert before - 2 <= datetime.fromisoformat(row["published"]).timestamp() <= time.time()  # of even seconds
    folder = tmp_path / "bundles/web/linux-amd64"
    there = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert row["bytes"] == sum(
        path.stat().st_size for path in there if path.name not in ("bundle.json", "SHA256SUMS")
    )
    before_looking = {path: os.stat(path).st_mtime_ns for path in [tmp_path / ".doit.db", folder]}
    header, db, _, web = run_doit(tmp_path, "list").stdout.splitlines()
    assert header.split() == ["IMAGE", "PLATFORM", "STATE", "AGE", "SIZE"]
    assert db.split() == ["db", "linux/amd64", "missing", "-", "-"]
    assert web.split()[:3] == ["web", "linux/amd64", "current"]
    assert before_looking == {path: os.stat(path).st_mtime_ns for path in before_looking}


def test_the_age_is_that_of_what_it_holds(tmp_path: Path) -> None:
    """Whatever happens to the folder, and however often it is built anew."""
    small_catalog(tmp_path)
    assert run_doit(tmp_path, "web").exit == 0
    record = tmp_path / "bundles/web/linux-amd64/bundle.json"
    published = int(record.stat().st_mtime)

    def said() -> float:
        (row,) = json.loads(run_doit(tmp_path, "list", "web", "--json").stdout)["bundles"]
        return datetime.fromisoformat(row["published"]).timestamp()

    assert said() == published
    time.sleep(1)
    (record.parent / "rootfs").rename(record.parent / "r")
    (record.parent / "r").rename(record.parent / "rootfs")
    assert said() == published
    assert run_doit(tmp_path, "forget", "web").exit == 0
    assert run_doit(tmp_path, "web").exit == 0
    assert said() == int(record.stat().st_mtime) == published
    os.utime(record, (1, 1))
    assert said() == published


def test_a_table() -> None:
    now = time.time()
    ages = {3: "3 s", 125: "2 min", 7300: "2 h", 90000: "1 d", 4e7: "1 y"}
    for age, text in ages.items():
        row = Row("a", "linux/arm/v7", "current", datetime.fromtimestamp(now - age, UTC), 1200)
        assert list(lines([row])) == [
            f"IMAGE  PLATFORM      STATE    {'AGE'.ljust(len(text))}  SIZE",
            f"a      linux/arm/v7  current  {text.ljust(3)}  1.2 kB",
        ]


@pytest.mark.parametrize("words", [("--all", "--json"), ("-q", "--json")])
def test_json_is_of_bundles(tmp_path: Path, words: tuple[str, ...]) -> None:
    small_catalog(tmp_path)
    done = run_doit(tmp_path, "list", *words)
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr.startswith("ERROR: --json lists bundles")


def test_families_and_tasks(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    names = run_doit(tmp_path, "list", "--all", "-q").stdout.split()
    assert {"layer", "tree", "bundle", "catalog", "bundle:web@linux/amd64"} <= set(names)
    assert run_doit(tmp_path, "list", "bundle").stdout.split()[0] == "bundle"
