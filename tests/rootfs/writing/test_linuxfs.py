"""What ext4 and EROFS have alike of a file."""

from __future__ import annotations

import uuid

from c2wtasks.rootfs.writing.linuxfs import device_number, uuids


def test_device_numbers() -> None:
    assert [device_number(numbers) for numbers in ((0, 0), (1, 3), (8, 256), (4095, 2**20 - 1))] == [
        *[0, 0x103, 0x100800, 0xFFFFFFFF]
    ]


def test_uuids() -> None:
    assert uuids(b"1") == uuids(b"1")
    found = [uuid.UUID(bytes=one) for key in (b"1", b"2") for one in uuids(key)]
    assert len(set(found)) == 4
    assert all((one.variant, one.version) == (uuid.RFC_4122, 4) for one in found)
