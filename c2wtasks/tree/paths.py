"""The path of a node of a tree."""

from __future__ import annotations

from collections.abc import Sequence

from c2wtasks.tree.treefile import Node


def node_path(nodes: Sequence[Node], index: int) -> bytes:
    """The path of a node below the root; b"" for the root."""
    parts = []
    while index:
        parts.append(nodes[index].name)
        index = nodes[index].parent
    return b"/".join(reversed(parts))


def shown_path(nodes: Sequence[Node], index: int) -> str:
    """The path of a node, for messages."""
    return node_path(nodes, index).decode("utf-8", "backslashreplace") or "/"
