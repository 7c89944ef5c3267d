"""A tree below a path of a larger one: the same tree, the same order, and nothing else than what was added."""

from __future__ import annotations

import time
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.tree import model, treefile
from c2wtasks.tree.graft import AddedFile, grafted
from c2wtasks.tree.model import DIRECTORY, FILE, Content, Inode
from c2wtasks.tree.treefile import TreeFile
from tests.support.growing import grow
from tests.tree.test_treefile import flat, trees

TIME = 77

parts = st.sampled_from([b"a", b"b", b"out", b"o", b"\xff", b"out "])
paths = st.lists(parts, min_size=1, max_size=3).map(b"/".join)


@given(trees(), st.lists(paths, min_size=1, max_size=5, unique=True), st.integers(0, 4))
def test_it_is_what_one_would_make_by_hand(root: Inode, where: list[bytes], folders: int) -> None:
    at, *others = [path for n, path in enumerate(where) if not any(_within(path, other) for other in where[:n])]
    tree = flat(root)
    before = deepcopy(tree)
    added = [AddedFile(path, n, n + 5) for n, path in enumerate(others[folders:])]
    got = grafted(tree, at, files=added, folders=others[:folders], mtime_ns=TIME)
    assert tree == before
    want = _folder()
    _by_hand(want, at, grow(tree))
    for path in others[:folders]:
        _by_hand(want, path, _folder())
    for path, size, layer in added:
        _by_hand(want, path, Inode(FILE, 0o644, 0, 0, TIME, size, Content(layer, 0, None)))
    assert got == treefile.flatten(want, tree.layers, default_mtime_ns=-1)


def _within(path: bytes, other: bytes) -> bool:
    """Whether one of the two paths leads through the other."""
    return (path + b"/").startswith(other + b"/") or (other + b"/").startswith(path + b"/")


def _folder() -> Inode:
    return Inode(DIRECTORY, 0o755, mtime_ns=TIME, children={})


def _by_hand(root: Inode, path: bytes, inode: Inode) -> None:
    *above, name = path.split(b"/")
    for part in above:
        root = root.names().setdefault(part, _folder())
    root.names()[name] = inode


def test_where_container2wasm_wants_it() -> None:
    root = model.new_directory()
    root.names()[b"z"] = root.names()[b"a"] = Inode(FILE, 0o600, 1, 2, 3, 4, Content(0, 512, None))
    tree = grafted(
        flat(root),
        b"out/oci/rootfs",
        files=[AddedFile(b"out/oci/spec.json", 10, 1), AddedFile(b"out/oci/image.json", 20, 2)],
        folders=[b"out/oci/bundle"],
        mtime_ns=TIME,
    )
    assert treefile.dump(tree) == [
        ". d 0755 0:0 77",
        "out d 0755 0:0 77",
        "out/oci d 0755 0:0 77",
        "out/oci/bundle d 0755 0:0 77",
        "out/oci/image.json f 0644 0:0 77 20",
        "out/oci/rootfs d 0755 0:0 9",
        "out/oci/rootfs/a f 0600 1:2 3 4",
        "out/oci/rootfs/z = out/oci/rootfs/a",
        "out/oci/spec.json f 0644 0:0 77 10",
    ]
    assert [node.content for node in tree.nodes if node.content] == [(2, 0, None), (0, 512, None), (1, 0, None)]


@pytest.mark.parametrize("path", [b"rootfs", b"rootfs/in", b"", b"/a", b"a//b", b"../a", b"."])
def test_what_has_no_place(path: bytes) -> None:
    with pytest.raises(AssertionError):
        grafted(TreeFile([], [treefile.Node(0, b"", DIRECTORY)]), b"rootfs", folders=[path], mtime_ns=0)


def test_a_hundred_thousand_names_take_no_time() -> None:
    root = model.new_directory()
    root.names().update({b"%d" % n: Inode(FILE) for n in range(100_000)})
    tree = flat(root)
    start = time.process_time()
    assert len(grafted(tree, b"out/oci/rootfs", mtime_ns=0).nodes) == 100_004
    assert time.process_time() - start < 10  # about 0.2 s; what is quadratic takes minutes
