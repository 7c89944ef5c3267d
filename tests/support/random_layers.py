"""Random layers, odd and hostile ones among them, in which the same few names meet often."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from tests.support import headers

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")

# Few names, so that they meet often.
PARTS = [b"a", b"b", b"c"] * 8 + [b"..", b".", b""]
BASES = [
    *[b"a", b"b", b"c"] * 6,
    *[b".wh.a", b".wh.b", b".wh.c", b".wh..wh..opq"] * 2,
    *[b"..", b".wh.", b".wh..", b".wh...", b".wh..wh.plnk", b".wh..wh.a", b".wh." + b"n" * 252, b"n" * 256],
]
folders = st.lists(st.sampled_from(PARTS), max_size=3)
names = st.builds(
    lambda start, parts, base, end: start + b"/".join([*parts, base]) + end,
    st.sampled_from([b"", b"", b"", b"/", b"./", b"../", b".wh..wh.plnk/", b".wh.a/", b"n" * 256 + b"/"]),
    folders,
    st.sampled_from(BASES),
    st.sampled_from([b"", b"", b"", b"/"]),
)
targets = st.builds(
    lambda start, parts, end: start + b"/".join(parts) + end,
    st.sampled_from([b"", b"", b"/", b"../", b"./", b"//"]),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=4),
    st.sampled_from([b"", b"", b"", b"/"]),
)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Of (tag, permissions, id) as acl(5) has them."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


MINIMAL_ACL = acl((1, 6, 0), (4, 4, 0), (0x20, 0, 0))
ACLS = [
    MINIMAL_ACL,
    acl(
        (1, 7, 2**32 - 1), (2, 6, 1000), (4, 5, 2**32 - 1), (8, 7, 70_000), (0x10, 7, 2**32 - 1), (0x20, 1, 2**32 - 1)
    ),
    acl((1, 6, 7), (4, 7, 7), (0x10, 2, 7), (0x20, 7, 7)),
    acl((1, 0, 0), (2, 7, 1), (2, 5, 1), (4, 0, 0), (0x10, 0, 0), (0x20, 0, 0)),
]
ODD_ACLS = [
    *[b"", acl(), b"\2\0\0", b"\1\0\0\0", b"\1\0\0\0x", MINIMAL_ACL[:-1], MINIMAL_ACL + b"x", MINIMAL_ACL[:-8]],
    acl((1, 8, 0), (4, 4, 0), (0x20, 0, 0)),
    acl((1, 6, 0), (2, 6, 1000), (4, 4, 0), (0x20, 0, 0)),
    acl((1, 6, 0), (2, 6, 2**32 - 1), (4, 4, 0), (0x10, 0, 0), (0x20, 0, 0)),
    acl((4, 4, 0), (1, 6, 0), (0x20, 0, 0)),
    acl((1, 6, 0), (4, 4, 0), (0x20, 0, 0), (0x40, 0, 0)),
]
ACL_NAMES = [b"system.posix_acl_access", b"system.posix_acl_default"]

xattrs = st.dictionaries(
    st.sampled_from(
        [
            *[b"user.a", b"user.b", b"security.capability", b"security.x", b"trusted.x", b"foreign.x", b"nodot"],
            *[b"user.\xff", b"user.", b"n" * 255, b"system.", b"system.x", ACL_NAMES[0] + b"x"],
        ]
    ),
    st.sampled_from([CAPABILITY, CAPABILITY, CAPABILITY, b"", b"short", b"v" * 2000]),
    max_size=2,
) | st.dictionaries(st.sampled_from(ACL_NAMES), st.sampled_from([*ACLS * 4, *ODD_ACLS]), max_size=2)
metadata = st.fixed_dictionaries(
    {
        "mode": st.sampled_from([0o644, 0o755, 0o2775, 0o4711, 0o1777, 0]),
        "uid": st.sampled_from([0, 1000, 2**32 - 2, 2**32 - 1]),
        "gid": st.sampled_from([0, 50, 2**32 - 2, 2**32 - 1]),
        "mtime_ns": st.sampled_from([0, 1, 1_500_000_000_123_456_789, -5, 10**10]),
        "xattrs": st.just({}) | st.just({}) | xattrs,
    }
)
KINDS = [b"0", b"0", b"5", b"5", b"5", b"2", b"2", b"1", b"1", b"3", b"4", b"6"]


Made = dict[str, Any]
"""What `headers.member` takes."""


@st.composite
def members(draw: st.DrawFn) -> Made:
    kind = draw(st.sampled_from([*KINDS, b"7", b"g"] if draw(st.integers(0, 20)) == 20 else KINDS))
    made: Made = {"name": draw(names), "kind": kind, **draw(metadata)}
    if kind == b"0":
        made["content"] = draw(st.binary(max_size=3))
    if kind in (b"1", b"2"):
        made["target"] = draw(targets)
    if kind in (b"3", b"4"):
        made["device"] = draw(st.sampled_from([(0, 0), (1, 3), (4095, 2**20 - 1)]))
    return made


def encoded(made: Made) -> bytes:
    if made["kind"] == b"g":
        return headers.pax([(b"path", made["name"])], b"g")
    return headers.member(**made)


layers = st.lists(st.lists(members(), min_size=1, max_size=12), min_size=1, max_size=3)
