"""What the tests of applying layers share."""

from __future__ import annotations

from c2wtasks.layers.tarindex import read_entries
from c2wtasks.tree import model, treefile
from c2wtasks.tree.apply import apply
from tests.support.tars import Tree

ETC: Tree = [("etc/", None), ("etc/passwd", "inside")]
CAPABILITY = "\x01\0\0\x02" + "\0" * 16


def applied(*layers: bytes, same_owner: bool = True) -> list[str]:
    root = model.new_directory()
    for number, layer in enumerate(layers):
        apply(root, read_entries(layer), number, same_owner=same_owner)
    return treefile.dump(treefile.flatten(root, [], default_mtime_ns=9))
