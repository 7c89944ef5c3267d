"""Property: applying layers to a tree gives what containerd's way of unpacking them gives on a real directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import TreeError
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.tree import model, treefile
from c2wtasks.tree.apply import apply
from tests.support import headers, roots
from tests.support.random_layers import Made, encoded, layers
from tests.tree import naive
from tests.tree.naive import AT_END, MTIME, Layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot, owners, devices")

DEFAULT_MTIME = 1_700_000_000 * 10**9


def noting(entries: Sequence[TarEntry], reached: list[int]) -> Iterator[TarEntry]:
    for index, entry in enumerate(entries):
        reached.append(index)
        yield entry
    reached.append(AT_END)


def ours(parts: list[Layer], same_owner: bool) -> tuple[int, int] | list[str]:
    """The tree as lines; or where it failed."""
    root = model.new_directory()
    for number, (entries, _) in enumerate(parts):
        reached: list[int] = []
        try:
            apply(root, noting(entries, reached), number, same_owner=same_owner)
        except TreeError:
            return number, reached[-1]
    tree = treefile.flatten(root, ["sha256:" + "0" * 64] * len(parts), default_mtime_ns=DEFAULT_MTIME)
    return roots.of_tree(tree, [tar for _, tar in parts])


def naively(parts: list[Layer], same_owner: bool, scratch: Path) -> tuple[int, int] | list[str]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        os.chmod(folder, 0o755)
        failed = naive.apply_layers(folder, parts, same_owner=same_owner)
        return failed or roots.of_folder(folder, directory_mtimes=(MTIME, DEFAULT_MTIME))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("naive")
    try:
        os.setxattr(folder, MTIME, b"0")
    except OSError:
        pytest.skip("needs a file system with user xattrs")
    return folder


@given(layers, st.booleans())
def test_as_containerd_unpacks(scratch: Path, made: list[list[Made]], same_owner: bool) -> None:
    while True:
        tars = [headers.archive(*map(encoded, layer)) for layer in made]
        parts = [(list(read_entries(tar)), tar) for tar in tars]
        want, have = naively(parts, same_owner, scratch), ours(parts, same_owner)
        assert have == want
        if isinstance(have, list) or have[1] == AT_END:
            return
        number, index = have  # both refuse the same entry: go on without it
        del made[number][index]
