"""The form `tar`: every reader finds the tree in it, and its bytes depend on nothing else."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings

from c2wtasks.errors import OutputError
from c2wtasks.layers.decompress import plain_chunks
from c2wtasks.layers.fragments import pack
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.rootfs import cpio, tar
from c2wtasks.rootfs.writing.compressing import Compression
from c2wtasks.tree.model import SYMLINK, Inode
from tests.rootfs import reading, small_trees
from tests.rootfs.making import needs_root
from tests.rootfs.random_trees import RandomTree, trees
from tests.rootfs.reading import without
from tests.rootfs.small_trees import Written, bytes_of, file, nested, of
from tests.support import roots


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return small_trees.written(tar.write, tmp_path_factory.mktemp("nasty"))


def test_python_reads_it(written: Written) -> None:
    assert reading.by_python(written.archive) == written.lines


@needs_root
def test_gnu_tar_reads_it(written: Written, tmp_path: Path) -> None:
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", str(written.archive)]
    read = reading.by_tool(tmp_path / "root", "tar", command)
    assert read == without(written.lines, lambda line: line.replace(" user.%3D=", " user.=="))


@needs_root
def test_bsdtar_reads_it(written: Written, tmp_path: Path) -> None:
    read = reading.by_tool(
        tmp_path / "root", "libarchive-tools", ["bsdtar", "--numeric-owner", "-xpf", str(written.archive)]
    )

    def fractions_before_1970(line: str) -> str:
        """-1.5 is read as -1 + 0.5."""
        return re.sub(r"-1500000000\b", "-500000000", re.sub(r"(times/d?-?just-before-1970.*) -1\b", r"\1 1", line))

    of_the_root, *rest = written.lines
    assert read[0].rpartition(" ")[0] == of_the_root.rpartition(" ")[0]  # it leaves the root's mtime alone
    assert read[1:] == without(rest, fractions_before_1970)


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_it_is_a_layer_that_gives_the_same_tree(
    written: Written, tmp_path: Path, compression: Compression | None
) -> None:
    archive = tmp_path / "layer"
    tar.write(written.tree, written.tars.__getitem__, str(archive), compression=compression)
    with archive.open("rb") as stream:
        read = reading.by_ourselves(b"".join(plain_chunks(stream)))
    assert read == without(written.lines, as_containerd_takes_it)


def as_containerd_takes_it(line: str) -> str:
    return re.sub(r" -\d+( \d+ [0-9a-f]{16})?$", r" 0\1", line.replace(" trusted.overlay.opaque=79", ""))


@given(trees())
def test_random_trees(made: RandomTree) -> None:
    content = bytes_of(tar.write, made.tree, made.tar)
    lines = roots.of_tree(made.tree, [made.tar])
    assert reading.by_ourselves(content) == lines
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        assert reading.by_python(Path(file.name)) == lines


@needs_root
@settings(max_examples=25)
@given(trees())
def test_random_trees_by_tools(made: RandomTree) -> None:
    lines = roots.of_tree(made.tree, [made.tar])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").write_bytes(bytes_of(tar.write, made.tree, made.tar))
        command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", str(folder / "a")]
        assert reading.by_tool(folder / "gnu", "tar", command) == lines
        command = ["bsdtar", "--numeric-owner", "-xpf", str(folder / "a")]
        assert reading.by_tool(folder / "bsd", "libarchive-tools", command)[1:] == lines[1:]


N, P = b"n" * 100, b"p" * 155


@pytest.mark.parametrize(
    ("tree", "records"),
    [
        ({b"a": file()}, {}),
        ({b"\xff": file()}, {}),
        ({N: file()}, {}),
        ({N + b"n": file()}, {"path": "n" * 101}),
        (nested(P + b"/" + N, file()), {}),
        (nested(P + b"p/n", file()), {"path": "p" * 156 + "/n"}),
        (nested(P + b"/" + N + b"n", file()), {"path": "p" * 155 + "/" + "n" * 101}),
        (nested(N[:50] + b"/" + N[:50] + b"/" + N, file()), {}),
        ({b"\xff" * 101: file()}, {"hdrcharset": "BINARY", "path": "\udcff" * 101}),
        ({"é".encode() * 51: file()}, {"path": "é" * 51}),
        ({b"l": Inode(SYMLINK, mtime_ns=0, target=N)}, {}),
        ({b"l": Inode(SYMLINK, mtime_ns=0, target=N + b"n")}, {"linkpath": "n" * 101}),
        ({b"a": file(mtime_ns=(8**11 - 1) * 10**9)}, {}),
        ({b"a": file(mtime_ns=8**11 * 10**9)}, {"mtime": "8589934592"}),
        ({b"a": file(mtime_ns=1_500_000_000)}, {"mtime": "1.5"}),
        ({b"a": file(mtime_ns=1)}, {"mtime": "0.000000001"}),
        ({b"a": file(mtime_ns=-1)}, {"mtime": "-0.000000001"}),
        ({b"a": file(mtime_ns=-20 * 10**9)}, {"mtime": "-20"}),
        ({b"a": file(uid=8**7 - 1, gid=8**7 - 1)}, {}),
        ({b"a": file(uid=8**7, gid=2**32 - 2)}, {"uid": "2097152", "gid": "4294967294"}),
        ({b"a": file(8**11 - 1)}, {}),
        ({b"a": file(8**11)}, {"size": "8589934592"}),
        ({b"a": file(xattrs={b"user.b": b"", b"user.a": b"=\n"})}, {"user.a": "=\n", "user.b": ""}),
    ],
)
def test_records_only_where_a_header_does_not_do(tree: dict[bytes, Inode], records: dict[str, str]) -> None:
    headers = [piece for piece in tar.pieces(of(tree)) if isinstance(piece, bytes)]
    with tarfile.open(fileobj=io.BytesIO(b"".join(headers[:-1]))) as archive:
        while member := archive.next():
            last = member
            if member.size:
                break
    found = {key.removeprefix("SCHILY.xattr."): value for key, value in last.pax_headers.items()}
    assert found == records


def test_records_count_their_own_length() -> None:
    for length in range(1100):
        record = tar._record(b"k", b"v" * length)
        assert record == b"%d k=%s\n" % (len(record), b"v" * length)


MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "sparse", "stored"),
    [
        (MIB, [], [(MIB, 0)]),
        (MIB, [(0, 1)], [(0, 512), (MIB, 0)]),
        (MIB, [(1, 1), (511, 2)], [(0, 1024), (MIB, 0)]),
        (MIB, [(1000, 2000)], [(512, 2560), (MIB, 0)]),
        (MIB, [(0, 512), (512, 512), (2048, 0)], [(0, 1024), (MIB, 0)]),
        (MIB, [(MIB - 512, 512)], [(MIB - 512, 512)]),
        (MIB + 7, [(MIB + 1, 6)], [(MIB, 7)]),
        (MIB + 7, [(MIB + 1, 5)], [(MIB, 7)]),
        (4096, [(0, 512)], [(0, 512), (4096, 0)]),
        (2048, [(0, 512)], None),
        (MIB, [(0, MIB - 1500)], None),
        (MIB, [(n * 600, 300) for n in range(1700)], [(0, 1_019_904), (MIB, 0)]),
    ],
)
def test_sparse_files(
    tmp_path: Path, size: int, sparse: list[tuple[int, int]], stored: list[tuple[int, int]] | None
) -> None:
    content = random.Random(size).randbytes(sum(length for _, length in sparse))
    tree = of({b"s": file(size, sparse), b"z": file()})
    archive = bytes_of(tar.write, tree, content)
    entry = list(read_entries(archive))[1]
    assert (entry.name, entry.size, entry.sparse) == (b"s", size, None if stored is None else pack(stored))
    assert reading.by_ourselves(archive) == roots.of_tree(tree, [content])
    (tmp_path / "a").write_bytes(archive)
    assert reading.by_python(tmp_path / "a") == roots.of_tree(tree, [content])


@pytest.mark.parametrize(
    ("form", "reader"),
    [
        *(("tar", reader) for reader in ("tar xf", "bsdtar xf", "busybox tar xf", "cpio -idI")),
        *(("cpio", reader) for reader in ("bsdtar xf", "busybox cpio -idF", "cpio -idI")),
    ],
)
def test_sparse_files_for_readers_that_know_none(tmp_path: Path, form: str, reader: str) -> None:
    if shutil.which(reader.split()[0]) is None:
        pytest.skip(f"needs {reader.split()[0]}")
    content = random.Random(1).randbytes(9)
    tree = of({b"s": file(5 * MIB + 7, [(MIB - 1, 3), (2 * MIB, 6)]), b"hole": file(MIB, []), b"z": file(3)})
    (tmp_path / "in").write_bytes(content)
    write = partial(tar.write, sparse=False) if form == "tar" else cpio.write
    write(tree, lambda _: str(tmp_path / "in"), str(tmp_path / "archive"))
    (tmp_path / "root").mkdir()
    subprocess.run([*reader.split(), "../archive"], cwd=tmp_path / "root", capture_output=True, check=True)
    have = {path.name: path.read_bytes() for path in (tmp_path / "root").iterdir()}
    assert have == {os.fsdecode(node.name): roots.content_of(node, [content]) for node in tree.nodes[1:]}
    assert os.stat(tmp_path / "archive").st_blocks * 512 < MIB


def test_a_map_that_others_would_refuse_is_not_written() -> None:
    tree = of({b"s": file(1 << 40, [(n << 20, 1) for n in range(100_000)])})
    assert sum(isinstance(piece, bytes) and len(piece) > 4096 for piece in tar.pieces(tree)) == 0


def test_an_xattr_that_no_record_can_name() -> None:
    with pytest.raises(OutputError, match=r"d/f: a tar cannot hold the xattr user.a=b, as its name has a '='; write"):
        bytes_of(tar.write, of(nested(b"d/f", file(xattrs={b"user.a=b": b""}))), b"")


AS_ANOTHER = """
import os, sys
from pathlib import Path
from c2wtasks.rootfs import cpio, tar
from tests.support.nasty import nasty

os.umask(0o077)
if os.geteuid() == 0:
    os.setgid(1000)
    os.setuid(1000)
tree, tars = nasty(Path())
tar.write(tree, tars.__getitem__, "out")
"""
ENV = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])}


def test_nothing_but_the_tree_matters(written: Written) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        subprocess.run([sys.executable, "-c", AS_ANOTHER], cwd=folder, env=ENV, check=True)
        out = Path(folder, "out")
        assert out.read_bytes() == written.archive.read_bytes()
        assert out.stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_the_same_each_time(written: Written, tmp_path: Path, compression: Compression) -> None:
    def once(name: str) -> bytes:
        tar.write(written.tree, written.tars.__getitem__, str(tmp_path / name), compression=compression, level=1)
        return (tmp_path / name).read_bytes()

    one = once("one")
    assert one == once("two")
    assert one[4:8] == bytes(4) or compression != "gzip"  # the time in a gzip header


def test_into_a_pipe(written: Written) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        read: list[bytes] = []
        thread = threading.Thread(target=lambda: read.append(stream.read()))
        thread.start()
        tar.stream(written.tree, written.tars.__getitem__, writer)
        os.close(writer)
        thread.join()
    assert read[0] == written.archive.read_bytes()


def test_into_a_pipe_that_nobody_reads(written: Written) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        tar.stream(written.tree, written.tars.__getitem__, writer)
    os.close(writer)


def test_into_a_file_that_is_longer(written: Written, tmp_path: Path) -> None:
    want = written.archive.read_bytes()
    (tmp_path / "f").write_bytes(b"x" * (len(want) + 20))
    descriptor = os.open(tmp_path / "f", os.O_WRONLY)
    os.lseek(descriptor, 10, os.SEEK_SET)
    tar.stream(written.tree, written.tars.__getitem__, descriptor)
    os.close(descriptor)
    assert (tmp_path / "f").read_bytes() == b"x" * 10 + want + b"x" * 10
