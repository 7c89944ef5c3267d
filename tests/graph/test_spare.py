"""The root that was published before is kept, and the next one is made of it: where that can be trusted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.telling.sizes import human
from tests.graph.catalogs import BASE, write_catalog
from tests.support import roots
from tests.support.hooking import KILLED_IN_ROOTS, hooked
from tests.support.images import File, Hardlink, Layout, Tree
from tests.support.running import executed, run_doit

WEB = "bundles/web/linux-amd64"
PARTS = "bundles/.parts/web/linux-amd64"
VERSIONS = 3
EMPTY = {"spare", "spare.note"}
YOUNG = """
import os
import c2wtasks.output.publish as _publish
import c2wtasks.output.spare as _spare
_usual = _publish._take_place
def _counted(new, published):
    with open(os.path.dirname(new) + "/spare.delta", "rb") as noted, open("young", "a") as seen:
        seen.write(f"{len(_spare._WRITTEN.decode(noted.read()).young)}\\n")
    return _usual(new, published)
_publish._take_place = _counted
"""
"""As a bundle gets its published name, it is told how many of its directories lack a stamp."""


def layer(version: int) -> Tree:
    """What each version has otherwise: content, a kind, a mode, names."""
    return {
        "srv/": None,
        "srv/index": f"{version}\n",
        "srv/same": "same\n",
        "srv/link": Hardlink("srv/index" if version % 2 else "srv/same"),
        f"srv/only{version}": "",
        "srv/mode": File(mode=0o644 + version, content="mode"),
        ("srv/kind/" if version == 1 else "srv/kind"): None if version == 1 else "kind",
    }


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """With two versions built, so that there is a spare root."""
    layout = Layout(tmp_path / "web")
    many: Tree = {"lib/": None, **{f"lib/{number}": str(number) for number in range(40)}}
    for version in range(VERSIONS):
        layout.image(BASE, many, layer(version), tag=f"v{version}", cmd=["httpd"])
    for version in range(2):
        write(tmp_path, version)
        assert run_doit(tmp_path).exit == 0
    assert left(tmp_path) == EMPTY
    return tmp_path


def write(folder: Path, version: int) -> None:
    write_catalog(folder, {"web": {"source": f"oci:web:v{version % VERSIONS}"}})


def left(folder: Path) -> set[str]:
    """What there is of a spare root."""
    return {path.name for path in (folder / PARTS).iterdir() if path.name.startswith("spare")} - {"spare.delta"}


def anew(folder: Path, version: int) -> list[str]:
    """What a root is that is made of nothing."""
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    os.symlink(folder / "web", fresh / "web")
    write(fresh, version)
    assert run_doit(fresh).exit == 0
    return roots.of_folder(str(fresh / WEB / "rootfs"))


def root(folder: Path) -> list[str]:
    return roots.of_folder(str(folder / WEB / "rootfs"))


def test_the_next_root_is_made_of_the_spare_one(catalog: Path) -> None:
    spare, published = ((catalog / at).stat().st_ino for at in (f"{PARTS}/spare", f"{WEB}/rootfs"))
    write(catalog, 2)
    assert run_doit(catalog).exit == 0
    assert (catalog / WEB / "rootfs").stat().st_ino == spare
    assert (catalog / PARTS / "spare").stat().st_ino == published
    assert root(catalog) == anew(catalog, 2)
    assert run_doit(catalog, "verify").exit == 0
    assert executed(catalog) == set()


def test_what_is_beside_the_root_changes(catalog: Path) -> None:
    spare = (catalog / PARTS / "spare").stat().st_ino
    write_catalog(catalog, {"web": {"source": "oci:web:v1", "process": {"args": ["other"]}}})
    assert run_doit(catalog).exit == 0
    assert (catalog / WEB / "rootfs").stat().st_ino == spare
    assert root(catalog) == anew(catalog, 1)


def test_where_only_what_is_beside_changes_two_small_roots_take_turns(catalog: Path) -> None:
    """Each is looked at, and nothing in it is made anew, nor noted; once their folders are no longer young."""
    seen: list[dict[str, tuple[int, int]]] = []
    notes: list[int] = []
    for number in range(9):
        write_catalog(catalog, {"web": {"source": "oci:web:v1", "process": {"args": [str(number)]}}})
        assert run_doit(catalog).exit == 0
        found = {path: path.lstat() for path in (catalog / WEB / "rootfs").rglob("*/")}
        seen.append({str(path): (state.st_ino, state.st_ctime_ns) for path, state in found.items()})
        notes.append((catalog / PARTS / "spare.delta").stat().st_ino)
        if number > 3 and seen[-4:-2] == seen[-2:]:
            break
    assert seen[-4:-2] == seen[-2:]
    assert notes[-1] == notes[-2]
    assert root(catalog) == anew(catalog, 1)
    assert run_doit(catalog, "verify").exit == 0


def test_what_tells_of_changes_is_noted_before_others_can_make_any(catalog: Path, tmp_path: Path) -> None:
    hook = hooked(tmp_path / "hook", YOUNG)
    write_catalog(catalog, {"web": {"source": "oci:web:v1", "process": {"args": ["other"]}}})
    assert run_doit(catalog, env=hook).exit == 0
    assert (catalog / "young").read_text().split() == ["0"]


def test_a_spare_root_takes_the_room_of_its_names(catalog: Path) -> None:
    """But for little, and for folders: its files are those that are published."""
    spare = catalog / PARTS / "spare"
    own = [path for path in spare.rglob("*") if path.is_file() and path.stat().st_nlink == 1]
    assert spare.stat().st_mode & 0o777 == 0o700  # what is in it may be what a new image has mended
    assert {path.name for path in own} <= {"only0", "index", "mode", "kind", "passwd"}


def test_one_that_has_much_of_its_own_is_not_kept(catalog: Path) -> None:
    layout = Layout(catalog / "big")
    for number in range(2):
        layout.image(BASE, {"big": str(number) * (2 << 20)}, tag=f"v{number}", cmd=["x"])
    for number in range(2):
        write_catalog(catalog, {"web": {"source": f"oci:big:v{number}"}})
        assert run_doit(catalog).exit == 0
    assert left(catalog) == set()


def _copied(folder: Path) -> None:
    (folder / PARTS / "spare").rename(folder / "moved")
    subprocess.run(["cp", "-a", folder / "moved", folder / PARTS / "spare"], check=True)


def _of_another_boot(folder: Path) -> None:
    note = folder / PARTS / "spare.note"
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
    assert boot in note.read_bytes()
    note.write_bytes(note.read_bytes().replace(boot, b"0" * len(boot)))


UNTRUSTED: dict[str, Callable[[Path], object]] = {
    "nothing is noted": lambda folder: (folder / PARTS / "spare.note").unlink(),
    "the note is damaged": lambda folder: (folder / PARTS / "spare.note").write_bytes(b"\x93"),
    "power was lost": _of_another_boot,
    "the folder is a copy": _copied,
    "the folder is gone": lambda folder: shutil.rmtree(folder / PARTS / "spare"),
    "the published root is not trusted": lambda folder: (folder / WEB / "stray").touch(),
}


@pytest.mark.parametrize("how", UNTRUSTED.values(), ids=UNTRUSTED)
def test_one_that_is_not_as_it_was_left_is_thrown_away(catalog: Path, how: Callable[[Path], object]) -> None:
    same = catalog / PARTS / "spare/srv/same"
    found = same.stat()
    same.unlink()
    same.write_text("SAME\n")  # what no plain run can see
    os.utime(same, ns=(found.st_mtime_ns, found.st_mtime_ns))
    spare = os.open(catalog / PARTS / "spare", os.O_PATH)  # so that its inode is not given to another
    try:
        how(catalog)
        write(catalog, 2)
        assert run_doit(catalog).exit == 0
        assert (catalog / WEB / "rootfs").stat().st_ino != os.fstat(spare).st_ino
    finally:
        os.close(spare)
    assert root(catalog) == anew(catalog, 2)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a file is gone": lambda spare: (spare / "lib/3").unlink(),
    "a file was replaced": lambda spare: ((spare / "lib/3").unlink(), (spare / "lib/3").write_text("3")),
    "a file was edited": lambda spare: (spare / "srv/only0").write_text("x"),
    "something was put in": lambda spare: (spare / "lib/more").write_text("x"),
    "a folder is a link": lambda spare: ((spare / "lib").rename(spare / "l"), (spare / "lib").symlink_to("l")),
    "a folder cannot be removed": lambda spare: (spare / "lib").chmod(0),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_was_changed_in_it_is_made_anew(catalog: Path, damage: Callable[[Path], object]) -> None:
    damage(catalog / PARTS / "spare")
    write(catalog, 2)
    assert run_doit(catalog).exit == 0
    assert root(catalog) == anew(catalog, 2)


def test_one_that_is_still_read_is_not_changed(catalog: Path) -> None:
    """By who has come in while it was published, and goes on from there: it is emptied, and nothing is put in."""
    reader = "while read line; do cat srv/index || echo gone; done"
    write(catalog, 0)  # so that the published one is read
    assert run_doit(catalog).exit == 0
    seen = []
    with subprocess.Popen(
        ["sh", "-c", reader],
        cwd=catalog / WEB / "rootfs",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for version in (None, 1, 2):
            if version is not None:
                write(catalog, version)
                assert run_doit(catalog).exit == 0
                assert root(catalog) == anew(catalog, version)
            process.stdin.write("\n")
            process.stdin.flush()
            seen.append(process.stdout.readline())
        process.stdin.close()
    assert seen == ["0\n", "0\n", "gone\n"]


def test_killed_at_any_step(catalog: Path) -> None:
    """From where the spare root is taken until the root that was replaced is kept in its place."""
    expected = [anew(catalog, version) for version in range(VERSIONS)]
    step, version, ended = 0, 2, False
    while not ended:
        write(catalog, version)
        env = hooked(catalog / "hook", KILLED_IN_ROOTS, STEP=str(step))
        status = run_doit(catalog, "-n", "0", env=env).exit
        assert status in (0, -9)
        ended = status == 0
        assert root(catalog) in (expected[(version - 1) % VERSIONS], expected[version % VERSIONS])
        assert run_doit(catalog).exit == 0
        assert root(catalog) == expected[version % VERSIONS]
        assert left(catalog) in (EMPTY, set())
        assert not [path.name for path in (catalog / PARTS).iterdir() if path.name.startswith(".")]
        step += 1 + step // 3
        version += 1
    assert step > 8


def test_it_goes_with_its_bundle(catalog: Path) -> None:
    assert run_doit(catalog, "clean", "web").exit == 0
    assert not (catalog / PARTS).exists()


def test_it_goes_with_the_form(catalog: Path) -> None:
    write_catalog(catalog, {"web": {"source": "oci:web:v1", "rootfs": ["tar"]}})
    assert run_doit(catalog).exit == 0
    assert left(catalog) == set()


def test_a_repaired_bundle_has_none(catalog: Path) -> None:
    """What is wrong with a file that both have would come back with it."""
    path = catalog / WEB / "rootfs/srv/same"
    found = path.stat()
    path.write_text("SAME\n")
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
    assert run_doit(catalog, "verify", "--repair").exit == 0
    assert left(catalog) == set()
    write(catalog, 2)
    assert run_doit(catalog).exit == 0
    assert root(catalog) == anew(catalog, 2)


def gc(folder: Path, *args: str) -> list[tuple[str, str]]:
    """What of spare roots it removes, and why."""
    ended = run_doit(folder, "gc", "--json", *args)
    assert ended.exit == 0
    return [(one["path"], one["why"]) for one in json.loads(ended.stdout)["removed"] if one["kind"] == "spare"]


def _of_last_month(folder: Path) -> None:
    os.utime(folder / PARTS / "spare.note", (time.time() - 30 * 86_400 - 60,) * 2)


USELESS = {
    "its bundle was not replaced for a month": _of_last_month,
    "no root can be made of it": _of_another_boot,
}


@pytest.mark.parametrize("why", USELESS)
def test_gc_removes_what_is_of_no_use(catalog: Path, why: str) -> None:
    assert gc(catalog) == []
    USELESS[why](catalog)
    assert gc(catalog, "--dry-run") == [(f"{PARTS}/spare", why)]
    assert left(catalog) == EMPTY
    spare = catalog / PARTS / "spare"
    freed = sum(
        512 * path.lstat().st_blocks
        for path in [spare, *spare.rglob("*")]
        if path.is_dir() or path.lstat().st_nlink == 1
    )
    assert run_doit(catalog, "gc").stdout.splitlines()[0] == f"removed {PARTS}/spare ({human(freed)}): {why}"
    assert left(catalog) == set()
    write(catalog, 2)
    assert run_doit(catalog).exit == 0
    assert root(catalog) == anew(catalog, 2)


def test_prune_removes_it(catalog: Path) -> None:
    Layout(catalog / "other").image(BASE, cmd=["sh"])
    write_catalog(catalog, {"other": "oci:other"})
    assert run_doit(catalog, "prune").exit == 0
    assert not (catalog / PARTS).exists()


def test_verify_does_not_mind_it(catalog: Path) -> None:
    """Nothing of it is a result. What is done to files that the published root has, too, is found there."""
    (catalog / PARTS / "spare/srv/only0").write_text("x")
    (catalog / PARTS / "spare/stray").write_text("x")
    assert run_doit(catalog, "verify").exit == 0
    os.utime(catalog / PARTS / "spare/srv/same", (1, 1))
    assert run_doit(catalog, "verify").exit == 1
    write(catalog, 2)
    assert run_doit(catalog).exit == 0
    assert root(catalog) == anew(catalog, 2)
