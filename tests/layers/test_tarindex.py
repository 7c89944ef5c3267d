"""The index of a tar: against `tarfile` on generated archives, and where formats differ as a table."""

from __future__ import annotations

import io
import os
import tarfile

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarindex import read_entries
from tests.support import headers
from tests.support.headers import GNU, STAR, V7, archive, file, gnu_long, header, padded, pax
from tests.support.tars import Device, Dir, Fifo, File, Hardlink, Symlink, tar

LONG = b"long/" * 50

parts = st.text("ab/.é\N{SNOWMAN}\udcff\n ", min_size=1, max_size=60)
names = st.one_of(parts, st.lists(parts, min_size=2, max_size=6).map("/".join))
owners = st.sampled_from([0, 1, 0o7777777, 0o10000000, 2**32 - 2])
times = st.sampled_from([0, 1, 1_500_000_000, 8**11 - 1, 8**11, 2**33 + 0.5, 1.25, -1, -7.75])
common = {
    "mode": st.sampled_from([0, 0o644, 0o4755, 0o7777]),
    "uid": owners,
    "gid": owners,
    "mtime": times,
    "xattrs": st.dictionaries(st.sampled_from(["user.a", "security.x", "user.\N{SNOWMAN}"]), parts, max_size=2),
}
nodes = st.one_of(
    st.builds(File, st.binary(max_size=1100), **common),
    st.builds(Dir, **common),
    st.builds(Symlink, names, **common),
    st.builds(Hardlink, names, **common),
    st.builds(Fifo, **common),
    st.builds(Device, st.integers(0, 4095), st.integers(0, 2**20 - 1), st.booleans(), **common),
)


def told_by_tarfile(content: bytes) -> list[dict[str, object]]:
    with tarfile.open(fileobj=io.BytesIO(content), encoding="utf-8", errors="surrogateescape") as opened:
        return [as_entry(info) for info in opened]


def as_entry(info: tarfile.TarInfo) -> dict[str, object]:
    whole, _, fraction = str(info.pax_headers.get("mtime", int(info.mtime))).partition(".")
    mtime_ns = int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return {
        "kind": info.type.decode(),
        "name": os.fsencode(info.name),
        "mode": info.mode & 0o7777,
        "uid": info.uid,
        "gid": info.gid,
        "mtime_ns": mtime_ns if not whole.startswith("-") and mtime_ns < 2**63 else 0,
        "header": info.offset,
        "size": info.size,
        "offset": info.offset_data,
        "target": os.fsencode(info.linkname),
        "device": (info.devmajor, info.devminor),
        "xattrs": {
            os.fsencode(key.removeprefix("SCHILY.xattr.")): os.fsencode(value)
            for key, value in info.pax_headers.items()
            if key.startswith("SCHILY.xattr.")
        },
    }


def told_by_us(content: bytes) -> list[dict[str, object]]:
    return [
        {
            "kind": entry.kind,
            "name": entry.name.rstrip(b"/") if entry.kind == "5" else entry.name,  # `tarfile` keeps none there
            "mode": entry.mode,
            "uid": entry.uid,
            "gid": entry.gid,
            "mtime_ns": entry.mtime_ns,
            "header": entry.header,
            "size": entry.size,
            "offset": entry.offset,
            "target": entry.target,
            "device": (entry.major, entry.minor),
            "xattrs": entry.xattrs or {},
        }
        for entry in read_entries(content)
    ]


@given(st.lists(st.tuples(names, nodes), max_size=5), st.sampled_from(["USTAR", "GNU", "PAX"]))
def test_what_tarfile_writes(tree: list[tuple[str, File]], format: str) -> None:
    try:
        content = tar(tree, format=getattr(tarfile, f"{format}_FORMAT"))
    except ValueError:  # a name or number too big for the format
        reject()
    assert told_by_us(content) == told_by_tarfile(content)


raw = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and not name.endswith(b"/"))
members = st.builds(
    headers.member,
    raw,
    st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6"]),
    mode=st.sampled_from([0, 0o644, 0o7777]),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    mtime_ns=st.integers(-(10**20), 10**20),
    target=raw,
    device=st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
    xattrs=st.dictionaries(raw.filter(lambda name: b"=" not in name), st.binary(max_size=20), max_size=2),
)
files = st.builds(headers.member, raw, content=st.binary(max_size=1100))


@given(st.lists(members | files, max_size=5))
def test_any_bytes(tree: list[bytes]) -> None:
    content = archive(*tree)
    assert told_by_us(content) == told_by_tarfile(content)


def one(*parts: bytes, end: bytes = headers.END) -> TarEntry:
    (entry,) = read_entries(archive(*parts, end=end))
    return entry


NAMES = [
    ("v7", header(b"n", magic=V7, prefix=b"p"), b"n"),
    ("v7 full", header(b"n" * 100, magic=V7), b"n" * 100),
    ("ustar", header(b"n", prefix=b"p"), b"p/n"),
    ("ustar full", header(b"n" * 100, prefix=b"p" * 155), b"p" * 155 + b"/" + b"n" * 100),
    ("ustar whatever its version", header(b"n", prefix=b"p", magic=b"ustar\0zz"), b"p/n"),
    ("another magic is v7", header(b"n", prefix=b"p", magic=b"ustar 00", device=(b"?", b"?")), b"n"),
    ("star", header(b"n", prefix=b"p" * 131 + b"00000000001\0" * 2, trailer=STAR), b"p" * 131 + b"/n"),
    ("gnu has times there", header(b"n", magic=GNU, prefix=b"00000000001\0" * 2), b"n"),
    ("gnu with a prefix, as Go once wrote", header(b"n", magic=GNU, prefix=b"some/prefix"), b"some/prefix/n"),
    ("gnu with garbage there", header(b"n", magic=GNU, prefix=b"\xfe?"), b"n"),
    ("gnu long", gnu_long(LONG) + header(b"n", magic=GNU), LONG),
    ("gnu long is cut at a zero", header(b"L", b"L", size=5) + padded(b"ab\0cd") + header(b"n"), b"ab"),
    ("pax", pax([(b"path", LONG)]) + header(b"n"), LONG),
    ("empty pax counts as none", pax([(b"path", b"")]) + header(b"n"), b"n"),
    ("the last record counts", pax([(b"path", b"a"), (b"path", b"b")]) + header(b"n"), b"b"),
    ("the last pax header counts", pax([(b"path", b"a")]) + pax([(b"comment", b"")]) + header(b"n"), b"n"),
    ("gnu long after pax", pax([(b"path", b"p")]) + gnu_long(LONG) + header(b"n"), LONG),
    ("gnu long before pax", gnu_long(LONG) + pax([(b"path", b"p")]) + header(b"n"), LONG),
    ("with an = in it", pax([(b"path", b"a=b")]) + header(b"n"), b"a=b"),
    ("not UTF-8", pax([(b"path", b"\xff\n")]) + header(b"n"), b"\xff\n"),
    ("empty", header(b""), b""),
]


@pytest.mark.parametrize(("parts", "name"), [pytest.param(*row, id=case) for case, *row in NAMES])
def test_names(parts: bytes, name: bytes) -> None:
    assert one(parts).name == name


KINDS = [
    (header(b"n", b"\0"), "0"),
    (header(b"n/", b"\0"), "5"),
    (header(b"n/", b"0"), "0"),
    (pax([(b"path", b"n/")]) + header(b"n", b"\0"), "5"),
    (header(b"n", b"7"), "7"),
    (header(b"n", b"\xff"), "\xff"),
    (header(b"n", b"S", magic=GNU), "S"),
]


@pytest.mark.parametrize(("parts", "kind"), KINDS)
def test_kinds(parts: bytes, kind: str) -> None:
    assert one(parts).kind == kind


TARGETS = [
    ("header", header(b"n", b"2", target=b"t" * 100), b"t" * 100),
    ("gnu long", gnu_long(LONG, b"K") + header(b"n", b"1", target=b"t"), LONG),
    ("both gnu long", gnu_long(LONG, b"K") + gnu_long(b"l" * 200) + header(b"n", b"1", target=b"t"), LONG),
    ("pax", pax([(b"linkpath", LONG)]) + header(b"n", b"2", target=b"t"), LONG),
    ("gnu long and pax", gnu_long(LONG, b"K") + pax([(b"linkpath", b"p")]) + header(b"n", b"2"), LONG),
]


@pytest.mark.parametrize(("parts", "target"), [pytest.param(*row, id=case) for case, *row in TARGETS])
def test_targets(parts: bytes, target: bytes) -> None:
    assert one(parts).target == target


MTIMES = [
    (header(mtime=5), 5 * 10**9),
    (header(mtime=8**11), 8**11 * 10**9 if 8**11 * 10**9 < 2**63 else 0),
    (header(mtime=2**40), 0),  # past what nanoseconds in 63 bits can tell
    (header(mtime=-1), 0),
    (header(mtime=-(2**63)), 0),
    (header(mtime=b" 17 \0"), 0o17 * 10**9),
    (header(mtime=b""), 0),
    (pax([(b"mtime", b"1.5")]) + header(mtime=9), 1_500_000_000),
    (pax([(b"mtime", b"1.000000001999")]) + header(), 1_000_000_001),
    (pax([(b"mtime", b"1.")]) + header(), 1_000_000_000),
    (pax([(b"mtime", b"+1.25")]) + header(), 1_250_000_000),
    (pax([(b"mtime", b"-0.5")]) + header(), 0),
    (pax([(b"mtime", b"-1.5")]) + header(), 0),
    (pax([(b"mtime", b"9223372036.854775807")]) + header(), 2**63 - 1),
    (pax([(b"mtime", b"9223372036.854775808")]) + header(), 0),
    (pax([(b"mtime", b"9223372036854775807")]) + header(), 0),
    (pax([(b"mtime", b"")]) + header(mtime=9), 9 * 10**9),
]


@pytest.mark.parametrize(("parts", "mtime_ns"), MTIMES)
def test_mtimes(parts: bytes, mtime_ns: int) -> None:
    assert one(parts).mtime_ns == mtime_ns


NUMBERS = [
    (header(uid=0o7777777, gid=0o7777777), (0o7777777, 0o7777777)),
    (header(uid=2**32 - 2, gid=2**21), (2**32 - 2, 2**21)),
    (header(uid=2**32 + 5, gid=-1), (5, 2**32 - 1)),  # what a kernel takes of them
    (header(uid=b"  17 \0", gid=b""), (0o17, 0)),
    (pax([(b"uid", b"4294967294"), (b"gid", b"-1")]) + header(uid=1), (2**32 - 2, 2**32 - 1)),
    (pax([(b"uid", b""), (b"gid", b"+7")]) + header(uid=1), (1, 7)),
]


@pytest.mark.parametrize(("parts", "ids"), NUMBERS)
def test_owners(parts: bytes, ids: tuple[int, int]) -> None:
    assert (one(parts).uid, one(parts).gid) == ids


def test_mode_is_the_headers() -> None:
    assert one(pax([(b"mode", b"0777")]) + header(mode=0o104755)).mode == 0o4755


def test_device_numbers_as_a_kernel_takes_them() -> None:
    entry = one(header(b"n", b"3", device=(2**12 + 1, 2**20 + 2)))
    assert (entry.major, entry.minor) == (1, 2)


def test_xattrs() -> None:
    records = [(b"SCHILY.xattr.user.a", b"1\0=\n"), (b"SCHILY.xattr.user.b", b""), (b"LIBARCHIVE.xattr.user.c", b"x")]
    assert one(pax(records) + header()).xattrs == {b"user.a": b"1\0=\n", b"user.b": b""}


def test_size_from_pax() -> None:
    entries = list(read_entries(archive(pax([(b"size", b"3")]), header(b"a", size=0), padded(b"abc"), file(b"b"))))
    assert [(entry.name, entry.size) for entry in entries] == [(b"a", 3), (b"b", 0)]


def test_sizes_that_do_not_count() -> None:
    content = archive(header(b"d/", b"5", size=7), header(b"l", b"2", size=512, target=b"t"), file(b"f", b"x"))
    assert [(entry.name, entry.size) for entry in read_entries(content)] == [(b"d/", 0), (b"l", 0), (b"f", 1)]


def test_global_headers_change_no_later_entry() -> None:
    records = [(b"path", b"g"), (b"uid", b"7"), (b"mtime", b"8"), (b"comment", b"a commit")]
    entries = list(read_entries(archive(pax(records, b"g"), file(b"f"), pax([(b"uid", b"no number")], b"g"))))
    assert [(entry.kind, entry.name, entry.uid, entry.mtime_ns) for entry in entries] == [
        ("g", b"g", 0, 0),
        ("0", b"f", 0, 0),
        ("g", b"PaxHeaders/x", 0, 0),
    ]


def test_global_header_between_pax_and_entry() -> None:
    content = archive(pax([(b"path", b"lost")]), gnu_long(b"lost"), pax([(b"comment", b"")], b"g"), file(b"f"))
    assert [entry.name for entry in read_entries(content)] == [b"PaxHeaders/x", b"f"]


def test_header_counts_from_the_first_block_of_an_entry() -> None:
    content = archive(file(b"a", b"x"), pax([(b"uid", b"1")]), gnu_long(LONG), header(b"b", size=1), padded(b"y"))
    entries = list(read_entries(content))
    assert [(entry.header, entry.offset) for entry in entries] == [(0, 512), (1024, 1024 + 1024 + 1024 + 512)]


@pytest.mark.parametrize("sign", [1, -1])
def test_checksum_of_signed_or_unsigned_bytes(sign: int) -> None:
    block = header(b"\xff\xfe")
    total = sum(block[:148] + block[156:]) + 256 - (0 if sign > 0 else 512)
    assert one(headers.checked(block, b"%06o\0 " % total)).name == b"\xff\xfe"


ENDS = [
    ("nothing", b""),
    ("one zero block", bytes(512)),
    ("two", bytes(1024)),
    ("a record of them", bytes(10240)),
    ("two and stray bytes", bytes(1024) + b"x" * 700),
    ("two and another archive", bytes(1024) + archive(file(b"unseen"))),
]


@pytest.mark.parametrize("end", [pytest.param(end, id=case) for case, end in ENDS])
def test_ends(end: bytes) -> None:
    assert one(file(b"f", b"x" * 600), end=end).size == 600


def test_last_padding_may_be_missing() -> None:
    assert one(header(b"f", size=3), b"abc", end=b"").size == 3


def test_empty() -> None:
    assert list(read_entries(b"")) == list(read_entries(bytes(1024))) == []
