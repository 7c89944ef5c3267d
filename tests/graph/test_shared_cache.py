"""A cache that others can write to: what they put there is neither followed nor believed, whatever it is and wherever
it lies, and touches nothing elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest
from doit.doit_cmd import DoitMain

from c2wtasks.disk import clib, removing
from c2wtasks.disk.sealed import seal
from c2wtasks.layers import indexfile
from c2wtasks.layers.entry import TarEntry
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig
from c2wtasks.sources import memo
from c2wtasks.sources.documents import Documents
from tests.graph.catalogs import small_catalog, write_catalog
from tests.rootfs.making import needs_root
from tests.support.child import USER, as_user
from tests.support.forked import Ended, doit_forked

pytestmark = needs_root

GROUP = 2000
_TOO_LONG_S = 120  # that a command hangs, and is killed


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def catalog_in(place: Path, mode: int = 0o2775, **more: object) -> Path:
    """A catalog of root's, whose cache beside it can be written by a group."""
    folder = place / "catalog"
    folder.mkdir()
    cache = place / "cache"
    cache.mkdir()
    os.chown(cache, 0, GROUP)
    cache.chmod(mode)
    images = small_catalog(folder)
    write_catalog(folder, images, cache="../cache", **more)
    return folder


def hangs(*_: object) -> None:
    raise TimeoutError


def run(folder: Path, *args: str) -> Ended:
    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(_TOO_LONG_S)
    ended = doit_forked(folder, *args)
    signal.alarm(0)
    assert "Traceback" not in ended.stderr + ended.stdout, ended.stderr
    return ended


def again(folder: Path) -> None:
    """Forgets all but the cache."""
    shutil.rmtree(folder / "bundles")
    for path in folder.glob(".doit.db*"):
        if path.name != ".doit.db-catalog":
            path.unlink()


def index_of(folder: Path) -> str:
    return (folder / "bundles/web/linux-amd64/rootfs/srv/index").read_text()


def member(function: Callable[[], None]) -> None:
    """Runs `function` as a member of the group who is not root."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([GROUP])
            os.setgid(GROUP)
            os.setuid(USER)
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Whose word counts.


def test_what_is_kept_lies_apart(place: Path) -> None:
    folder = catalog_in(place)
    first = run(folder)
    own = place / "cache/uid-0"
    assert (first.exit, [line for line in first.stderr.splitlines() if "cache" in line]) == (
        0,
        [
            "note: others can write in ../cache, so what is kept there for you lies apart, in ../cache/uid-0; if all "
            "who can may be believed, say 'cache_trust: group' in bundle.yaml, and it is shared with them"
        ],
    )
    assert os.listdir(place / "cache") == ["uid-0"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (own, *own.rglob("*")) if path.is_dir()} == {0o755}
    assert run(folder).stderr == ""
    for command in (["gc"], ["verify"], ["plan"], ["verify", "--repair"]):
        assert run(folder, *command).exit == 0


def test_with_trust_it_is_shared(place: Path) -> None:
    folder = catalog_in(place, cache_trust="group")
    first = run(folder)
    assert (first.exit, first.stderr) == (0, "")
    assert sorted(os.listdir(place / "cache")) == ["layers", "memo"]


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_cache_of_our_own_is_used_as_it_is(place: Path, mode: int) -> None:
    folder = catalog_in(place, mode)
    assert run(folder).exit == 0
    assert sorted(os.listdir(place / "cache")) == ["layers", "memo"]


@pytest.mark.parametrize("part", ["", "layers", "layers/sha256", "layers/receipts/sha256", "memo", "layers/locks"])
@pytest.mark.parametrize("how", ["mode", "owner"])
def test_one_folder_that_others_can_write_is_enough(place: Path, part: str, how: str) -> None:
    folder = catalog_in(place, 0o755)
    assert run(folder).exit == 0
    if how == "mode":
        (place / "cache" / part).chmod(0o757)
    else:
        os.chown(place / "cache" / part, USER, 0)
    again(folder)
    assert run(folder).exit == 0
    assert (place / "cache/uid-0/layers").is_dir()


def test_who_owns_the_catalog_is_believed(place: Path) -> None:
    """Whoever builds there runs that user's dodo.py anyway: `sudo doit`, and a container that runs as root."""
    folder = catalog_in(place, 0o755)
    os.chown(place / "cache", USER, USER)
    os.chown(folder, USER, USER)
    assert run(folder).exit == 0
    assert sorted(os.listdir(place / "cache")) == ["layers", "memo"]


@pytest.mark.parametrize(
    ("home", "cache", "apart"),
    [(0o775, 0o775, False), (0o775, 0o777, True), (0o777, 0o777, False), (0o1777, 0o777, True), (0o755, 0o775, True)],
)
def test_who_can_write_in_the_catalogs_folder_is_believed(place: Path, home: int, cache: int, apart: bool) -> None:
    """As with a umask of 002: who could write another dodo.py there could do all that we can."""
    folder = catalog_in(place, cache)
    os.chown(folder, 0, GROUP)
    folder.chmod(home)
    assert run(folder).exit == 0
    assert (place / "cache/uid-0").exists() == apart
    os.chown(folder, 0, GROUP + 1)
    assert run(folder).exit == 0
    assert (place / "cache/uid-0").exists() == (apart or cache == 0o775)


@pytest.mark.skipif(
    not all(above.stat().st_mode & 0o001 for above in Path(os.__file__).resolve().parents),
    reason="other users cannot reach this Python's modules",
)
def test_two_users_do_not_take_from_each_other(place: Path) -> None:
    folder = catalog_in(place)
    (place / "cache").chmod(0o3777)
    assert run(folder).exit == 0
    other = place / "other"
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("bundles", ".doit*"), symlinks=True)
    for path in (other, *other.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)

    def build() -> str:
        with open("said", "w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.stdout = sys.stderr = said
            return str(DoitMain().run([]))

    for _ in range(2):
        assert as_user(build, other) == "0", (other / "said").read_text()
        shutil.rmtree(other / "bundles")
        states = {path: path.stat() for path in (place / "cache").rglob("*.tar")}
        again(folder)
        assert run(folder).exit == 0
        assert {path: path.stat() for path in states} == states, "nothing was read again"
    assert sorted(os.listdir(place / "cache")) == ["uid-0", f"uid-{USER}"]


SQUATTERS: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "file": lambda path: path.write_text("x"),
    "link": lambda path: path.symlink_to(path.parents[1] / "canary"),
    "FIFO": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("squat", SQUATTERS.values(), ids=SQUATTERS)
def test_a_folder_that_others_put_in_the_place_of_ours(place: Path, squat: Callable[[Path], object]) -> None:
    folder = catalog_in(place)
    before = canary(place)
    member(lambda: squat(place / "cache/uid-0") and None)
    for command in ([], ["gc"], ["verify"]):
        ended = run(folder, *command)
        assert ended.exit == 3
        assert "../cache/uid-0: others can write in the cache, and this folder" in ended.stderr
    assert canary(place) == before
    removing.remove_tree(str(place / "cache/uid-0"))
    assert run(folder).exit == 0


# What is forged.


def evil_index() -> bytes:
    return b"".join(indexfile.pieces([TarEntry("0", b"srv/index", 0o644, 0, 0, 10**18, 0, size=4)]))


def forge(place: Path, folder: Path) -> None:
    """Makes the shared part of the cache say that the layers hold something else, as the layout of our own part is
    known."""
    top = place / "cache"
    own = top / "uid-0"
    for tar in own.glob("layers/sha256/*.tar"):
        evil = top / "layers/sha256" / tar.name
        evil.parent.mkdir(parents=True, exist_ok=True)
        evil.write_bytes(b"EVIL" * 1000)
        evil.with_suffix(".idx").write_bytes(evil_index())
    for receipt in own.glob("layers/receipts/sha256/*"):
        evil = top / "layers/receipts/sha256" / receipt.name
        evil.parent.mkdir(parents=True, exist_ok=True)
        evil.write_bytes(receipt.read_bytes())
    shutil.copytree(own / "memo", top / "memo")


def test_what_others_forge_is_never_published(place: Path) -> None:
    folder = catalog_in(place)
    assert run(folder).exit == 0
    os.umask(0o002)
    member(lambda: forge(place, folder))
    os.umask(0o022)
    again(folder)
    assert run(folder).exit == 0
    assert index_of(folder) == "web\n"
    assert run(folder, "verify").exit == 0


FORGED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "receipt": (
        "layers/receipts/sha256/*",
        lambda path: path.write_text(path.read_text().replace('"tarSize":', '"tarSize":1')),
    ),
    "receipt of another layer": (
        "layers/receipts/sha256/*",
        lambda path: path.write_bytes(
            next(one.read_bytes() for one in sorted(path.parent.iterdir()) if one.name != path.name)
        ),
    ),
    "receipt, nested": ("layers/receipts/sha256/*", lambda path: path.write_text('{"x":' + "[" * 30_000)),
    "index": (
        "layers/sha256/*.idx",
        lambda path: path.write_bytes(evil_index()),
    ),
    "tar": ("layers/sha256/*.tar", lambda path: path.write_bytes(bytes(path.stat().st_size))),
}


@pytest.mark.parametrize("trust", ["own", "group"])
@pytest.mark.parametrize(("pattern", "forging"), FORGED.values(), ids=FORGED)
def test_what_is_forged_where_it_counts_is_found_and_mended(
    place: Path, pattern: str, forging: Callable[[Path], object], trust: str
) -> None:
    folder = catalog_in(place, 0o755 if trust == "own" else 0o2775, cache_trust=trust)
    assert run(folder).exit == 0
    forging(min((place / "cache").glob(pattern)))
    found = run(folder, "verify")
    assert found.exit == 1, found.stdout
    assert run(folder, "verify", "--repair").exit == 0
    assert run(folder, "verify").exit == 0
    again(folder)
    assert run(folder).exit == 0
    assert index_of(folder) == "web\n"


def forge_memo(path: Path) -> None:
    found = memo._decoded(path.read_bytes())
    for key, image in found.images.items():
        config = image.config.replace(b"httpd", b"evil!")
        digest = Digest.of(config)
        found.images[key] = replace(image, config=config, config_digest=digest, parsed=ImageConfig.parse(config))
    path.write_bytes(seal(memo._MAGIC, found))


@pytest.mark.parametrize("trust", ["own", "group"])
def test_a_memo_that_is_forged_is_found_and_mended(place: Path, trust: str) -> None:
    folder = catalog_in(place, 0o755 if trust == "own" else 0o2775, cache_trust=trust)
    assert run(folder).exit == 0
    assert run(folder).exit == 0
    (path,) = (one for one in (place / "cache/memo").iterdir() if not one.suffix)
    forge_memo(path)
    assert run(folder).exit == 0  # it is root's own: so it is believed
    assert "evil!" in (folder / "bundles/web/linux-amd64/image.json").read_text()
    found = run(folder, "verify")
    assert found.exit == 1
    assert f"../cache/memo/{path.name}" in found.stdout
    assert run(folder, "verify", "--repair").exit == 0
    assert "evil!" not in (folder / "bundles/web/linux-amd64/image.json").read_text()
    assert run(folder, "verify").exit == 0
    assert run(folder).exit == 0
    assert "evil!" not in (folder / "bundles/web/linux-amd64/image.json").read_text()


def test_a_line_of_the_lock_that_is_forged_is_found(place: Path) -> None:
    folder = catalog_in(place, 0o755, lock="all")
    assert run(folder).exit == 0
    lock = folder / "bundle.lock"
    text = lock.read_text()
    lock.write_text(re.sub(r"(image web.*?\n  config sha256:)\w{6}", r"\g<1>ffffff", text, flags=re.DOTALL))
    again(folder)
    ended = run(folder)
    assert (ended.exit, (folder / "bundles/web").exists()) == (1, False)
    assert (folder / "bundles/db/linux-amd64/bundle.json").exists()
    for command in (["verify"], ["verify", "--repair"]):
        found = run(folder, *command)
        assert found.exit == 1
        assert "bundle.lock: image: want as the image is" in found.stdout
    assert "not mended: web@linux/amd64" in found.stdout
    assert run(folder, "lock", "--update", "web").exit == 0
    assert lock.read_text() == text
    assert run(folder).exit == 0
    assert run(folder, "verify").exit == 0


DOCUMENTS: dict[str, Callable[[Path], object]] = {
    "forged": lambda path: path.write_text("{}"),
    "huge": lambda path: huge(path),
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a FIFO": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("forging", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_document_that_is_forged_is_found_and_removed(place: Path, forging: Callable[[Path], object]) -> None:
    folder = catalog_in(place, 0o755)
    assert run(folder).exit == 0
    documents = Documents(str(place / "cache/documents"))
    digests = [Digest.of(content) for content in (b"good", b"another")]
    documents.put(digests[0], b"good")
    path = Path(documents.path(digests[1]))
    forging(path)
    found = run(folder, "verify")
    assert (found.exit, f"../cache/documents/sha256/{path.name}" in found.stdout) == (1, True)
    assert run(folder, "verify", "--repair").exit == 0
    assert not path.exists()
    assert documents.get(digests[0], 100) == b"good"
    assert run(folder, "verify").exit == 0


@pytest.mark.parametrize("how", ["owner", "mode", "of another catalog"])
def test_a_memo_is_one_catalogs_own_whoever_is_trusted(place: Path, how: str) -> None:
    folder = catalog_in(place, cache_trust="group")
    assert run(folder).exit == 0
    assert run(folder).exit == 0
    (path,) = (one for one in (place / "cache/memo").iterdir() if not one.suffix)
    forge_memo(path)
    if how == "owner":
        os.chown(path, USER, GROUP)
    elif how == "mode":
        path.chmod(0o664)
    else:
        path.rename(path.with_name("f" * 32))
        (folder / ".doit.db-catalog").write_text("f" * 32)
    assert run(folder).exit == 0
    assert "evil!" not in (folder / "bundles/web/linux-amd64/image.json").read_text()


# What is no file of ours, or lies behind a link.

FOLDERS = (
    *("layers", "layers/sha256", "layers/receipts", "layers/receipts/sha256"),
    *("layers/locks", "layers/unfinished", "memo"),
)
FILES = (
    *("layers/sha256/*.tar", "layers/sha256/*.idx", "layers/sha256/*.tar.used"),
    *("layers/receipts/sha256/*", "memo/*"),
)
KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link to a folder": lambda path, canary: path.symlink_to(canary),
    "link to a file": lambda path, canary: path.symlink_to(canary / "secret"),
    "link to nothing": lambda path, canary: path.symlink_to(canary / "new"),
    "hard link": lambda path, canary: path.hardlink_to(canary / "secret"),
    "FIFO": lambda path, canary: os.mkfifo(path),
    "socket": lambda path, canary: bind(path),
    "device": lambda path, canary: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "folder": lambda path, canary: path.mkdir(),
    "huge": lambda path, canary: huge(path),
    "another's": lambda path, canary: (path.write_text("x"), os.chown(path, USER, USER)),
}


def bind(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the whole path may be too long for a socket
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def canary(place: Path) -> dict[str, tuple[object, ...]]:
    top = place / "canary"
    if not top.exists():
        (top / "sha256").mkdir(parents=True)
        for name in ("secret", "sha256/secret", f"{'a' * 64}"):
            (top / name).write_text("secret")
    found: dict[str, tuple[object, ...]] = {}
    for path in (top, *top.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if path.is_file() else sorted(os.listdir(path))
        found[str(path)] = (content, state.st_mode, state.st_uid, state.st_gid, state.st_ino, state.st_mtime_ns)
    return found


def put_in_place(path: Path, kind: str, place: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    KINDS[kind](path, place / "canary")


@pytest.fixture
def built(place: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog that was built, in half of the cases in a cache of its own, and in the others in one that is shared.
    What then lies in its cache is opened with `openat2` in half of the cases, and without in the others."""
    number = crc32(request.node.name.encode())
    trust = ("own", "group")[number & 1]
    folder = catalog_in(place, 0o755 if trust == "own" else 0o2775, cache_trust=trust)
    assert run(folder).exit == 0
    if number & 2:
        monkeypatch.setattr(clib, "openat2", lambda: None)
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", FOLDERS)
def test_whatever_lies_in_a_folders_place(place: Path, built: Path, at: str, kind: str) -> None:
    before = canary(place)
    path = place / "cache" / at
    put_in_place(path, kind, place)
    for command in (["gc"], ["verify", "--repair"], ["prune"]):
        ended = run(built, *command)
        assert ended.exit in (0, 1), ended.stderr
        told = [line for line in ended.stderr.splitlines() if not line.startswith("not compared:")]
        assert len(told) <= 4, ended.stderr
    again(built)
    assert run(built).exit in (0, 1)
    for command in (["forget", "--all"], ["clean", "-y"]):
        assert run(built, *command).exit in (0, 1)
    assert canary(place) == before
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    assert run(built).exit == 0
    assert index_of(built) == "web\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", FILES)
def test_whatever_lies_in_a_files_place(place: Path, built: Path, at: str, kind: str) -> None:
    """A run makes it again; but a folder, which it says lies there, until it is mended."""
    before = canary(place)
    for path in (place / "cache").glob(at):
        put_in_place(path, kind, place)
    again(built)
    ended = run(built)
    assert ended.exit == 0 or kind == "folder", ended.stderr
    if ended.exit == 0:
        assert index_of(built) == "web\n"
    for command in (["gc"], ["verify"], ["verify", "--repair"]):
        assert run(built, *command).exit in (0, 1)
    again(built)
    ended = run(built)
    assert ended.exit == 0, ended.stderr
    assert index_of(built) == "web\n"
    assert canary(place) == before
