"""A path that is searched for in a tree file's bytes is found where decoding all of them finds it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import TreeError
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.tree import model, recorded, searched, treefile
from c2wtasks.tree.apply import apply
from c2wtasks.tree.lookup import lookup
from c2wtasks.tree.recorded import Recorded
from tests.support.tars import Dir, Hardlink, Symlink, Tree, tar

paths = st.lists(st.sampled_from(["a", "b", "aa", "\udc9d\x01\udcc4\x01a"]), min_size=1, max_size=4).map("/".join)
kinds = st.sampled_from(
    ["", "x", Symlink("a"), Symlink("../b"), Symlink("/a/b"), Symlink("\udc9d\x01\udcc4\x01b"), Dir()]
)


@given(st.dictionaries(paths, kinds, max_size=12), st.lists(paths, max_size=20), st.booleans())
def test_as_decoded(tree: Tree, asked: list[str], follow: bool) -> None:
    root = model.new_directory()
    try:
        apply(root, read_entries(tar(tree)), 0)
    except TreeError:
        return
    content = b"".join(treefile.pieces(root, ["sha256:" + "0" * 64], default_mtime_ns=0))
    decoded = recorded.root_of(treefile.decode(content))
    found, layers = searched.root_of(content)
    assert layers == ["sha256:" + "0" * 64]
    for path in (*tree, *asked):
        one, other = (_node(one, path.encode("utf-8", "surrogateescape"), follow) for one in (decoded, found))
        assert one == other


def _node(root: Recorded, path: bytes, follow: bool) -> treefile.Node | int | None:
    try:
        inode = lookup(root, path, follow=follow)
    except OSError as error:
        return error.errno
    return inode.node if inode is not None else None


def test_a_second_name_is_the_same_file() -> None:
    root = model.new_directory()
    apply(root, read_entries(tar({"a/one": "1", "b/two": Hardlink("a/one")})), 0)
    found, _ = searched.root_of(b"".join(treefile.pieces(root, [], default_mtime_ns=0)))
    nodes = [lookup(found, path).node for path in (b"a/one", b"b/two")]  # type: ignore[union-attr]
    assert nodes[0] == nodes[1] and nodes[0].size == 1


def test_a_file_that_is_none() -> None:
    with pytest.raises(ValueError, match="another version"):
        searched.root_of(b"other")
