"""Images, archives and documents of which a few bytes cost much: how much memory and time does a run take?

    python -m tests.soak.bombs [--project CHECKOUT] [--only WORD] [--longest SECONDS] [--markdown]

Each is built by the `doit` of CHECKOUT (this one, if none is named; another with its own `.venv` for comparison), in
a folder of its own, by one process. That reads the files of the image, and writes and reads what they unpack to: a
second is allowed for 100 MB, and 5 seconds and 200 MB beyond. The seconds are the processor's, as the clock's tell
what else the machine does. By hand, as root (one needs a small disk), some minutes.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from tests.graph.catalogs import write_catalog
from tests.support import headers
from tests.support.disks import small_disks
from tests.support.headers import archive, file, folder, header, padded, pax, symlink
from tests.support.images import DockerSave, Layer, Layout, pack

MIB = 1 << 20
SECONDS, MEGABYTES, RATE = 5.0, 200, 100e6
MOST_MEMORY = 3 << 30  # so that a machine survives what is to be compared with


@dataclass(frozen=True)
class Made:
    """A bomb: the source, as bundle.yaml names it; more settings; how many bytes its files unpack to."""

    source: str
    unpacked: int = 0
    settings: dict[str, Any] | None = None
    disk: str = ""


Bomb = Callable[[Path], Made]
BOMBS: dict[str, Bomb] = {}


def bomb(name: str) -> Callable[[Bomb], Bomb]:
    def add(make: Bomb) -> Bomb:
        BOMBS[name] = make
        return make

    return add


class _Zstd(Layer):
    """A layer that is given compressed, as its tar would take too much room."""

    def __init__(self, blob: bytes, diff_id: str) -> None:
        object.__setattr__(self, "content", b"")
        object.__setattr__(self, "compression", "zstd")
        object.__setattr__(self, "media_type", None)
        object.__setattr__(self, "_blob", blob)
        object.__setattr__(self, "_diff_id", diff_id)

    @property
    def blob(self) -> bytes:
        found: bytes = self.__dict__["_blob"]
        return found

    @property
    def diff_id(self) -> str:
        found: str = self.__dict__["_diff_id"]
        return found


def image_of(place: Path, *layers: bytes | Layer, settings: dict[str, Any] | None = None, **more: Any) -> Made:
    """An image layout of these tars, compressed with zstd."""
    made = [layer if isinstance(layer, Layer) else Layer(layer, "zstd") for layer in layers]
    Layout(place / "image").image(*made, **more)
    return Made("oci:image", sum(len(layer.content) for layer in made), settings)


def layer(name: str, parts: Callable[[], Iterable[bytes]], settings: dict[str, Any] | None = None) -> None:
    """Adds a bomb of one layer, of the tar of these entries."""
    BOMBS[name] = lambda place: image_of(place, archive(*parts()), settings=settings)


# Layers: what one entry says.

SPARSE = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"f")]


def sparse(fragments: list[tuple[int, int]], size: int) -> bytes:
    text = b"%d\n" % len(fragments) + b"".join(b"%d\n%d\n" % one for one in fragments)
    content = padded(text) + bytes(sum(length for _, length in fragments))
    records = [*SPARSE, (b"GNU.sparse.realsize", b"%d" % size)]
    return pax(records) + header(b"f", size=len(content)) + padded(content)


layer("sparse files, 260,000 empty fragments each, 40 of them", lambda: [sparse([(0, 0)] * 260_000, 9)] * 40)
layer(
    "sparse files, 75,000 fragments of a byte each, 40 of them",
    lambda: [sparse([(at * 8192, 1) for at in range(75_000)], 75_000 * 8192)] * 40,
)
layer("xattrs of 1 MB, 200 of them", lambda: [file(b"f%d" % n, xattrs={b"user.a": bytes(10**6)}) for n in range(200)])
layer(
    "files with 30,000 xattrs each, 40 of them",
    lambda: [file(b"f%d" % n, xattrs={b"user.%d" % at: b"" for at in range(30_000)}) for n in range(40)],
)
layer(
    "names of 1 MB, 300 of them", lambda: [pax([(b"path", b"%d/" % n + b"n" * 10**6)]) + header() for n in range(300)]
)
layer(
    "link targets of 1 MB, 300 of them",
    lambda: [pax([(b"linkpath", b"%d/" % n + b"n" * 10**6)]) + header(b"l", b"2") for n in range(300)],
)
layer("PAX records, 150,000 in 1 MB, 100 times", lambda: [pax(b"6 a=b\n" * 170_000), file(b"f")] * 100)
layer("a file of 8 EiB, all of it a hole", lambda: [sparse([], 2**63 - 1)])
layer("a file that says it has 8 EiB", lambda: [header(b"f", size=2**63 - 1)])

# Layers: the tree that comes of them.


def numbered(
    before: bytes, count: int, kind: bytes = b"0", target: bytes = b"", after: bytes = b""
) -> Iterator[bytes]:
    """Entries whose names have a number in them: `header` takes ten times as long."""
    block = header(before + b"0000000" + after, kind, target=target)
    plain = int(block[148:154], 8)
    at = len(before)
    for number in range(count):
        digits = b"%07d" % number
        stated = b"%06o\0 " % (plain + sum(digits) - 7 * 48)
        yield b"".join((block[:at], digits, block[at + 7 : 148], stated, block[156:]))


def chains(count: int, parts: int = 2000) -> Iterator[bytes]:
    """Files in deep folders that no entry names."""
    for number in range(count):
        yield file(b"%05d/" % number + b"a/" * parts + b"f")


def deep_links() -> Iterator[bytes]:
    """Each file lies behind 39 links, a thousand folders deep."""
    deep = b"d/" * 1000
    yield folder(deep + b"k39")
    yield symlink(b"l", deep)
    for number in range(39):
        yield symlink(deep + b"k%d" % number, b"k%d" % (number + 1))
    for number in range(2000):
        yield file(b"l/k0/f%d" % number)


def cleared() -> Iterator[bytes]:
    yield from numbered(b"d/", 30_000)
    for _ in range(10_000):
        yield file(b"d/.wh..wh..opq")


def acl_entries(count: int) -> bytes:
    tags = [(1, 7, 0), *[(2, 6, 1000 + number) for number in range(count)], (4, 5, 0), (0x10, 7, 0), (0x20, 1, 0)]
    return b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, bits, who in tags
    )


def inheriting() -> Iterator[bytes]:
    yield folder(b"d/", xattrs={b"system.posix_acl_default": acl_entries(8000)})
    yield from numbered(b"d/", 20_000)


def set_again() -> Iterator[bytes]:
    yield folder(b"d/", xattrs={b"system.posix_acl_access": acl_entries(8000)})
    yield from [folder(b"d/")] * 20_000


TAR = {"rootfs": ["tar"]}
layer("files in 2,000 folders each that no entry names, 2,000 of them", lambda: chains(2000), TAR)
layer("paths through 39 links, 1,000 folders deep, 2,000 of them", deep_links, TAR)
layer("10,000 opaque markers in a folder of 30,000 files", cleared, TAR)
layer("an ACL of 64 KB that 20,000 files inherit", inheriting, TAR)
layer("an ACL of 64 KB, the folder's mode set 20,000 times", set_again, TAR)
layer("1,500,000 entries", lambda: numbered(b"d/", 1_500_000), TAR)
layer("300,000 hard links", lambda: [file(b"f", b"x"), *numbered(b"d/", 300_000, b"1", b"f")], TAR)
layer(
    "300,000 whiteouts in a folder of 300,000",
    lambda: [*numbered(b"d/", 300_000), *numbered(b"d/.wh.", 300_000)],
    TAR,
)
layer("a folder of 1,000,000 names, as tar", lambda: numbered(b"d/", 1_000_000), TAR)
layer("a folder of 650,000 names, as tar", lambda: numbered(b"d/", 650_000), TAR)
layer("650,000 names of 50 characters, as tar", lambda: numbered(b"d/" + b"n" * 43, 650_000), TAR)
layer("160,000 folders with a name each, as tar", lambda: numbered(b"d/", 160_000, after=b"/f"), TAR)
for _form in ("cpio", "iso", "ext4", "erofs"):
    layer(f"a folder of 250,000 names, as {_form}", lambda: numbered(b"d/", 250_000), {"rootfs": [_form]})


@bomb("20 layers of 100,000 files each, all different")
def many_layers(place: Path) -> Made:
    return image_of(place, *[archive(*numbered(b"d%02d/" % n, 100_000)) for n in range(20)], settings=TAR)


# Blobs that expand, or that are made of tiny parts.


def tiny(name: str, part: bytes, before: bytes = b"", after: bytes = b"", size: int = 8 * MIB) -> None:
    def make(place: Path) -> Made:
        blob = before + part * (size // len(part)) + after
        return image_of(place, _Zstd(blob, "sha256:" + "0" * 64))

    BOMBS[name] = make


_FRAME = b"\x28\xb5\x2f\xfd\x00\x38"
tiny("gzip, 8 MB of empty members", gzip.compress(b"", mtime=0))
tiny("gzip, 8 MB of members of a byte", gzip.compress(b"\0", mtime=0))
tiny("zstd, 8 MB of empty frames", zstandard.ZstdCompressor().compress(b""))
tiny("zstd, 8 MB of skippable frames", bytes.fromhex("502a4d18 00000000"))
tiny("zstd, 8 MB of empty blocks", b"\0\0\0", _FRAME, b"\1\0\0")


def zeros(gigabytes: int) -> bytes:
    """A zstd frame of that many zeros: 4 bytes for each 128 KiB."""
    run = (131072 << 3 | 2).to_bytes(3, "little") + b"\0"
    first = header(b"f", size=gigabytes << 30)
    return _FRAME + (len(first) << 3).to_bytes(3, "little") + first + run * (gigabytes << 13) + b"\1\0\0"


@bomb("zstd, 1 MB that is 32 GB, on a disk of 100 MB")
def full_disk(place: Path) -> Made:
    made = image_of(place, _Zstd(zeros(32), "sha256:" + "0" * 64))
    return Made(made.source, 100 * MIB, disk="100m")


@bomb("zstd, 1 MB that is 32 GB, with max_layer_size: 200M")
def too_large(place: Path) -> Made:
    made = image_of(place, _Zstd(zeros(32), "sha256:" + "0" * 64))
    return Made(made.source, 200 * MIB, {"max_layer_size": "200M"})


# Documents.


def document(name: str, text: Callable[[], bytes]) -> None:
    """Adds a bomb whose image config is `text`."""

    def make(place: Path) -> Made:
        layout = Layout(place / "image")
        config = layout.put(text(), "application/vnd.oci.image.config.v1+json")
        layout.image({"f": "x"}, manifest={"config": config})
        return Made("oci:image")

    BOMBS[name] = make


_HEAD = b'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]},'


def _objects() -> bytes:
    return b"{}," * 2_700_000 + b"{}"


document("a config of 8 MB, 2,700,000 objects", lambda: _HEAD + b'"x":[' + _objects() + b"]}")
document("a config of 8 MB, its history 2,700,000 objects", lambda: _HEAD + b'"history":[' + _objects() + b"]}")
_DEEP = 4_000_000
document("a config of 8 MB, 4,000,000 levels deep", lambda: _HEAD + b'"x":' + b"[" * _DEEP + b"]" * _DEEP + b"}")


@bomb("a config of 8 MB, 100,000 variables")
def variables(place: Path) -> Made:
    return image_of(place, archive(file(b"f")), env=[f"V{number}={'x' * 60}" for number in range(100_000)])


@bomb("an index.json of 32 MB, 16,000,000 numbers")
def numbers(place: Path) -> Made:
    made = image_of(place, archive(file(b"f")))
    (place / "image/index.json").write_bytes(b'{"schemaVersion":2,"manifests":[],"x":[' + b"0," * 16_000_000 + b"0]}")
    return made


@bomb("docker's manifest.json of 32 MB, 10,000,000 objects")
def docker(place: Path) -> Made:
    saved = DockerSave(place / "image")
    saved.image({"f": "x"})
    (place / "image/manifest.json").write_bytes(b"[" + b"{}," * 10_000_000 + b"{}]")
    return Made("docker-archive:image")


# Archives.


def compressed(name: str, compress: Callable[[bytes], bytes], unpacked: int = 0) -> None:
    """Adds a bomb of an archive that begins with a member of zeros: its documents are behind it."""

    def make(place: Path) -> Made:
        Layout(place / "layout").image({"f": "x"})
        pack(place / "layout", place / "plain.tar")
        info = tarfile.TarInfo("first")
        info.size = unpacked
        with (place / "image.tar").open("wb") as out:
            out.write(compress(info.tobuf(tarfile.GNU_FORMAT)))
            piece = compress(bytes(32 * MIB))
            for _ in range(unpacked // (32 * MIB)):
                out.write(piece)
            out.write(compress((place / "plain.tar").read_bytes()))
        return Made("oci-archive:image.tar", unpacked)

    BOMBS[name] = make


compressed(
    "an xz archive with 1 GB of zeros before its documents", lambda data: lzma.compress(data, preset=1), 1 << 30
)
compressed("a zstd archive with 1 GB of zeros before its documents", zstandard.ZstdCompressor().compress, 1 << 30)
compressed("a bzip2 archive with 256 MB of zeros before its documents", bz2.compress, 256 * MIB)
compressed("a gzip archive with 1 GB of zeros before its documents", lambda data: gzip.compress(data, 1), 1 << 30)


def repeated(name: str, part: bytes, size: int = 4 * MIB) -> None:
    def make(place: Path) -> Made:
        (place / "image.tar").write_bytes(part * (size // len(part)))
        return Made("oci-archive:image.tar")

    BOMBS[name] = make


repeated("a gzip archive, 4 MB of empty members", gzip.compress(b"", mtime=0))
repeated("an xz archive, 4 MB of empty streams", lzma.compress(b""))


def listing(name: str, parts: Callable[[], Iterable[bytes]]) -> None:
    """Adds a bomb of an archive, compressed with zstd, of these entries."""

    def make(place: Path) -> Made:
        content = archive(*parts())
        (place / "image.tar").write_bytes(zstandard.ZstdCompressor().compress(content))
        return Made("oci-archive:image.tar", len(content))

    BOMBS[name] = make


listing(
    "an archive with headers of 150,000 records, 50 of them", lambda: [pax(b"6 a=b\n" * 170_000), file(b"f")] * 50
)
listing(
    "an archive of 50,000 members with names of 4,000 characters",
    lambda: [headers.gnu_long(b"n" * 3990 + b"%07d" % n) + header() for n in range(50_000)],
)
listing(
    "an archive of sparse members, 260,000 fragments each, 40 of them", lambda: [sparse([(0, 0)] * 260_000, 9)] * 40
)


@dataclass(frozen=True)
class Reading:
    files: int
    made: Made
    seconds: float
    megabytes: float
    said: str

    @property
    def beyond(self) -> float:
        """The seconds that are not explained by what was read."""
        return self.seconds - (self.files + self.made.unpacked) / RATE

    @property
    def is_held(self) -> bool:
        return self.beyond <= SECONDS and self.megabytes <= MEGABYTES


def measured(name: str, project: Path, place: Path, longest: int) -> Reading:
    """Makes the bomb, in a process that is gone before the run."""
    made = _in_a_child(lambda: BOMBS[name](place))
    settings = dict(made.settings or {})
    image = {"source": made.source} | ({"rootfs": settings.pop("rootfs")} if "rootfs" in settings else {})
    write_catalog(place, {"bomb": image}, **settings)
    shutil.copy(project / "dodo.py", place)
    files = sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and path.name != "plain.tar")
    with ExitStack() as stack:
        if made.disk:
            stack.enter_context(small_disks(place))("cache", made.disk)
        with (place / "said").open("w+") as said:
            launched = subprocess.run(
                [sys.executable, "-c", _LAUNCHER, str(longest), str(MOST_MEMORY), str(project / ".venv/bin/doit")],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                check=True,
            )
        code, kilobytes, seconds = json.loads(launched.stdout)
        lines = (place / "said").read_text(errors="replace").splitlines() or [f"built (exit {code})"]
    if code < 0:
        lines = [f"killed by signal {-code}"]
    return Reading(files, made, seconds, kilobytes / 1024, lines[-1])


# A small process starts the run, as the peak of memory that is told of a process is at least its parent's.
_LAUNCHER = """
import json, os, resource, subprocess, sys
longest, memory = map(int, sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_CPU, (longest, longest))
resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
process = subprocess.Popen([sys.argv[3], "-n", "1"], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime]))
os._exit(0)
"""


def _in_a_child(make: Callable[[], Made]) -> Made:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            made = make()
            os.write(writer, json.dumps([made.source, made.unpacked, made.settings, made.disk]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        content = stream.read()
    assert os.waitpid(child, 0)[1] == 0, "the bomb could not be made"
    return Made(*json.loads(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--only", default="", metavar="WORD", help="those with this word in their name")
    parser.add_argument("--longest", type=int, default=180, metavar="SECONDS", help="what takes more CPU is killed")
    parser.add_argument("--markdown", action="store_true", help="print a table's rows")
    options = parser.parse_args()
    failed = 0
    for name in BOMBS:
        if options.only not in name:
            continue
        with tempfile.TemporaryDirectory() as place:
            found = measured(name, options.project.resolve(), Path(place), options.longest)
        failed += not found.is_held
        read, unpacked = (f"{size / 1e6:.1f}" for size in (found.files, found.made.unpacked))
        if options.markdown:
            end = " (killed)" if found.said.startswith("killed") else ""
            took = f"{found.megabytes:.0f} | {found.seconds:.1f}{end}"
            print(f"| {name} | {read} | {unpacked} | {took} |", flush=True)
            continue
        held = "held" if found.is_held else "NOT HELD"
        took = f"{found.megabytes:.0f} MB, {found.seconds:.1f} s"
        print(f"{name}: {read} MB, unpacked {unpacked}: {took}: {held}", flush=True)
        print(f"    {found.said[:160]}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
