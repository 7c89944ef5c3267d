"""Sparse files as real tars write them read back as they were."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from c2wtasks.errors import TreeError
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.fragments import unpack
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.tree import model
from c2wtasks.tree.apply import apply
from c2wtasks.tree.model import Content
from c2wtasks.tree.treefile import Node
from tests.support.roots import content_of

BLOCK = 4096
FILES = {  # size, offsets of blocks of data
    "hole-first": (3 * BLOCK, [2]),
    "hole-last": (64 * BLOCK + 5, [0]),
    "hole-between": (64 * BLOCK, [0, 63]),
    "only-a-hole": (64 * BLOCK, []),
    "many": (400 * BLOCK, list(range(0, 400, 2))),
    "odd-end": (10 * BLOCK - 1, [9]),
}
GNU_TAR = {
    f"gnu tar {version}": ["tar", "--format=pax", "--sparse", f"--sparse-version={version}", "--hole-detection=raw"]
    for version in ("0.0", "0.1", "1.0")
}
TARS = GNU_TAR | {"bsdtar": ["bsdtar", "--format=pax"]}


def needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    if tool == "tar" and b"GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True).stdout:
        pytest.skip("needs GNU tar")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sparse")
    for name, (size, blocks) in FILES.items():
        with (made / name).open("wb") as stream:
            stream.truncate(size)
            for block in blocks:
                stream.seek(block * BLOCK)
                stream.write(os.urandom(BLOCK)[: size - block * BLOCK])
    (made / "plain").write_bytes(b"no hole in it")
    return made


def packed(command: list[str], folder: Path, *more: str) -> bytes:
    run = subprocess.run(
        [*command, "-c", *more, "-f", "-", "-C", str(folder), *sorted(os.listdir(folder))],
        check=True,
        capture_output=True,
    )
    return run.stdout


def read_back(entry: TarEntry, tar: bytes) -> bytes:
    return content_of(
        Node(0, entry.name, "f", size=entry.size, content=Content(0, entry.offset, entry.sparse)), [tar]
    )


@pytest.mark.parametrize("command", TARS.values(), ids=TARS)
def test_reads_back(command: list[str], folder: Path) -> None:
    needs(command[0])
    tar = packed(command, folder)
    entries = {entry.name.decode(): entry for entry in read_entries(tar)}
    assert sorted(entries) == sorted(os.listdir(folder))
    for name, entry in entries.items():
        assert entry.kind == "0"
        assert read_back(entry, tar) == (folder / name).read_bytes(), name
    if command[0] == "tar":
        assert {name for name, entry in entries.items() if entry.sparse is not None} == set(FILES)
        assert len(list(unpack(entries["many"].sparse or b""))) >= 200


def test_old_gnu_is_refused_by_name(folder: Path) -> None:
    needs("tar")
    tar = packed(["tar", "--format=gnu", "--sparse", "--hole-detection=raw"], folder)
    entries = list(read_entries(tar))
    assert {entry.name.decode(): entry.kind for entry in entries} == {"plain": "0"} | dict.fromkeys(FILES, "S")
    with pytest.raises(TreeError, match="an old-GNU sparse file, which container runtimes refuse"):
        apply(model.new_directory(), entries, 0)
