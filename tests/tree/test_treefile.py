"""The flat form of a tree: there and back, the same bytes for the same tree, whatever its size."""

from __future__ import annotations

import random
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.tree import model, treefile
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import PackedNodes, TreeFile
from tests.support.growing import grow

LAYERS = ["sha256:" + "0" * 64]

names = st.binary(min_size=1, max_size=4).filter(lambda name: b"/" not in name and b"\0" not in name)
numbers = st.integers(0, 2**32 - 2)
meta = {
    "mode": st.integers(0, 0o7777),
    "uid": numbers,
    "gid": numbers,
    "mtime_ns": st.none() | st.integers(0, 2**63 - 1),
    "xattrs": st.none() | st.dictionaries(names, st.binary(max_size=3), min_size=1, max_size=3),
}
size = st.integers(0, 2**63 - 1)
contents = st.builds(Content, st.just(0), size, st.none() | st.binary(max_size=32))
leaves = st.one_of(
    st.builds(Inode, st.just(FILE), size=size, content=contents, **meta),
    st.builds(Inode, st.just(SYMLINK), target=names, **meta),
    st.builds(Inode, st.sampled_from([model.CHARACTER, model.BLOCK]), device=st.tuples(numbers, numbers), **meta),
    st.builds(Inode, st.just(model.FIFO), **meta),
)


def directories(children: st.SearchStrategy[Inode]) -> st.SearchStrategy[Inode]:
    return st.builds(Inode, st.just(DIRECTORY), children=st.dictionaries(names, children, max_size=5), **meta)


@st.composite
def trees(draw: st.DrawFn) -> Inode:
    root = draw(directories(st.recursive(leaves, directories, max_leaves=8)))
    linked = [inode for _, inode in model.walk(root) if inode.kind != DIRECTORY]
    folders = [root, *(inode for _, inode in model.walk(root) if inode.kind == DIRECTORY)]
    for inode in linked[:3]:
        draw(st.sampled_from(folders)).names().setdefault(draw(names), inode)
    return root


def flat(root: Inode) -> TreeFile:
    return treefile.flatten(root, LAYERS, default_mtime_ns=9)


@given(trees())
def test_round_trip(root: Inode) -> None:
    tree = flat(root)
    assert treefile.decode(treefile.encode(tree)) == tree
    again = flat(grow(tree))
    assert again == tree
    assert len(treefile.dump(tree)) == len(tree.nodes) == tree.entry_count + 1


@given(trees(), st.lists(st.integers(-20, 20)))
def test_of_many_nodes_none_is_kept(root: Inode, asked: list[int]) -> None:
    """They are the same, in whatever order they are asked for."""
    want = flat(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(treefile, "FEW", 0)
        patch.setattr(treefile, "_BATCH", 3)
        tree = treefile.decode(treefile.encode(want))
        assert isinstance(tree.nodes, PackedNodes)
        assert list(tree.nodes) == [tree.nodes[index] for index in range(len(tree.nodes))] == want.nodes
        for index in [*asked, 0, 1, 2, 0, 3]:
            if -len(want.nodes) <= index < len(want.nodes):
                assert tree.nodes[index] == want.nodes[index]
            else:
                with pytest.raises(IndexError):
                    tree.nodes[index]
            assert tree.nodes[index:] == want.nodes[index:]
        assert treefile.of_nodes(tree.layers, iter(want.nodes), len(want.nodes)) == tree
        assert treefile.encode(tree) == treefile.encode(want)


@given(trees(), st.randoms(use_true_random=False))
def test_order_of_names_does_not_matter(root: Inode, shuffle: random.Random) -> None:
    want = treefile.encode(flat(root))
    for inode in [root, *(inode for _, inode in model.walk(root))]:
        for mapping in (inode.children, inode.xattrs):
            if mapping is not None:
                pairs = list(mapping.items())
                shuffle.shuffle(pairs)
                mapping.clear()
                mapping.update(pairs)  # type: ignore[arg-type]
    assert treefile.encode(flat(root)) == want


def test_names_in_byte_order_and_links_to_the_first() -> None:
    root = model.new_directory()
    file = Inode(FILE, 0o644, mtime_ns=1)
    root.names().update({b"b": file, b"a-": file, b"a": model.new_directory(), b"\xff": Inode(SYMLINK, target=b"x")})
    root.names()[b"a"].names()[b"z"] = file
    assert treefile.dump(flat(root)) == [
        ". d 0755 0:0 9",
        "a d 0755 0:0 9",
        "a/z f 0644 0:0 1 0",
        "a- = a/z",
        "b = a/z",
        "\\xff l 0000 0:0 9 -> x",
    ]
    assert [path for path, _ in model.walk(root)] == [b"a", b"a/z", b"a-", b"b", b"\xff"]


def test_sizes_count_each_file_once() -> None:
    root = model.new_directory()
    file = Inode(FILE, size=7)
    root.names().update({b"a": file, b"b": file, b"c": Inode(FILE, size=1)})
    tree = flat(root)
    assert (tree.entry_count, tree.size) == (3, 8)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "it is of another version"),
        (lambda content: content[:7], "it is of another version"),
        (lambda content: content[:7] + b"\x01" + content[8:], "it is of another version"),
        (lambda content: content[:-1], "it is damaged"),
        (lambda content: content[:20], "it is damaged"),
        (lambda content: content + b"x", "it is damaged"),
        (lambda content: content[:30] + b"\xee" + content[31:], "it is damaged"),
    ],
)
def test_damaged(damage, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=reason):
        treefile.decode(damage(treefile.encode(flat(model.new_directory()))))


def test_two_thousand_levels() -> None:
    root = here = model.new_directory()
    for _ in range(2000):
        here.names()[b"d"] = here = model.new_directory()
    tree = flat(root)
    assert flat(grow(treefile.decode(treefile.encode(tree)))) == tree
    assert len(treefile.dump(tree)[-1].split()[0]) == 2 * 2000 - 1


def test_a_hundred_thousand_files_in_a_folder() -> None:
    root = model.new_directory()
    root.names().update({b"%06d" % number: Inode(FILE, mtime_ns=0) for number in range(100_000)})
    started = time.process_time()
    tree = flat(root)
    assert treefile.decode(treefile.encode(tree)) == tree
    assert time.process_time() - started < 10  # about 0.5 s


def test_a_node_has_the_fields_of_a_leaf_after_its_own() -> None:
    """Packed leaves become nodes as they are."""
    shape = [(field.name, field.type, field.default) for field in msgspec.structs.fields(treefile.Node)]
    assert shape[2:] == [(field.name, field.type, field.default) for field in msgspec.structs.fields(model.Leaf)]
