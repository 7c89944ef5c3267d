"""Archives read back by others: their entries as lines of text, in the words of `tests.support.roots`."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from c2wtasks.layers.tarindex import read_entries
from c2wtasks.tree import model, treefile
from c2wtasks.tree.apply import apply
from c2wtasks.tree.model import FILE, SYMLINK
from c2wtasks.tree.treefile import Node, TreeFile
from tests.support import roots

_KINDS = {
    tarfile.REGTYPE: "f",
    tarfile.DIRTYPE: "d",
    tarfile.SYMTYPE: "l",
    tarfile.CHRTYPE: "c",
    tarfile.BLKTYPE: "b",
    tarfile.FIFOTYPE: "p",
}
_XATTR = "SCHILY.xattr."


def by_python(archive: Path) -> list[str]:
    """With `tarfile`."""
    with tarfile.open(archive) as opened:
        return [_line(opened, member) for member in opened]


def _line(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    shown = _shown(member.name)
    if member.islnk():
        return f"{shown} = {_shown(member.linkname)}"
    kind = _KINDS[member.type]
    line = f"{shown} {kind} {member.mode:04o} {member.uid}:{member.gid} {_nanoseconds(member)}"
    if kind == "f":
        line += f" {member.size}"
    if kind == "l":
        line += f" -> {_shown(member.linkname)}"
    if kind in "cb":
        line += f" {member.devmajor},{member.devminor}"
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            line += f" {_shown(key.removeprefix(_XATTR))}={_bytes(value).hex()}"
    if kind == "f":
        content = archive.extractfile(member)
        assert content is not None
        line += f" {hashlib.sha256(content.read()).hexdigest()[:16]}"
    return line


def _nanoseconds(member: tarfile.TarInfo) -> int:
    """From the record itself: `mtime` is a float."""
    seconds, _, fraction = member.pax_headers.get("mtime", str(member.mtime)).partition(".")
    part = int(fraction[:9].ljust(9, "0"))
    return int(seconds) * 10**9 + (-part if seconds.startswith("-") else part)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(text: str) -> str:
    return _bytes(text).decode("utf-8", "backslashreplace")


def by_ourselves(content: bytes) -> list[str]:
    """As a layer of an image, of one of ours."""
    root = model.new_directory()
    apply(root, read_entries(content), 0)
    return roots.of_tree(treefile.flatten(root, [], default_mtime_ns=-1), [content])


def by_tool(folder: Path, package: str, command: Iterable[str], archive: Path | None = None) -> list[str]:
    """With a command that unpacks an archive, its input if it is given, to where it is run."""
    folder.mkdir()
    try:
        with open(archive or os.devnull, "rb") as given:
            done = subprocess.run([*command], cwd=folder, stdin=given, capture_output=True, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is not installed: apt-get install {package}")
    assert done.returncode == 0, done.stderr.decode("utf-8", "backslashreplace")
    return roots.of_folder(str(folder))


def apart(tree: TreeFile, joined: Callable[[Node], bool]) -> TreeFile:
    """The tree as it is where only files that are `joined` keep their further names, and each other one of these is a
    file of its own."""
    nodes = [
        msgspec.structs.replace(tree.nodes[node.link], parent=node.parent, name=node.name)
        if node.link >= 0 and not joined(tree.nodes[node.link])
        else node
        for node in tree.nodes
    ]
    return TreeFile(tree.layers, nodes)


def is_no_symlink(node: Node) -> bool:
    """What most readers of a cpio join."""
    return node.kind != SYMLINK


def is_file_with_content(node: Node) -> bool:
    """What bsdtar joins of an ISO image for sure."""
    return node.kind == FILE and node.size > 0


def not_joined_by_chance(lines: list[str]) -> list[str]:
    """What bsdtar reads of an ISO image: names of what has no content it joins only where it happens to come to one
    after the other."""
    found = (re.fullmatch(r"(.*?) ([dflcbp] [0-7]{4} .*)", line, re.DOTALL) for line in lines)
    about = {one[1]: one[2] for one in found if one}

    def alone(line: str) -> str:
        name, _, first = line.partition(" = ")
        has_content = re.fullmatch(r"f .* [1-9]\d* [0-9a-f]+", about.get(first, ""))
        return f"{name} {about[first]}" if first in about and not has_content else line

    return [alone(line) for line in lines]


def without(lines: Iterable[str], *changes: Callable[[str], str]) -> list[str]:
    """The lines after what a reader is known to change."""
    changed = list(lines)
    for change in changes:
        changed = [change(line) for line in changed]
    return changed
