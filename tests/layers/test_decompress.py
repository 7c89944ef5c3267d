"""Blobs to tars: told by content, whole, checked to their end, in little memory."""

from __future__ import annotations

import gzip
import io
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Sequence

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.layers.decompress import CHUNK, CorruptStream, LargeWindow, _gunzip, compression, plain_chunks
from c2wtasks.sources.feed import Feed

TEXT = b"".join(b"%d\n" % number for number in range(5000))
GZIP = gzip.compress(TEXT, mtime=0)
ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress(TEXT)
SKIPPABLE = bytes.fromhex("5e2a4d18 05000000") + b"notes"
ZEROS = bytes(3 * CHUNK)


Content = bytes | Callable[[], bytes]
"""What is large is made when it is needed: all tests are there before the first of them runs."""


def read(content: Content) -> bytes:
    return content() if callable(content) else content


def plain(blob: bytes) -> bytes:
    return b"".join(plain_chunks(io.BytesIO(blob)))


FHCRC, FEXTRA, FNAME, FCOMMENT = 2, 4, 8, 16
LARGE_FIELDS = {FEXTRA: b"\xff\xff" + bytes(65535), FNAME: b"n" * CHUNK + b"\0"}
FIELDS = {FEXTRA: b"\5\0a\0b\0c", FNAME: b"layer.tar\0", FCOMMENT: b"made for a test\0"}


def gzip_of(flags: int, fields: dict[int, bytes] = FIELDS, header_sum: int = 0) -> bytes:
    """TEXT with a header that has the fields of `flags`. `header_sum` is added to the sum of the header."""
    raw = zlib.compressobj(wbits=-15)
    body = raw.compress(TEXT) + raw.flush()
    trailer = zlib.crc32(TEXT).to_bytes(4, "little") + len(TEXT).to_bytes(4, "little")
    head = bytes([0x1F, 0x8B, 8, flags, 1, 2, 3, 4, 0, 255])
    head += b"".join(field for flag, field in fields.items() if flags & flag)
    if flags & FHCRC:
        head += ((zlib.crc32(head) + header_sum) & 0xFFFF).to_bytes(2, "little")
    return head + body + trailer


def zstd_of(content: bytes, **options: object) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(**options)  # type: ignore[arg-type]
    out = io.BytesIO()
    with zstandard.ZstdCompressor(compression_params=parameters).stream_writer(out, closefd=False) as writer:
        writer.write(content)
    return out.getvalue()


GOOD = [
    ("empty", b"", b""),
    ("uncompressed", TEXT, TEXT),
    ("shorter than any magic", b"\x1f", b"\x1f"),
    ("gzip", GZIP, TEXT),
    ("gzip of nothing", gzip.compress(b""), b""),
    ("gzip members", GZIP + gzip.compress(b"") + GZIP, TEXT * 2),
    ("gzip with flags that mean nothing", gzip_of(0xE1), TEXT),
    ("gzip with empty fields", gzip_of(0x1E, {FEXTRA: b"\0\0", FNAME: b"\0", FCOMMENT: b"\0"}), TEXT),
    ("gzip with large fields", lambda: gzip_of(FHCRC | FEXTRA | FNAME, LARGE_FIELDS), TEXT),
    ("gzip, stored", gzip.compress(TEXT, 0), TEXT),
    ("gzip padded", GZIP + bytes(7), TEXT),
    ("gzip padded with MiBs", lambda: GZIP + ZEROS, TEXT),
    ("gzip padded by one", GZIP + b"\0", TEXT),
    ("zstd", ZSTD, TEXT),
    ("zstd of nothing", zstandard.ZstdCompressor().compress(b""), b""),
    ("zstd frames", ZSTD + zstandard.ZstdCompressor().compress(b"") + ZSTD, TEXT * 2),
    ("zstd between skippable frames", SKIPPABLE + ZSTD + SKIPPABLE + SKIPPABLE + ZSTD + SKIPPABLE, TEXT * 2),
    ("zstd with an empty skippable frame", bytes.fromhex("502a4d18 00000000") + ZSTD, TEXT),
    ("zstd, MiBs skipped", lambda: bytes.fromhex("502a4d18") + len(ZEROS).to_bytes(4, "little") + ZEROS + ZSTD, TEXT),
    ("zstd skippable only", SKIPPABLE, b""),
    ("zstd of unknown size", zstd_of(TEXT, compression_level=3, write_content_size=False), TEXT),
    ("zstd with a checksum", zstd_of(TEXT, compression_level=19, write_checksum=True), TEXT),
    ("zstd of runs", lambda: zstd_of(ZEROS, compression_level=1), ZEROS),
    ("zstd, long window", lambda: zstd_of(ZEROS + TEXT, compression_level=1, window_log=27), lambda: ZEROS + TEXT),
    ("zstd magic of another kind", b"\x28\xb5\x2f\xfe" + TEXT, b"\x28\xb5\x2f\xfe" + TEXT),
    ("lz4", b"\x04\x22\x4d\x18" + TEXT, b"\x04\x22\x4d\x18" + TEXT),
]


@pytest.mark.parametrize(("blob", "content"), [pytest.param(*row, id=case) for case, *row in GOOD])
def test_content(blob: Content, content: Content) -> None:
    assert plain(read(blob)) == read(content)


EARLY = "ends too early"
AFTER = "is followed by something else"
BAD = [
    ("gzip and garbage", GZIP + b"garbage", f"the gzip data {AFTER}"),
    ("gzip and a byte", GZIP + b"\x1f", f"the gzip data {AFTER}"),
    ("gzip, padding and garbage", GZIP + bytes(9) + b"x", f"the gzip data {AFTER}"),
    ("gzip, MiBs of padding and garbage", lambda: GZIP + ZEROS + b"x", f"the gzip data {AFTER}"),
    ("gzip, padding and another", GZIP + bytes(9) + GZIP, f"the gzip data {AFTER}"),
    ("gzip, MiBs of padding and another", lambda: GZIP + ZEROS + GZIP, f"the gzip data {AFTER}"),
    ("gzip and zstd", GZIP + ZSTD, f"the gzip data {AFTER}"),
    ("gzip with a wrong sum", GZIP[:-8] + bytes(4) + GZIP[-4:], "the gzip data is damaged: "),
    ("gzip with a wrong length", GZIP[:-4] + bytes(4), "the gzip data is damaged: "),
    ("gzip with a wrong sum of its header", gzip_of(FHCRC | FNAME, header_sum=1), "the gzip data is damaged: the ch"),
    (
        "gzip with a name without end",
        lambda: gzip_of(FNAME, {FNAME: b"n" * 3 * CHUNK}),
        "the gzip data is damaged: a name",
    ),
    ("gzip, damaged", GZIP[:40] + b"\xff" * 40 + GZIP[80:], "the gzip data is damaged: "),
    ("second gzip member cut", GZIP + GZIP[:-1], f"the gzip data {EARLY}"),
    ("zstd and garbage", ZSTD + b"garbage", f"the zstd data {AFTER}"),
    ("zstd and gzip", ZSTD + GZIP, f"the zstd data {AFTER}"),
    ("zstd and zeros", ZSTD + bytes(512), f"the zstd data {AFTER}"),
    ("zstd and a byte", ZSTD + b"\x28", f"the zstd data {EARLY}"),
    ("zstd with a wrong sum", ZSTD[:-1] + bytes([ZSTD[-1] ^ 1]), "the zstd data is damaged: "),
    ("zstd, damaged", ZSTD[:40] + b"\xff" * 40 + ZSTD[80:], "the zstd data is damaged: "),
    ("zstd skippable frame cut", ZSTD + SKIPPABLE[:-1], f"the zstd data {EARLY}"),
]


@pytest.mark.parametrize(("blob", "error"), [pytest.param(*row, id=case) for case, *row in BAD])
def test_corrupt(blob: Content, error: str) -> None:
    with pytest.raises(CorruptStream) as caught:
        plain(read(blob))
    assert str(caught.value).startswith(error)


@pytest.mark.parametrize(
    ("whole", "kind"),
    [
        (GZIP, "gzip"),
        (gzip_of(0x1E), "gzip"),
        (ZSTD, "zstd"),
        (zstandard.ZstdCompressor().compress(TEXT), "zstd"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(random.Random(1).randbytes(300)), "zstd"),
        (SKIPPABLE + ZSTD[:50], "zstd"),
    ],
    ids=["gzip", "gzip with all fields", "zstd", "zstd without checksum", "zstd raw block", "zstd skippable"],
)
def test_cut_at_each_byte(whole: bytes, kind: str) -> None:
    ends = {len(SKIPPABLE)} if whole.startswith(SKIPPABLE) else set()
    for length in range(10, len(whole)):
        if length not in ends:
            with pytest.raises(CorruptStream, match=f"the {kind} data ends too early"):
                plain(whole[:length])


class Dribbling:
    """Gives a few bytes at a time, as a pipe might."""

    def __init__(self, content: bytes, seed: int, sizes: Sequence[int] = (1, 2, 3, 100, 4096)) -> None:
        self._stream = io.BytesIO(content)
        self._random = random.Random(seed)
        self._sizes = sizes

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._random.choice(self._sizes)))


@pytest.mark.parametrize("flags", range(32))
def test_gzip_headers_however_they_are_cut(flags: int) -> None:
    blob = gzip_of(flags) + gzip_of(31 - flags) + GZIP + gzip_of(flags)
    for size in (1, 2, 3, 5, 9, 11, 13, 29, len(gzip_of(flags)), len(gzip_of(flags)) + 7, CHUNK):
        assert b"".join(plain_chunks(Dribbling(blob, 0, [size]))) == 4 * TEXT, size


# Descriptors of windows (RFC 8878, 3.1.1.1.2): five bits of exponent from 2^10 on, three of eighths.
@pytest.mark.parametrize("eighths", range(8))
@pytest.mark.parametrize("log", range(27, 42))
def test_zstd_windows_up_to_512_mib(log: int, eighths: int) -> None:
    window = (8 + eighths << log) // 8
    stored = (len(TEXT) << 3 | 1).to_bytes(3, "little") + TEXT
    blob = b"\x28\xb5\x2f\xfd\0" + bytes([log - 10 << 3 | eighths]) + stored
    if window <= 512 << 20:
        assert plain(blob) == TEXT
    else:
        with pytest.raises(LargeWindow, match=f"a window of {window} bytes, and 536870912 are read at most"):
            plain(blob)


@pytest.mark.parametrize("size", [1 << 30, 2 << 30, (2 << 30) + 1, 2**64 - 1])
def test_a_single_segment_is_its_own_window(size: int) -> None:
    """What `zstd --long=30` makes of a file. The frame ends early: its content would take too long here."""
    stored = (len(TEXT) << 3 | 1).to_bytes(3, "little") + TEXT
    blob = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + stored
    error = CorruptStream if size <= 2 << 30 else LargeWindow
    with pytest.raises(error):
        plain(blob)


contents = st.lists(st.binary(max_size=50) | st.integers(1, 300_000).map(bytes), max_size=4).map(b"".join)


@given(st.lists(contents, min_size=1, max_size=3), st.booleans(), st.integers(0, 9), st.integers(0, 99))
def test_round_trip_however_it_is_read(members: list[bytes], zstd: bool, level: int, seed: int) -> None:
    compress = zstandard.ZstdCompressor(level=level).compress if zstd else lambda data: gzip.compress(data, level)
    blob = b"".join(compress(member) for member in members)
    assert plain(blob) == b"".join(members)
    assert b"".join(plain_chunks(Dribbling(blob, seed))) == b"".join(members)


@given(st.sampled_from([GZIP, ZSTD]), st.integers(4, 300), st.binary(min_size=1, max_size=3))
def test_changed_bytes_are_never_taken(blob: bytes, at: int, other: bytes) -> None:
    changed = blob[:at] + other + blob[at + len(other) :]
    try:
        assert plain(changed) == TEXT  # a byte of the header that says nothing of the content
    except (CorruptStream, LargeWindow):
        pass


@pytest.mark.parametrize("extra", [-257, -1, 0, 1, 257])
@pytest.mark.parametrize("chunks", [4, 8])
def test_sizes_around_the_chunks(chunks: int, extra: int) -> None:
    content = bytes(chunks * CHUNK + extra)
    assert plain(gzip.compress(content, 1)) == content
    assert plain(zstandard.ZstdCompressor().compress(content)) == content


def peak(chunks: Iterable[bytes]) -> tuple[int, int]:
    """How many bytes there were, and how many were in memory at most."""
    tracemalloc.start()
    try:
        return sum(map(len, chunks)), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb_of(name: str) -> bytes:
    part = bytes(1 << 20)
    if name == "gzip":
        raw = zlib.compressobj(9, wbits=31)
        return b"".join(raw.compress(part) for _ in range(256)) + raw.flush()
    out = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(out, closefd=False) as writer:
        for _ in range(256):
            writer.write(part)
    return out.getvalue()


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_bombs_take_little_memory(name: str) -> None:
    bomb = bomb_of(name)
    assert len(bomb) < 1 << 20
    assert len(next(plain_chunks(io.BytesIO(bomb)))) <= 4 * CHUNK
    total, most = peak(plain_chunks(io.BytesIO(bomb)))
    assert total == 256 << 20
    assert most < 32 << 20


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", "none"),
        (b"\x1f\x8b", "none"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x1f\x8b\x07" + bytes(9), "none"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (bytes.fromhex("502a4d1800000000"), "zstd"),
        (bytes.fromhex("5f2a4d1800000000"), "zstd"),
        (bytes.fromhex("5f2a4d18000000"), "none"),
        (bytes.fromhex("602a4d1800000000"), "none"),
        (b"BZh91AY&SY", "none"),
        (b"\xfd7zXZ\0", "none"),
    ],
)
def test_compression(head: bytes, found: str) -> None:
    assert compression(head) == found


def many(part: bytes, size: int = 1 << 20) -> bytes:
    return part * (size // len(part))


TINY = [  # what is made of many tiny parts, and what a part holds
    ("gzip, empty members", lambda: many(gzip.compress(b"", mtime=0)), b""),
    ("gzip, empty members of stored blocks", lambda: many(gzip.compress(b"", 0, mtime=0)), b""),
    ("gzip, members of a byte", lambda: many(gzip.compress(b"x", mtime=0)), b"x" * 49_932),
    ("gzip, members with names", lambda: gzip_of(FNAME) * 100, TEXT * 100),
    ("zstd, empty frames", lambda: many(zstandard.ZstdCompressor().compress(b"")), b""),
    ("zstd, frames of a byte", lambda: many(zstandard.ZstdCompressor().compress(b"x")), b"x" * 104_857),
    ("zstd, skippable frames", lambda: many(bytes.fromhex("502a4d18 00000000")), b""),
    ("zstd, empty blocks", lambda: b"\x28\xb5\x2f\xfd\x00\x38" + many(b"\0\0\0") + b"\1\0\0", b""),
    (
        "zstd, blocks of a byte",
        lambda: b"\x28\xb5\x2f\xfd\x00\x38" + many(b"\x08\0\0x") + b"\1\0\0",
        b"x" * (1 << 18),
    ),
]


@pytest.mark.parametrize(("blob", "content"), [pytest.param(*row, id=case) for case, *row in TINY])
def test_many_tiny_parts_are_read_together(blob: Callable[[], bytes], content: bytes) -> None:
    pieces = list(plain_chunks(io.BytesIO(blob())))
    assert b"".join(pieces) == content
    assert len(pieces) <= 1 + len(content) // (CHUNK // 4)


def test_what_follows_a_tiny_member_is_not_copied() -> None:
    """A member was given all there is, and what it did not use was copied: 50,000 times half a MiB."""
    taken = []

    class Counted(Feed):
        def give_back(self, data: bytes) -> None:
            taken.append(len(data))
            super().give_back(data)

    blob = many(gzip.compress(b"x", mtime=0))
    assert sum(map(len, _gunzip(Counted(io.BytesIO(blob).read, CHUNK)))) == len(taken)
    assert max(taken) <= 512
