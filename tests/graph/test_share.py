"""`share: true`: what roots have alike is one file on disk, in all bundles, night after night; and nothing else is
otherwise than without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import BASE, write_catalog
from tests.support import roots
from tests.support.hooking import KILLED_IN_ROOTS, SMALL_PARTS, WORKERS_AT_ONCE, hooked
from tests.support.images import File, Hardlink, Layout, Tree
from tests.support.running import environment, executed, run_doit

NAMES = ("web", "db", "mail")
POOL = "bundles/.parts/.shared"


def base(version: int) -> Tree:
    """The layer that all images have; of two versions most files are alike."""
    many: Tree = {"lib/": None, **{f"lib/{number}": str(number) for number in range(40)}}
    return {
        **BASE,
        **many,
        "lib/changed": f"{version}\n",
        "lib/su": File(mode=0o4755, content="su"),
        "lib/link": Hardlink("lib/0"),
        "lib/empty": "",
    }


def image(folder: Path, name: str, *layers: Tree) -> str:
    """The source of an image with these layers, which is made if need be."""
    if not (folder / "images" / name).exists():
        Layout(folder / "images" / name).image(*layers, cmd=["x"])
    return f"oci:images/{name}"


def write(folder: Path, versions: dict[str, tuple[int, int]], **more: Any) -> None:
    """Images of some version of the base layer, and of some top layer."""
    images = {}
    for name, (below, above) in versions.items():
        layers = base(below), {"srv/": None, "srv/top": f"{name} {above}\n"}
        images[name] = {"source": image(folder, f"{name}-{below}-{above}", *layers)}
    write_catalog(folder, images, **{"share": True, **more})


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    write(tmp_path, dict.fromkeys(NAMES, (0, 0)))
    return tmp_path


def root(folder: Path, name: str) -> Path:
    return folder / f"bundles/{name}/linux-amd64/rootfs"


def files(folder: Path, name: str) -> dict[str, int]:
    """The inodes of the regular files of a root that are not empty."""
    found = {}
    for path in root(folder, name).rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size:
            found[path.relative_to(root(folder, name)).as_posix()] = path.stat().st_ino
    return found


def own(folder: Path, names: tuple[str, ...] = NAMES) -> dict[str, int]:
    """How many files each name of a file in the roots stands for."""
    found: dict[str, set[int]] = {}
    for name in names:
        for path, inode in files(folder, name).items():
            found.setdefault(path, set()).add(inode)
    return {path: len(inodes) for path, inodes in found.items()}


def alone(folder: Path, name: str) -> list[str]:
    """What a root is that shares nothing, and is made of nothing."""
    fresh = folder / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    os.symlink(folder / "images", fresh / "images")
    text = json.loads((folder / "bundle.yaml").read_text())
    write_catalog(fresh, {name: text["images"][name]})
    assert run_doit(fresh).exit == 0
    assert (root(fresh, name).parent / "bundle.json").read_bytes() == (
        root(folder, name).parent / "bundle.json"
    ).read_bytes()
    return roots.of_folder(str(root(fresh, name)))


def check(folder: Path) -> None:
    """That each root is as if it were alone."""
    for name in NAMES:
        assert roots.of_folder(str(root(folder, name))) == alone(folder, name), name


@pytest.mark.parametrize("code", ["", WORKERS_AT_ONCE + SMALL_PARTS])
def test_what_is_alike_is_one_file(catalog: Path, code: str) -> None:
    assert run_doit(catalog, "-n", "2", env=hooked(catalog / "hook", code)).exit == 0
    assert {path for path, count in own(catalog).items() if count > 1} == {"srv/top"}
    check(catalog)
    assert executed(catalog) == set()
    assert run_doit(catalog, "verify").exit == 0


def test_night_after_night(catalog: Path) -> None:
    """New top layers, a new base layer, and bundles that come later: which of them is built first does not matter."""
    assert run_doit(catalog).exit == 0
    for night in range(1, 7):
        below = night // 3
        versions = {name: (below, night if name == "web" else 0) for name in NAMES}
        extra = {f"a{number}": (below, number) for number in range(night)}  # comes first, by its name
        write(catalog, {**versions, **extra})
        assert run_doit(catalog, "-n", "0").exit == 0
        assert {path for path, count in own(catalog, (*NAMES, *extra)).items() if count > 1} == {"srv/top"}
        assert (
            len(list((catalog / POOL).glob("*/*"))) == len(own(catalog)) - 2 + 1 + len({*versions.values()}) + night
        )
    check(catalog)


@pytest.fixture
def built(catalog: Path) -> Path:
    assert run_doit(catalog).exit == 0
    return catalog


def test_the_disk_that_it_saves_is_in_the_history(built: Path) -> None:
    runs = json.loads(run_doit(built, "history", "--json").stdout)["runs"]
    saved = [bundle.get("saved", 0) for bundle in runs[0]["bundles"]]
    disk = {
        path.stat().st_ino: path.stat().st_blocks * 512 for path in root(built, "web").rglob("*") if path.is_file()
    }
    of_top = (root(built, "web") / "srv/top").stat().st_blocks * 512
    assert sum(saved) == 2 * (sum(disk.values()) - of_top)
    assert "of disk saved by sharing" in run_doit(built, "history").stdout
    # What is published anew for something else saves nothing.
    text = json.loads((built / "bundle.yaml").read_text())
    text["images"]["web"]["process"] = {"args": ["other"]}
    (built / "bundle.yaml").write_text(json.dumps(text))
    assert run_doit(built).exit == 0
    runs = json.loads(run_doit(built, "history", "--json").stdout)["runs"]
    assert [bundle.get("saved", 0) for bundle in runs[0]["bundles"]] == [0]


def test_it_is_switched_on_and_off(catalog: Path) -> None:
    """All roots are written anew at once: who writes into one writes into no other then."""
    for share in (False, True, False):
        write(catalog, dict.fromkeys(NAMES, (0, 0)), share=share)
        foretold = run_doit(catalog, "why", "web").stdout
        ran = executed(catalog)
        assert {f"rootfs:{name}@linux/amd64:dir" for name in NAMES} <= ran
        assert {f"bundle:{name}@linux/amd64" for name in NAMES} <= ran
        assert set(own(catalog).values()) == ({1, 3} if share else {3})
        assert share == (catalog / POOL).exists()
        check(catalog)
        if "never built" not in foretold:
            assert "share" in foretold, foretold
    names = [path.stat().st_nlink for path in root(catalog, "web").rglob("*") if path.is_file()]
    assert set(names) == {1, 2}  # lib/0 and lib/link
    assert executed(catalog) == set()


def test_one_image_does_not_share(catalog: Path) -> None:
    text = json.loads((catalog / "bundle.yaml").read_text())
    text["images"]["web"]["share"] = False
    (catalog / "bundle.yaml").write_text(json.dumps(text))
    assert run_doit(catalog).exit == 0
    assert set(own(catalog, ("web", "db")).values()) == {2}
    assert set(own(catalog, ("mail", "db")).values()) == {1, 2}


def test_a_bundle_that_proves_itself_is_of_the_same_kind(built: Path) -> None:
    (built / ".doit.db").unlink()
    assert executed(built) <= {"catalog"}
    (built / ".doit.db").unlink()
    write(built, dict.fromkeys(NAMES, (0, 0)), share=False)
    assert "rootfs:web@linux/amd64:dir" in executed(built)
    assert set(own(built).values()) == {3}


NO_LINKS = """
import os, errno
_link = os.link
def _refused(old, new, **more):
    if max(len(os.fsdecode(old)), len(os.fsdecode(new))) > 64:  # the name of a layer's folder in the pool
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    _link(old, new, **more)
os.link = _refused
"""


def test_a_file_system_without_hard_links_is_told_of(catalog: Path) -> None:
    done = run_doit(catalog, env=hooked(catalog / "hook", NO_LINKS))
    assert done.exit == 0
    said = "the root has files of its own, as they cannot be shared: Operation not permitted"
    assert f"note: db@linux/amd64, mail@linux/amd64, web@linux/amd64: {said}" in done.stderr + done.stdout
    assert set(own(catalog).values()) == {3}
    check(catalog)


ANY_LINK = """
import os, errno
def _refused(*args, **more):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
os.link = _refused
"""


def test_doctor_says_what_it_means(catalog: Path) -> None:
    said = "note: roots in bundles share their files: whoever writes into one writes into all that have the file"
    assert said in run_doit(catalog, "doctor").stdout
    assert json.loads(run_doit(catalog, "doctor", "--json").stdout)["shares"] is True
    env = hooked(catalog / "hook", ANY_LINK)
    said = "note: roots in bundles cannot share their files, as the file system has no hard links"
    assert said in run_doit(catalog, "doctor", env=env).stdout
    assert json.loads(run_doit(catalog, "doctor", "--json", env=env).stdout)["shares"] is False
    write(catalog, dict.fromkeys(NAMES, (0, 0)), share=False)
    assert "share" not in run_doit(catalog, "doctor").stdout


FEW_LINKS = """
import os, errno
_link = os.link
def _few(old, new, **more):
    if os.stat(old, dir_fd=more.get("src_dir_fd"), follow_symlinks=False).st_nlink >= 24:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
    _link(old, new, **more)
os.link = _few
import c2wtasks.rootfs.dir.pool as _pool
_pool.MOST_NAMES = 8
"""


def test_files_with_several_names_run_out_of_none(catalog: Path) -> None:
    for night in range(4):
        write(catalog, dict.fromkeys(NAMES, (0, night)))
        assert run_doit(catalog, env=hooked(catalog / "hook", FEW_LINKS)).exit == 0
        assert set(own(catalog).values()) <= {1, 2, 3}
        check(catalog)
        assert run_doit(catalog, "verify").exit == 0


def _replaced_by_another(pool: Path) -> None:
    shutil.rmtree(pool)
    pool.mkdir(mode=0o777)
    pool.chmod(0o777)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "it is gone": shutil.rmtree,
    "it is another's": _replaced_by_another,
    "it is a file": lambda pool: (shutil.rmtree(pool), pool.write_text("")),
    "a file in it was edited": lambda pool: [path.write_text("odd") for path in pool.glob("*/*")],
    "the machine was started again": lambda pool: (pool / "boot").write_text("then"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_whatever_becomes_of_the_pool(built: Path, damage: Callable[[Path], object]) -> None:
    """New bundles share among themselves, and none takes what is not as it was left."""
    damage(built / POOL)
    write(built, {**dict.fromkeys(NAMES, (0, 0)), "new": (0, 5), "newer": (0, 6)})
    assert run_doit(built).exit == 0
    assert set(own(built, ("new", "newer")).values()) == {1, 2}
    for name in "new", "newer":
        assert roots.of_folder(str(root(built, name))) == alone(built, name)


def count(folder: Path) -> int:
    return len(list((folder / POOL).glob("*/*")))


def test_what_no_root_has_any_more_goes(built: Path) -> None:
    """With its layer; and of layers that stay when a bundle is removed by name, or what bundle.yaml has no more."""
    before = count(built)
    write(built, dict.fromkeys(NAMES, (0, 1)))
    assert run_doit(built).exit == 0
    assert count(built) == before  # three tops have gone, three have come
    less = {"source": image(built, "less", base(0), {"lib/.wh.1": "", "lib/.wh.2": ""})}
    write_catalog(built, dict.fromkeys(NAMES, less), share=True)
    assert run_doit(built).exit == 0
    shutil.rmtree(built / "bundles/.parts/db/linux-amd64/spare", ignore_errors=True)
    write_catalog(built, {"web": less}, share=True)
    assert run_doit(built).exit == 0
    done = run_doit(built, "prune", "--json")
    assert json.loads(done.stdout)["freed"] == 0  # the spare root of web has them
    shutil.rmtree(built / "bundles/.parts/web/linux-amd64/spare")
    then = count(built)
    done = run_doit(built, "prune")
    assert "of files that roots shared" in done.stdout
    assert count(built) == then - 2
    assert count(built) == len(set(files(built, "web").values()))
    assert run_doit(built, "clean", "web").exit == 0
    assert count(built) == 0


def test_gc_removes_what_no_root_has(built: Path) -> None:
    less = {"source": image(built, "less", base(0), {"lib/.wh.1": "", "lib/.wh.2": ""})}
    disk = sum((root(built, "web") / f"lib/{number}").stat().st_blocks * 512 for number in (1, 2))
    write_catalog(built, dict.fromkeys(NAMES, less), share=True)
    assert run_doit(built).exit == 0
    for spare in built.glob("bundles/.parts/*/*/spare"):
        shutil.rmtree(spare)
    then = count(built)
    for option, left in ("--dry-run", then), ("--json", then - 2):
        removed = json.loads(run_doit(built, "gc", option, "--json").stdout)["removed"]
        assert [(one["path"], one["bytes"]) for one in removed if one["kind"] == "shared"] == [(POOL, disk)]
        assert count(built) == left
    assert run_doit(built, "verify").exit == 0


def test_a_change_of_all_is_tidied_up_at_once(built: Path) -> None:
    """Of layers that stay: other owners, say, make other files of all. Spare roots do not keep them either."""
    source = image(built, "big", {"big": File(uid=5, content="x" * (2 << 20))})
    for same_owner in True, False:
        write_catalog(built, {"big": {"source": source, "same_owner": same_owner}}, share=True)
        assert run_doit(built).exit == 0
        assert count(built) == 1
    assert set(files(built, "big").values()) == {path.stat().st_ino for path in (built / POOL).glob("*/*")}


def test_two_runs_at_once(catalog: Path) -> None:
    command = [sys.executable, "-m", "doit", "-n", "2"]
    runs = [subprocess.Popen(command, cwd=catalog, env=environment(), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert {path for path, count in own(catalog).items() if count > 1} == {"srv/top"}
    check(catalog)


def test_killed_at_any_step(built: Path) -> None:
    """From where the first root is written until the last one is published, and the pool is tidied up."""
    step, version, ended = 0, 1, False
    while not ended:
        write(built, dict.fromkeys(NAMES, (version % 2, version)))
        status = run_doit(built, "-n", "0", env=hooked(built / "hook", KILLED_IN_ROOTS, STEP=str(step))).exit
        assert status in (0, -9)
        ended = status == 0
        assert run_doit(built).exit == 0
        assert {path for path, count in own(built).items() if count > 1} == {"srv/top"}
        assert not list((built / POOL).glob(".tmp-*"))
        step += 1 + step // 3
        version += 1
    assert step > 50
    check(built)
    assert run_doit(built, "verify").exit == 0


def test_it_goes_with_its_bundles(built: Path) -> None:
    assert run_doit(built, "clean", "--yes").exit == 0
    assert not list((built / "bundles").rglob("*/rootfs"))
    assert count(built) == 0
