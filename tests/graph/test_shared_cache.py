"""A cache that others can write to: what they put there is not believed, whatever it is; what is forged is found."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from c2wtasks.disk import removing
from c2wtasks.disk.sealed import seal
from c2wtasks.layers import indexfile
from c2wtasks.layers.entry import TarEntry
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig
from c2wtasks.sources import memo
from c2wtasks.sources.documents import Documents
from tests.graph.shared_caches import GROUP, again, canary, catalog_in, huge, index_of, run
from tests.rootfs.making import needs_root
from tests.support.child import USER
from tests.support.forked import doit_as_user

pytestmark = needs_root


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

    for _ in range(2):
        status, said = doit_as_user(other)
        assert status == "0", said
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
