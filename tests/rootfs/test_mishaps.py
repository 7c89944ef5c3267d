"""What goes wrong while a form is written: one line that names the file and what is to be done."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest

from c2wtasks.errors import OutputError
from c2wtasks.layers.content import TOO_SHORT
from c2wtasks.layers.fragments import pack
from c2wtasks.rootfs import cpio, erofs, ext4, iso, tar
from tests.rootfs.making import Made, Making
from tests.rootfs.small_trees import Write
from tests.support.disks import NEEDS_ROOT, small_disks
from tests.support.headers import archive, file

WRITERS: dict[str, Write] = {
    "tar": tar.write,
    "tar-zstd": lambda tree, tars, path: tar.write(tree, tars, path, compression="zstd"),
    "cpio": cpio.write,
    "iso": iso.write,
    "ext4": lambda tree, tars, path: ext4.write(tree, tars, path, key=b"key"),
    "erofs": lambda tree, tars, path: erofs.write(tree, tars, path, key=b"key"),
}

each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


def error_of(write: Write, made: Made, path: Path) -> str:
    with pytest.raises(OutputError) as caught:
        write(made.tree, made.tars.__getitem__, str(path))
    return str(caught.value)


@each_writer
def test_tar_is_gone(make: Making, write: Write, tmp_path: Path) -> None:
    made = make(archive(file(b"f", b"x")))
    os.unlink(made.tars[0])
    wrong = f"{made.tars[0]}: cannot be read: No such file or directory; run again"
    assert error_of(write, made, tmp_path / "image") == wrong


@each_writer
@pytest.mark.parametrize("size", [10, 5000, 1 << 20])
@pytest.mark.parametrize("sparse", [False, True])
def test_tar_is_too_short(make: Making, write: Write, tmp_path: Path, size: int, sparse: bool) -> None:
    made = make(archive(file(b"d/f\n", b"x" * size), end=b""))
    os.truncate(made.tars[0], 512 + size - 5)
    if sparse:
        node = made.tree.nodes[-1]
        assert node.content is not None
        node.content = node.content._replace(sparse=pack([(0, size)]))
    assert error_of(write, made, tmp_path / "image") == f"{tmp_path}/image: d/f\\n: {TOO_SHORT}"


@each_writer
def test_no_such_folder(make: Making, write: Write, tmp_path: Path) -> None:
    error = error_of(write, make(archive(file(b"f", b"x"))), tmp_path / "no/image")
    assert error == f"{tmp_path}/no/image: /: No such file or directory"


@NEEDS_ROOT
@each_writer
@pytest.mark.parametrize(("count", "size"), [(1, 1 << 20), (17, 60_000)], ids=["one big", "many small"])
def test_disk_is_full(make: Making, write: Write, tmp_path: Path, count: int, size: int) -> None:
    rng = random.Random(1)
    made = make(archive(*(file(b"d/%02d" % number, rng.randbytes(size)) for number in range(count))))
    with small_disks(tmp_path) as mount:
        mount("tiny", "256k")
        error = error_of(write, made, tmp_path / "tiny/image")
    need = r"\((?:the whole image|it) takes (\d+) bytes(, before compression)?\)"
    said = re.fullmatch(rf"{tmp_path}/tiny/image: \S+: No space left on device {need}", error)
    assert said is not None, error
    (tar.write if said[2] else write)(made.tree, made.tars.__getitem__, str(tmp_path / "image"))
    assert int(said[1]) == (tmp_path / "image").stat().st_size


@NEEDS_ROOT
@each_writer
def test_tars_on_another_file_system(make: Making, write: Write, tmp_path: Path) -> None:
    """Where the kernel may not be able to copy from file to file."""
    made = make(archive(file(b"f", random.Random(1).randbytes(200_000))))
    with small_disks(tmp_path) as mount:
        mount("disk", "1m")
        far = shutil.copy(made.tars[0], tmp_path / "disk")
        write(made.tree, lambda _: str(far), str(tmp_path / "far"))
    write(made.tree, made.tars.__getitem__, str(tmp_path / "near"))
    assert (tmp_path / "far").read_bytes() == (tmp_path / "near").read_bytes()
