"""What runs did is remembered: each bundle's state, when it failed and why; in little room, and of no use to who may
write there."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from c2wtasks.output import history, past
from c2wtasks.output.history import BundleRun, NullRun, Run
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.hooking import STOPPED, hooked
from tests.support.running import environment, run_doit, run_ours

WEB, DB, OTHER = "web@linux/amd64", "db@linux/amd64", "other@linux/amd64"
GONE = "web does not exist; put it there, or mend the source of web (bundle.yaml:6:3)"
FILE = re.compile(r"\d{8}T\d{6}\.\d{3}Z\.json\.gz")


def runs(folder: Path, *words: str) -> list[dict[str, Any]]:
    done = run_doit(folder, "history", "--json", *words)
    assert (done.exit, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    return found


def states(run: dict[str, Any]) -> dict[str, str]:
    return {one["bundle"]: one["state"] for one in run["bundles"]} | dict.fromkeys(run.get("current", ()), "current")


@pytest.fixture
def catalog(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    return tmp_path, images


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "bundles/.history").iterdir())


def test_failed_on_the_first_night_and_good_since(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    (folder / "web").rename(folder / "away")
    assert run_doit(folder).exit == 1
    (folder / "away").rename(folder / "web")
    shown = run_doit(folder, "why", "web", "db").stdout.splitlines()
    assert re.fullmatch(rf"{WEB}: last failed \d\d:\d\d, (today|last night): {re.escape(GONE)}", shown[0])
    assert re.fullmatch(rf"{WEB}: last good \d\d:\d\d, (today|last night) \(built\)", shown[1])
    assert re.fullmatch(rf"{DB}: last good \d\d:\d\d, (today|last night) \(current\)", shown[2])
    for _ in range(2):
        assert run_doit(folder).exit == 0
    found = runs(folder)
    assert [states(run) if "version" in run else run["bundles"] for run in found] == [
        3,
        {WEB: "built", DB: "current", OTHER: "current"},
        {WEB: "failed", DB: "current", OTHER: "current"},
        {WEB: "built", DB: "built", OTHER: "built"},
    ]
    assert [run.get("status", 0) for run in found] == [0, 0, 1, 0]
    (failed,) = found[2]["bundles"]
    digest = found[3]["bundles"][2]["after"]
    assert (failed["error"], failed["before"]) == (GONE, digest)
    (again,) = found[1]["bundles"]
    assert (again["before"], again["after"]) == (digest, digest)
    assert all(one["seconds"] > 0 and one["bytes"] > 1000 for one in found[3]["bundles"])
    past = json.loads(run_doit(folder, "why", "web", "--json").stdout)["past"]
    assert [(one["bundle"], one["lastFailed"]["error"], one["lastGood"]["state"]) for one in past] == [
        (WEB, GONE, "current")
    ]
    lines = run_doit(folder, "history", "web").stdout.splitlines()
    assert [line[16:] for line in lines[:3:2]] == ["  current", f"  failed    {WEB}  {GONE}"]
    assert f"  built     {WEB}  " in lines[1]
    assert lines[3].endswith(f", new: {digest[:12]}")
    shown = run_doit(folder, "history").stdout.splitlines()
    assert "nothing to do" in shown[0]
    assert shown[2].endswith("  1 failed, 2 current")


def test_a_run_before_a_bundle_was_there_tells_nothing_of_it(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    assert run_doit(folder).exit == 0
    images["new"] = {"source": "oci:gone"}
    write_catalog(folder, images)
    assert run_doit(folder).exit == 1
    del images["new"]
    write_catalog(folder, images)
    assert run_doit(folder).exit == 0
    assert run_doit(folder).exit == 0
    images["new"] = {"source": "oci:gone"}
    write_catalog(folder, images)
    assert [run["status"] for run in runs(folder, "new")] == [1]
    said = run_doit(folder, "why", "new").stdout.splitlines()
    assert [line.partition(":")[2][:12] for line in said] == [" last failed", " gone does n"]
    assert len(run_doit(folder, "history", "web").stdout.splitlines()) >= 2


def test_the_time_that_loading_takes_counts(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    with (folder / "dodo.py").open("a") as dodo:
        dodo.write("import time\ntime.sleep(1)\n")
    assert run_doit(folder).exit == 0
    assert runs(folder)[0]["seconds"] >= 1


def test_a_run_with_nothing_to_do_is_a_line(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    for _ in range(3):
        assert run_doit(folder).exit == 0
    assert run_doit(folder, "web").exit == 0
    (_, name, null) = files(folder)
    assert FILE.fullmatch(name)
    assert null == "null"
    lines = [json.loads(line) for line in (folder / "bundles/.history/null").read_text().splitlines()]
    assert [(line["bundles"], line.get("asked")) for line in lines] == [(3, None)] * 3 + [(1, ["web"])]
    assert len(runs(folder, "web")) == 5
    assert len(runs(folder, "db")) == 4


def test_runs_that_only_a_seal_was_needed_for_count(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = catalog
    seen = folder / ".doit.seal-runs"
    for _ in range(5):
        assert run_ours(folder).exit == 0
        time.sleep(0.05)  # the seal is of files that were not changed just now
    sealed = len(seen.read_text().splitlines())
    assert sealed >= 2
    assert len(runs(folder)) == 6
    assert runs(folder)[0]["bundles"] == 3
    assert run_doit(folder, "web").exit == 0
    assert not seen.exists()
    found = runs(folder)
    assert [run["bundles"] for run in found[:2]] == [1, 3]
    assert len(found) == 7
    seen.symlink_to(folder / "elsewhere")
    assert run_ours(folder).exit == 0
    assert not (folder / "elsewhere").exists()


def test_only_so_many_are_kept(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    for number in range(4):
        images["web"]["process"] = {"args": [str(number)]}
        write_catalog(folder, images, keep_runs=2)
        assert run_doit(folder).exit == 0
        assert run_doit(folder).exit == 0
    assert len(files(folder)) == 2 * 2 + 1  # of each run what it did, and what it changed
    assert len((folder / "bundles/.history/null").read_text().splitlines()) == 2
    assert len(runs(folder)) == 4


def test_what_was_asked_for_and_what_was_left_out(catalog: tuple[Path, dict[str, Any]]) -> None:
    folder, images = catalog
    images["web"]["process"] = images["db"]["process"] = {"args": ["x"]}
    write_catalog(folder, images)
    assert run_doit(folder, "db").exit == 0
    run = runs(folder)[0]
    assert (run["asked"], states(run)) == (["db"], {DB: "built"})
    shutil.rmtree(folder / "other")
    assert run_doit(folder, "-n", "1", "--no-continue").exit == 1
    found = states(runs(folder)[0])
    assert found[OTHER] == "failed"
    assert set(found.values()) <= {"failed", "left out", "current", "built"}


def test_a_run_that_was_interrupted(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    write_catalog(tmp_path, images)
    (tmp_path / "dodo.py").write_text(
        (tmp_path / "dodo.py").read_text()
        + "\n\ndef task_slow():\n    return {'actions': ['touch began; sleep 60']}\n"
    )
    with subprocess.Popen([sys.executable, "-m", "doit", "-n", "1"], cwd=tmp_path, env=environment()) as run:
        while not (tmp_path / "began").exists():
            assert run.poll() is None
            time.sleep(0.01)
        run.send_signal(signal.SIGTERM)
        assert run.wait() == 143
    (found,) = runs(tmp_path)
    assert found["status"] == 143
    assert set(states(found)) == {WEB, DB, OTHER}
    assert set(states(found).values()) <= {"built", "left out"}


@pytest.mark.parametrize("name", ["_take_place", "publish"])
@pytest.mark.parametrize("args", [["-n", "1"], ["-n", "2"]], ids=" ".join)
def test_a_run_that_is_stopped_before_what_it_published_is_noted(
    catalog: tuple[Path, dict[str, Any]], name: str, args: list[str]
) -> None:
    folder, images = catalog
    assert run_doit(folder).exit == 0
    before = digests(folder)
    for image in images.values():
        image["process"] = {"args": ["other"]}
    images["new"] = {"source": "oci:web"}
    write_catalog(folder, images)
    (folder / "stop").touch()
    stopped = run_doit(folder, *args, env=hooked(folder / "hook", STOPPED.format(name=name)))
    assert stopped.exit == 130
    after = digests(folder)
    published = {bundle for bundle, digest in after.items() if digest != before.get(bundle)}
    assert published
    of_run = {row["bundle"]: row for row in runs(folder)[0]["bundles"]}
    assert {bundle for bundle, row in of_run.items() if row["state"] == "built"} == published
    for bundle in published:
        assert (of_run[bundle].get("before", ""), of_run[bundle]["after"]) == (before.get(bundle, ""), after[bundle])
    listed = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    assert {f"{line['name']}@{line['platform']}" for line in listed if line["status"] == "built"} == after.keys()
    assert run_doit(folder).exit == 0
    told = run_doit(folder, "changes").stdout
    assert all(bundle in told or bundle.partition("@")[0] in told for bundle in published), told


def digests(folder: Path) -> dict[str, str]:
    """By bundle: the SHA-256 of its bundle.json."""
    found = (folder / "bundles").glob("*/*/bundle.json")
    return {f"{path.parts[-3]}@linux/amd64": hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize("kind", ["link", "file", "folder", "fifo", "damaged"])
def test_whatever_lies_in_its_place(catalog: tuple[Path, dict[str, Any]], kind: str) -> None:
    """The run does its work; what is not ours is neither followed nor waited for."""
    folder, images = catalog
    place = folder / "bundles/.history"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    run_doit(folder)
    match kind:
        case "link":
            (place / "null").unlink()
            (place / "null").symlink_to(elsewhere / "file")
        case "file":
            shutil.rmtree(place)
            place.write_text("mine")
        case "folder":
            (place / "null").unlink()
            (place / "null").mkdir()
        case "fifo":
            (place / "null").unlink()
            os.mkfifo(place / "null")
        case "damaged":
            for path in place.iterdir():
                path.write_bytes(b'\xff{"began": [\n\n{}')
    assert run_doit(folder).exit == 0
    images["web"]["process"] = {"args": ["x"]}
    write_catalog(folder, images)
    done = run_doit(folder)
    assert done.exit == 0
    assert b'"x"' in (folder / "bundles/web/linux-amd64/spec.json").read_bytes()
    assert list(elsewhere.iterdir()) == []
    assert run_doit(folder, "history").exit == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("began", ["yesterday", "", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_run_that_began_at_no_time_is_passed_over(catalog: tuple[Path, dict[str, Any]], began: str) -> None:
    folder, _ = catalog
    place = folder / "bundles/.history"
    assert run_doit(folder).exit == 0
    (record,) = place.glob("*.gz")
    before = run_doit(folder, "history").stdout
    odd = {**json.loads(gzip.decompress(record.read_bytes())), "began": began}
    (place / "20260101T000000.000Z.json").write_text(json.dumps(odd))
    with (place / "null").open("a") as null:
        null.write(json.dumps({"began": began, "seconds": 0.1, "bundles": 3}) + "\n")
    for zone in ("UTC-14", "UTC+12"):
        for command in (["history"], ["history", "web"], ["why", "web"]):
            done = run_doit(folder, *command, env={"TZ": zone})
            assert (done.exit, done.stderr) == (0, ""), command
    assert run_doit(folder, "history").stdout == before


def test_clean_and_prune_leave_it_and_a_failure_that_was_cleaned_is_missing(
    catalog: tuple[Path, dict[str, Any]],
) -> None:
    folder, images = catalog
    (folder / "web").rename(folder / "away")
    assert run_doit(folder).exit == 1
    (folder / "away").rename(folder / "web")
    assert run_doit(folder, "clean", "web").exit == 0
    listed = json.loads((folder / "bundles/catalog.json").read_text())
    assert listed["version"] == 1
    assert [(one["name"], one["status"], "error" in one) for one in listed["bundles"]] == [
        ("db", "built", False),
        ("other", "built", False),
        ("web", "missing", False),
    ]
    del images["db"]
    write_catalog(folder, images)
    assert ".history" not in run_doit(folder, "prune").stderr
    assert len(runs(folder)) == 2


def test_400_nights_of_1000_bundles_take_less_than_50_mb(tmp_path: Path) -> None:
    """Even where all of them are built anew each night, and become other ones."""
    rng = random.Random(1)
    built = tuple(
        BundleRun(
            f"a-long-name-of-an-image-{number}@linux/amd64",
            "built",
            round(rng.uniform(0.1, 60), 3),
            rng.randrange(1 << 20, 1 << 30),
            rng.randbytes(32).hex(),
            rng.randbytes(32).hex(),
        )
        for number in range(1000)
    )
    run = Run(history.VERSION, "", 600.123, 0, "c2wtasks 0.1.0", "builder", "ci-12", (), built)
    start = datetime(2026, 1, 1, 2, 13).timestamp()
    for night in range(3):
        history.note(str(tmp_path), replace(run, began=history.stamp(start + night * 86_400)), 2)
    history.note_null(str(tmp_path), NullRun(history.stamp(start), 1.0, 1000), 2)
    kept = [path for path in (tmp_path / ".history").iterdir() if path.name != "null"]
    assert len(kept) == 2
    assert max(path.stat().st_size for path in kept) * 400 < 50_000_000
    found = list(history.runs(str(tmp_path)))
    assert [one.began[:10] for one in found] == ["2026-01-03", "2026-01-02", "2026-01-01"]
    assert isinstance(found[0], Run)
    assert found[0].bundles == built


def test_what_older_versions_wrote_is_read_and_goes_in_its_turn(tmp_path: Path) -> None:
    run = Run(history.VERSION, "2026-01-01T02:13:00.000Z", 1.5, 1, "c2wtasks 0.1.0", "builder", "ci-12")
    (tmp_path / ".history").mkdir()
    (tmp_path / ".history/20260101T021300.000Z.json").write_bytes(msgspec.json.encode(run))
    history.note(str(tmp_path), replace(run, status=0), 2)  # at the same moment: the clock was set back
    assert sorted(one.status for one in history.runs(str(tmp_path)) if isinstance(one, Run)) == [0, 1]
    history.note(str(tmp_path), replace(run, began="2026-01-02T02:13:00.000Z"), 1)
    assert os.listdir(tmp_path / ".history") == ["20260102T021300.000Z.json.gz"]


def test_a_file_that_unpacks_to_far_too_much_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_MAX_SIZE", 10_000)
    run = Run(history.VERSION, "2026-01-01T02:13:00.000Z", 1.5, 0, "c2wtasks 0.1.0", "builder", "ci-12")
    history.note(str(tmp_path), run, 9)
    history.note(str(tmp_path), replace(run, began="2026-01-02T02:13:00.000Z", user="x" * 20_000), 9)
    (tmp_path / ".history/20260103T021300.000Z.json.gz").write_bytes(b"no gzip")
    assert [one.began[:10] for one in history.runs(str(tmp_path))] == ["2026-01-01"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(minutes=1), "12:29, today"),
        (timedelta(hours=13), "23:30, last night"),
        (timedelta(days=3), "12:30, 3 nights ago"),
        (timedelta(days=90), "2026-03-03 12:30"),
        (timedelta(days=-2), "2026-06-03 12:30"),
    ],
)
def test_when_that_was(before: timedelta, said: str) -> None:
    now = datetime(2026, 6, 1, 12, 30)
    began = history.stamp((now - before).timestamp())
    assert past.ago(began, now.astimezone()) == said
