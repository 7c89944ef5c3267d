"""Which paths differ in two trees. Pure, but for what is asked of contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from c2wtasks.changes.model import MOST_FILES, FileChange, Files, FileState, FolderCount
from c2wtasks.tree.difference import NONE, Compared, look_the_same
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content
from c2wtasks.tree.treefile import ROOT, Node, TreeFile

_WORDS = {
    DIRECTORY: "directory",
    FILE: "file",
    SYMLINK: "symlink",
    CHARACTER: "character device",
    BLOCK: "block device",
    FIFO: "fifo",
}
_DEPTH = 3  # of the folders in which changes are counted
_MAX_FOLDERS = 1000

Sides = tuple[int, int]
"""The numbers of a path's nodes in the old tree and in the new one; NONE where it is not there."""


class Contents(Protocol):
    """What the layers of two trees hold, as far as they can be read."""

    def same(self, old: Content, new: Content, size: int) -> bool | None:
        """Whether a file of `size` bytes has the same content in both; None where that cannot be told."""

    def of_old(self, content: Content, size: int) -> str:
        """The fingerprint of a file of the old tree; "" where that cannot be read."""

    def of_new(self, content: Content, size: int) -> str:
        """The same, of the new tree."""


def others(old: TreeFile, new: TreeFile, compared: Compared) -> list[Sides]:
    """The paths that may differ, by what `tree.difference` says of two trees."""
    kept, olds = compared.kept, compared.olds
    nodes = enumerate(zip(new.nodes, kept, strict=True))
    found = [(olds[index], index) for index, (node, at) in nodes if at == NONE or node.kind == DIRECTORY]
    if len(olds) - olds.count(NONE) < len(old.nodes):
        found += [(at, NONE) for at in sorted(set(range(len(old.nodes))).difference(olds))]
    return found


def compare(old: TreeFile, new: TreeFile, others: Iterable[Sides], contents: Contents) -> Files:
    """What `new` has otherwise than `old`. `others` are the paths that may differ.

    Times do not count, nor which names share a file. Raises OSError: a layer cannot be read.
    """
    found: list[Sides] = []
    uncompared = 0
    for sides in others:
        if NONE in sides:
            found.append(sides)
            continue
        was, now = _file(old.nodes, sides[0]), _file(new.nodes, sides[1])
        if not look_the_same(was, now):
            found.append(sides)
        elif now.kind == FILE and now.size:
            same = _same(was, now, contents)
            if same is False or (same is None and was.mtime_ns != now.mtime_ns):
                found.append(sides)
            uncompared += same is None and was.mtime_ns == now.mtime_ns
    return _listed(old, new, found, contents, uncompared)


def _same(old: Node, new: Node, contents: Contents) -> bool | None:
    if old.content is None or new.content is None:
        return old.content is new.content
    return contents.same(old.content, new.content, new.size)


def _file(nodes: Sequence[Node], index: int) -> Node:
    node = nodes[index]
    return node if node.link < 0 else nodes[node.link]


def _listed(old: TreeFile, new: TreeFile, found: Sequence[Sides], contents: Contents, uncompared: int) -> Files:
    olds, news = _Paths(old.nodes), _Paths(new.nodes)
    paths = sorted((news.of(sides[1]) if sides[1] != NONE else olds.of(sides[0]), sides) for sides in found)
    listed = []
    for path, (was, now) in paths[:MOST_FILES]:
        before = _state(_file(old.nodes, was), contents.of_old) if was != NONE else None
        after = _state(_file(new.nodes, now), contents.of_new) if now != NONE else None
        listed.append(FileChange(path, before, after))
    counts = Counter(_sort(was, now) for was, now in found)
    folders = by_folder((path, _sort(*sides)) for path, sides in paths) if len(paths) > MOST_FILES else ()
    return Files(counts["added"], counts["removed"], counts["changed"], tuple(listed), folders, uncompared)


def _sort(was: int, now: int) -> str:
    return "added" if was == NONE else "removed" if now == NONE else "changed"


def by_folder(found: Iterable[tuple[str, str]]) -> tuple[FolderCount, ...]:
    """How many of these (path, how it changed) there are in each folder of a few levels; of fewer levels where that
    makes too many."""
    counts = Counter((path.rpartition("/")[0], sort) for path, sort in found)
    by_path: dict[str, Counter[str]] = {}
    for depth in range(_DEPTH, -1, -1):
        by_path = {}
        for (path, sort), count in counts.items():
            by_path.setdefault("/".join(path.split("/")[: depth + 1]) or "/", Counter())[sort] += count
        if len(by_path) <= _MAX_FOLDERS:
            break
    return tuple(
        FolderCount(path, found["added"], found["removed"], found["changed"])
        for path, found in sorted(by_path.items())
    )


def _state(node: Node, fingerprint: Callable[[Content, int], str]) -> FileState:
    content = fingerprint(node.content, node.size) if node.kind == FILE and node.content is not None else ""
    return FileState(
        _WORDS[node.kind],
        f"{node.mode:04o}",
        f"{node.uid}:{node.gid}",
        node.size if node.kind == FILE else 0,
        content,
        text(node.target),
        f"{node.device[0]}:{node.device[1]}" if node.kind in (CHARACTER, BLOCK) else "",
        {text(name): value.hex() for name, value in node.xattrs},
    )


def text(name: bytes) -> str:
    """A name as text: what is not UTF-8, and each backslash, as `\\xNN`, so that no two names have one text."""
    return name.replace(b"\\", b"\\x5c").decode("utf-8", "backslashreplace")


class _Paths:
    """The paths of nodes, from `/` on."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._folders = {ROOT: ""}

    def of(self, index: int) -> str:
        """The path of node number `index`."""
        if index == ROOT:
            return "/"
        node = self._nodes[index]
        return f"{self._folder(node.parent)}/{text(node.name)}"

    def _folder(self, index: int) -> str:
        way = []
        while index not in self._folders:
            way.append(index)
            index = self._nodes[index].parent
        path = self._folders[index]
        for below in reversed(way):
            path = self._folders[below] = f"{path}/{text(self._nodes[below].name)}"
        return path
