"""A seal never says yes where the ordinary way would do something, whatever is changed; and says it where nothing is.

C2WTASKS_STEPS (how many changes) and C2WTASKS_SEED make it a soak.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.graph.settling import MIXED, STANDS, STANDS_NOT, WORDS, catalog_in, found, settle
from tests.support.running import our_results

STEPS = int(os.environ.get("C2WTASKS_STEPS", "50"))
SEED = int(os.environ.get("C2WTASKS_SEED", "1"))


def copied(path: Path) -> None:
    """Another file with the same content and mtime."""
    shutil.copy2(path, f"{path}.copy")
    os.rename(f"{path}.copy", path)


def linked(path: Path) -> None:
    os.rename(path, f"{path}.moved")
    path.symlink_to(f"{path}.moved")


def overwritten(path: Path) -> None:
    """Other content of the same length, under the old mtime."""
    before = path.stat()
    with path.open("r+b") as stream:
        content = stream.read()
        stream.seek(0)
        stream.write(bytes(255 - byte for byte in content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def moved(path: Path) -> None:
    """It has another name, which nothing has yet."""
    name = path.with_name(f"{path.name}.gone")
    while os.path.lexists(name):
        name = name.with_name(f"{name.name}.gone")
    path.rename(name)


FILE_CHANGES: list[Callable[[Path], object]] = [
    Path.touch,
    copied,
    linked,
    overwritten,
    lambda path: path.write_bytes(path.read_bytes() + b" "),
    lambda path: os.truncate(path, 0),
    Path.unlink,
    lambda path: path.chmod(0o600),
    moved,
]
LINK_CHANGES: list[Callable[[Path], object]] = [linked, Path.unlink, moved]
"""Of a link that leads nowhere: an earlier change's, whose folder has moved since."""
FOLDER_CHANGES: list[Callable[[Path], object]] = [
    lambda path: (path / "stray").write_text(""),
    moved,
    shutil.rmtree,
    lambda path: path.chmod(0o777),
]


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_it_says_yes_only_where_nothing_is_to_be_done(tmp_path: Path, seed: int) -> None:
    """Anything that is there is changed in some way. Of all that may be asked it says the same as before, or no: then
    the ordinary way decides."""
    rng = random.Random(seed)
    catalog, whole = tmp_path / "catalog", tmp_path / "whole"
    catalog.mkdir()
    catalog_in(catalog)
    shutil.copytree(catalog, whole, symlinks=True)
    refused = 0
    for _ in range(STEPS):
        settle(catalog)
        words = [[], *rng.sample(WORDS[1:], 4)]  # with names alone none stands where a run ends with a note
        before = found(catalog, runs=False, words=words)
        assert before in (STANDS, MIXED)
        paths = [path for path in sorted(catalog.rglob("*")) if not path.name.startswith(".doit.seal")]
        path = rng.choice(paths)
        changes = FILE_CHANGES if path.exists() else LINK_CHANGES
        change = rng.choice(FOLDER_CHANGES if path.is_dir() and not path.is_symlink() else changes)
        change(path)
        answered = found(catalog, runs=False, words=words)
        assert answered in (before, STANDS_NOT), path
        refused += answered == STANDS_NOT
        if answered != STANDS_NOT:
            assert set(our_results(catalog).values()) == {"up-to-date"}, path
        elif found(catalog, runs=True) not in (0, STANDS):
            shutil.rmtree(catalog)
            shutil.copytree(whole, catalog, symlinks=True)
    assert refused > STEPS // 4
