"""What others trust by its name is on disk before it has that name: told from the order of the calls that a run
makes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.graph.catalogs import BASE, small_catalog, write_catalog
from tests.support.hooking import LARGE_LAYERS, hooked
from tests.support.running import run_doit

# Each line: what was done, and the absolute paths it was done to.
RECORDER = """
import os, sys
_log = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def _record(*words):
    os.write(_log, ("\\t".join(words) + "\\n").encode("utf-8", "surrogateescape"))
def _after(module, name, *what):
    real = getattr(module, name)
    def call(*args, **kwargs):
        result = real(*args, **kwargs)
        if result is not False:
            _record(*(part(args) if callable(part) else part for part in what))
        return result
    setattr(module, name, call)
def _path(at):
    return lambda args: os.path.abspath(os.fsdecode(args[at]))
def _at(name, folder):
    return os.path.abspath(os.path.join("." if folder is None else os.readlink(f"/proc/self/fd/{folder}"), name))
def _renamed(source, target, *, src_dir_fd=None, dst_dir_fd=None, rename=os.rename):
    paths = _at(source, src_dir_fd), _at(target, dst_dir_fd)
    rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    _record("rename", *paths)
os.rename = _renamed
def _made(path, flags, mode=0o777, *, dir_fd=None, open=os.open):
    descriptor = open(path, flags, mode, dir_fd=dir_fd)
    if dir_fd is not None and flags & os.O_RDWR and flags & os.O_CREAT:  # all but what is in a root
        _record("write", _at(path, dir_fd))
    return descriptor
os.open = _made
def _opened(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & os.O_WRONLY:
        name = os.fsdecode(args[0])
        _record("write", os.path.abspath(name) if "/" in name else name)
import c2wtasks.disk.files, c2wtasks.disk.safely, c2wtasks.disk.syncing
_after(os, "fsync", "sync", lambda args: os.readlink(f"/proc/self/fd/{args[0]}"))
_after(c2wtasks.disk.syncing, "sync_file_system", "sync all")
_after(c2wtasks.disk.files, "remove_tree", "remove", _path(0))
_after(c2wtasks.disk.safely, "exchange", "exchange", _path(0), _path(1))
sys.addaudithook(_opened)
"""

IN_PARTS = (
    ".page",
    "spare.delta",
    "spare.note",
    "tree",
    "packages",
    "changed.files",
    ".changed",
    "image.json",
    "spec.json",
    "initconfig.json",
    "packages.json",
    "rootfs.json",
    "standing",
    "boot",
)
"""Kept between runs, and compared with what is recorded of them: nobody else trusts them by name."""


class Disk:
    """What of the files and names that a run made would be lost if the power went."""

    def __init__(self, folder: Path, small: bool) -> None:
        self.folder = folder
        self.small = small  # all layers: these prove themselves
        self.content: set[str] = set()
        self.names: set[str] = set()
        self.published: list[str] = []

    def unsafe_below(self, top: str) -> list[str]:
        # Files of a root are written by name alone, and only a sync of all covers them. They may lie in any folder
        # that is to be published; what else is given a name has nothing to do with them.
        in_roots = os.path.basename(top) == ".new"
        return sorted(
            path
            for path in self.content
            if path == top or path.startswith(f"{top}/") or (in_roots and "/" not in path)
        )

    def write(self, path: str) -> None:
        ours = path.startswith(str(self.folder)) or "/" not in path
        if ours and not os.path.basename(path).startswith((".doit.db", "calls")):
            self.content.add(path)

    def sync(self, path: str) -> None:
        self.content.discard(path)
        self.names = {name for name in self.names if os.path.dirname(name) != path}

    def sync_all(self) -> None:
        self.content.clear()
        self.names.clear()

    def rename(self, source: str, target: str) -> None:
        relative = os.path.relpath(target, self.folder)
        if target.endswith(("/rootfs", "/spare")):  # waits for its bundle; is not trusted after a power loss
            return
        if "/.new/" in target:  # published later, as a whole
            self.content.discard(source)
            self.content.add(target)
            return
        kept = "/.parts/" in target and (os.path.basename(target) in IN_PARTS or target.endswith("times"))
        # Notes, which are made again: of a tar's use and of the catalog's identity.
        kept = kept or target.endswith((".tar.used", "/.doit.db-catalog"))
        kept = kept or (self.small and relative.startswith("cache/layers/"))
        if kept or relative.startswith("cache/memo/"):  # sealed: a damaged one is none
            self.content.discard(source)
            self.published += [relative] if "/layers/" in target and not target.endswith(".used") else []
            return
        assert self.unsafe_below(source) == [], relative
        assert not [name for name in self.names if name.startswith(f"{source}/")], relative
        if "/receipts/" in target:
            assert not [name for name in self.names if "/layers/sha256/" in name], relative
        self.names.discard(source)
        self.names.add(target)
        self.published.append(relative)

    def remove(self, path: str) -> None:
        if path.endswith("/.new"):
            assert not [name for name in self.names if "/.parts/" not in name and "/bundles/" in name], path


def replay(folder: Path, calls: Path, *, small: bool = False) -> list[str]:
    """The names that were given, in order, after a look at what was safe when."""
    disk = Disk(folder, small)
    for what, *paths in _lines(calls):
        match what:
            case "write":
                disk.write(*paths)
            case "sync":
                disk.sync(*paths)
            case "sync all":
                disk.sync_all()
            case "rename" | "exchange":
                disk.rename(*paths)
            case "remove":
                disk.remove(*paths)
    # A receipt that is lost has a blob read again; catalog.json is named anew at the end of the next run; only
    # what the last run did is not told, and shown.
    shown = ("/catalog.html", "/feed.atom", "/feeds/", "/.page")
    harmless = ("/receipts/", "/catalog.json", "/.history/", *shown)
    lost = [name for name in disk.names if not any(part in name for part in harmless)]
    assert lost == [], "names that may be lost"
    return disk.published


def _lines(calls: Path) -> Iterator[list[str]]:
    with calls.open(encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            yield line.rstrip("\n").split("\t")


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[dict[str, str], Path]:
    calls = tmp_path / "calls"
    return hooked(tmp_path / "hook", RECORDER + LARGE_LAYERS, CALLS=str(calls)), calls


@pytest.mark.parametrize("small", [False, True], ids=["large layers", "small layers"])
def test_built_and_built_again(tmp_path: Path, recorded: tuple[dict[str, str], Path], small: bool) -> None:
    env, calls = recorded
    if small:
        hooked(tmp_path / "hook", RECORDER)
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path, "-n", "0", env=env).exit == 0
    published = replay(tmp_path, calls, small=small)
    suffixes = [os.path.splitext(path)[1] for path in published if path.startswith("cache/layers/sha256/")]
    assert suffixes == [".tar", ".idx"] * 4
    assert len([path for path in published if path.startswith("cache/layers/receipts/")]) == 4
    assert {path for path in published if path.endswith("/linux-amd64")} == {
        f"bundles/{name}/linux-amd64" for name in images
    }
    assert "bundles/catalog.json" in published

    calls.unlink()
    images["web"]["process"] = {"env": {"A": "b"}}
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path, "-n", "0", env=env).exit == 0
    assert "bundles/web/linux-amd64" in replay(tmp_path, calls, small=small)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("files", ["sha256/*.tar", "sha256/*.idx", "receipts/sha256/*", "*/*.*", "**/sha256/*"])
def test_small_layers_prove_themselves(tmp_path: Path, files: str, damage: str) -> None:
    """Whatever of them is not as it was written, and whatever the state file says: what is made of them is right."""
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    found = [path for path in (tmp_path / "cache/layers").glob(files) if path.is_file()]
    assert len(found) >= 4
    for path in found:
        DAMAGE[damage](path)
    for name in images:
        images[name]["same_owner"] = False
    images["again"] = images["web"] | {"process": {"args": ["x"]}}
    write_catalog(tmp_path, images)
    ended = run_doit(tmp_path)
    assert ended.exit == 0, ended.stderr
    for name in ("web", "again"):
        root = tmp_path / f"bundles/{name}/linux-amd64/rootfs"
        assert (root / "srv/index").read_text() == "web\n"
        assert (root / "etc/passwd").read_text() == BASE["etc/passwd"].content  # type: ignore[union-attr]
    assert run_doit(tmp_path, "verify", "web", "again").exit == 0


@pytest.mark.parametrize("unseen", ['_after(os, "fsync"', '_after(c2wtasks.disk.syncing, "sync_file_system"'])
def test_the_measure_works(tmp_path: Path, recorded: tuple[dict[str, str], Path], unseen: str) -> None:
    env, calls = recorded
    recorder = "".join(line for line in RECORDER.splitlines(True) if not line.startswith(unseen))
    hooked(tmp_path / "hook", recorder + LARGE_LAYERS)
    small_catalog(tmp_path)
    assert run_doit(tmp_path, "-n", "0", env=env).exit == 0
    with pytest.raises(AssertionError):
        replay(tmp_path, calls)


@pytest.mark.parametrize("kept", [True, False], ids=["killed", "power lost"])
def test_a_root_that_waits(tmp_path: Path, kept: bool) -> None:
    """It is used if the machine has not been started since, and written again if it has."""
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    images["web"]["same_owner"] = False
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path, "run", "-a", "rootfs:web@linux/amd64:dir").exit == 0
    parts = tmp_path / "bundles/.parts/web/linux-amd64"
    (parts / "rootfs/etc/passwd").write_text("less than it seems")
    if not kept:
        (parts / "boot").write_text("an earlier one")
    (tmp_path / ".doit.db.lock").write_text("pid 1 on a-dead-host\n")
    assert run_doit(tmp_path).exit == 0
    text = (tmp_path / "bundles/web/linux-amd64/rootfs/etc/passwd").read_text()
    assert (text == "less than it seems") == kept


KILLED = """
import os, signal, c2wtasks.output.publish as _publish
_publish.publish = lambda staged: os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_before_publishing(tmp_path: Path) -> None:
    """What was ready is published by the next run, which writes no root again."""
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path, env=hooked(tmp_path / "hook", KILLED)).exit != 0
    ready = {path.parts[-4]: path.stat().st_ino for path in tmp_path.glob("bundles/.parts/*/*/.new/rootfs")}
    assert set(ready) == set(images)
    assert run_doit(tmp_path).exit == 0
    assert {name: (tmp_path / f"bundles/{name}/linux-amd64/rootfs").stat().st_ino for name in images} == ready
    assert run_doit(tmp_path, "verify").exit == 0


def test_killed_while_the_replaced_is_removed(tmp_path: Path) -> None:
    """It is not taken for what is to come."""
    images = small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    before = (tmp_path / "bundles/web/linux-amd64/rootfs").stat().st_ino
    images["web"]["process"] = {"args": ["x"]}
    write_catalog(tmp_path, images)
    kill = "import os, signal, c2wtasks.disk.files as _files\n" + (
        "_remove = _files.remove_tree\n"
        "def _killed(path):\n"
        "    if path.endswith('/.new') and os.path.isdir(path):\n"
        "        os.unlink(f'{path}/bundle.json')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    _remove(path)\n"
        "_files.remove_tree = _killed\n"
    )
    assert run_doit(tmp_path, env=hooked(tmp_path / "hook", kill)).exit != 0
    assert (tmp_path / "bundles/.parts/web/linux-amd64/spare").stat().st_ino == before
    assert run_doit(tmp_path).exit == 0
    assert (tmp_path / "bundles/web/linux-amd64/rootfs/srv/index").read_text() == "web\n"
    assert run_doit(tmp_path, "verify").exit == 0
