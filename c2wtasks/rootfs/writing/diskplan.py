"""What the plans of an ext4 and of an EROFS image have alike: both keep names, targets and holes as Linux does."""

from __future__ import annotations

from collections.abc import Iterable

from c2wtasks.errors import OutputError
from c2wtasks.tree.model import DIRECTORY, SYMLINK
from c2wtasks.tree.paths import shown_path
from c2wtasks.tree.treefile import Node

_MAX_NAME = 255
_MAX_TARGET = 4095


def check_names(nodes: list[Node], form: str) -> None:
    """Raises OutputError, which names the file: a name or the target of a symlink is longer than Linux takes, or the
    target is empty."""
    for index, node in enumerate(nodes):
        if len(node.name) > _MAX_NAME:
            raise refusal(nodes, index, f"its name has {len(node.name)} bytes, and {form} takes {_MAX_NAME}")
        if node.kind == SYMLINK and node.link < 0 and not 0 < len(node.target) <= _MAX_TARGET:
            raise refusal(nodes, index, f"a target of {len(node.target)} bytes: {form} takes 1 to {_MAX_TARGET}")


def refusal(nodes: list[Node], index: int, wrong: str) -> OutputError:
    return OutputError(f"{shown_path(nodes, index)}: {wrong}", hint="leave it out of the image")


def children_of(nodes: list[Node]) -> dict[int, list[int]]:
    """Of each directory the names in it, all in the order of the nodes."""
    children: dict[int, list[int]] = {index: [] for index, node in enumerate(nodes) if node.kind == DIRECTORY}
    for index in range(1, len(nodes)):
        children[nodes[index].parent].append(index)
    return children


def block_runs(fragments: Iterable[tuple[int, int]], block: int) -> list[tuple[int, int]]:
    """The (first block, length) of the blocks that ascending (offset, length) in bytes touch."""
    return joined((at // block, (at + length - 1) // block) for at, length in fragments if length)


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The (first, length) of the runs that ascending (first, last) make."""
    runs: list[tuple[int, int]] = []
    for first, last in ranges:
        if runs and first <= sum(runs[-1]):
            first, _ = runs.pop()
        runs.append((first, last + 1 - first))
    return runs
