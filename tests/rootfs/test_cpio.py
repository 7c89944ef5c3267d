"""The form `cpio`: what it can hold is what GNU cpio, bsdtar and a kernel find in it."""

from __future__ import annotations

import os
import random
import re
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings

from c2wtasks.errors import OutputError
from c2wtasks.rootfs import cpio
from c2wtasks.rootfs.writing.pieces import size
from c2wtasks.tree import treefile
from c2wtasks.tree.model import CHARACTER, FIFO, Inode
from c2wtasks.tree.treefile import Node, TreeFile
from tests.rootfs import initramfs, reading, small_trees
from tests.rootfs.making import needs_root
from tests.rootfs.random_trees import RandomTree, trees
from tests.rootfs.reading import apart, is_no_symlink, without
from tests.rootfs.small_trees import Written, bytes_of, file, nested, of
from tests.support import roots

LAST_SECOND = 2**32 - 1


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return small_trees.written(cpio.write, tmp_path_factory.mktemp("nasty"), as_held)


def as_held(tree: TreeFile) -> TreeFile:
    return TreeFile(tree.layers, [node if node.link >= 0 else held(node) for node in tree.nodes])


def held(node: Node) -> Node:
    seconds = min(max(node.mtime_ns // 10**9, 0), LAST_SECOND)
    return msgspec.structs.replace(node, mtime_ns=seconds * 10**9, xattrs=())


def mtimes_that_gnu_cpio_leaves_alone(line: str) -> str:
    return re.sub(r"( [dl] \d{4} \d+:\d+) \d+", r"\1", line)


@needs_root
def test_gnu_cpio_reads_it(written: Written, tmp_path: Path) -> None:
    read = reading.by_tool(tmp_path / "root", "cpio", ["cpio", "-idm", "--quiet"], written.archive)

    symlinks = of_symlinks(written.tree)
    want = [symlinks.get(line, line) for line in written.lines]
    assert without(read, mtimes_that_gnu_cpio_leaves_alone) == without(want, mtimes_that_gnu_cpio_leaves_alone)


def of_symlinks(tree: TreeFile) -> dict[str, str]:
    """The lines of further names of symlinks, and those they have where each name is a symlink of its own."""
    held = as_held(tree)
    joined, alone = (treefile.dump(one) for one in (held, apart(held, is_no_symlink)))
    return {one: other for one, other in zip(joined, alone, strict=True) if one != other}


@needs_root
@pytest.mark.parametrize("command", [["bsdtar", "--numeric-owner", "-xpf", "-"], ["bsdcpio", "-idm", "--quiet"]])
def test_libarchive_reads_it(written: Written, tmp_path: Path, command: list[str]) -> None:
    of_the_root, *rest = reading.by_tool(tmp_path / "root", "libarchive-tools", command, written.archive)
    assert of_the_root.startswith(". d 0755 0:0 ")  # they leave the root's mtime alone
    assert rest == written.lines[1:]


def test_a_kernel_unpacks_it(written: Written) -> None:
    symlinks = of_symlinks(written.tree)
    read = initramfs.unpacked(written.archive.read_bytes())
    assert read == [symlinks.get(line, line) for line in written.lines]


@given(trees())
def test_random_trees(made: RandomTree) -> None:
    want = roots.of_tree(apart(as_held(made.tree), is_no_symlink), [made.tar])
    assert initramfs.unpacked(bytes_of(cpio.write, made.tree, made.tar)) == want


@needs_root
@settings(max_examples=25)
@given(trees())
def test_random_trees_by_tools(made: RandomTree) -> None:
    held = as_held(made.tree)
    joined, alone = (roots.of_tree(tree, [made.tar]) for tree in (held, apart(held, is_no_symlink)))
    with tempfile.TemporaryDirectory() as name:
        folder, archive = Path(name), Path(name, "a")
        archive.write_bytes(bytes_of(cpio.write, made.tree, made.tar))
        read = reading.by_tool(folder / "bsd", "libarchive-tools", ["bsdcpio", "-idm", "--quiet"], archive)
        assert read[1:] == joined[1:]
        read = reading.by_tool(folder / "gnu", "cpio", ["cpio", "-idm", "--quiet"], archive)
        assert without(read, mtimes_that_gnu_cpio_leaves_alone) == without(alone, mtimes_that_gnu_cpio_leaves_alone)


def test_an_entry_byte_by_byte() -> None:
    node = file(3, mtime_ns=0x12345678 * 10**9, uid=0xABCDEF, gid=1)
    of_the_root = 110 + len(b".\0")
    want = "070701 00000001 000081A4 00ABCDEF 00000001 00000001 12345678 00000003" + " 00000000" * 4
    want += " 00000002 00000000 f\0 abc\0 070701"
    assert bytes_of(cpio.write, of({b"f": node}), b"abc")[of_the_root:].startswith(want.replace(" ", "").encode())


@pytest.mark.parametrize(
    "inode",
    [
        file(5),
        file(0),
        file(100_000, [(0, 1), (90_000, 4)]),
        Inode(FIFO, 0o600, mtime_ns=0),
        Inode(CHARACTER, 0o600, mtime_ns=0, device=(4095, 2**20 - 1)),
    ],
)
def test_hard_links(tmp_path: Path, inode: Inode) -> None:
    tree = of({b"b": inode, b"c": inode} | nested(b"a/x", inode) | nested(b"d/x", inode))
    archive = bytes_of(cpio.write, tree, b"12345")
    want = roots.of_tree(tree, [b"12345"])
    assert initramfs.unpacked(archive) == want
    assert archive.count(b"12345") == (inode.size == 5)
    if os.geteuid() == 0:
        (tmp_path / "a").write_bytes(archive)
        read = reading.by_tool(tmp_path / "r", "cpio", ["cpio", "-idm", "--quiet"], tmp_path / "a")
        assert [line for line in read if " d " not in line] == [line for line in want if " d " not in line]


def test_a_file_called_as_the_end_is(tmp_path: Path) -> None:
    tree = of({b"TRAILER!!!": file(5), b"z": file(2)} | nested(b"a/TRAILER!!!", file(5)))
    archive = bytes_of(cpio.write, tree, b"12345")
    assert initramfs.unpacked(archive) == roots.of_tree(tree, [b"12345"])
    (tmp_path / "a").write_bytes(archive)
    read = reading.by_tool(tmp_path / "r", "cpio", ["cpio", "-idm", "--quiet"], tmp_path / "a")
    assert [line.split()[0] for line in read] == [".", "TRAILER!!!", "a", "a/TRAILER!!!", "z"]


@pytest.mark.parametrize(
    ("nanoseconds", "seconds"),
    [
        (-1, 0),
        (-(10**18), 0),
        (0, 0),
        (1_999_999_999, 1),
        (LAST_SECOND * 10**9, LAST_SECOND),
        (2**32 * 10**9, LAST_SECOND),
        (2**63 - 1, LAST_SECOND),
    ],
)
def test_times(nanoseconds: int, seconds: int) -> None:
    read = initramfs.unpacked(bytes_of(cpio.write, of({b"f": file(mtime_ns=nanoseconds)})))
    assert read[1].split()[4] == str(seconds * 10**9)


def test_files_of_4_gib(tmp_path: Path) -> None:
    assert sum(map(size, cpio.pieces(of({b"f": file(2**32 - 1, [])})))) > 2**32 - 1
    tree = of(nested(b"d/f", file(2**32, [])))
    with pytest.raises(OutputError, match=r"d/f: a cpio holds files below 4 GiB, .* 4294967296 bytes; write another"):
        cpio.write(tree, str, str(tmp_path / "out"))


def test_paths_that_a_kernel_skips() -> None:
    names = b"/".join([b"n" * 255] * 15)
    longest = names + b"/" + b"n" * (4095 - len(names) - 1)
    read = initramfs.unpacked(bytes_of(cpio.write, of(nested(longest, file()))))
    assert read[-1].startswith(longest.decode() + " f ")
    with pytest.raises(OutputError, match=r"nn: a kernel unpacks paths of at most 4095 bytes, and this one has 4096"):
        bytes_of(cpio.write, of(nested(longest + b"n", file())))


def test_holes_stay_holes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(random.Random(1).randbytes(100_000))
    tree = of({b"f": file(1 << 30, [(0, 100), (1 << 29, 99_900)])})
    cpio.write(tree, lambda _: str(tmp_path / "in"), str(tmp_path / "out"))
    found = (tmp_path / "out").stat()
    assert found.st_size > 1 << 30
    assert found.st_blocks * 512 < 1 << 20
