"""What goes wrong while a form is written: one line that names the file and what is to be done."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.errors import OutputError
from c2wtasks.rootfs import cpio, erofs, ext4, iso, tar
from c2wtasks.rootfs.copying import Tars
from c2wtasks.tree.treefile import TreeFile
from tests.rootfs.making import Made, Making
from tests.support.disks import NEEDS_ROOT, small_disks
from tests.support.headers import archive, file

Write = Callable[[TreeFile, Tars, str], None]
WRITERS: dict[str, Write] = {
    "tar": tar.write,
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
def test_tar_is_too_short(make: Making, write: Write, tmp_path: Path, size: int) -> None:
    made = make(archive(file(b"d/f\n", b"x" * size), end=b""))
    os.truncate(made.tars[0], 512 + size - 5)
    wrong = f"{tmp_path}/image: d/f\\n: the layer's tar in the cache is too short; delete it and run again"
    assert error_of(write, made, tmp_path / "image") == wrong


@each_writer
def test_no_such_folder(make: Making, write: Write, tmp_path: Path) -> None:
    error = error_of(write, make(archive(file(b"f", b"x"))), tmp_path / "no/image")
    assert error == f"{tmp_path}/no/image: /: No such file or directory"


@NEEDS_ROOT
@each_writer
@pytest.mark.parametrize("content", [b"x" * (1 << 20), b"x" * 60_000], ids=["one big", "many small"])
def test_disk_is_full(make: Making, write: Write, tmp_path: Path, content: bytes) -> None:
    count = (1 << 20) // len(content)
    made = make(archive(*(file(b"d/%02d" % number, content) for number in range(count))))
    with small_disks(tmp_path) as mount:
        mount("tiny", "256k")
        error = error_of(write, made, tmp_path / "tiny/image")
    need = r"\((?:the whole image|it) takes (\d+) bytes\)"
    said = re.fullmatch(rf"{tmp_path}/tiny/image: \S+: No space left on device {need}", error)
    assert said is not None, error
    assert int(said[1]) > count * len(content)
