"""A cache in which something else lies in the place of a folder or a file, or a link does: it is not followed, and
touches nothing elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from zlib import crc32

import pytest

from c2wtasks.disk import clib
from tests.graph.shared_caches import KINDS, again, canary, catalog_in, index_of, put_in_place, run
from tests.rootfs.making import needs_root

pytestmark = needs_root

FOLDERS = (
    *("layers", "layers/sha256", "layers/receipts", "layers/receipts/sha256"),
    *("layers/locks", "layers/unfinished", "memo"),
)
FILES = (
    *("layers/sha256/*.tar", "layers/sha256/*.idx", "layers/sha256/*.tar.used"),
    *("layers/receipts/sha256/*", "memo/*"),
)


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
    if ended.exit:
        assert re.search(r"cache/layers/[^ ]*sha256/[0-9a-f.tarix]+: ", ended.stderr), ended.stderr
    else:
        assert index_of(built) == "web\n"
    for command in (["gc"], ["verify"], ["verify", "--repair"]):
        assert run(built, *command).exit in (0, 1)
    again(built)
    ended = run(built)
    assert ended.exit == 0, ended.stderr
    assert index_of(built) == "web\n"
    assert canary(place) == before
