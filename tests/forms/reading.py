"""The published forms of a root, read by others: each entry as a line in the words of `tests.support.roots`, and what
of a tree's lines each form holds."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.tree.treefile import Node, TreeFile
from tests.rootfs.reading import (
    apart,
    by_python,
    by_tool,
    is_file_with_content,
    is_no_symlink,
    not_joined_by_chance,
)
from tests.support import roots

Lines = list[str]

FILES = {
    "tar": "rootfs.tar",
    "tar-gzip": "rootfs.tar.gz",
    "tar-zstd": "rootfs.tar.zst",
    "cpio": "rootfs.cpio",
    "iso": "rootfs.iso",
    "iso-vm": "vm.iso",
    "ext4": "rootfs.ext4",
    "squashfs": "rootfs.squashfs",
    "erofs": "rootfs.erofs",
    "context": "context",
    "imagemounter": "imagemounter",
    "dir": "rootfs",
    "9p": "9p",
}
"""What each form, by its name, is in a published folder."""


def _mounted(kind: str) -> Callable[[Path, Path], Lines]:
    def read(image: Path, place: Path) -> Lines:
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", kind, "-o", "loop,ro", image, place], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
        try:
            return [line for line in roots.of_folder(str(place)) if not line.startswith("lost+found ")]
        finally:
            subprocess.run(["umount", place], check=True)

    return read


def _by_cpio(image: Path, place: Path) -> Lines:
    return by_tool(place, "cpio", ["cpio", "--quiet", "-idm"], image)


def _by_bsdtar(image: Path, place: Path) -> Lines:
    return by_tool(place, "libarchive-tools", ["bsdtar", "-xpf", str(image), "--numeric-owner"])


def _iso(image: Path, place: Path) -> Lines:
    return not_joined_by_chance(_by_bsdtar(image, place))


def _layout(folder: Path, place: Path) -> Lines:
    """The layer of an image layout, whose blobs are what their names say."""
    blobs = {f"sha256:{path.name}": path for path in (folder / "blobs/sha256").iterdir()}
    assert blobs == {f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}": path for path in blobs.values()}
    (manifest,) = json.loads((folder / "index.json").read_text())["manifests"]
    (layer,) = json.loads(blobs[manifest["digest"]].read_text())["layers"]
    return _by_bsdtar(blobs[layer["digest"]], place)


_READERS: dict[str, Callable[[Path, Path], Lines]] = {
    "tar": lambda image, _place: by_python(image),
    "tar-gzip": lambda image, _place: by_python(image),
    "tar-zstd": _by_bsdtar,
    "cpio": _by_cpio,
    "iso": _iso,
    "iso-vm": _iso,
    **{kind: _mounted(kind) for kind in ("ext4", "squashfs", "erofs")},
    "context": _layout,
    "imagemounter": _layout,
    "dir": lambda folder, _place: roots.of_folder(str(folder)),
    "9p": lambda folder, _place: roots.of_folder(str(folder / "rootfs")),
}
_AROUND = {"iso-vm": "oci/rootfs", "context": "out/oci/rootfs"}
"""Where the root lies in a form that has more than that."""
_ROOT_IS_LEFT_ALONE = ("tar-zstd", "cpio", "iso", "imagemounter")
"""What is unpacked into a folder does not always leave that as the root is."""


_JOINED: dict[str, Callable[[Node], bool]] = {
    "cpio": is_no_symlink,
    "iso": is_file_with_content,
    "iso-vm": is_file_with_content,
}
"""Of which files these readers join several names; of all others all."""


def seconds(line: str) -> str:
    """The line without parts of seconds."""
    return re.sub(r"( [dflcbp] \d{4} \d+:\d+ -?\d+)\d{9}\b", r"\1", line)


def without_xattrs(line: str) -> str:
    return re.sub(r" [a-z]+\.[^ =]+=[0-9a-f]*", "", line)


def without_times_of_folders_and_links(line: str) -> str:
    return re.sub(r"( [dl] \d{4} \d+:\d+) -?\d+", r"\1", line)


_HELD: dict[str, list[Callable[[str], str]]] = {
    "cpio": [without_xattrs, seconds, without_times_of_folders_and_links],  # the latter GNU cpio leaves alone
    "iso": [without_xattrs, seconds],
    "iso-vm": [without_xattrs, seconds],
    "squashfs": [seconds],
}


def assert_holds(form: str, published: Path, tree: TreeFile, tars: list[bytes], scratch: Path) -> None:
    """That the form in a published folder is the tree, as far as it can hold that. `scratch` does not exist yet."""
    have = _READERS[form](published / FILES[form], scratch)
    if around := _AROUND.get(form):
        have = [_within(around, line) for line in have if f"{line} ".startswith((f"{around} ", f"{around}/"))]
    if joined := _JOINED.get(form):
        tree = apart(tree, joined)
    want = roots.of_tree(tree, tars)
    for change in _HELD.get(form, ()):
        have, want = [change(line) for line in have], [change(line) for line in want]
    first = 1 if form in _ROOT_IS_LEFT_ALONE else 0
    assert have[first:] == want[first:]


def _within(folder: str, line: str) -> str:
    """A line, with the paths in it as from inside the folder."""
    return re.sub(rf"(^| = ){folder}/", r"\1", re.sub(rf"^{folder} ", ". ", line))
