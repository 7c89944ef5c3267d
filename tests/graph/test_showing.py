"""The page and the feeds: written when a run has changed or tried something, and only then; no reason to fail."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import feedparser
import msgspec
import pytest

from c2wtasks.graph.showing import write
from c2wtasks.output import history, listing
from c2wtasks.output.chronicle import Chronicle
from c2wtasks.output.history import BundleRun
from c2wtasks.page import trend
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support import outputs
from tests.support.images import Layout
from tests.support.running import run_doit

SHOWN = ("catalog.html", "feed.atom", "feeds/web.atom")


def data(folder: Path) -> Any:
    """What the page has for its script."""
    text = (folder / "bundles/catalog.html").read_text()
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return msgspec.json.decode(found)


def of(folder: Path, name: str) -> Any:
    return next(one for one in data(folder)["bundles"] if one["name"] == name)


def states(folder: Path) -> list[tuple[int, int]]:
    found = [(folder / "bundles" / name).stat() for name in SHOWN]
    return [(one.st_ino, one.st_mtime_ns) for one in found]


def entries(path: Path) -> list[Any]:
    """The entries of a feed, of which an independent reader has nothing to complain."""
    found = feedparser.parse(path.read_bytes())
    assert (found.bozo, found.version) == (False, "atom10")
    assert found.feed.id.startswith("tag:") and found.feed.updated and found.feed.author == "c2wtasks"
    assert [link.rel for link in found.feed.links] == ["self", "alternate"]
    assert all(
        one.id.startswith("tag:") and one.title and one.updated_parsed and one.content for one in found.entries
    )
    ids = [one.id for one in found.entries]
    assert len(set(ids)) == len(ids)
    return list(found.entries)


def test_a_run_with_nothing_to_do_changes_nothing(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    before = states(tmp_path)
    assert run_doit(tmp_path).exit == 0
    assert run_doit(tmp_path, "web").exit == 0
    assert states(tmp_path) == before
    images["web"]["process"] = {"args": ["other"]}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    assert all(now != then for now, then in zip(states(tmp_path), before, strict=True))
    assert [event["state"] for event in of(tmp_path, "web")["history"]] == ["changed", "new"]
    assert [event["state"] for event in of(tmp_path, "db")["history"]] == ["new"]
    assert of(tmp_path, "web")["config"]["args"] == ["other"]


def test_what_fails_is_shown_since_when_and_that_it_works_again(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    os.rename(tmp_path / "web", tmp_path / "gone")
    assert run_doit(tmp_path).exit == 1
    first = of(tmp_path, "web")
    assert (first["state"], "web" in first["error"], bool(first["digest"])) == ("failed", True, True)
    assert run_doit(tmp_path).exit == 1
    second = of(tmp_path, "web")
    assert second["since"] == first["since"]
    assert second["history"][0]["times"] == 2
    assert "What fails" in (tmp_path / "bundles/catalog.html").read_text()
    os.rename(tmp_path / "gone", tmp_path / "web")
    assert run_doit(tmp_path).exit == 0  # finds all current
    assert of(tmp_path, "web")["state"] == "built"
    assert "What fails" not in (tmp_path / "bundles/catalog.html").read_text()


def test_no_secret_of_a_setting_is_shown(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    images["web"]["process"] = {"env": {"DB_PASSWORD": "hunter2", "TZ": "UTC"}}
    images["broken"] = {"source": "oci:missing"}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 1
    text = (tmp_path / "bundles/catalog.html").read_text()
    assert "hunter2" not in text
    assert "TZ=UTC" in text


def with_packages(folder: Path, version: str, other: str) -> None:
    """The images `web` and `db` anew, over a base with these packages."""
    found = (("openssl", version), (other, "1"))
    text = "".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {number}\n\n"
        for name, number in found
    )
    for name in ("web", "db"):
        shutil.rmtree(folder / name)
        Layout(folder / name).image({"var/lib/dpkg/status": text}, {"own": name}, cmd=[name])


def test_the_page_and_the_feeds_say_what_changed(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    with_packages(tmp_path, "3.0.1-1", "gone")
    assert run_doit(tmp_path).exit == 0
    with_packages(tmp_path, "3.0.2-1", "come")
    images["db"]["process"] = {"env": {"API_TOKEN": "hunter2"}}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    before = [(one.id, one.content) for one in entries(tmp_path / "bundles/feed.atom")]
    (tmp_path / "bundles/.parts/.page").unlink()
    images["other"]["process"] = {"cwd": "/"}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    assert [(one.id, one.content) for one in entries(tmp_path / "bundles/feed.atom")][1:] == before
    told = of(tmp_path, "web")["history"][0]["lines"]
    assert told[0].startswith("layer ") and told[0].endswith(" new")
    assert told[1:4] == [
        "1 package up: openssl 3.0.1-1 -> 3.0.2-1",
        "1 package added: come 1",
        "1 package removed: gone 1",
    ]
    of_image = entries(tmp_path / "bundles/feeds/web.atom")[0]
    assert "openssl 3.0.1-1 -&gt; 3.0.2-1" in of_image.content[0].value
    assert "option process.env.API_TOKEN: ***" in of(tmp_path, "db")["history"][0]["lines"][0]
    for name in ("catalog.html", "feed.atom", "feeds/db.atom"):
        assert "hunter2" not in (tmp_path / "bundles" / name).read_text()


def test_clean_and_prune(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    assert run_doit(tmp_path, "clean", "web").exit == 0
    assert of(tmp_path, "web")["state"] == "missing"
    del images["db"]
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path, "prune").exit == 0
    assert [one["name"] for one in data(tmp_path)["bundles"]] == ["other", "web"]
    assert not (tmp_path / "bundles/feeds/db.atom").exists()
    assert run_doit(tmp_path, "clean", "--yes").exit == 0
    assert not any((tmp_path / "bundles" / name).exists() for name in SHOWN)
    assert run_doit(tmp_path).exit == 0
    assert all((tmp_path / "bundles" / name).exists() for name in SHOWN)


def test_shards_have_none_and_their_merge_has(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    for shard in ("1", "2"):
        env = {"C2WTASKS_SHARD": f"{shard}/2", "C2WTASKS_OUTPUT": f"shard-{shard}"}
        assert run_doit(tmp_path, env=env).exit == 0
        assert not (tmp_path / f"shard-{shard}/catalog.html").exists()
    assert run_doit(tmp_path, "merge", "shard-1", "shard-2").exit == 0
    assert [one["state"] for one in data(tmp_path)["bundles"]] == ["built"] * 3
    assert len(entries(tmp_path / "bundles/feed.atom")) == 1


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    (tmp_path / "bundles/catalog.html/x").mkdir(parents=True)
    done = run_doit(tmp_path)
    assert (done.exit, len(done.stderr.splitlines())) == (0, 1)
    assert done.stderr.startswith(
        "note: bundles/catalog.html is not up to date: bundles/catalog.html: cannot be written"
    )
    shutil.rmtree(tmp_path / "bundles/catalog.html")
    os.symlink(tmp_path / "elsewhere", tmp_path / "bundles/catalog.html")
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "bundles/.parts/.page").write_bytes(b"c2wpage\x01damaged")
    images["web"]["process"] = {"args": ["other"]}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    assert (tmp_path / "elsewhere").read_text() == "kept"
    assert len(data(tmp_path)["bundles"]) == 3


def test_files_that_are_not_as_recorded_are_not_shown(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    (tmp_path / "bundles/.parts/.page").unlink()
    path = tmp_path / "bundles/db/linux-amd64/spec.json"
    path.write_bytes(path.read_bytes().replace(b'"db"', b'"no"'))
    write_catalog(tmp_path, images | {"more": images["db"]})
    assert run_doit(tmp_path, "more").exit == 0
    assert "config" not in of(tmp_path, "db")
    assert of(tmp_path, "more")["config"]["args"] == ["db"]


def test_what_is_read_once_gives_the_same_page(tmp_path: Path) -> None:
    output = tmp_path / "bundles"
    outputs.generate(output, 40)
    lines = listing.lines((output / "catalog.json").read_bytes())
    pages = []
    for _ in range(3):
        write(str(output), "Ours", "0" * 32, lines)
        pages.append((output / "catalog.html").read_bytes())
    (output / ".parts/.page").unlink()
    write(str(output), "Ours", "0" * 32, lines)
    assert {*pages, (output / "catalog.html").read_bytes()} == {pages[0]}
    assert not re.search(rb"host7|builder", pages[0])  # who ran that
    packages = data(tmp_path)["packages"]
    write(str(output), "Ours", "0" * 32, lines[:7])
    fewer = data(tmp_path)
    assert 0 < len(fewer["packages"]) < len(packages)
    assert all(fewer["groups"][one["packages"][0]] for one in fewer["bundles"])


def test_entries_are_of_real_changes_and_stay(tmp_path: Path) -> None:
    output = tmp_path / "bundles"
    made = outputs.write_bundle(output, "web", "linux/amd64", [outputs.layer("base", 5)])
    other = outputs.write_bundle(output, "db", "linux/amd64", [outputs.layer("base", 5)])
    lines = [outputs.line(other), outputs.line(made)]
    web, db = "web@linux/amd64", "db@linux/amd64"
    nights: list[list[BundleRun]] = [
        [BundleRun(web, "built", 1.0, 5, "", "a"), BundleRun(db, "built", 1.0, 5, "", "x")],
        [BundleRun(web, "failed", 1.0, before="a", error="no")],
        [],
        [BundleRun(web, "built", 1.0, 5, "a", "a")],
        [BundleRun(web, "built", 1.0, 9, "a", "b")],
        *([BundleRun(web, "built", 1.0, 9, str(n), str(n + 1))] for n in range(30)),
    ]
    seen: dict[str, dict[str, Any]] = {}
    counts: list[int] = []
    db_feed: set[int] = set()
    for number, night in enumerate(nights):
        outputs.note(output, number, night, [db, web])
        write(str(output), "Ours", "0" * 32, lines)
        for path in (output / "feed.atom", output / "feeds/web.atom"):
            for one in entries(path):
                assert seen.setdefault(one.id, dict(one)) == dict(one)
        counts.append(len(entries(output / "feed.atom")))
        if number < 30:
            db_feed.add((output / "feeds/db.atom").stat().st_ino)
    assert counts[:6] == [1, 1, 1, 1, 2, 3]
    assert counts[-1] == 30
    assert len(db_feed) == 1
    assert entries(output / "feeds/web.atom")[0].title == "web: 1 bundle changed"


def test_what_runs_tell_of_a_bundle(tmp_path: Path) -> None:
    output, web = tmp_path, "web@linux/amd64"
    outputs.note(output, 0, [BundleRun(web, "built", 1.0, 1000, "", "a")])
    outputs.note(output, 1, [BundleRun(web, "failed", 1.0, error="first")])
    outputs.note(output, 2, [BundleRun("db@linux/amd64", "built", 1.0, 1, "", "x")], [web])
    for night in (3, 4):
        outputs.note(output, night, [BundleRun(web, "failed", 1.0, error="no"), BundleRun("x", "left out")])
    chronicle = Chronicle(history.runs(str(output)), {})
    past = chronicle.of(web, failed=True)
    assert past.since.startswith("2026-11-02")
    assert [(one.state, one.lines, one.times) for one in past.events] == [
        ("failed", ("no",), 2),
        ("failed", ("first",), 1),
        ("new", (), 1),
    ]
    assert chronicle.of(web, failed=False).since.startswith("2026-10-30")
    assert chronicle.tonight is not None and (chronicle.tonight.failed, chronicle.tonight.changes) == (1, ())
    assert chronicle.of("never", failed=False) == ((), "", None)


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([(0.0, 5), (1.0, 5)], ""),
        ([(0.0, 100), (0.5, 200)], "M20 140H320V20H620"),
        ([(0.0, 1000), (1.0, 1001)], "M20 21H620V20H620"),  # a small change is no jump
        ([(0.0, 0), (0.5, 0), (1.0, 8)], "M20 140H620V20H620"),
    ],
)
def test_trends(points: list[tuple[float, int]], line: str) -> None:
    assert trend.line(points) == line
