"""A catalog on file systems that cannot do all that a good local disk can: it is built, or one line says why it
cannot be; it is never wrong in silence. The table in docs/operations.md says the same."""

from __future__ import annotations

import errno
import json
import mmap
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import write_catalog
from tests.support import mounts
from tests.support.hooking import LARGE_LAYERS, hooked
from tests.support.images import Dir, File, Hardlink, Layout, Symlink, Tree
from tests.support.running import Result, executed, run_doit

pytestmark = mounts.NEEDS_ROOT

TREE: Tree = {
    "bin/": Dir(mode=0o755, mtime=11),
    "bin/sh": File(mode=0o755, mtime=12, content="#!"),
    "bin/ash": Hardlink("bin/sh"),
    "lib": Symlink("bin"),
    "srv/": Dir(mode=0o750, uid=7, gid=8, mtime=13),
    "srv/large": File(mode=0o640, uid=7, gid=8, mtime=14, content="x" * 100_000),
}
PLAIN: Tree = {"bin/": None, "bin/sh": File(mode=0o755, content="#!"), "bin/ash": Hardlink("bin/sh")}
WEB = "bundles/web/linux-amd64"
FILES = ["ext4", "iso", "tar"]


def images(folder: Path, *, forms: list[str], tree: Tree = TREE, **web: Any) -> dict[str, Any]:
    """Two images; `write_catalog` writes them."""
    for number in (1, 2):
        if not (folder / f"v{number}").exists():
            Layout(folder / f"v{number}").image(tree, {"version": f"{number}\n"}, cmd=["sh"])
    return {"web": {"source": "oci:v1", "rootfs": forms, **web}, "db": {"source": "oci:v1", "rootfs": forms}}


def built(run: Result) -> Result:
    assert run.exit == 0, (run.stdout, run.stderr)
    return run


def refused(run: Result, *words: str) -> None:
    """One line, and no traceback."""
    assert run.exit != 0
    assert "Traceback" not in run.stdout + run.stderr
    assert any(all(word in line for word in words) for line in run.stderr.splitlines()), (words, run.stderr)


def version(folder: Path) -> str:
    return (folder / WEB / "rootfs/version").read_text()


# A lower layer of an overlay: a catalog that was built into a container's image, and is built again on top of it.


Overlay = Callable[[Path, Path, Path], AbstractContextManager[Path]]
OVERLAYS: dict[str, Overlay] = {
    "kernel": mounts.overlay,
    "redirect_dir": lambda *where: mounts.overlay(*where, "redirect_dir=on"),
    "fuse-overlayfs": mounts.fuse_overlay,
}


@pytest.fixture(params=OVERLAYS)
def on_top(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    lower = tmp_path / "lower"
    lower.mkdir()
    write_catalog(lower, images(lower, forms=["dir", "ext4"]))
    built(run_doit(lower))
    with OVERLAYS[request.param](lower, tmp_path / "m", tmp_path) as here:
        yield here
    assert version(lower) == "1\n"


def test_what_lies_in_a_lower_layer_is_replaced(on_top: Path) -> None:
    entries = images(on_top, forms=["dir", "ext4"])
    entries["web"]["process"] = {"args": ["/bin/true"]}
    write_catalog(on_top, entries)
    first = built(run_doit(on_top))
    assert '"/bin/true"' in (on_top / WEB / "spec.json").read_text()
    entries["web"]["source"] = "oci:v2"
    write_catalog(on_top, entries)
    second = built(run_doit(on_top))
    assert version(on_top) == "2\n"
    assert executed(on_top) == set()
    assert built(run_doit(on_top, "verify")).stderr == ""
    notes = [line for run in (first, second) for line in run.stderr.splitlines() if "replaced in place" in line]
    assert len(notes) <= 1, "what was replaced once lies in the upper layer"


def test_a_kernel_s_lower_layer_is_told_once(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    write_catalog(lower, images(lower, forms=["dir"]))
    built(run_doit(lower))
    with mounts.overlay(lower, tmp_path / "m", tmp_path) as here:
        entries = images(here, forms=["dir"])
        for entry in entries.values():
            entry["process"] = {"args": ["/bin/true"]}
        write_catalog(here, entries)
        told = built(run_doit(here)).stderr
        assert told.count("replaced in place") == 1
        assert "bundles/db/linux-amd64, bundles/web/linux-amd64: replaced in place" in told
        entries["web"]["process"] = {"args": ["/bin/false"]}
        write_catalog(here, entries)
        assert built(run_doit(here)).stderr == ""


def test_a_root_that_waits_in_a_lower_layer(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    write_catalog(lower, images(lower, forms=["dir"]))
    built(run_doit(lower, "rootfs:web@linux/amd64:dir"))
    with mounts.overlay(lower, tmp_path / "m", tmp_path) as here:
        built(run_doit(here))
        assert version(here) == "1\n"
        assert not (here / "bundles/.parts/web/linux-amd64/rootfs").exists()
        assert executed(here) == set()


def test_cleaned_and_pruned_in_a_lower_layer(on_top: Path) -> None:
    done = run_doit(on_top, "clean", "bundle:web@linux/amd64")
    assert (done.exit, "Traceback" in done.stdout + done.stderr) == (0, False), done
    assert not (on_top / "bundles/web").exists()
    entries = images(on_top, forms=["dir", "ext4"])
    write_catalog(on_top, {"web": entries["web"]})
    built(run_doit(on_top, "prune"))
    assert not (on_top / "bundles/db").exists()
    built(run_doit(on_top))
    assert version(on_top) == "1\n"


# Disks of their own: a mount, or a link, where a folder of the output would be.


@pytest.mark.parametrize("kind", ["mount", "bind mount", "link"])
def test_an_image_s_folder_is_on_another_disk(tmp_path: Path, kind: str) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here / "bundles/web", other):
        folder.mkdir(parents=True)
    entries = images(here, forms=["dir", "ext4"])
    with ExitStack() as stack:
        if kind == "mount":
            stack.enter_context(mounts.memory(here / "bundles/web"))
        elif kind == "bind mount":
            stack.enter_context(mounts.mounted_over(other, here / "bundles/web"))
        else:
            stack.enter_context(mounts.memory(other))
            (here / "bundles/web").rmdir()
            (here / "bundles/web").symlink_to("../../other")
        for number in (1, 2):
            entries["web"] |= {"source": f"oci:v{number}", "process": {"env": {"V": str(number)}}}
            write_catalog(here, entries)
            assert built(run_doit(here)).stderr == ""
            assert version(here) == f"{number}\n"
            assert executed(here) == set()
        assert os.listdir(here / "bundles/web") == ["linux-amd64"]
        entries["web"]["process"] = {"env": {"V": "3"}}  # no root to write, but all else
        write_catalog(here, entries)
        built(run_doit(here))
        built(run_doit(here, "verify"))
        done = run_doit(here, "clean", "bundle:web@linux/amd64")
        assert (done.exit, "Traceback" in done.stdout + done.stderr) == (0, False), done
        assert os.listdir(here / "bundles/web") == []
        built(run_doit(here))
        assert version(here) == "2\n"


def test_an_image_that_is_gone_had_its_folder_elsewhere(tmp_path: Path) -> None:
    """What a link of somebody's leads to is theirs."""
    entries = images(tmp_path, forms=["dir"])
    (tmp_path / "other").mkdir()
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/web").symlink_to("../other")
    write_catalog(tmp_path, entries)
    built(run_doit(tmp_path))
    write_catalog(tmp_path, {"db": entries["db"]})
    done = built(run_doit(tmp_path, "prune"))
    assert "removed web@linux-amd64: bundles/.parts/web/linux-amd64\n" in done.stdout
    assert done.stderr == "left alone: bundles/web: not a folder of ours\n"
    assert (tmp_path / "other/linux-amd64/rootfs/version").read_text() == "1\n"
    assert not (tmp_path / "bundles/.parts/web").exists()


@pytest.mark.parametrize("told", [True, False], ids=["by the kernel", "by trying"])
def test_a_published_folder_is_a_mount(tmp_path: Path, told: bool) -> None:
    """Nothing can take its place: that is said before any work, and its image's folder can be one."""
    here = tmp_path / "with space"
    (here / WEB).mkdir(parents=True)
    entries = images(here, forms=["dir"])
    write_catalog(here, entries)
    env = hooked(
        tmp_path / "hook", "" if told else "import c2wtasks.disk.abilities as f; f.mounts_below = lambda _: ()"
    )
    with mounts.memory(here / WEB):
        run = run_doit(here, "-r", "console", env=env)
        refused(run, f"{WEB}: cannot be published: it is a mount", "mount that disk at bundles/web")
        assert ("tree:web@linux/amd64" in run.stdout) != told
        assert (here / "bundles/db/linux-amd64/rootfs/version").exists()
        assert os.listdir(here / WEB) == []
    (here / WEB).rmdir()
    with mounts.memory(here / "bundles/web"):
        built(run_doit(here))
        assert version(here) == "1\n"


# No hard links, no links at all, no case.


MAKINGS = """
import os
import c2wtasks.tasks.form as _forming
_make = _forming.make
def _noted(site, given, bundle, form):
    with open(os.environ["MAKINGS"], "a") as out:
        out.write(f"{bundle} {form.name}\\n")
    _make(site, given, bundle, form)
_forming.make = _noted
"""


def test_forms_that_are_files_where_there_are_no_links(tmp_path: Path) -> None:
    with mounts.exfat(tmp_path / "disk", tmp_path / "m") as here:
        entries = images(here, forms=FILES)
        entries["db"]["rootfs"] = ["dir", "tar"]
        write_catalog(here, entries)
        run = run_doit(here)
        refused(run, "db@linux/amd64: ", "lib: a symbolic link cannot be made on this file system", "ext4 or tar")
        entries["db"]["rootfs"] = ["ext4"]  # the hint
        write_catalog(here, entries)
        built(run_doit(here))
        entries["web"] |= {"source": "oci:v2", "process": {"args": ["x"]}}
        write_catalog(here, entries)
        built(run_doit(here))
        for name in ("rootfs.ext4", "rootfs.iso", "rootfs.tar"):
            kept = here / f"bundles/.parts/web/linux-amd64/form-{name[7:]}/{name}"
            assert (here / WEB / name).read_bytes() == kept.read_bytes()
        with tarfile.open(here / WEB / "rootfs.tar") as tar:
            assert tar.extractfile("version").read() == b"2\n"
        assert '"x"' in (here / WEB / "spec.json").read_text()
        entries["web"]["process"] = {"args": ["y"]}
        write_catalog(here, entries)
        makings = tmp_path / "makings"
        built(run_doit(here, env=hooked(tmp_path / "hook", MAKINGS, MAKINGS=str(makings))))
        assert not makings.exists(), "they are as they were left, as far as the file system can tell"
        assert built(run_doit(here, "prune")).stdout == "removed no bundles\n"
        write_catalog(here, {"db": entries["db"]})
        assert "removed web@linux/amd64" in built(run_doit(here, "prune")).stdout


def test_forms_that_are_files_where_modes_are_refused(tmp_path: Path) -> None:
    back = tmp_path / "back"
    back.mkdir()
    entries = images(back, forms=FILES)
    write_catalog(back, entries)
    with mounts.bindfs(back, tmp_path / "m", "--chmod-deny") as here:
        built(run_doit(here))
        entries["web"]["source"] = "oci:v2"
        write_catalog(back, entries)
        built(run_doit(here))
        assert executed(here) == set()
        with tarfile.open(here / WEB / "rootfs.tar") as tar:
            assert tar.extractfile("version").read() == b"2\n"


def test_forms_that_are_files_where_seconds_are_whole(tmp_path: Path) -> None:
    with mounts.whole_seconds(tmp_path / "disk", tmp_path / "m") as here:
        entries = images(here, forms=FILES)
        for number in (1, 2):
            entries["web"]["source"] = f"oci:v{number}"
            write_catalog(here, entries)
            built(run_doit(here))
            assert executed(here) == set()


def test_a_cache_where_there_are_no_links(tmp_path: Path) -> None:
    with mounts.exfat(tmp_path / "disk", tmp_path / "m") as disk:
        write_catalog(tmp_path, images(tmp_path, forms=["dir", "ext4"]), cache=str(disk / "cache"))
        refused(run_doit(tmp_path), "cache/uid-0: others can write in the cache", "cache_trust: group")
        entries = images(tmp_path, forms=["dir", "ext4"])  # the hint
        write_catalog(tmp_path, entries, cache=str(disk / "cache"), cache_trust="group")
        built(run_doit(tmp_path))
        assert executed(tmp_path) == set()
        built(run_doit(tmp_path, "verify"))


WITHOUT_LINKS = """
import errno, os
def _link(source, target, **_):
    raise OSError(getattr(errno, os.environ["LINK_ERROR"]), "no links here", source, None, target)
os.link = _link
"""


@pytest.mark.parametrize("error", ["EPERM", "EXDEV"])
def test_a_root_where_there_are_no_hard_links(tmp_path: Path, error: str) -> None:
    """Whichever way a file system says so: each name is a file, all are whole, and verify knows."""
    env = hooked(tmp_path / "hook", WITHOUT_LINKS, LINK_ERROR=error)
    entries = images(tmp_path, forms=["dir", "ext4"])
    for number in (1, 2):
        entries["web"]["source"] = f"oci:v{number}"
        write_catalog(tmp_path, entries)
        told = built(run_doit(tmp_path, env=env)).stderr
        assert "note: web@linux/amd64: the folder of the root lacks 1 hard link; bundle.json says so" in told
        assert executed(tmp_path, env=env) == set()
        root = tmp_path / WEB / "rootfs"
        assert (root / "bin/ash").read_text() == (root / "bin/sh").read_text() == "#!"
        assert (root / "bin/ash").stat().st_ino != (root / "bin/sh").stat().st_ino
        record = json.loads((tmp_path / WEB / "bundle.json").read_text())
        assert record["rootfs"]["leftOut"]["hardLinks"] == 1
        assert built(run_doit(tmp_path, "verify", env=env)).stderr == ""


# Where two make folders at once, lowntfs-3g now and then refuses a first name.
ONE_BY_ONE = ("-n", "1")


@pytest.fixture
def no_case(tmp_path: Path) -> Iterator[Path]:
    with mounts.ignoring_case(tmp_path / "disk", tmp_path / "m") as here:
        yield here


TWINS: dict[str, tuple[Tree, str, str]] = {
    "files": ({"a/PAM.7": "1", "a/pam.7": "2"}, "a/pam.7", "a/PAM.7"),
    "a link": ({"a/x": "1", "a/X": Symlink("x")}, "a/x", "a/X"),
    "a hard link": ({"A": "1", "b": Hardlink("A"), "a": Hardlink("b")}, "a", "A"),
    "folders": ({"Foo/": None, "Foo/one": "1", "foo/": None, "foo/two": "2"}, "foo", "Foo"),
    "a folder and a file": ({"Foo/": None, "Foo/one": "1", "foo": "2"}, "foo", "Foo"),
    "letters of others": ({"É": "1", "é": "2"}, "é", "É"),
}


@pytest.mark.parametrize("kind", TWINS)
def test_names_in_a_root_that_differ_in_case_alone(no_case: Path, kind: str) -> None:
    tree, *names = TWINS[kind]
    Layout(no_case / "twins").image(tree)
    entries = images(no_case, forms=["dir"])
    write_catalog(no_case, entries | {"twins": {"source": "oci:twins", "rootfs": ["dir"]}})
    run = run_doit(no_case, *ONE_BY_ONE)
    refused(run, "twins@linux/amd64: ", "differs in case alone", "ext4 or tar")
    assert all(name in run.stderr for name in names)
    assert version(no_case) == "1\n"
    assert not (no_case / "bundles/twins").exists()
    write_catalog(no_case, entries | {"twins": {"source": "oci:twins", "rootfs": ["tar"]}})  # the hint
    built(run_doit(no_case, *ONE_BY_ONE))
    with tarfile.open(no_case / "bundles/twins/linux-amd64/rootfs.tar") as tar:
        assert {name.strip("./") for name in tar.getnames()} >= set(names)


def test_names_in_a_root_that_are_no_text(no_case: Path) -> None:
    Layout(no_case / "latin").image({"caf\udce9": "1"})
    web = images(no_case, forms=["dir"])["web"]
    latin = {"source": "oci:latin", "rootfs": ["dir"]}
    write_catalog(no_case, {"web": web, "latin": latin})
    refused(run_doit(no_case, *ONE_BY_ONE), r"latin@linux/amd64: ", r".rootfs: caf\xe9: ", "ext4 or tar")
    assert version(no_case) == "1\n"
    write_catalog(no_case, {"web": web, "latin": latin | {"rootfs": ["ext4"]}})  # the hint
    built(run_doit(no_case, *ONE_BY_ONE))


@pytest.mark.parametrize("there", [True, False], ids=["an output that is there", "none yet"])
def test_images_whose_names_differ_in_case_alone(no_case: Path, there: bool) -> None:
    web, db = images(no_case, forms=["tar"]).values()
    if there:
        write_catalog(no_case, {"db": db})
        built(run_doit(no_case, *ONE_BY_ONE))
    before = sorted(no_case.rglob("*"))
    write_catalog(no_case, {"db": db, "web": web, "Web": web}, platforms=["linux/amd64"])
    for command in ("run", "plan", "why"):
        run = run_doit(no_case, command)
        assert run.exit == 3
        refused(run, "bundle.yaml:", "images.Web: 'Web' and 'web' (bundle.yaml:", "are one folder in 'bundles'")
    assert {path.name for path in set(no_case.rglob("*")) - set(before)} <= {"bundle.yaml", "dodo.py"}
    write_catalog(no_case, {"db": db, "web": web, "web2": web})  # the hint
    built(run_doit(no_case, *ONE_BY_ONE))


def test_such_names_where_cases_are_told_apart(tmp_path: Path) -> None:
    web, db = images(tmp_path, forms=["tar"]).values()
    (tmp_path / "bundles").mkdir()
    write_catalog(tmp_path, {"web": web, "Web": web | {"source": "oci:v2"}, "db": db})
    built(run_doit(tmp_path))
    assert executed(tmp_path) == set()
    assert sorted(os.listdir(tmp_path / "bundles")) == [
        ".history",
        ".parts",
        "Web",
        "catalog.html",
        "catalog.json",
        "db",
        "feed.atom",
        "feeds",
        "web",
    ]


# No shared mapping, no locks, no room, no writing.


def test_files_cannot_be_mapped_shared(tmp_path: Path) -> None:
    with mounts.bindfs(tmp_path / "back", tmp_path / "m", "-o", "direct_io") as here:
        probe = here / "probe"
        probe.write_text("x")
        with probe.open("rb") as stream, pytest.raises(OSError, match="No such device"):
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        entries = images(here, forms=["dir", "ext4"])
        for number in (1, 2):
            entries["web"]["source"] = f"oci:v{number}"
            write_catalog(here, entries)
            assert built(run_doit(here)).stderr == ""
            assert version(here) == f"{number}\n"
        assert executed(here) == set()
        built(run_doit(here, "verify"))


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK])
def test_no_locks(tmp_path: Path, error: int) -> None:
    """The line names the folder, and what it says helps."""
    here, good = tmp_path / "here", tmp_path / "good"
    here.mkdir()
    good.mkdir()
    write_catalog(here, images(here, forms=["dir"]))
    env = mounts.without_flock(tmp_path, error, below=here) | hooked(tmp_path / "hook", LARGE_LAYERS)
    run = run_doit(here, env=env)
    refused(run, f"{here}: its file system has no locks", os.strerror(error), "--db-file FILE")
    assert not (here / "bundles").exists()
    with_state = ("--db-file", str(good / "doit.db"))
    run = run_doit(here, *with_state, env=env)
    refused(run, f"{here}/cache/layers/locks: its file system has no locks", "C2WTASKS_CACHE")
    built(run_doit(here, *with_state, env=env | {"C2WTASKS_CACHE": str(good / "cache")}))
    assert version(here) == "1\n"
    assert executed(here, *with_state, env=env | {"C2WTASKS_CACHE": str(good / "cache")}) == set()


def test_a_checkout_that_is_read_only(tmp_path: Path) -> None:
    """The line is the same whether it was built before or not, and what it says helps, for the output as well."""
    back, good = tmp_path / "back", tmp_path / "good"
    back.mkdir()
    good.mkdir()
    entries = images(back, forms=["dir"])
    state, cache = ("--db-file", str(good / "doit.db")), {"C2WTASKS_CACHE": str(good / "cache")}
    write_catalog(back, entries)
    with mounts.mounted_over(back, tmp_path / "m", "ro") as here:
        for command in ("run", "clean", "prune", "gc"):
            refused(
                run_doit(here, command), ".doit.db.lock: cannot be locked: Read-only file system", "--db-file FILE"
            )
        refused(run_doit(here, *state), "cannot be stored: Read-only file system")
        refused(run_doit(here, *state, env=cache), "bundles/.parts/", "Read-only file system")
        write_catalog(back, entries, output=str(good / "bundles"))
        built(run_doit(here, *state, env=cache))
        assert executed(here, *state, env=cache) == set()
        assert (good / "bundles/web/linux-amd64/rootfs/version").read_text() == "1\n"
    assert sorted(os.listdir(back)) == ["bundle.yaml", "dodo.py", "v1", "v2"]


def test_a_disk_that_is_full_to_the_last_block(tmp_path: Path) -> None:
    state = ("--db-file", str(tmp_path / "doit.db"))
    with mounts.memory(tmp_path / "m", "8m") as here:
        entries = images(here, forms=["dir", "ext4"])
        write_catalog(here, entries)
        built(run_doit(here, *state))
        entries["web"]["source"] = "oci:v2"
        write_catalog(here, entries)
        with (here / "fill").open("wb", buffering=0) as fill, pytest.raises(OSError, match="No space"):
            while True:
                fill.write(bytes(4096))
        run = run_doit(here, *state)
        refused(run, "web@linux/amd64: ", "No space left on device")
        assert version(here) == "1\n"
        (here / "fill").unlink()
        built(run_doit(here, *state))
        assert version(here) == "2\n"
        built(run_doit(here, "verify", *state))
