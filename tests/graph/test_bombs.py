"""A few bytes that cost much, through the real command: a line says which limit they are beyond, in little memory.

`python -m tests.soak.bombs` is the long form, which measures the time, too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.soak.bombs import MEGABYTES, measured

PROJECT = Path(__file__).parents[2]
LONGEST = 120  # seconds of CPU: what takes more is killed, and fails the test

REFUSED = {
    "sparse files, 260,000 empty fragments each, 40 of them": r"more fragments of sparse files in one layer",
    "sparse files, 75,000 fragments of a byte each, 40 of them": r"more fragments of sparse files in one layer",
    "xattrs of 1 MB, 200 of them": r"xattr 'user.a' has a value of 1000000 bytes \(65536 at most\) .*\(entry 'f0'\)",
    "files with 30,000 xattrs each, 40 of them": r"more xattrs than are read \(1024\) at offset \d+ \(entry 'f0'\)",
    "a file that says it has 8 EiB": r"the tar ends inside the content at offset 512 \(entry 'f'\)",
    "files in 2,000 folders each that no entry names, 2,000 of them": r"entry '00\d+/a/a/a.*the layer has more",
    "an ACL of 64 KB that 20,000 files inherit": r"entry 'd/0001047': the ACLs that the layer's files inherit",
    "gzip, 8 MB of members of a byte": r"uncompressed it is sha256:",
    "zstd, 1 MB that is 32 GB, with max_layer_size: 200M": r"its tar has more than 209715200 bytes, the limit",
    "a config of 8 MB, its history 2,700,000 objects": r"config sha256:[0-9a-f]{12}: it has more than 500000 values",
    "a config of 8 MB, 4,000,000 levels deep": r"it has more than 500000 values",
    "an index.json of 32 MB, 16,000,000 numbers": r"index.json: it has more than 500000 values",
    "docker's manifest.json of 32 MB, 10,000,000 objects": r"manifest.json: it has more than 500000 values",
}


@pytest.mark.parametrize(("name", "says"), REFUSED.items(), ids=REFUSED)
def test_refused(name: str, says: str, tmp_path: Path) -> None:
    found = measured(name, PROJECT, tmp_path, LONGEST)
    assert re.search(says, found.said), found.said
    assert found.said.startswith("bomb@linux/amd64: ")
    assert found.megabytes <= MEGABYTES


BUILT = [
    "an ACL of 64 KB, the folder's mode set 20,000 times",
    "a config of 8 MB, 100,000 variables",
    "a zstd archive with 1 GB of zeros before its documents",
]


@pytest.mark.parametrize("name", BUILT)
def test_built(name: str, tmp_path: Path) -> None:
    found = measured(name, PROJECT, tmp_path, LONGEST)
    assert found.said == "built (exit 0)"
    assert found.megabytes <= MEGABYTES
