"""The form `erofs`, beside what it has in common with ext4: other readers than the kernel, and what lies beside an
inode, in blocks, in chunks."""

from __future__ import annotations

import os
import random
import re
import struct
import uuid
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.disk import files
from c2wtasks.layers.fragments import pack
from c2wtasks.rootfs.erofs import chunks, dirents, plan, records
from c2wtasks.rootfs.erofs.records import BLOCK, INODE, SLOTS
from c2wtasks.tree.model import BLOCK as BLOCK_DEVICE
from c2wtasks.tree.model import CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import TreeFile
from tests.rootfs import disks
from tests.rootfs.bordering import fragments
from tests.rootfs.disks import EROFS, KEY
from tests.rootfs.making import TIME, Making, empty, filled, flat
from tests.support import roots
from tests.support.headers import archive, file, folder, hardlink, member, symlink
from tests.support.nasty import CAPABILITY, nasty

CREATED = 1_600_000_000_123_456_789
MIB = 1 << 20
HOLE = 2**32 - 1
KINDS = {
    "regular file": FILE,
    "directory": DIRECTORY,
    "symlink file": SYMLINK,
    "char dev": CHARACTER,
    "block dev": BLOCK_DEVICE,
    "FIFO file": FIFO,
}

written, mounted, check = EROFS.written, EROFS.mounted, EROFS.holds


def tool(*command: object) -> str:
    return disks.tool("erofs-utils", *command)


# Other readers.


def test_fsck_extracts_it(tmp_path: Path) -> None:
    """The other reader where nothing can be mounted. It gives no xattrs and no holes, and its chown takes away the
    set-id bits that it set before. Version 1.5 gives a file for each name, 1.8 links."""
    if os.geteuid() != 0:
        pytest.skip("needs root: extracts files of others")
    tree, tars = nasty(tmp_path)
    image = written(tree, tars, tmp_path / "image")
    tool("fsck.erofs", f"--extract={tmp_path}/out", image)
    have = roots.of_folder(tmp_path / "out")
    files.remove_tree(str(tmp_path / "out"))
    has_links = any(" = " in line for line in have)
    nodes = [
        msgspec.structs.replace(
            node if has_links or node.link < 0 else tree.nodes[node.link],
            parent=node.parent,
            name=node.name,
            xattrs=(),
        )
        for node in tree.nodes
    ]
    want = roots.of_tree(TreeFile(tree.layers, nodes), [Path(tar).read_bytes() for tar in tars])
    sparse = {
        line.split(" f ")[0] + " f"
        for line, node in zip(want, nodes, strict=True)
        if node.content is not None and node.content.sparse is not None
    }
    have, want = ([line for line in lines if line[: line.find(" f ") + 2] not in sparse] for lines in (have, want))
    assert list(map(without_set_id, have)) == list(map(without_set_id, want))


def without_set_id(line: str) -> str:
    return re.sub(r"(?<= [fcbp] )[0-7](?=[0-7]{3} )", lambda digit: str(int(digit[0]) & 1), line, count=1)


SIMPLE = archive(
    folder(b"./", 0o755, mtime_ns=TIME),
    folder(b"d/", 0o2750, uid=70_000, gid=5, mtime_ns=TIME),
    file(b"d/f", b"content", mode=0o4755, uid=2**31 - 2, gid=70_001, xattrs={b"security.capability": CAPABILITY}),
    hardlink(b"g", b"d/f"),
    file(b"big", b"0123456789" * 20_000, mtime_ns=2**33 * 10**9 + 5),
    file(b"xattr", xattrs={b"user.large": b"l" * 3000, b"user.a": b"1"}, mtime_ns=7),
    symlink(b"short", b"d/f", mtime_ns=TIME),
    symlink(b"long", b"t" * 4095),
    member(b"null", b"3", device=(1, 3), mode=0o666, mtime_ns=TIME),
    member(b"pipe", b"6", mode=0o620, mtime_ns=TIME),
)


def test_dump_reads_it(make: Making, tmp_path: Path) -> None:
    """Needs no root. It shows no set-id bits."""
    made = make(SIMPLE)
    image = written(made.tree, made.tars, tmp_path / "image")
    inodes: dict[str, str] = {}
    for line, node in zip(made.lines(), made.tree.nodes, strict=True):
        path, kind, mode, *rest = line.split(" ")
        said = tool("dump.erofs", f"--path=/{path.removeprefix('.')}", image)
        inode, links = re.findall(r"NID: (\d+) +Links: (\d+)", said)[0]
        inodes[path] = inode
        if node.link >= 0:
            assert inode == inodes[mode]
            continue
        size, shown_kind = re.findall(r"Size: (\d+) .* size: \d+ +(.+)", said)[0]
        uid, gid, access = re.findall(r"Uid: (\d+) +Gid: (\d+) +Access: (\d+)/", said)[0]
        assert (KINDS[shown_kind], int(access, 8), f"{uid}:{gid}") == (kind, int(mode, 8) & 0o777, rest[0])
        assert links == {".": "3", "d": "2", "d/f": "2"}.get(path, "1")
        assert kind == DIRECTORY or int(size) == (len(node.target) if kind == SYMLINK else node.size)
        assert (int(re.findall(r"Xattr size: (\d+)", said)[0]) > 0) == bool(node.xattrs)
        assert re.findall(r"Timestamp: .*\.(\d{9})", said)[0] == f"{node.mtime_ns % 10**9:09}"


def test_superblock(make: Making, tmp_path: Path) -> None:
    made = make(SIMPLE)
    image = written(made.tree, made.tars, tmp_path / "image", created_ns=CREATED)
    said = dict(re.findall(r"(.+?): +(.*)", tool("dump.erofs", "-s", image)))
    assert said["Filesystem inode count"] == "9"
    assert said["Filesystem features"].split() == ["sb_csum", "mtime"]
    assert int(said["Filesystem blocks"]) * BLOCK == image.stat().st_size
    assert struct.unpack_from("<qI", image.read_bytes(), 1024 + 24) == divmod(CREATED, 10**9)
    EROFS.write(made.tree, made.tars.__getitem__, str(tmp_path / "other"), key=b"other")
    other = dict(re.findall(r"(.+?): +(.*)", tool("dump.erofs", "-s", tmp_path / "other")))
    found = [uuid.UUID(one["Filesystem UUID"]) for one in (said, other)]
    assert found[0] != found[1]
    assert [(one.variant, one.version) for one in found] == [(uuid.RFC_4122, 4)] * 2


# What lies beside inodes and what in blocks of its own.

NEAR = [INODE, INODE + 12 + 12]
"""What of a block an inode takes, without xattrs and with some."""
SIZES = sorted(
    {
        *[0, 1, 2047, 2048, 2049, *(BLOCK - taken + more for taken in NEAR for more in range(-5, 6))],
        *[BLOCK + more for more in (-1, 0, 1, 2000, BLOCK - NEAR[0], BLOCK - NEAR[0] + 1, BLOCK - 1, BLOCK)],
        *[plan.SMALL + more for more in (-BLOCK, -5, -1, 0, 1, 5, BLOCK)],
        *[BLOCK * 40 + 7],
    }
)


@pytest.mark.parametrize("pairs", [{}, {b"user.a": b"1234567"}], ids=["bare", "xattrs"])
def test_sizes(tmp_path: Path, pairs: dict[bytes, bytes]) -> None:
    tar = tmp_path / "tar"
    children = {b"%d" % inode.size: inode for inode in filled(tar, SIZES, xattrs=pairs)}
    for size in SIZES:
        if 0 < size < BLOCK:
            children[b"l%d" % size] = Inode(SYMLINK, 0o777, mtime_ns=TIME, target=b"t" * size)
    check(flat(children), [str(tar)], tmp_path / "image")


def test_small_files_take_few_blocks(tmp_path: Path) -> None:
    sizes = [random.Random(number).randrange(4000) for number in range(3000)]
    inodes = filled(tmp_path / "tar", sizes)
    check(
        tree := flat({b"%d" % n: inode for n, inode in enumerate(inodes)}),
        [str(tmp_path / "tar")],
        tmp_path / "image",
    )
    assert (tmp_path / "image").stat().st_size < 1.05 * (sum(sizes) + len(tree.nodes) * (INODE + 20))


@given(st.sets(st.binary(min_size=1, max_size=255).filter(lambda name: name not in (b".", b"..")), max_size=60))
def test_blocks_of_a_directory(names: set[bytes]) -> None:
    """As the kernel reads them: the number of entries follows from where the first name begins."""
    parts = dirents.cut(sorted(names))
    every = sorted([*names, b".", b".."])
    entries = [(name, number, number % 8) for number, name in enumerate(every)]
    blocks = [dirents.block(entries[parts.slice(number)]) for number in range(len(parts.ends))]
    assert all(len(block) <= BLOCK for block in blocks)
    assert sum(len(block.ljust(BLOCK)) for block in blocks[:-1]) + len(blocks[-1]) == parts.size
    found = []
    for block in blocks:
        (start,) = struct.unpack_from("<H", block, 8)
        heads = [struct.unpack_from("<QHB", block, at) for at in range(0, start, 12)]
        ends = [head[1] for head in heads[1:]] + [len(block)]
        found += [(block[at:end], number, kind) for (number, at, kind), end in zip(heads, ends, strict=True)]
    assert found == entries


@given(st.lists(st.one_of(st.integers(2, SLOTS), st.integers(2, 500)), max_size=300))
def test_slots(counts: list[int]) -> None:
    """None is given out twice, and up to a block lies in one."""
    slots = plan.Slots()
    taken: set[int] = set()
    for count in counts:
        at = slots.take(count)
        own = set(range(at, at + count))
        assert not own & taken
        assert at >= SLOTS
        assert at + count <= slots.end
        assert count > SLOTS or at // SLOTS == (at + count - 1) // SLOTS
        taken |= own


def test_root_has_a_small_number(tmp_path: Path) -> None:
    """16 bits, however much lies in it."""
    names = {b"%0250d" % number: empty() for number in range(9000)}
    tree = flat(names, xattrs={b"user.%d" % number: b"x" * 60_000 for number in range(4)})
    check(tree, [], tmp_path / "image")


# Sparse files.


def test_hole_of_5_gib(tmp_path: Path) -> None:
    size = (5 << 30) + 12_345
    (tmp_path / "tar").write_bytes(b"startmiddleend")
    sparse = [(0, 5), (3 << 30, 6), (4 << 30, 0), (size - 3, 3)]
    tree = flat({b"f": empty(size=size, content=Content(0, 0, pack(sparse)))})
    image = written(tree, [str(tmp_path / "tar")], tmp_path / "image")
    assert image.stat().st_size < MIB
    with mounted(image) as place, (place / "f").open("rb") as stream:
        assert (place / "f").stat().st_size == size
        for at, want in ((0, b"start"), (3 << 30, b"middle"), (size - 3, b"end")):
            assert os.pread(stream.fileno(), len(want) + 5, at).rstrip(b"\0") == want
            assert os.pread(stream.fileno(), 5, max(0, at - 5)).strip(b"\0") == want[:5] * (at == 0)
        assert os.lseek(stream.fileno(), 1 << 30, os.SEEK_DATA) <= 3 << 30
        assert os.lseek(stream.fileno(), 0, os.SEEK_HOLE) < 1 << 30


@pytest.mark.parametrize("size", [1 << 40, (1 << 44) - 1, 1 << 50])
def test_largest_sizes(tmp_path: Path, size: int) -> None:
    (tmp_path / "tar").write_bytes(b"startend")
    tree = flat({b"f": empty(size=size, content=Content(0, 0, pack([(0, 5), (size - 3, 3)])))})
    image = tmp_path / "image"
    EROFS.write(tree, [str(tmp_path / "tar")].__getitem__, str(image), key=KEY)
    assert image.stat().st_blocks * 512 < 64 * MIB
    with mounted(image) as place, (place / "f").open("rb") as stream:
        assert (place / "f").stat().st_size == size
        assert os.pread(stream.fileno(), 9, 0) == b"start\0\0\0\0"
        assert os.pread(stream.fileno(), 9, size - 3) == b"end"


def test_small_holes_take_no_chunks(tmp_path: Path) -> None:
    """So that older kernels read it."""
    size = 100 * BLOCK
    (tmp_path / "tar").write_bytes(random.Random(5).randbytes(size))
    children = {
        b"a hole": empty(size=size, content=Content(0, 0, pack([(0, 60 * BLOCK), (70 * BLOCK, 5)]))),
        b"none": empty(size=size, content=Content(0, 0, pack([(0, size)]))),
        b"odd end": empty(size=size - 5, content=Content(0, 0, pack([(0, size - 7)]))),
    }
    check(flat(children), [str(tmp_path / "tar")], tmp_path / "image")
    assert "chunked" not in tool("dump.erofs", "-s", tmp_path / "image")


@given(fragments, st.one_of(st.integers(1, 9000), st.integers(1, 1 << 24)))
def test_chunks(sparse: list[tuple[int, int]], more: int) -> None:
    """Each fragment lies where the list of chunks says, and blocks are given to one chunk alone."""
    size = (sum(sparse[-1]) if sparse else 0) + more
    cut = chunks.cut(size, sparse)
    taken = {block for at, length in sparse for block in range(at // BLOCK, -(-(at + length) // BLOCK)) if length}
    if cut is None:
        assert len(taken) * BLOCK + 4 * -(-size // BLOCK) >= -(-size // BLOCK) * BLOCK // 2
        return
    start = 1000
    listed = [number for (number,) in struct.iter_unpack("<I", cut.listed(start))]
    assert len(listed) * 4 == cut.list_size
    assert len(listed) == -(-size // (BLOCK << cut.bits))
    used: set[int] = set()
    for number, first in enumerate(listed):
        if first != HOLE:
            length = min(1 << cut.bits, -(-size // BLOCK) - (number << cut.bits))
            own = set(range(first, first + length))
            assert not own & used
            used |= own
    assert used == set(range(start, start + cut.taken))
    positions = iter(cut.placed(sparse))
    for at, length in sparse:
        if length:
            position, same = next(positions)
            assert same == length
            for offset in {0, length - 1, *range(0, length, BLOCK)}:
                number, within = divmod(at + offset, BLOCK << cut.bits)
                assert listed[number] * BLOCK + within == start * BLOCK + position + offset
    assert next(positions, None) is None


# What goes wrong.

REFUSED: dict[str, tuple[Inode, str]] = {
    "large file": (
        empty(size=records.MAX_BLOCKS * BLOCK + 1, content=Content(0, 0, None)),
        f"d/x: {records.MAX_BLOCKS * BLOCK + 1} bytes are more than a file in EROFS can have",
    ),
    "large sparse file": (
        empty(size=2**63 - 1, content=Content(0, 0, pack([(0, 1), (2**63 - 2, 1)]))),
        f"d/x: {2**63 - 1} bytes are more than a file in EROFS can have",
    ),
    "large chunks": (
        empty(size=1 << 62, content=Content(0, 0, pack([(4096, 10)]))),
        "d/x: 4398046511094 bytes of its holes would be written out (17179869184 at most)",
    ),
    "large image": (
        empty(size=records.MAX_BLOCKS * BLOCK, content=Content(0, 0, None)),
        f"d/x: up to here an image takes more than {records.MAX_BLOCKS * BLOCK} bytes",
    ),
    "large xattr": (
        empty(xattrs={b"user.a": b"v" * 65536}),
        "d/x: an xattr of 65536 bytes is more than EROFS can hold",
    ),
    "large xattrs": (
        empty(xattrs={b"user.%d" % number: b"v" * 60_000 for number in range(5)}),
        "d/x: its xattrs take 300052 bytes, and EROFS takes 262148",
    ),
}


@pytest.mark.parametrize(("inode", "wrong"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, inode: Inode, wrong: str) -> None:
    EROFS.refuses(inode, wrong, tmp_path / "image")
