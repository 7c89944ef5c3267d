"""POSIX ACLs: the kernel says which there are, and what a mode makes of them."""

from __future__ import annotations

import errno
import os
import stat
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.tree import acl
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK
from tests.support.random_layers import ACL_NAMES, ACLS, ODD_ACLS

Entry = tuple[int, int, int]
tags = st.sampled_from([1, 2, 4, 8, 0x10, 0x20])
permissions = st.sampled_from([0, 4, 7, 7, 7, 8])
whole = st.builds(
    lambda users, groups, mask: [1, *[2] * users, 4, *[8] * groups, *[0x10] * mask, 0x20],
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 2),
)
acls = st.one_of(whole, st.lists(st.one_of(tags, st.sampled_from([0, 3, 0x102, 0x2002])), max_size=5)).flatmap(
    lambda tags: st.tuples(*[st.tuples(st.just(tag), permissions, st.sampled_from([0, 1000])) for tag in tags])
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acls")
    try:
        os.setxattr(folder, ACL_NAMES[0], ACLS[1])
    except OSError:
        pytest.skip("needs a temporary folder on a file system with ACLs")
    return folder


def set_and_read(path: Path, name: bytes, value: bytes) -> bytes | int:
    """What is left of an xattr that is set on a file; the error where it cannot be."""
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        return b"" if error.errno == errno.ENODATA else error.errno or 0


def fresh(scratch: Path, kind: str) -> Path:
    path = scratch / "x"
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        path.rmdir()
    {FILE: path.touch, DIRECTORY: path.mkdir, SYMLINK: lambda: path.symlink_to("y")}[kind]()
    return path


@given(acls, st.sampled_from([0, 0, 0, 1]))
def test_acls_as_the_kernel_takes_them(scratch: Path, entries: tuple[Entry, ...], cut: int) -> None:
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    value = packed[: len(packed) - cut]
    if isinstance(set_and_read(fresh(scratch, FILE), ACL_NAMES[0], value), bytes):
        assert acl.entries(value) == list(entries)
    else:
        with pytest.raises(ValueError):
            acl.entries(value)


def test_acl_of_another_version() -> None:
    with pytest.raises(ValueError):
        acl.entries(struct.pack("<I", 1))


@pytest.mark.parametrize("name", ACL_NAMES)
@pytest.mark.parametrize("kind", [FILE, DIRECTORY, SYMLINK])
@pytest.mark.parametrize("value", [*ACLS, *ODD_ACLS], ids=bytes.hex)
def test_setting(scratch: Path, kind: str, name: bytes, value: bytes) -> None:
    want = set_and_read(fresh(scratch, kind), name, value)
    try:
        have: bytes | int | None = acl.as_set(kind, name, value)
    except OSError as error:
        have = error.errno
    if have and isinstance(have, bytes) and name == acl.ACCESS and not acl.with_mode(have, 0):
        have = b""  # the kernel sees at once that a mode says it all
    assert have == (None if want == errno.ENOTSUP else want)


@pytest.mark.parametrize("value", ACLS, ids=bytes.hex)
@pytest.mark.parametrize("mode", [0, 0o644, 0o640, 0o755, 0o070, 0o007, 0o777, 0o4750])
def test_chmod(scratch: Path, value: bytes, mode: int) -> None:
    path = fresh(scratch, FILE)
    os.setxattr(path, acl.ACCESS, value)
    path.chmod(mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    has_one = os.fsdecode(acl.ACCESS) in os.listxattr(path)
    assert acl.with_mode(acl.as_set(FILE, acl.ACCESS, value) or b"", mode) == (
        os.getxattr(path, acl.ACCESS) if has_one else b""
    )
