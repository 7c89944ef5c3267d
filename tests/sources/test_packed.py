"""Compressed archives and sparse members are read in place, and give what the plain archive gives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2wtasks.layers.store import Store
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources import packed
from c2wtasks.sources.archive import Archive
from c2wtasks.sources.memo import Memo
from c2wtasks.sources.packed import Unpacked
from c2wtasks.sources.tarmembers import read_members
from tests.support.images import DockerSave, Layout, pack

FLAGS = {"FTEXT": 1, "FHCRC": 2, "FEXTRA": 4, "FNAME": 8, "FCOMMENT": 16}
PLAIN = random.Random(3).randbytes(400_000) + bytes(300_000) + b"text " * 60_000


def gzip_with(flags: int) -> Callable[[bytes], bytes]:
    """gzip data whose header has those fields."""

    def compress(content: bytes) -> bytes:
        raw = gzip.compress(content, 1, mtime=0)
        header = bytearray(raw[:10])
        header[3] = flags
        if flags & 4:
            header += b"\x05\x00extra"
        header += b"a.tar\0" * bool(flags & 8) + b"why\0" * bool(flags & 16)
        if flags & 2:
            header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
        return bytes(header) + raw[10:]

    return compress


def members(content: bytes) -> bytes:
    """gzip data of several members, an empty one among them, and padding."""
    third = len(content) // 3
    parts = (content[:third], b"", content[third : 2 * third], content[2 * third :])
    return b"".join(map(gzip.compress, parts)) + bytes(1000)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    **{f"gzip {flags}": gzip_with(flags) for flags in (0, 8, 31)},
    "gzip members": members,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
    "zstd frames": lambda content: b"".join(
        zstandard.ZstdCompressor().compress(part) for part in (content[:9], content[9:])
    ),
}


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packed")
    made = {name: folder / name.replace(" ", "-") for name in FORMS}
    for name, path in made.items():
        path.write_bytes(FORMS[name](PLAIN))
    return made


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.tuples(st.integers(0, len(PLAIN) + 500), st.integers(0, 90_000)), min_size=1, max_size=5),
    st.sampled_from([1, 50_000, 1 << 30]),
)
def test_any_bytes_in_any_order(compressed, name, wanted, every):
    path = compressed[name]
    packed._points.cache_clear()
    stat = path.stat()
    packed._points(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns).every = every
    with path.open("rb") as file:
        assert packed.compression_of(file.read(8)) == name.split()[0]
        unpacked = Unpacked(file.fileno(), name.split()[0])
        for offset, count in wanted:
            assert unpacked.read_at(offset, count) == PLAIN[offset : offset + count]
    points = packed._points(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns).found
    assert len(points) <= packed._MOST


@pytest.mark.parametrize("name", ["gzip 0", "xz", "bzip2", "zstd"])
def test_damage_is_told_or_harmless(compressed, tmp_path, name):
    good = compressed[name].read_bytes()
    path = tmp_path / "bad"
    for at in range(0, len(good), len(good) // 40):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]):
            path.write_bytes(bad)
            with path.open("rb") as file:
                try:
                    Unpacked(file.fileno(), name.split()[0]).read_at(len(PLAIN) - 10, 10)
                except OSError as error:
                    assert "data " in str(error.strerror)


def test_what_unpacks_to_far_too_much(tmp_path, monkeypatch, refusal):
    monkeypatch.setattr(packed, "_FREE", 1 << 20)
    path = tmp_path / "bomb.tar"
    info = tarfile.TarInfo("a")
    info.size = 30 << 20
    path.write_bytes(gzip.compress(info.tobuf() + bytes(info.size)))
    line = refusal(f"oci-archive:{path}")
    assert line == f"cannot read {path}: the gzip data unpacks to more than 200 times its size, as no image does"


def contents(image) -> list[bytes]:
    return [b"".join(layer.place.chunks()) for layer in image.layers]


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("kind", ["oci", "old", "new"])
def test_compressed_archives(tmp_path, image, form, kind):
    layers = [{"a": "1" * 50_000}, {"b": "2"}, {"c": os.urandom(70_000).hex()}]
    if kind == "oci":
        made: Layout | DockerSave = Layout(tmp_path / "web")
        transport = "oci-archive"
    else:
        made = DockerSave(tmp_path / "web", style=kind)
        transport = "docker-archive"
    made.image(*layers, cmd=["x"])
    plain = pack(made.folder, tmp_path / "plain.tar")
    path = tmp_path / "named-anyhow.tar"
    path.write_bytes(FORMS[form](plain.read_bytes()))
    os.symlink(path.name, tmp_path / "result")
    want = image(f"{transport}:{plain}")
    for name in (path, tmp_path / "result"):
        have = image(f"{transport}:{name}")
        assert (have.config, have.manifest_digest) == (want.config, want.manifest_digest)
        assert contents(have) == contents(want)
    store = Store(str(tmp_path / "layers"))
    for layer in reversed(have.layers):
        store.ensure([layer])
        assert store.holds(layer.diff_id)


@pytest.mark.parametrize("form", ["gzip 0", "xz", "zstd"])
def test_archives_that_end_too_early(tmp_path, refusal, form):
    layout = Layout(tmp_path / "web")
    layout.image({"a": os.urandom(9000).hex()})
    plain = pack(layout.folder, tmp_path / "plain.tar").read_bytes()
    path = tmp_path / "web.tar"
    path.write_bytes(FORMS[form](plain)[:-5000])
    line = refusal(f"oci-archive:{path}")
    assert " ends " in line or "is too short" in line  # what zstd has not finished is lost
    path.write_bytes(FORMS[form](plain[:-12_000]))
    assert "ends inside the entry at offset " in refusal(f"oci-archive:{path}")
    path.write_bytes(FORMS[form](b"hello"))
    assert refusal(f"oci-archive:{path}") == f"{path} is too short for a tar archive"


# -- sparse members


def gnu_tar(folder: Path, archive: Path, *options: str) -> Path:
    subprocess.run(["tar", "-C", folder, "-S", *options, "-cf", archive, "."], check=True)
    return archive


TARS = {
    "gnu": ["--format=gnu"],
    **{f"pax {version}": ["--format=pax", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0")},
}


def holey(path: Path, fragments: list[tuple[int, int]], size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for at, length in fragments:
            file.seek(at)
            file.write(os.urandom(length))


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("form", sorted(TARS))
@pytest.mark.parametrize("compressed", [False, True])
def test_sparse_members(tmp_path, form, compressed):
    folder = tmp_path / "folder"
    folder.mkdir()
    page = 1 << 16
    holey(folder / "many", [(at * 2 * page, 4096) for at in range(60)], 200 * page)
    holey(folder / "first", [(0, 5000)], 20 * page)
    holey(folder / "last", [(19 * page, page)], 20 * page)
    holey(folder / "nothing", [], 9 * page + 3)
    (folder / "plain").write_bytes(b"plain")
    holey(folder / ("long" * 40), [(page, 10)], 30 * page)
    path = gnu_tar(folder, tmp_path / "a.tar", *TARS[form])
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    archive = Archive(str(path))
    assert {member.name for member in folder.iterdir()} == set(archive._members)
    sparse = 0
    for member in folder.iterdir():
        place = archive.place(member.name)
        assert b"".join(place.chunks()) == member.read_bytes()
        sparse += place.fragments is not None
    assert sparse == 5, "tar found no holes: the file system has none"


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("form", sorted(TARS))
def test_a_layout_packed_with_holes(tmp_path, image, form):
    layout = Layout(tmp_path / "web")
    layout.image({"zeros": "\0" * 3_000_000, "a": "b"}, compression="none", cmd=["x"])
    for blob in (layout.folder / "blobs/sha256").iterdir():
        subprocess.run(["fallocate", "--dig-holes", blob], check=True)
    path = gnu_tar(layout.folder, tmp_path / "web.tar", *TARS[form])
    found = image(f"oci-archive:{path}")
    assert contents(found) == contents(image(f"oci:{layout.folder}"))
    Store(str(tmp_path / "layers")).ensure(found.layers)


@given(st.binary(max_size=400), st.integers(0, 4000), st.sampled_from(sorted(TARS)))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_maps(tmp_path_factory, patch, at, form):
    cache = tmp_path_factory.getbasetemp() / f"map-{form.replace(' ', '-')}.tar"
    if not cache.exists():
        folder = tmp_path_factory.mktemp("map")
        holey(folder / "many", [(number << 17, 4096) for number in range(9)], 1 << 21)
        gnu_tar(folder, cache, *TARS[form])
    content = bytearray(cache.read_bytes())
    content[at : at + len(patch)] = patch
    whole = bytes(content)
    try:
        found = read_members(lambda offset, count: whole[offset : offset + count])
    except ValueError as error:
        assert len(str(error)) < 5000
    else:
        for member in found.values():
            assert sum(length for _, length in member.fragments or ()) <= len(whole)


@pytest.mark.parametrize("sparse", [False, True])
def test_what_is_read_in_place_is_remembered(tmp_path, image, sparse, monkeypatch):
    layout = Layout(tmp_path / "web")
    layout.image({"zeros": "\0" * 300_000}, compression="none")
    path = tmp_path / "web.tar"
    if sparse:
        for blob in (layout.folder / "blobs/sha256").iterdir():
            subprocess.run(["fallocate", "--dig-holes", blob], check=True)
        gnu_tar(layout.folder, path)
    else:
        path.write_bytes(gzip.compress(pack(layout.folder, path).read_bytes()))
    source = Reference.parse(f"oci-archive:{path}")
    platform = Platform("linux", "amd64")
    found = image(source.text)
    monkeypatch.setattr(Memo, "_settled", Memo._state)  # the file is as young as this test
    memo = Memo.of(str(tmp_path / "cache"), "id", {os.geteuid()})
    memo.remember(source, source.path, platform, found)
    memo.save()
    recalled = Memo.of(str(tmp_path / "cache"), "id", {os.geteuid()}).recall(source, source.path, platform)
    assert recalled is not None
    assert recalled.layers == found.layers
    assert contents(recalled) == contents(found)
    path.write_bytes(b"")
    assert Memo.of(str(tmp_path / "cache"), "id", {os.geteuid()}).recall(source, source.path, platform) is None


def test_a_wrapped_archive_unpacked_as_the_hint_says(tmp_path, image, refusal, monkeypatch):
    layout = Layout(tmp_path / "made")
    layout.image({"a": "b"}, cmd=["x"])
    path = pack(layout.folder, tmp_path / "my wrapped.tar", prefix="web/")
    path.write_bytes(gzip.compress(path.read_bytes()))
    hint = refusal(f"oci-archive:{path}").partition("; ")[2]
    command, source = hint.removeprefix("unpack it: ").split("; then use ")
    monkeypatch.chdir(tmp_path)
    subprocess.run(command, shell=True, check=True)
    assert image(source).parsed.cmd == ("x",)


def test_the_start_of_a_file_is_read_once(tmp_path):
    """Of a compressed archive's table of contents, no byte is unpacked twice."""
    path = tmp_path / "a.tar"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(50):
            info = tarfile.TarInfo(f"f{number}")
            info.size = 40_000
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    path.write_bytes(gzip.compress(out.getvalue()))
    with path.open("rb") as file:
        unpacked = Unpacked(file.fileno(), "gzip")
        passed = []
        begin = unpacked._stream._begin
        unpacked._stream._begin = lambda point: passed.append(point.plain) or begin(point)
        read_members(unpacked.read_at)
    assert passed == []


@pytest.mark.parametrize("form", ["xz", "bzip2", "zstd"])
def test_documents_are_not_unpacked_again(form, tmp_path, monkeypatch, image):
    """They may lie behind all layers, and only gzip's decompressor can be copied."""
    layout = Layout(tmp_path / "layout")
    for number in range(5):
        layout.image({"f": random.Random(number).randbytes(200_000)}, tag=f"t{number}")
    path = tmp_path / "archive.tar"
    pack(tmp_path / "layout", tmp_path / "plain.tar")
    path.write_bytes(FORMS[form]((tmp_path / "plain.tar").read_bytes()))
    opened = []
    open_plain = packed._OPENERS[form]
    monkeypatch.setitem(packed._OPENERS, form, lambda source: (opened.append(1), open_plain(source))[1])
    for number in range(5):
        assert image(f"oci-archive:{path}:t{number}").layers
    assert len(opened) == 5  # for the table of contents, each time


MANY = [
    ("gzip", gzip.compress(b"x", mtime=0)),
    ("xz", lzma.compress(b"x")),
    ("bzip2", bz2.compress(b"x")),
]


@pytest.mark.parametrize(("form", "part"), MANY)
def test_many_tiny_members(form, part, tmp_path, monkeypatch):
    """What follows one is not copied for each."""
    returned = []

    class Counted(packed.Feed):
        def give_back(self, data):
            returned.append(len(data))
            super().give_back(data)

    monkeypatch.setattr(packed, "Feed", Counted)
    path = tmp_path / "many"
    path.write_bytes(part * 3000)
    with path.open("rb") as file:
        assert Unpacked(file.fileno(), form).read_at(0, 5000) == b"x" * 3000
    assert max(returned) <= 512


def test_xz_that_takes_much_memory(tmp_path, refusal):
    """The size of its dictionary is whatever its header says."""
    path = tmp_path / "a.tar"
    content = tarfile.TarInfo("a").tobuf() + bytes(1024)
    good = lzma.compress(content, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    path.write_bytes(with_dictionary(good, 1 << 30))
    line = refusal(f"oci-archive:{path}")
    assert line == (
        f"cannot read {path}: the xz data takes more memory than the {packed._XZ_MEMORY} bytes that it is given"
    )
    path.write_bytes(with_dictionary(good, 128 << 20))
    assert "has no index.json" in refusal(f"oci-archive:{path}")


def with_dictionary(content: bytes, size: int) -> bytes:
    """xz data whose block states a dictionary of that size: a byte of its header (xz file format, 5.3.1)."""
    at = content.index(b"\x21\x01", 12)
    header_size = (content[12] + 1) * 4
    bits = next(code for code in range(41) if (2 | code & 1) << code // 2 + 11 == size)
    header = bytearray(content[12 : 12 + header_size])
    header[at - 12 + 2] = bits
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    return content[:12] + bytes(header) + content[12 + header_size :]
