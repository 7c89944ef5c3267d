"""A cache that others can write to, with what was fetched from a registry in it: whatever lies in the place of its
folders and files is not followed, read without end or believed, and is fetched again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from c2wtasks.disk import clib
from tests.graph.catalogs import BASE, write_catalog
from tests.graph.shared_caches import KINDS, again, canary, index_of, put_in_place, run
from tests.rootfs.making import needs_root
from tests.support.images import Layout
from tests.support.shops import Shop

pytestmark = needs_root

FOLDERS = ("documents", "documents/sha256", "blobs", "blobs/sha256")
FILES = ("documents/sha256/*", "blobs/sha256/*")
_LINES = 12  # for 2 documents and 2 blobs, in a command that tells of each


@pytest.fixture
def built(place: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """As that of the other matrix, but from a registry, of which all is kept."""
    number = crc32(request.node.name.encode())
    trust = ("own", "group")[number & 1]
    folder, cache = place / "catalog", place / "cache"
    folder.mkdir()
    cache.mkdir()
    cache.chmod(0o755 if trust == "own" else 0o2775)
    layout = Layout(place / "image")
    layout.image(BASE, {"srv/": None, "srv/index": "web\n"}, tag="1")
    with Shop(layout.folder) as shop:
        images = {"web": {"source": f"docker://{shop.address}/web:1"}}
        write_catalog(folder, images, cache="../cache", cache_trust=trust, keep_blobs=True)
        assert run(folder).exit == 0
        assert [len(list(cache.glob(at))) for at in FILES] == [2, 2]
        if number & 2:
            monkeypatch.setattr(clib, "openat2", lambda: None)
        yield folder


def all_is_well_after(built: Path, place: Path, before: dict[str, tuple[object, ...]]) -> None:
    for command in (
        ["gc"],
        ["verify"],
        ["verify", "--repair"],
        ["lock"],
        ["prune"],
        ["forget", "--all"],
        ["clean", "-y"],
    ):
        ended = run(built, *command)
        assert ended.exit in (0, 1), (command, ended)
        assert len(ended.stderr.splitlines()) <= _LINES, (command, ended.stderr)
    assert canary(place) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", FOLDERS)
def test_whatever_lies_in_a_folders_place(place: Path, built: Path, at: str, kind: str) -> None:
    before = canary(place)
    path = place / "cache" / at
    put_in_place(path, kind, place)
    all_is_well_after(built, place, before)
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
    assert run(built).exit == 0
    assert index_of(built) == "web\n"
    assert run(built, "verify").exit == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", FILES)
@pytest.mark.parametrize("when", ["run", "verified"])
def test_whatever_lies_in_a_files_place(place: Path, built: Path, at: str, kind: str, when: str) -> None:
    """`verify` finds each, and `--repair` and a run fetch it again; but for a folder, which is repaired first."""
    before = canary(place)
    for path in (place / "cache").glob(at):
        put_in_place(path, kind, place)
    if when == "verified":
        found = run(built, "verify")
        assert found.exit == 1, found
        for path in (place / "cache").glob(at):
            assert f"../{path.relative_to(place)}" in found.stdout
        repaired = run(built, "verify", "--repair")
        assert repaired.exit == 0, repaired
        assert run(built, "verify").exit == 0
    again(built)
    for layers in ("memo", "layers"):
        (place / "cache" / layers).rename(place / layers)
    ended = run(built)
    assert ended.exit == 0 or kind == "folder", ended
    all_is_well_after(built, place, before)
    assert run(built).exit == 0
    assert index_of(built) == "web\n"
