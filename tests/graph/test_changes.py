"""What runs note of what they change: before they publish it, whatever becomes of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.changes.model import Change
from c2wtasks.disk import safely
from c2wtasks.graph import nights
from c2wtasks.output import changelog
from tests.graph.catalogs import write_catalog
from tests.support.images import Layout
from tests.support.running import run_doit
from tests.support.tars import File, Tree

DATABASE = "lib/apk/db/installed"
BASE: Tree = {"bin/sh": "sh", "etc/x": "x"}


def installed(**versions: str) -> str:
    return "".join(f"P:{name}\nV:{version}\nA:x86_64\n\n" for name, version in versions.items())


def image(folder: Path, *layers: Tree, name: str = "web") -> None:
    shutil.rmtree(folder / name, ignore_errors=True)
    Layout(folder / name).image(*layers, cmd=["sh"])


def noted(folder: Path) -> list[list[Change]]:
    """What each run has noted, the last one first."""
    return [list(changes) for _, changes in nights.noted(f"{folder}/bundles")]


def build(folder: Path, **entries: Any) -> list[Change]:
    """What a run with these images has noted."""
    before = len(noted(folder))
    write_catalog(folder, entries)
    done = run_doit(folder)
    assert done.exit == 0, done.stderr
    found = noted(folder)
    return found[0] if len(found) > before else []


@pytest.mark.parametrize("forms", [["dir"], ["tar"], ["dir", "tar"]], ids=str)
def test_what_changes_is_noted(tmp_path: Path, forms: list[str]) -> None:
    web = {"source": "oci:web", "rootfs": forms}
    image(tmp_path, {**BASE, "etc/gone": "1", DATABASE: installed(musl="1.2.9-r0", old="1")}, {"srv/x": "a"})
    (new,) = build(tmp_path, web=web)
    assert new.is_new and new.size[1] > 0 and new.files is not None and not new.files.count
    assert build(tmp_path, web=web) == []
    with_mode = File("x", mode=0o600)
    image(tmp_path, {**BASE, "etc/x": with_mode, DATABASE: installed(musl="1.2.10-r0", new="2")}, {"srv/x": "b"})
    (change,) = build(tmp_path, web=web)
    assert change.packages is not None and change.files is not None and change.before == new.after
    assert [(one.name, one.way) for one in change.packages] == [("musl", "up"), ("new", "added"), ("old", "removed")]
    shown = [(one.path, one.old is None, one.new is None) for one in change.files.listed]
    both = (False, False)
    assert shown == [
        ("/etc/gone", False, True), ("/etc/x", *both), ("/" + DATABASE, *both), ("/srv/x", *both),
    ]  # fmt: skip
    modes = change.files.listed[1]
    assert modes.old and modes.new and (modes.old.mode, modes.new.mode) == ("0644", "0600")
    assert change.packages[0].new and change.packages[0].new.layer == change.layers[1][0]
    (option,) = build(tmp_path, web={**web, "process": {"env": {"A": "b"}}})
    assert {(one.of, one.field[-1]) for one in option.fields} == {
        ("options", "A"),
        ("image.json", "A"),
        ("spec.json", "A"),
    }
    assert (option.packages, option.files, option.layers[0]) == ((), type(change.files)(), change.layers[1])
    assert changes_equal_records(tmp_path)


def changes_equal_records(folder: Path) -> bool:
    """Whether each run's record has what the file of its changes beside it has."""
    runs = json.loads(run_doit(folder, "history", "--json").stdout)["runs"]
    built = [
        (run["began"], one.get("before", ""), one["after"])
        for run in runs
        if "status" in run
        for one in run["bundles"]
        if one["state"] == "built" and one.get("before") != one["after"]
    ]
    found = nights.noted(f"{folder}/bundles")
    return built == [(began, one.before, one.after) for began, changes in found for one in changes]


def test_bundles_that_change_alike_share_what_is_noted(tmp_path: Path) -> None:
    many = {f"web{number}": {"source": "oci:web", "process": {"args": [str(number)]}} for number in range(20)}
    image(tmp_path, {f"usr/{number}": str(number) for number in range(200)})
    build(tmp_path, **many)
    image(tmp_path, {f"usr/{number}": f"now {number}" for number in range(200)})
    found = build(tmp_path, **many)
    assert len(found) == 20 and len({one.details for one in found}) == 1 and found[0].details
    assert all(one.files is not None and one.files.changed == 200 for one in found)
    assert max(path.stat().st_size for path in (tmp_path / "bundles/.history").glob("*.zst")) < 20_000


def test_one_that_was_replaced_by_hand_is_said_to_be_unknown(tmp_path: Path) -> None:
    image(tmp_path, BASE)
    build(tmp_path, web={"source": "oci:web"})
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "bundles/web/linux-amd64", copy)
    shutil.rmtree(tmp_path / "bundles/web/linux-amd64")
    copy.rename(tmp_path / "bundles/web/linux-amd64")
    image(tmp_path, {**BASE, "etc/x": "y"})
    (change,) = build(tmp_path, web={"source": "oci:web"})
    assert (change.packages, change.files, len(change.unknown)) == (None, None, 1)


def test_layers_that_are_gone_are_not_read_again(tmp_path: Path) -> None:
    """Files that look the same count as the same, and it is said how many; others are told without what they held."""
    image(tmp_path, {"etc/x": "x", "etc/y": "y"})
    build(tmp_path, web={"source": "oci:web", "rootfs": ["tar"]})
    for tar in (tmp_path / "cache/layers/sha256").glob("*.tar"):
        tar.unlink()
    image(tmp_path, {"etc/x": "x", "etc/y": "yy"})
    (change,) = build(tmp_path, web={"source": "oci:web", "rootfs": ["tar"]})
    assert change.files is not None and change.files.uncompared == 1
    (one,) = change.files.listed
    assert one.old is not None and one.new is not None and (one.old.content, one.old.size) == ("", 1)
    assert one.new.content


def test_what_cannot_be_noted_is_told_and_keeps_nothing_back(tmp_path: Path) -> None:
    image(tmp_path, BASE)
    write_catalog(tmp_path, {"web": {"source": "oci:web"}})
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/.history").write_text("")
    done = run_doit(tmp_path)
    assert (tmp_path / "bundles/web/linux-amd64/bundle.json").exists()
    assert done.stderr.count("Traceback") == 0
    assert "note: what changed is not noted: bundles/.history" in done.stderr


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = f"{tmp_path}/bundles"
    for number in range(9):
        log = changelog.Log(output)
        log.append(b"x" * 100)
        log.append(b"y" * 100)
        log.close(f"20261128T02130{number}.000Z")
    changelog.tidy(output, 7)
    assert [began[17:19] for began, _ in changelog.read(output)] == ["08", "07", "06", "05", "04", "03", "02"]
    monkeypatch.setattr(changelog, "MAX_TOTAL", 799)
    changelog.tidy(output, 7)
    assert [began[17:19] for began, _ in changelog.read(output)] == ["08", "07", "06"]
    monkeypatch.setattr(changelog, "MAX_TOTAL", 1)
    changelog.tidy(output, 7)
    found = list(changelog.read(output))
    assert found == [("2026-11-28T02:13:08.000Z", b"x" * 100 + b"y" * 100)]


def test_others_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    log = changelog.Log(f"{tmp_path}/bundles")
    before = os.umask(0o077)
    try:
        log.append(b"one")
        log.append(b"two")
    finally:
        os.umask(before)
    assert os.stat(log.path).st_mode & 0o777 == 0o644


def test_what_is_half_written_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: what is added later is read."""
    log = changelog.Log(f"{tmp_path}/bundles")
    log.append(b"one")
    real = changelog.os.write

    def full(descriptor: int, content: memoryview) -> int:
        if len(content) < 3:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[:2])

    monkeypatch.setattr(changelog.os, "write", full)
    with pytest.raises(Exception, match="cannot be written"):
        log.append(b"two")
    monkeypatch.undo()
    log.append(b"three")
    assert [content for _, content in changelog.read(f"{tmp_path}/bundles")] == [b"onethree"]
    assert safely.exists(log.path)
