"""`doit prune`: what is of no bundle any more goes, if it is ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.hooking import hooked, killed_in
from tests.support.running import executed, run_doit

BUNDLES = {"web": "bundles/web/linux-amd64", "db": "bundles/db/linux-amd64", "other": "bundles/other/linux-amd64"}


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Built with the images web, db and other; web and db are no longer in bundle.yaml."""
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    write_catalog(tmp_path, {"other": images["other"]})
    return tmp_path


def prune(folder: Path, *args: str) -> dict[str, Any]:
    ended = run_doit(folder, "prune", "--json", *args)
    assert ended.exit == 0
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def removed(report: dict[str, Any]) -> list[str]:
    return [line["bundle"] for line in report["removed"]]


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in (folder / "bundles").rglob("*")}


def test_bundles_that_are_gone_from_bundle_yaml(catalog: Path) -> None:
    before = everything(catalog)
    done = run_doit(catalog, "prune")
    assert (done.exit, done.stderr) == (0, "")
    assert done.stdout == (
        "removed db@linux/amd64: bundles/db/linux-amd64, bundles/.parts/db/linux-amd64\n"
        "removed web@linux/amd64: bundles/web/linux-amd64, bundles/.parts/web/linux-amd64\n"
        "removed 2 bundles\n"
    )
    gone = before - everything(catalog)
    assert gone == {path for path in before if "/db" in path or "/web" in path}
    assert executed(catalog) == {"catalog"}
    assert prune(catalog)["removed"] == []


def test_a_platform_that_is_gone(catalog: Path) -> None:
    write_catalog(catalog, {"web": {"source": "oci:web"}}, platforms=["linux/386"])
    assert "web@linux/amd64" in removed(prune(catalog))


def test_a_dry_run_changes_nothing(catalog: Path) -> None:
    before = everything(catalog)
    report = prune(catalog, "--dry-run")
    assert removed(report) == ["db@linux/amd64", "web@linux/amd64"]
    assert "would remove 2 bundles" in run_doit(catalog, "prune", "--dry-run").stdout
    assert everything(catalog) == before
    assert prune(catalog) == report | {"dryRun": False}


def test_what_has_no_record_of_ours_is_left_alone_and_said(catalog: Path) -> None:
    output = catalog / "bundles"
    (output / "mine/stuff").mkdir(parents=True)
    (output / "empty").mkdir()
    (output / "notes.txt").write_text("")
    (output / "web/linux-amd64/bundle.json").write_text('{"name": "web", "platform": "linux/amd64"}')
    os.rename(output / "db/linux-amd64", output / "db/elsewhere")
    shutil.copytree(output / "other", output / "copy")
    os.symlink("other", output / "link")
    (output / ".parts/strange/linux-amd64").mkdir(parents=True)
    before = everything(catalog)
    report = prune(catalog)
    assert {line["path"] for line in report["leftAlone"]} == {
        "bundles/mine/stuff",
        "bundles/empty",
        "bundles/notes.txt",
        BUNDLES["web"],
        "bundles/db/elsewhere",
        "bundles/copy/linux-amd64",
        "bundles/link",
        "bundles/.parts/strange/linux-amd64",
    }
    ours = ("bundles/.parts/db", "bundles/feeds/")
    assert before - everything(catalog) == {path for path in before if path.startswith(ours)} - {
        "bundles/feeds/other.atom"
    }
    done = run_doit(catalog, "prune")
    assert done.exit == 0
    assert "left alone: bundles/notes.txt: not a folder of ours\n" in done.stderr


def test_a_name_that_is_not_utf8(catalog: Path) -> None:
    os.mkdir(os.fsencode(catalog / "bundles") + b"/\xff\n")
    assert [line["path"] for line in prune(catalog)["leftAlone"]] == ["bundles/\\xff\n"]


def test_what_was_never_published(catalog: Path) -> None:
    shutil.rmtree(catalog / BUNDLES["web"])
    assert removed(prune(catalog)) == ["db@linux/amd64", "web@linux-amd64"]
    assert not (catalog / "bundles/.parts/web").exists()


def test_a_bundle_that_fails_now_is_kept(catalog: Path) -> None:
    write_catalog(catalog, {"web": {"source": "oci:nowhere"}, "other": {"source": "oci:other"}})
    assert removed(prune(catalog)) == ["db@linux/amd64"]
    assert (catalog / BUNDLES["web"] / "bundle.json").exists()


def test_without_any_output(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert prune(tmp_path) == {"dryRun": False, "removed": [], "leftAlone": [], "freed": 0}


@pytest.mark.parametrize("args", [["web"], ["--bogus"]])
def test_a_wrong_command_line(catalog: Path, args: list[str]) -> None:
    done = run_doit(catalog, "prune", *args)
    assert (done.exit, done.stdout) == (3, "")
    assert (catalog / BUNDLES["web"]).exists()


KILLED_AT = killed_in("c2wtasks.commands.prune", "_remove", ("rename", "unlink", "rmdir", "mkdir"))
"""It is killed as it removes bundles."""


def test_what_a_killed_one_has_begun_to_remove_is_removed_by_the_next(catalog: Path, tmp_path: Path) -> None:
    kept = {path for path in everything(catalog) if "/db" not in path and "/web" not in path}
    built = tmp_path.with_name("built")
    catalog.rename(built)
    for step in range(0, 1000, 3):
        subprocess.run(["cp", "-a", built, catalog], check=True)
        killed = run_doit(catalog, "prune", env=hooked(catalog / "hook", KILLED_AT, STEP=str(step)))
        if killed.exit == 0:
            break
        assert killed.exit == -signal.SIGKILL
        again = run_doit(catalog, "prune")
        assert (again.exit, again.stderr) == (0, ""), step
        assert {path for path in everything(catalog) if "/db" in path or "/web" in path} == set(), step
        assert kept <= everything(catalog)
        shutil.rmtree(catalog)
    assert step > 30
