"""What ext4 and EROFS have alike of a file: the kernel says which ACLs there are."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.rootfs.attributes import acl_entries, device_number, uuids

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


@given(acls, st.sampled_from([0, 0, 0, 1]))
def test_acls_as_the_kernel_takes_them(acl: tuple[Entry, ...], cut: int) -> None:
    packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in acl)
    value = packed[: len(packed) - cut]
    with tempfile.NamedTemporaryFile() as file:
        try:
            os.setxattr(file.name, "system.posix_acl_access", value)
            taken = True
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                pytest.skip("needs a temporary folder on a file system with ACLs")
            taken = False
    if taken:
        assert acl_entries(value) == list(acl)
    else:
        with pytest.raises(ValueError):
            acl_entries(value)


def test_acl_of_another_version() -> None:
    with pytest.raises(ValueError):
        acl_entries(struct.pack("<I", 1))


def test_device_numbers() -> None:
    assert [device_number(numbers) for numbers in ((0, 0), (1, 3), (8, 256), (4095, 2**20 - 1))] == [
        *[0, 0x103, 0x100800, 0xFFFFFFFF]
    ]


def test_uuids() -> None:
    assert uuids(b"1") == uuids(b"1")
    found = [uuid.UUID(bytes=one) for key in (b"1", b"2") for one in uuids(key)]
    assert len(set(found)) == 4
    assert all((one.variant, one.version) == (uuid.RFC_4122, 4) for one in found)
