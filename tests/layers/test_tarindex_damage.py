"""Damaged archives: each has its error, naming offset and entry; none brings anything else, or no end."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.layers.tarlimits import ArchiveError
from tests.support import headers
from tests.support.headers import GNU, STAR, archive, checked, file, gnu_long, header, padded, pax, symlink

GOOD = file(b"good", b"x")  # 1024 bytes
MAP = b"GNU.sparse.map"
BLOCKS = b"GNU.sparse.numblocks"
REAL = b"GNU.sparse.realsize"
ONE_ZERO = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"sparse"), (REAL, b"9")]


def sparse(records: list[tuple[bytes, bytes]], content: bytes = b"", kind: bytes = b"0") -> bytes:
    return pax(records) + header(b"f", kind, size=len(content)) + padded(content)


LONG = b"n" * 256
VAST = b"v" * 65537
ONE_BY_ONE = (headers.record(b"GNU.sparse.offset", b"0") + headers.record(b"GNU.sparse.numbytes", b"0")) * 10_000

CASES = [
    ("half a header", GOOD + header(b"f")[:511], "the tar ends inside the header at offset 1024"),
    ("one byte", b"x", "the tar ends inside the header at offset 0"),
    ("a zero block within", GOOD + bytes(512) + GOOD, "a zero block at offset 1024 is not followed by another"),
    ("a zero block and a bit", GOOD + bytes(513), "a zero block at offset 1024 is not followed by another"),
    (
        "checksum",
        header(b"f", checksum=b"000017\0 "),
        "no tar header at offset 0: its checksum is 15, the block's is ",
    ),
    (
        "checksum of letters",
        header(b"f", checksum=b"letters"),
        "no tar header at offset 0: b'letters\\x00' is not an o",
    ),
    ("checksum missing", header(b"f", checksum=b""), "no tar header at offset 0: its checksum is 0, the block's is "),
    ("text", b"#!/bin/sh\necho\n" * 50, "no tar header at offset 0: "),
    (
        "mode",
        header(b"f", mode=b"rwx"),
        "no tar header at offset 0: b'rwx\\x00\\x00\\x00\\x00\\x00' is not an octal nu",
    ),
    (
        "mode of 8 and 9",
        GOOD + header(b"f", mode=b"0000688"),
        "no tar header at offset 1024: b'0000688\\x00' is not an octal number",
    ),
    ("owner", header(b"f", uid=b"-1"), "no tar header at offset 0: b'-1\\x00"),
    ("a number after a zero", header(b"f", gid=b"1 \x002"), "no tar header at offset 0: "),
    (
        "beyond 64 bits",
        header(b"f", size=b"\x80\0\0\1" + bytes(8)),
        "no tar header at offset 0: b'\\x80\\x00\\x00\\x01",
    ),
    (
        "below 64 bits",
        header(b"f", mtime=b"\xff\xff\xff\x7f" + bytes(8)),
        "no tar header at offset 0: b'\\xff\\xff\\xff",
    ),
    ("device", header(b"f", b"3", device=(b"?", 0)), "no tar header at offset 0: b'?\\x00"),
    (
        "star's atime",
        header(b"f", prefix=b"p" * 131 + b"no time", trailer=STAR),
        "no tar header at offset 0: b'no time",
    ),
    (
        "star's ctime",
        header(b"f", prefix=b"p" * 131 + bytes(12) + b"no time", trailer=STAR),
        "no tar header at offset 0",
    ),
    ("negative size", GOOD + header(b"f", size=-1), "negative size at offset 1024 (entry 'f')"),
    (
        "negative size that pax mends",
        pax([(b"size", b"0")]) + header(b"f", size=-1),
        "negative size at offset 0 (entry 'f')",
    ),
    ("negative size in pax", pax([(b"size", b"-1")]) + header(b"f"), "negative size at offset 0 (entry 'f')"),
    (
        "content",
        GOOD + header(b"f\n\xff", size=513) + b"x" * 512,
        "the tar ends inside the content at offset 1536 (entry 'f\\n\\\\xff'): 512 of 513 bytes",
    ),
    (
        "huge content",
        header(b"f", size=2**62),
        f"the tar ends inside the content at offset 512 (entry 'f'): 0 of {2**62} bytes",
    ),
    (
        "content that pax states",
        pax([(b"size", b"1")]) + header(b"f"),
        "the tar ends inside the content at offset 1536",
    ),
    ("content of any type", header(b"f", b"Z", size=1), "the tar ends inside the content at offset 512 (entry 'f')"),
    ("pax content", GOOD + header(b"x", b"x", size=9), "the tar ends inside the extended header at offset 1024"),
    ("global pax content", header(b"g", b"g", size=9), "the tar ends inside the extended header at offset 0"),
    (
        "gnu long content",
        header(b"L", b"L", size=9) + b"x" * 8,
        "the tar ends inside the extended header at offset 0",
    ),
    (
        "pax too big",
        header(b"x", b"x", size=2**20 + 1),
        "extended header of 1048577 bytes at offset 0 (at most 1048576)",
    ),
    ("gnu long too big", header(b"K", b"K", size=2**40), "extended header of 1099511627776 bytes at offset 0"),
    ("pax of negative size", pax(b"", size=-1), "extended header of -1 bytes at offset 0"),
    *(
        (f"pax record {text!r}", pax(text) + GOOD, "malformed PAX record in the extended header at offset 0")
        for text in (
            *[b"x", b"12", b"12 ", b" a=b\n", b"6 a=b", b"6 a=b\n\n", b"7 a=b\n", b"5 a=b\n", b"6 a:b\n", b"5 =b\n"],
            *[b"-6 a=b\n", b"1e1 a=b\n", b"0x6 a=b\n", b"99999999999999999999 a=b\n", b"4 =\n", b"13 path=\0abc\n"],
            *[b"7 a\0=b\n", b"\xd9\xa6 a=b\n", b"9" * 5000 + b" a=b\n", b"6 a=b\n" + bytes(6)],
        )
    ),
    (
        "sparse 0.0 out of order",
        pax([(b"GNU.sparse.numbytes", b"1")]) + GOOD,
        "malformed PAX record in the extended header at offset 0",
    ),
    (
        "sparse 0.0 in two of a kind",
        pax([(b"GNU.sparse.offset", b"1"), (b"GNU.sparse.offset", b"1")]) + GOOD,
        "malformed PAX record in the extended header at offset 0",
    ),
    *(
        (
            f"{key.decode()} {value!r}",
            GOOD + pax([(key, value)]) + header(b"f"),
            f"PAX record {key.decode()} has the value {value!r} at offset ",
        )
        for key, value in [
            *[(key, b"x") for key in (b"uid", b"gid", b"size", b"mtime", b"atime", b"ctime")],
            *[(b"uid", b"1.0"), (b"uid", b" 1"), (b"uid", b"1_0"), (b"uid", b"9223372036854775808")],
            *[(b"mtime", b".5"), (b"mtime", b"1.-5"), (b"mtime", b"1e3"), (b"mtime", b"1.5.5")],
        ]
    ),
    *(
        (f"sparse: {case}", GOOD + parts, "malformed sparse map at offset 1024 (entry ")
        for case, parts in [
            ("no count", sparse([(MAP, b"0,1")], b"x")),
            ("wrong count", sparse([(MAP, b"0,1"), (BLOCKS, b"2")], b"x")),
            ("negative count", sparse([(MAP, b"0,1"), (BLOCKS, b"-1")], b"x")),
            ("odd", sparse([(MAP, b"0,1,2"), (BLOCKS, b"1")], b"x")),
            ("letters", sparse([(MAP, b"0,x"), (BLOCKS, b"1")], b"x")),
            ("beyond the file", sparse([(MAP, b"9,1"), (BLOCKS, b"1"), (REAL, b"9")], b"x")),
            ("overlapping", sparse([(MAP, b"0,2,1,2"), (BLOCKS, b"2"), (REAL, b"9")], b"xxxx")),
            ("backwards", sparse([(MAP, b"5,1,0,1"), (BLOCKS, b"2"), (REAL, b"9")], b"xx")),
            ("negative length", sparse([(MAP, b"5,-1"), (BLOCKS, b"1"), (REAL, b"9")])),
            ("negative offset", sparse([(MAP, b"-1,1"), (BLOCKS, b"1"), (REAL, b"9")], b"x")),
            ("negative file", sparse([(MAP, b","), (b"GNU.sparse.size", b"-5")])),
            ("negative empty file", sparse([*ONE_ZERO[:2], (REAL, b"-5")], padded(b"0\n"))),
            ("huge", sparse([(MAP, b"9223372036854775807,1"), (BLOCKS, b"1"), (REAL, b"9")], b"x")),
            ("file of letters", sparse([(MAP, b"0,1"), (BLOCKS, b"1"), (REAL, b"x")], b"x")),
            ("content left over", sparse([(MAP, b"0,1"), (BLOCKS, b"1"), (REAL, b"9")], b"xx")),
            ("content missing", sparse([(MAP, b"0,2"), (BLOCKS, b"1"), (REAL, b"9")], b"x")),
            ("a directory", sparse([(MAP, b"0,0"), (BLOCKS, b"1")], kind=b"5")),
            ("a zero in its name", sparse([(MAP, b"0,0"), (BLOCKS, b"1"), (b"GNU.sparse.name", b"a\0b")])),
            ("1.0 without map", sparse(ONE_ZERO)),
            ("1.0 with half a block", sparse(ONE_ZERO, b"0\n")),
            ("1.0 of letters", sparse(ONE_ZERO, padded(b"x\n"))),
            ("1.0 with a negative count", sparse(ONE_ZERO, padded(b"-1\n"))),
            ("1.0 that goes on and on", sparse(ONE_ZERO, padded(b"99\n0\n0\n"))),
            ("1.0 with content left over", sparse(ONE_ZERO, padded(b"1\n0\n1\n") + b"xx")),
        ]
    ),
    (
        "sparse: 1.0 of more than a MiB",
        lambda: GOOD + sparse(ONE_ZERO, padded(b"200000\n" + b"000\n" * 400_000)),
        "malformed sparse map at offset 1024 (entry ",
    ),
    *(
        (f"xattr: {case}", GOOD + pax([(b"SCHILY.xattr." + key, value)]) + header(b"f"), error)
        for case, key, value, error in [
            (
                "long name",
                b"user." + LONG,
                b"",
                "an xattr with a name of 261 bytes (1 to 255) at offset 2048 (entry 'f')",
            ),
            ("no name", b"", b"v", "an xattr with a name of 0 bytes (1 to 255) at offset 2048 (entry 'f')"),
            (
                "large",
                b"user.a",
                VAST,
                "xattr 'user.a' has a value of 65537 bytes (65536 at most) at offset ",
            ),
            (
                "large, of no use",
                b"x.y",
                VAST,
                "xattr 'x.y' has a value of 65537 bytes (65536 at most) at off",
            ),
        ]
    ),
    (
        "many xattrs",
        pax([(b"SCHILY.xattr.user.%d" % number, b"") for number in range(1025)]) + header(b"f"),
        "more xattrs than are read (1024) at offset ",
    ),
    (
        "long path",
        pax([(b"path", b"a/" * 2048 + b"f")]) + header(b"f"),
        "a name of 4097 bytes (4096 at most) at offset 0",
    ),
    (
        "long GNU name",
        gnu_long(b"n" * 4097) + header(b"f"),
        "a name of 4097 bytes (4096 at most) at offset 0 (entry 'n",
    ),
    (
        "long name of a global header",
        pax([(b"path", VAST[:4097])], b"g"),
        "a name of 4097 bytes (4096 at most) at of",
    ),
    (
        "long name of a sparse file",
        sparse([*ONE_ZERO[:2], (b"GNU.sparse.name", VAST[:4097])], padded(b"0\n")),
        "a name of 4097",
    ),
    (
        "long target",
        pax([(b"linkpath", VAST[:4097])]) + header(b"l", b"2"),
        "a link target of 4097 bytes (4096 at most) at",
    ),
    (
        "long hard link",
        gnu_long(LONG * 20, b"K") + header(b"l", b"1"),
        "a link target of 5120 bytes (4096 at most) at of",
    ),
    (
        "fragments of one file",
        sparse(ONE_ZERO, padded(b"262145\n")),
        "more fragments of sparse files in one layer than are read (262144) at offset ",
    ),
    (
        "fragments of many files",
        lambda: sparse([(MAP, b",".join([b"0"] * 60_000)), (BLOCKS, b"30000")]) * 9,
        "more fragments of sparse files in one layer than are read (262144) at offset ",
    ),
    (
        "empty fragments, written one by one",
        lambda: (pax(ONE_BY_ONE + headers.record(BLOCKS, b"10000")) + header(b"f")) * 27,
        "more fragments of sparse files in one layer than are read (262144) at offset ",
    ),
    (
        "records",
        lambda: pax(b"6 a=b\n" * 170_000) * 6,
        "more PAX records in one layer than are read (1000000) at offset ",
    ),
]


@pytest.mark.parametrize(("content", "error"), [pytest.param(*row, id=case) for case, *row in CASES])
def test_error(content: bytes | Callable[[], bytes], error: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        list(read_entries(content() if callable(content) else content))
    assert str(caught.value).startswith(error)


def test_entries_before_the_damage_are_told() -> None:
    entries = read_entries(GOOD + b"x" * 512)
    assert next(entries).name == b"good"
    with pytest.raises(ArchiveError):
        next(entries)


EVERYTHING = archive(
    file(b"f", b"x" * 700, mtime_ns=5, xattrs={b"user.a": b"1"}),
    symlink(b"l" * 200, b"t" * 200),
    pax([(b"comment", b"c")], b"g"),
    gnu_long(b"n" * 600),
    header(b"n", size=1, magic=GNU),
    padded(b"y"),
    sparse([(MAP, b"0,1,8,1"), (BLOCKS, b"2"), (REAL, b"9")], b"xx"),
    sparse(ONE_ZERO, padded(b"1\n8\n1\n") + b"x"),
    checked(header(b"S", b"S", magic=GNU)[:482] + b"\1" + bytes(29)),
    bytes(504) + b"\1" + bytes(7),
    bytes(512),
    file(b"last", b"z"),
)
WHOLE = list(read_entries(EVERYTHING))


def told(content: bytes) -> list[TarEntry]:
    """The entries before the damage, if any."""
    entries = []
    try:
        for entry in read_entries(content):
            entries.append(entry)
            assert len(entries) * 512 <= len(content)
    except ArchiveError as error:
        assert re.search(r"at offset \d+", str(error))
    return entries


def test_everything_is_told() -> None:
    assert [(entry.kind, entry.name[:4]) for entry in WHOLE] == [
        *[("0", b"f"), ("2", b"llll"), ("g", b"PaxH"), ("0", b"nnnn"), ("0", b"f"), ("0", b"spar"), ("S", b"S")],
        ("0", b"last"),
    ]


@pytest.mark.parametrize("beside", [-1, 0, 1, 100])
def test_cut_at_each_block(beside: int) -> None:
    for block in range(512, len(EVERYTHING) + 1, 512):
        entries = told(EVERYTHING[: block + beside])
        assert entries == WHOLE[: len(entries)]


@given(st.integers(0, len(EVERYTHING)))
def test_cut_anywhere(length: int) -> None:
    entries = told(EVERYTHING[:length])
    assert entries == WHOLE[: len(entries)]


@given(st.lists(st.tuples(st.integers(0, len(EVERYTHING) - 1), st.integers(0, 255), st.booleans()), max_size=4))
def test_changed_bytes(changes: list[tuple[int, int, bool]]) -> None:
    content = bytearray(EVERYTHING)
    for at, byte, mend in changes:
        content[at] = byte
        if mend:
            block = at // 512 * 512
            content[block : block + 512] = checked(bytes(content[block : block + 512]))
    told(bytes(content))


fields = st.sampled_from(b"\0 0123456789\x80\xff\n=,xgLK5S")


@given(st.lists(st.lists(fields, min_size=8, max_size=500).map(bytes) | st.binary(max_size=600), max_size=6))
def test_random_blocks(blocks: list[bytes]) -> None:
    told(b"".join(checked(block[:512].ljust(512, b"\0")) for block in blocks))


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"6 a=b\n", b"11 path=a\n"]), max_size=5))
def test_random_records(records: list[bytes]) -> None:
    told(archive(pax(b"".join(records)), file(b"f")))


@given(st.binary(max_size=3000))
def test_random_bytes(content: bytes) -> None:
    told(content)


def test_headers_are_a_mebibyte_at_most() -> None:
    text = b"n" * ((1 << 20) - len(b"1048576 comment=\n"))
    assert headers.record(b"comment", text).startswith(b"1048576 ")
    assert next(read_entries(archive(pax([(b"comment", text)]), header(b"n")))).name == b"n"


def test_what_is_not_looked_at_may_be_long() -> None:
    """containerd never sets `trusted.` xattrs, nor links what is no link."""
    records = [(b"SCHILY.xattr.trusted." + LONG, b""), (b"SCHILY.xattr.trusted.a", VAST), (b"linkpath", b"t" * 5000)]
    (entry,) = read_entries(archive(pax(records), header(b"f")))
    assert (entry.xattrs, entry.target) == (None, b"")


def test_largest_that_is_read() -> None:
    xattrs = [(b"SCHILY.xattr.user.%d" % number, b"") for number in range(1023)]
    largest = (b"SCHILY.xattr.user." + b"n" * 250, VAST[:65536])
    entries = read_entries(
        archive(
            pax([*xattrs, largest, (b"path", b"n/" * 2048), (b"linkpath", b"t" * 4096)]),
            header(b"l", b"2"),
            sparse([(MAP, b",".join([b"0"] * 60_000)), (BLOCKS, b"30000")]) * 8,
        )
    )
    first, *others = entries
    assert (len(first.name), len(first.target), len(first.xattrs or ())) == (4096, 4096, 1024)
    assert [entry.sparse for entry in others] == [b""] * 8


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [(b"", b"", errno.ERANGE), (b"user." + LONG, b"", errno.ERANGE), (b"x.y", VAST, errno.E2BIG)],
    ids=["no name", "long name", "large value"],
)
def test_xattrs_that_no_kernel_takes(tmp_path: Path, name: bytes, value: bytes, error: int) -> None:
    """Nor does containerd then unpack the layer: it ignores only what is not supported."""
    with pytest.raises(OSError) as caught:
        os.setxattr(tmp_path, name, value)
    assert caught.value.errno == error
    with pytest.raises(ArchiveError):
        list(read_entries(archive(pax([(b"SCHILY.xattr." + name, value)]), header(b"f"))))
