"""What may differ in two trees, told from their bytes: never less than what comparing all of both finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from c2wtasks.changes import roots
from c2wtasks.changes.model import Files
from c2wtasks.tree import difference, treefile
from c2wtasks.tree.alike import alike
from c2wtasks.tree.model import DIRECTORY, FILE, Content
from c2wtasks.tree.treefile import Node, TreeFile

LAYERS = ["sha256:a", "sha256:b", "sha256:c"]
BASE = [
    Node(0, b"", DIRECTORY, mode=0o755),
    *(
        Node(0, b"f%03d" % number, FILE, -1, 0o644, 0, 0, 5, 9, Content(0, 512 * number, None))
        for number in range(60)
    ),
    Node(0, b"l", FILE, 3),
    Node(0, b"l\xa1f\x01", FILE, 9),
    Node(0, b"x", DIRECTORY, mode=0o755),
]

changes = st.one_of(
    st.fixed_dictionaries({"mode": st.sampled_from([0o600, 0o755])}),
    st.fixed_dictionaries({"mtime_ns": st.just(6)}),
    st.fixed_dictionaries({"size": st.just(8)}),
    st.fixed_dictionaries({"content": st.builds(Content, st.integers(0, 2), st.sampled_from([0, 512]), st.none())}),
    st.fixed_dictionaries({"xattrs": st.just(((b"user.a", b"\x93\x01"),))}),
)
edits = st.dictionaries(st.integers(1, 60), changes, max_size=4)


class Contents:
    """Of a layer that is the same, by place; of another the fingerprints of a few contents."""

    def __init__(self, old: TreeFile, new: TreeFile) -> None:
        self.old, self.new = old.layers, new.layers

    def same(self, old: Content, new: Content, size: int) -> bool:
        return self.of_old(old, size) == self.of_new(new, size)

    def of_old(self, content: Content, size: int) -> str:
        return f"{self.old[content.layer]} {content.offset}"

    def of_new(self, content: Content, size: int) -> str:
        return f"{self.new[content.layer]} {content.offset}"


def edited(found: dict[int, dict[str, Any]]) -> list[Node]:
    return [replace(node, **found[number]) if number in found else node for number, node in enumerate(BASE)]


def general(old: TreeFile, new: TreeFile) -> Files:
    contents = Contents(old, new)
    return roots.compare(old, new, roots.others(old, new, difference.compare(old, new, contents.same)), contents)


@given(
    edits, edits, st.sampled_from([LAYERS, LAYERS[:2], ["sha256:a", "sha256:b2", "sha256:c"], [*LAYERS, "sha256:d"]])
)
def test_what_is_found_so_is_what_is_found_in_all(
    first: dict[int, dict[str, Any]], second: dict[int, dict[str, Any]], layers: list[str]
) -> None:
    nodes = edited({**first, **second})
    if any(node.content is not None and node.content.layer >= len(layers) for node in nodes):
        layers = ["sha256:a", "sha256:b2", "sha256:c2"]
    old, new = TreeFile(LAYERS, edited(first)), TreeFile(layers, nodes)
    found = alike(treefile.encode(old), treefile.encode(new))
    assert found is not None
    quick = roots.compare(found.old, found.new, zip(found.others, found.others, strict=True), Contents(old, new))
    assert quick == general(*(treefile.decode(treefile.encode(tree)) for tree in (old, new)))
    assert len(found.others) < 25


@pytest.mark.parametrize(
    "nodes",
    [BASE[:-1], [*BASE[:-1], replace(BASE[-1], name=b"y")], [replace(one, mode=0o600) for one in BASE]],
    ids=["fewer", "another name", "nearly all"],
)
def test_where_it_cannot_be_told(nodes: list[Node]) -> None:
    old, new = (treefile.encode(TreeFile(LAYERS, some)) for some in (BASE, nodes))
    assert alike(old, new) is None
    assert alike(old, treefile.encode(TreeFile(["sha256:z"], BASE))) is None
    with pytest.raises(ValueError, match="damaged"):
        alike(old, new[:-1])
