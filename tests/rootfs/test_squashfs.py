"""The form `squashfs`: what a kernel mounts is the tree, and tar2sqfs never fails without a word."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings

from c2wtasks.errors import OutputError, UserError
from c2wtasks.layers.content import TOO_SHORT
from c2wtasks.rootfs import squashfs
from c2wtasks.rootfs.squashfs import Compression
from tests.rootfs.random_trees import RandomTree, trees
from tests.rootfs.small_trees import bytes_of, file, nested, of
from tests.support import nasty, roots
from tests.support.child import as_user
from tests.support.disks import NEEDS_ROOT, small_disks

needs_tool = pytest.mark.skipif(not shutil.which("tar2sqfs"), reason="apt-get install squashfs-tools-ng")


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "squashfs", "-o", "loop,ro", image, folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"may not mount: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def as_held(line: str) -> str:
    """Whole seconds of 32 bits."""

    def seconds(found: re.Match[str]) -> str:
        return f"{found[1]} {min(max(int(found[2]) // 10**9, 0), 2**32 - 1) * 10**9}"

    return re.sub(r"( [a-z] \d{4} \d+:\d+) (-?\d+)", seconds, line, count=1)


@needs_tool
@NEEDS_ROOT
@pytest.mark.parametrize("compression", get_args(Compression))
def test_a_kernel_reads_it(tmp_path: Path, compression: Compression) -> None:
    tree, tars = nasty.nasty(tmp_path)
    squashfs.write(tree, tars.__getitem__, str(tmp_path / "out"), compression=compression)
    with mounted(tmp_path / "out", tmp_path / "mount") as folder:
        read = roots.of_folder(str(folder))
    lines = roots.of_tree(tree, [Path(path).read_bytes() for path in tars])
    assert [as_held(line) for line in read] == [as_held(line) for line in lines]


@needs_tool
@NEEDS_ROOT
@settings(max_examples=25)
@given(trees())
def test_random_trees(made: RandomTree) -> None:
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "out").write_bytes(bytes_of(squashfs.write, made.tree, made.tar))
        with mounted(scratch / "out", scratch / "mount") as folder:
            read = roots.of_folder(str(folder))
    assert list(map(as_held, read)) == list(map(as_held, roots.of_tree(made.tree, [made.tar])))


@needs_tool
@NEEDS_ROOT
def test_large_holes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc")
    tree = of({b"f": file(3 << 29, [(1 << 29, 3)])})
    squashfs.write(tree, lambda _: str(tmp_path / "in"), str(tmp_path / "out"))
    assert (tmp_path / "out").stat().st_size < 1 << 20
    with mounted(tmp_path / "out", tmp_path / "mount") as folder, (folder / "f").open("rb") as stream:
        assert os.fstat(stream.fileno()).st_size == 3 << 29
        assert os.pread(stream.fileno(), 5, (1 << 29) - 1) == b"\0abc\0"


@needs_tool
def test_nothing_but_the_tree_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, tars = nasty.nasty(tmp_path, files=5, links=5)

    def once(name: str) -> bytes:
        squashfs.write(tree, tars.__getitem__, str(tmp_path / name))
        assert (tmp_path / name).stat().st_mode & 0o7777 == 0o644
        return (tmp_path / name).read_bytes()

    one = once("one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    old_mask, cores = os.umask(0o077), os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, [min(cores)])
        assert once("-two") == one
    finally:
        os.umask(old_mask)
        os.sched_setaffinity(0, cores)


@needs_tool
def test_no_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose root is read-only; nor is there room beside the image for what the tool says."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no"))
    squashfs.write(of({}), str, str(tmp_path / "out"))
    with pytest.raises(OutputError, match=r"no/out: cannot be made: No such file or directory"):
        squashfs.write(of({}), str, str(tmp_path / "no" / "out"))


@needs_tool
@NEEDS_ROOT
def test_acls_are_left_out(tmp_path: Path) -> None:
    inode = file(0, xattrs={b"system.posix_acl_access": b"\2\0\0\0", b"user.a": b"1"})
    squashfs.write(of({b"f": inode}), str, str(tmp_path / "out"))
    with mounted(tmp_path / "out", tmp_path / "mount") as folder:
        assert os.listxattr(folder / "f") == ["user.a"]


def test_without_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match=r"out: tar2sqfs, .* No such file or directory; .*squashfs-tools-ng"):
        squashfs.write(of({}), str, str(tmp_path / "out"))


@needs_tool
@pytest.mark.parametrize("size", [9, 5_000_000])
def test_a_tar_of_the_store_that_is_too_short(tmp_path: Path, size: int) -> None:
    (tmp_path / "in").write_bytes(b"x" * (size - 1))
    with pytest.raises(OutputError, match=f"d/f: {re.escape(TOO_SHORT)}"):
        squashfs.write(of(nested(b"d/f", file(size))), lambda _: str(tmp_path / "in"), str(tmp_path / "out"))


@needs_tool
def test_the_tool_fails_at_once(tmp_path: Path) -> None:
    content = random.Random(1).randbytes(1 << 20)
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(OutputError, match=r"no/out: cannot be made: No such file or directory"):
        squashfs.write(of({b"f": file(len(content))}), lambda _: str(tmp_path / "in"), str(tmp_path / "no" / "out"))


@needs_tool
@NEEDS_ROOT
def test_no_more_processes_or_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = tmp_path / "tar2sqfs"
    limited.write_text(f'#!/bin/sh\nexec prlimit --nproc=0 {shutil.which("tar2sqfs")} "$@"\n')
    limited.chmod(0o755)
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")  # what is above is closed to that user

    def threads() -> str:
        with pytest.raises(OutputError, match=r"\(may it start threads\? .*\); run with -n 1$"):
            squashfs.write(of({}), str, "out")
        return ""

    def processes() -> str:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        with pytest.raises(UserError) as raised:
            squashfs.write(of({}), str, "other")
        return str(raised.value)

    as_user(threads, tmp_path)
    assert as_user(processes, tmp_path).startswith("no more processes can be started: ")


def test_more_owners_than_fit(tmp_path: Path) -> None:
    tree = of({b"%d" % uid: file(0, uid=uid, gid=1 << 31) for uid in range(2**16 - 1)})
    with pytest.raises(OutputError, match=r"out: a SquashFS holds 65535 .* and this root has 65536; write another"):
        squashfs.write(tree, str, str(tmp_path / "out"))


@needs_tool
@NEEDS_ROOT
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(random.Random(1).randbytes(30_000_000))
    with small_disks(tmp_path) as mount:
        mount("disk", "1m")
        with pytest.raises(
            OutputError, match=r"disk/out: tar2sqfs failed: f: I/O error. \(is there room\? .* 30000000 b"
        ):
            squashfs.write(
                of({b"f": file(30_000_000)}), lambda _: str(tmp_path / "in"), str(tmp_path / "disk" / "out")
            )
