"""`doit changes` and `doit diff`: what changed since a night, between bundles, between catalogs."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.changes import stored
from tests.graph.catalogs import write_catalog
from tests.soak.month import FIRST, month, redate
from tests.support.images import Layout
from tests.support.running import run_doit
from tests.support.tars import Tree

DATABASE = "lib/apk/db/installed"


def installed(**versions: str) -> str:
    return "".join(f"P:{name}\nV:{version}\nA:x86_64\n\n" for name, version in versions.items())


BASE: Tree = {"bin/sh": "sh", DATABASE: installed(musl="1.2.9-r0", ssl="3.1-r0", gone="1")}
NEW_BASE: Tree = {"bin/sh": "sh", DATABASE: installed(musl="1.2.10-r0", ssl="3.0-r0", fresh="2")}


class Catalog:
    """A catalog that is built night after night."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, Any] = {}
        self.night = FIRST

    def image(self, name: str, *layers: Tree, **more: Any) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        Layout(self.folder / name).image(*layers, cmd=["sh"])
        self.images[name] = {"source": f"oci:{name}", "rootfs": ["tar"], **more}

    def build(self, *words: str) -> date:
        """Builds it, and gives the night that this was."""
        write_catalog(self.folder, self.images)
        done = run_doit(self.folder, *words)
        assert done.exit == 0, done.stderr
        redate(self.folder, self.night)
        self.night += timedelta(days=1)
        return self.night - timedelta(days=1)

    def says(self, *words: str, exit: int = 0) -> list[str]:
        done = run_doit(self.folder, *words)
        assert done.exit == exit, done.stderr
        assert "Traceback" not in done.stderr
        return (done.stdout if exit < 3 else done.stderr).splitlines()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Three nights: two bundles that share a base and one of its own; a new base; an option."""
    catalog = Catalog(tmp_path_factory.mktemp("nights"))
    catalog.image("api", BASE, {"srv/api": "1"})
    catalog.image("web", BASE, {"srv/web": "1"})
    catalog.image("own", {"bin/own": "1"})
    catalog.build()
    shutil.copy(catalog.folder / "bundles/catalog.json", catalog.folder / "first.json")
    catalog.image("api", NEW_BASE, {"srv/api": "1"})
    catalog.image("web", NEW_BASE, {"srv/web": "2"})
    catalog.build()
    catalog.image("own", {"bin/own": "1"}, boot={"debug": True})
    catalog.build()
    return catalog


def test_the_last_night(built: Catalog) -> None:
    assert built.says("changes") == [
        f"1 bundle changed on {FIRST + timedelta(days=2)}",
        "option boot.debug: false -> true: own@linux/amd64 (1 bytes less)",
    ] or built.says("changes")[1].startswith("option boot.debug: false -> true: own@linux/amd64")


def test_what_has_a_cause_in_common_is_told_once(built: Catalog) -> None:
    found = built.says("changes", f"--since={FIRST}")
    assert found[0] == f"3 bundles changed since {FIRST}"
    shared = next(number for number, line in enumerate(found) if "2 bundles" in line)
    assert found[shared].startswith("layer ") and " new: 2 bundles: api@linux/amd64, web@linux/amd64" in found[shared]
    assert found[shared + 1 : shared + 5] == [
        "    1 package down: ssl 3.1-r0 -> 3.0-r0",
        "    1 package up: musl 1.2.9-r0 -> 1.2.10-r0",
        "    1 package added: fresh 2",
        "    1 package removed: gone 1",
    ]


def test_one_of_them_in_full(built: Catalog) -> None:
    found = built.says("changes", f"--since={FIRST}", "web")
    assert found[0] == f"1 bundle changed since {FIRST}"
    assert [line.strip().partition(" (")[0] for line in found[-3:]] == [
        "files: 2 changed", "/lib/apk/db/installed", "/srv/web",
    ]  # fmt: skip


def test_the_history_of_a_bundle_says_what_changed(built: Catalog) -> None:
    changed, first = [line for line in built.says("history", "web") if "  built  " in line]
    what = "1 package down, 1 up, 1 added, 1 removed; files: 2 changed"
    assert re.search(f"web@linux/amd64  .* s, [0-9a-f]{{12}} -> [0-9a-f]{{12}}: {what}", changed)
    assert re.search(" s, new: [0-9a-f]{12}$", first)


def test_json(built: Catalog) -> None:
    (line,) = built.says("changes", f"--since={FIRST}", "--json")
    report = json.loads(line)
    assert report["version"] == 1 and report["since"].startswith(f"{FIRST}T23:59:59")
    assert [one["bundle"] for one in report["changes"]] == ["api@linux/amd64", "own@linux/amd64", "web@linux/amd64"]
    assert ["api@linux/amd64", "web@linux/amd64"] in [one["bundles"] for one in report["groups"]]
    assert report["changes"][0]["packages"][0]["way"] == "added"


def test_markdown(built: Catalog) -> None:
    found = built.says("changes", f"--since={FIRST}", "--markdown")
    assert found[:2] == [f"**3 bundles changed since {FIRST}**", ""]
    assert "  - 1 package down: `ssl` `3.1-r0` -> `3.0-r0`" in found
    assert all(line.startswith(("- ", "  - ")) for line in found[2:])


@pytest.mark.parametrize("days", [2, 3])
def test_nothing(built: Catalog, days: int) -> None:
    since = FIRST + timedelta(days=days)
    told = f"nothing changed since {since}; the last change was {FIRST + timedelta(days=2)}"
    (line,) = built.says("changes", f"--since={since}", "--exit-code")
    assert line.startswith(told)
    assert built.says("changes", "--exit-code", exit=1)


def test_a_bundle_and_a_night(built: Catalog) -> None:
    new = f"web@linux/amd64:{FIRST + timedelta(days=1)}"
    found = built.says("diff", f"web:{FIRST}", "web", "--exit-code", exit=1)
    assert found[0] == f"web@linux/amd64:{FIRST} -> web@linux/amd64"
    assert "    1 package down: ssl 3.1-r0 -> 3.0-r0" in found
    assert built.says("diff", new, "web@linux/amd64", "--exit-code") == [f"{new} -> web@linux/amd64: no difference"]
    back = built.says("diff", "web", f"web:{FIRST}")
    assert "    1 package up: ssl 3.0-r0 -> 3.1-r0" in back
    assert built.says("diff", f"web:{FIRST}", new)[2:] == found[2:]


def test_two_bundles(built: Catalog) -> None:
    found = built.says("diff", "api", "web")
    assert found[0] == "api@linux/amd64 -> web@linux/amd64"
    assert [line.strip() for line in found if "/srv/" in line] == [
        "/srv/api (removed, 1 bytes)",
        "/srv/web (added, 1 bytes)",
    ]
    assert not any("package" in line for line in found)
    earlier = built.says("diff", f"api:{FIRST}", f"web:{FIRST}")
    assert [line.strip() for line in earlier if "/srv/" in line] == [
        "/srv/api (removed, 1 bytes)",
        "/srv/web (added, 1 bytes)",
    ]
    assert not any("package" in line for line in earlier)
    across = built.says("diff", f"api:{FIRST}", "web")
    assert "    1 package up: musl 1.2.9-r0 -> 1.2.10-r0" in across


def test_two_catalogs(built: Catalog) -> None:
    found = built.says("diff", "first.json", "bundles/catalog.json")
    assert found[0] == "first.json -> bundles/catalog.json: 3 bundles changed"
    assert found[1:] == built.says("changes", f"--since={FIRST}")[1:]
    assert built.says("diff", "first.json", "first.json", "--exit-code") == [
        "first.json -> first.json: no difference"
    ]
    elsewhere = built.folder / "elsewhere"
    elsewhere.mkdir()
    write_catalog(elsewhere, {"web": {"source": "oci:../web", "rootfs": ["tar"]}})
    told = run_doit(elsewhere, "diff", "../first.json", "../bundles/catalog.json")
    assert told.exit == 0 and "which packages and files changed is not known here" in told.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("changes", "--since=yesterday"), "'yesterday' is no night: give a date (2026-11-27), or the time of a run"),
        (("changes", "--since=2026-13-01"), "2026-13-01 is no date"),
        (("changes", "--since=0001-01-01 00:00"), "no run began at 0001-01-01 00:00; did you mean 20"),
        (("changes", "wbe"), "'wbe' is no task, bundle or target; did you mean web"),
        (("diff", "web"), "diff takes two bundles"),
        (("diff", "web", "wbe"), "did you mean web"),
        (("diff", "web:2026-10-01", "web"), "web@linux/amd64 was not built yet on 2026-10-01"),
        (("diff", "none.json", "first.json"), "none.json: cannot be read: No such file or directory"),
        (("diff", "own/index.json", "first.json"), "own/index.json: is no catalog.json of this version"),
    ],
)  # fmt: skip
def test_what_is_not_there(built: Catalog, words: tuple[str, ...], told: str) -> None:
    found = built.says(*words, exit=3)
    assert len(found) == 1 and told in found[0], found


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_the_first_and_the_last_day(built: Catalog, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Of all that there are."""
    monkeypatch.setenv("TZ", zone)
    assert built.says("changes", "--since=0001-01-01")[0].endswith("changed since 0001-01-01")
    assert built.says("changes", "--since=9999-12-31")[0].startswith("nothing changed since 9999-12-31; the last ")
    assert built.says("diff", "web:9999-12-31", "web") == [
        "web@linux/amd64:9999-12-31 -> web@linux/amd64: no difference"
    ]
    assert "was not built yet on 0001-01-01" in built.says("diff", "web:0001-01-01", "web", exit=3)[0]
    assert "is no date" not in built.says("changes", "--since=9999-12-31 23:59", exit=3)[0]


def test_the_time_of_a_run(built: Catalog) -> None:
    """As the history shows it."""
    shown = built.says("history")[-2][:16]
    assert shown.startswith(f"{FIRST + timedelta(days=1)} ")
    assert built.says("changes", f"--since={shown}")[0] == f"1 bundle changed since {shown}"
    (line,) = built.says("changes", f"--since={shown[:-2]}59", exit=3)
    assert line.endswith(f"no run began at {shown[:-2]}59; did you mean {shown}?")


def test_new_removed_and_cleaned(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.image("a", {"bin/a": "a"})
    catalog.image("b", {"bin/b": "b"})
    catalog.build()
    catalog.image("c", {"bin/c": "c"})
    del catalog.images["b"]
    catalog.build()
    assert {line.partition(" (")[0] for line in catalog.says("changes")[1:]} == {
        "new: c@linux/amd64", "removed: b@linux/amd64",
    }  # fmt: skip
    assert run_doit(tmp_path, "clean", "-y").exit == 0
    assert catalog.says("changes", f"--since={FIRST + timedelta(days=1)}")[1].startswith("removed: 2 bundles: a@")
    catalog.build()
    (line,) = catalog.says("changes", f"--since={FIRST + timedelta(days=1)}")
    assert line.startswith("nothing changed")  # it is built as it was


def test_a_change_back_is_none(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for base in (BASE, NEW_BASE, BASE):
        catalog.image("web", base)
        catalog.build()
    assert catalog.says("changes", f"--since={FIRST}")[0].startswith("nothing changed")
    assert "musl 1.2.10-r0 -> 1.2.9-r0" in "".join(catalog.says("changes"))


def test_what_is_no_longer_remembered_is_told(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    for number in range(4):
        catalog.image("web", {**BASE, "srv/x": f"{number}"})
        catalog.build()
    history = tmp_path / "bundles/.history"
    found = sorted(history.glob("*.changes.zst"))
    found[2].unlink()
    told = "".join(catalog.says("changes", f"--since={FIRST}"))
    assert f"what the run of {FIRST + timedelta(days=2)}" in told and "changed is not known any more" in told
    for path in sorted(history.iterdir())[:4]:
        path.unlink()
    assert f"note: what changed before {FIRST + timedelta(days=2)}" in "".join(
        catalog.says("changes", f"--since={FIRST}")
    )
    (line,) = catalog.says("diff", f"web:{FIRST}", "web", exit=3)
    assert "is no longer known" in line


@pytest.mark.parametrize(("flipped", "cut"), [(0, 0), (30, 0), (-3, 0), (None, 5), (None, 1), (None, 10**6)])
def test_notes_that_are_damaged(tmp_path: Path, flipped: int | None, cut: int) -> None:
    """`verify` names each such file, and mends it to what can be read."""
    catalog = Catalog(tmp_path)
    for number in range(3):
        catalog.image("web", {**BASE, "srv/x": f"{number}"})
        catalog.build()
    path = sorted((tmp_path / "bundles/.history").glob("*.changes.zst"))[1]
    assert run_doit(tmp_path, "verify").exit == 0
    content = bytearray(path.read_bytes())
    if flipped is not None:
        content[flipped] ^= 4
    damaged = bytes(content[: max(len(content) - cut, 0)]) if cut else bytes(content)
    damaged = damaged or b"x"
    path.write_bytes(damaged)
    good = stored.readable(path.read_bytes())
    of = f"changes {path.name}"
    said = catalog.says("verify", exit=1)
    where, what = f"bundles/.history/{path.name}", "content: want what a run has noted, have damaged from byte"
    assert said[0] == f"{where}: {what} {good} on, of {path.stat().st_size}"
    mended = catalog.says("verify", "--repair")
    assert (mended[0], mended[1]) == (said[0], f"mended: {of}")
    assert path.exists() == bool(good)
    assert not good or path.read_bytes() == damaged[:good]
    assert catalog.says("verify")[-1].endswith(": no deviations")
    if not good:
        assert f"the run of {FIRST + timedelta(days=1)}" in "".join(catalog.says("changes", f"--since={FIRST}"))
    assert catalog.says("diff", f"web:{FIRST + timedelta(days=1)}", "web")


def test_notes_that_cannot_be_read(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.image("web", BASE)
    catalog.build()
    path = next((tmp_path / "bundles/.history").glob("*.changes.zst"))
    path.unlink()
    path.symlink_to("/etc/passwd")
    (line, _) = catalog.says("verify", exit=1)
    assert line.startswith(f"bundles/.history/{path.name}: content: want what a run has noted, have ")
    assert f"mended: changes {path.name}" in catalog.says("verify", "--repair")
    assert not path.is_symlink()


def test_nights_as_dpkg_says(tmp_path: Path) -> None:
    quiet, changed, down = month(tmp_path, 4, 3)
    assert quiet >= 1 and changed > 20 and down > 0


def test_what_shards_have_changed_is_known_where_they_are_merged(tmp_path: Path) -> None:
    """By what the shard has noted, or, where that is lost, by both trees, without the contents of layers not here."""
    (tmp_path / "shard").mkdir()
    (tmp_path / "main").mkdir()
    shard, main = Catalog(tmp_path / "shard"), Catalog(tmp_path / "main")
    for number, base in enumerate((BASE, NEW_BASE, BASE)):
        for one in (shard, main):
            one.image("web", base, {"srv/x": f"{number}", "srv/same": "same"})
        shard.build()
        if number == 2:
            for path in (tmp_path / "shard/bundles/.history").iterdir():
                path.unlink()
        write_catalog(main.folder, main.images)
        assert run_doit(main.folder, "merge", "../shard/bundles").exit == 0
        redate(main.folder, main.night)
        main.night += timedelta(days=1)
    of_second = main.says("diff", f"web:{FIRST}", f"web:{FIRST + timedelta(days=1)}")
    assert "    1 package down: ssl 3.1-r0 -> 3.0-r0" in of_second
    assert [line.strip() for line in of_second if "/srv" in line] == ["/srv/x"]
    of_third = main.says("changes", "web")
    assert "    1 package up: ssl 3.0-r0 -> 3.1-r0" in of_third
    assert any("not compared, as layers are not here" in line for line in of_third)
