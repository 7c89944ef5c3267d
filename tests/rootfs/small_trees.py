"""Trees of a few files, and archives of them and of the nasty tree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from c2wtasks.layers.fragments import pack
from c2wtasks.rootfs.writing.copying import TarByNumber
from c2wtasks.tree import treefile
from c2wtasks.tree.model import DIRECTORY, FILE, Content, Inode
from c2wtasks.tree.treefile import TreeFile
from tests.support import roots
from tests.support.nasty import nasty

Write = Callable[[TreeFile, TarByNumber, str], None]


class Written(NamedTuple):
    """The nasty tree in an archive; `lines` is what that can hold of it."""

    tree: TreeFile
    tars: list[str]
    archive: Path
    lines: list[str]


def written(write: Write, folder: Path, held: Callable[[TreeFile], TreeFile] = lambda tree: tree) -> Written:
    tree, tars = nasty(folder)
    archive = folder / "out"
    write(tree, tars.__getitem__, str(archive))
    return Written(tree, tars, archive, roots.of_tree(held(tree), [Path(path).read_bytes() for path in tars]))


def bytes_of(write: Write, tree: TreeFile, content: bytes = b"") -> bytes:
    """The archive of a tree whose files all lie in `content`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "in").write_bytes(content)
        write(tree, lambda _: f"{folder}/in", f"{folder}/out")
        return Path(folder, "out").read_bytes()


def of(children: dict[bytes, Inode]) -> TreeFile:
    return treefile.flatten(Inode(DIRECTORY, 0o755, children=children), [], default_mtime_ns=0)


def file(size: int = 0, sparse: list[tuple[int, int]] | None = None, **fields: object) -> Inode:
    content = Content(0, 0, None if sparse is None else pack(sparse))
    return Inode(FILE, 0o644, size=size, content=content, **{"mtime_ns": 0, **fields})  # type: ignore[arg-type]


def nested(path: bytes, inode: Inode) -> dict[bytes, Inode]:
    first, slash, rest = path.partition(b"/")
    below = Inode(DIRECTORY, 0o755, mtime_ns=0, children=nested(rest, inode)) if slash else inode
    return {first: below}
