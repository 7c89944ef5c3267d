"""The form `erofs`: what Linux mounts, and what erofs-utils read, is the tree."""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks import files
from c2wtasks.errors import OutputError, TreeError
from c2wtasks.rootfs import erofs
from c2wtasks.rootfs.erofs import chunks, dirents, plan, records, xattrs
from c2wtasks.rootfs.erofs.records import BLOCK, INODE, SLOTS
from c2wtasks.tree import treefile
from c2wtasks.tree.model import BLOCK as BLOCK_DEVICE
from c2wtasks.tree.model import CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import Node, TreeFile
from tests.rootfs.making import Made, Making
from tests.support import child, roots
from tests.support.headers import archive, file, folder, hardlink, member, symlink
from tests.support.nasty import CAPABILITY, nasty
from tests.support.random_layers import encoded, layers

KEY = b"key"
TIME = 1_500_000_000_987_654_321
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


# Making images and looking at them.


def tool(*command: object) -> str:
    """What a program of erofs-utils says; an AssertionError if it fails or complains."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs {command[0]}: Debian package erofs-utils")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", check=False)
    complaints = [line for line in done.stderr.splitlines() if "EXPERIMENTAL" not in line]
    assert (done.returncode, complaints) == (0, []), done.stdout[:2000]
    return done.stdout


def written(tree: TreeFile, tars: Sequence[str], image: Path, created_ns: int = CREATED) -> Path:
    """The image, checked."""
    erofs.write(tree, tars.__getitem__, str(image), key=KEY, created_ns=created_ns)
    assert image.stat().st_size % BLOCK == 0
    tool("fsck.erofs", image)
    return image


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts an image")
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            ["mount", "-t", "erofs", "-o", "loop,ro", str(image), place], capture_output=True, text=True, check=False
        )
        for missing in ("failed to setup loop device", "unknown filesystem type"):
            if done.returncode != 0 and missing in done.stderr:
                pytest.skip(f"needs loop devices and a kernel with erofs: {done.stderr}")
        assert done.returncode == 0, done.stderr
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", place], check=True)


def contents_of(tars: Sequence[str]) -> list[bytes]:
    return [Path(tar).read_bytes() for tar in tars]


def as_linux_has_it(tree: TreeFile) -> TreeFile:
    """Without the xattrs that it does not take."""

    def taken(node: Node, name: bytes) -> bool:
        return name.startswith((b"trusted.", b"security.")) or (name.startswith(b"user.") and node.kind in "fd")

    return TreeFile(
        tree.layers,
        [
            msgspec.structs.replace(node, xattrs=tuple(pair for pair in node.xattrs if taken(node, pair[0])))
            for node in tree.nodes
        ],
    )


def flat(children: dict[bytes, Inode], **root: object) -> TreeFile:
    top = Inode(DIRECTORY, 0o755, children=children, mtime_ns=TIME, **root)  # type: ignore[arg-type]
    return treefile.flatten(top, [], default_mtime_ns=TIME)


def empty(**fields: object) -> Inode:
    return Inode(FILE, 0o644, mtime_ns=TIME, **fields)  # type: ignore[arg-type]


def filled(tar: Path, sizes: Sequence[int], **fields: object) -> list[Inode]:
    """Files of these sizes, with their content put in `tar`."""
    made, offset = [], 0
    with tar.open("wb") as stream:
        for size in sizes:
            stream.write(random.Random(offset).randbytes(size))
            made.append(empty(size=size, content=Content(0, offset, None), **fields))
            offset += size
    return made


def subfolder(children: dict[bytes, Inode] | None = None, **fields: object) -> Inode:
    return Inode(DIRECTORY, 0o755, children=children or {}, **fields)  # type: ignore[arg-type]


def check(tree: TreeFile, tars: Sequence[str], image: Path) -> None:
    with mounted(written(tree, tars, image)) as place:
        assert roots.of_folder(place) == roots.of_tree(tree, contents_of(tars))


# Whole trees.


def test_nasty_tree(tmp_path: Path) -> None:
    check(*nasty(tmp_path), tmp_path / "image")


def test_large_nasty_tree(tmp_path: Path) -> None:
    tree, tars = nasty(tmp_path, files=40_000, links=70_000)
    check(tree, tars, tmp_path / "image")
    with mounted(tmp_path / "image") as place:
        assert (place / "links/069999").stat().st_nlink == 70_000


@given(layers)
def test_random_trees(made: list[list[dict[str, object]]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            root = Making(Path(scratch))(*(archive(*map(encoded, layer)) for layer in made))
        except TreeError:
            return
        image = written(root.tree, root.tars, Path(scratch, "image"))
        with mounted(image) as place:
            assert roots.of_folder(place) == roots.of_tree(as_linux_has_it(root.tree), root.contents)


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
    want = roots.of_tree(TreeFile(tree.layers, nodes), contents_of(tars))
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
    image = written(made.tree, made.tars, tmp_path / "image")
    said = dict(re.findall(r"(.+?): +(.*)", tool("dump.erofs", "-s", image)))
    assert said["Filesystem inode count"] == "9"
    assert said["Filesystem features"].split() == ["sb_csum", "mtime"]
    assert int(said["Filesystem blocks"]) * BLOCK == image.stat().st_size
    assert struct.unpack_from("<qI", image.read_bytes(), 1024 + 24) == divmod(CREATED, 10**9)
    erofs.write(made.tree, made.tars.__getitem__, str(tmp_path / "other"), key=b"other")
    other = dict(re.findall(r"(.+?): +(.*)", tool("dump.erofs", "-s", tmp_path / "other")))
    found = [uuid.UUID(one["Filesystem UUID"]) for one in (said, other)]
    assert found[0] != found[1]
    assert [(one.variant, one.version) for one in found] == [(uuid.RFC_4122, 4)] * 2


def test_same_bytes_whoever_writes(make: Making, tmp_path: Path) -> None:
    made = make(SIMPLE)
    images = [written(made.tree, made.tars, tmp_path / "1").read_bytes()]
    home = tmp_path / "home"
    home.mkdir()
    for tar in made.tars:
        shutil.copy(tar, home)

    def write() -> None:
        os.umask(0o077)
        near = made.nearby()
        erofs.write(near.tree, near.tars.__getitem__, "image", key=KEY, created_ns=CREATED)
        assert os.stat("image").st_mode & 0o777 == 0o644

    if os.geteuid() == 0:
        child.as_user(write, home)
    else:
        os.chdir(home)
        child.in_child(write)
    (tmp_path / "1").write_bytes(b"x" * (20 * MIB))  # what was there before shows nowhere
    images += [(home / "image").read_bytes(), written(made.tree, made.tars, tmp_path / "1").read_bytes()]
    assert images[0] == images[1] == images[2]


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


@pytest.mark.parametrize("length", [2, 100, 255])
@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 34, 35, 36, 37, 90, 3000])
def test_directory(tmp_path: Path, count: int, length: int) -> None:
    """Looked up by name: what is there, and what is not."""
    present = {n.to_bytes(length).replace(b"\0", b"-").replace(b"/", b"+") for n in range(7, 21 * count + 7, 21)}
    present.discard(b"..")
    check(flat({b"d": subfolder(dict.fromkeys(present, empty()))}), [], tmp_path / "image")
    absent = {n.to_bytes(length).replace(b"\0", b"-").replace(b"/", b"+") for n in range(0, 21 * count + 28, 10)}
    absent |= {b"!", b"-", b"...", b"\xff", b"0", b"\xff" * 255, b"." * 255, *(name[:-1] for name in present)}
    with mounted(tmp_path / "image") as place:
        for name in absent - present - {b"..", b"."}:
            assert not os.path.lexists(os.fsencode(place / "d") + b"/" + name)


def test_nothing_in_it(tmp_path: Path) -> None:
    check(flat({}), [], tmp_path / "image")


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
    tree = flat({b"f": empty(size=size, content=Content(0, 0, sparse))})
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
    tree = flat({b"f": empty(size=size, content=Content(0, 0, [(0, 5), (size - 3, 3)]))})
    image = tmp_path / "image"
    erofs.write(tree, [str(tmp_path / "tar")].__getitem__, str(image), key=KEY)
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
        b"a hole": empty(size=size, content=Content(0, 0, [(0, 60 * BLOCK), (70 * BLOCK, 5)])),
        b"none": empty(size=size, content=Content(0, 0, [(0, size)])),
        b"odd end": empty(size=size - 5, content=Content(0, 0, [(0, size - 7)])),
    }
    check(flat(children), [str(tmp_path / "tar")], tmp_path / "image")
    assert "chunked" not in tool("dump.erofs", "-s", tmp_path / "image")


fragments = st.lists(
    st.tuples(st.one_of(st.integers(0, 9000), st.integers(0, 1 << 20)), st.integers(0, 9000)), max_size=20
).map(
    lambda pairs: [
        (sum(gap + length for gap, length in pairs[:number]) + gap, length)
        for number, (gap, length) in enumerate(pairs)
    ]
)


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


@given(fragments, st.integers(1, 9000))
def test_sparse_files(sparse: list[tuple[int, int]], more: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tar = Path(scratch, "tar")
        tar.write_bytes(random.Random(1).randbytes(9000 * 20))
        size = (sum(sparse[-1]) if sparse else 0) + more
        check(flat({b"f": empty(size=size, content=Content(0, 0, sparse))}), [str(tar)], Path(scratch, "image"))


def test_tars_on_another_file_system(tmp_path: Path) -> None:
    """There the kernel may refuse to copy."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as tar:
        (inode,) = filled(Path(tar.name), [3 * MIB + 5])
        check(flat({b"f": inode}), [tar.name], tmp_path / "image")


# Xattrs.

_ACL = [
    (1, 7, 2**32 - 1),
    (2, 6, 1000),
    (4, 5, 2**32 - 1),
    (8, 4, 70_000),
    (0x10, 7, 2**32 - 1),
    (0x20, 1, 2**32 - 1),
]
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in _ACL)


def test_acls(tmp_path: Path) -> None:
    access, default = (b"system.posix_acl_access", ACL), (b"system.posix_acl_default", ACL)
    children = {
        b"f": empty(xattrs=dict([access])),
        b"d": Inode(DIRECTORY, 0o775, children={}, xattrs=dict([access, default])),
        b"has none": empty(xattrs=dict([default])),
        b"l": Inode(SYMLINK, 0o777, target=b"f", xattrs=dict([access])),
    }
    with mounted(written(flat(children), [], tmp_path / "image")) as place:
        have = {
            os.fsencode(path.name): {
                os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
            }
            for path in place.iterdir()
        }
    assert have == {b"f": dict([access]), b"d": dict([access, default]), b"has none": {}, b"l": {}}


XATTRS: dict[str, dict[bytes, bytes]] = {
    "empty ones": {b"user.%d" % number: b"" for number in range(30)},
    "long names": {b"user." + b"n" * 250: b"1", b"user." + b"m" * 250: b""},
    "odd names": {b"user.\xff\xfe\x80" * 10: b"v" * 30, b"security.x": b"\xff" * 101},
    "other namespaces": {b"trusted.t": b"1" * 200, b"security.s": b"2" * 200, b"user.u": b"3" * 200},
    "just a block": {b"user.a": b"v" * (BLOCK - INODE - 12 - 4 - 1)},
    "more than a block": {b"user.a": b"v" * (BLOCK - INODE - 12 - 4)},
    "many blocks": {b"user." + b"n" * number: b"v" * number * 7 for number in range(1, 250)},
    "large values": {b"user.%d" % number: b"%d" % number * 30_000 for number in range(8)},
    "largest value": {b"user.a": b"v" * xattrs.MAX_VALUE},
}


@pytest.mark.parametrize("kind", [FILE, DIRECTORY])
def test_xattrs(tmp_path: Path, kind: str) -> None:
    (content,) = filled(tmp_path / "tar", [700])
    children = {}
    for name, pairs in XATTRS.items():
        if kind == FILE:
            children[name.encode()] = empty(size=700, content=content.content, xattrs=pairs)
        else:
            children[name.encode()] = subfolder({b"f": empty()}, xattrs=pairs)
    check(flat(children), [str(tmp_path / "tar")], tmp_path / "image")


def test_xattrs_of_other_kinds(tmp_path: Path) -> None:
    pairs = {b"security.x": b"1" * 5000, b"trusted.x": b"2"}
    children = {
        b"l": Inode(SYMLINK, 0o777, mtime_ns=TIME, target=b"t" * 4000, xattrs=pairs),
        b"m": Inode(SYMLINK, 0o777, mtime_ns=TIME, target=b"t", xattrs={b"security.x": b"1" * 300}),
        b"c": Inode(CHARACTER, 0o600, mtime_ns=TIME, device=(4095, 2**20 - 1), xattrs=pairs),
        b"p": Inode(FIFO, 0o600, mtime_ns=TIME, xattrs=pairs),
    }
    check(flat(children), [], tmp_path / "image")


# What goes wrong.

REFUSED: dict[str, tuple[Inode, str]] = {
    "empty target": (Inode(SYMLINK, 0o777), "d/x: a target of 0 bytes: EROFS takes 1 to 4095"),
    "long target": (
        Inode(SYMLINK, 0o777, target=b"t" * 4096),
        "d/x: a target of 4096 bytes: EROFS takes 1 to 4095",
    ),
    "large file": (
        empty(size=records.MAX_BLOCKS * BLOCK + 1, content=Content(0, 0, None)),
        f"d/x: {records.MAX_BLOCKS * BLOCK + 1} bytes are more than a file in EROFS can have",
    ),
    "large sparse file": (
        empty(size=2**63 - 1, content=Content(0, 0, [(0, 1), (2**63 - 2, 1)])),
        f"d/x: {2**63 - 1} bytes are more than a file in EROFS can have",
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
    "long name of an xattr": (
        empty(xattrs={b"user." + b"n" * 251: b""}),
        "d/x: the name of an xattr has 256 bytes, and Linux takes 255",
    ),
    "malformed ACL": (
        empty(xattrs={b"system.posix_acl_access": b"x"}),
        "d/x: its xattr system.posix_acl_access is malformed",
    ),
    "cut ACL": (
        empty(xattrs={b"system.posix_acl_access": ACL[:-1]}),
        "d/x: its xattr system.posix_acl_access is malformed",
    ),
    "long name": (subfolder({b"n" * 256: empty()}), f"d/x/{'n' * 256}: its name has 256 bytes, and EROFS takes 255"),
}


@pytest.mark.parametrize(("inode", "wrong"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, inode: Inode, wrong: str) -> None:
    with pytest.raises(OutputError) as caught:
        written(flat({b"d": subfolder({b"x": inode})}), [], tmp_path / "image")
    assert str(caught.value) == f"{tmp_path}/image: {wrong}; leave it out of the image"
    assert not (tmp_path / "image").exists()


def error_of(made: Made, image: Path) -> str:
    with pytest.raises(OutputError) as caught:
        erofs.write(made.tree, made.tars.__getitem__, str(image), key=KEY)
    return str(caught.value)


# Parts of it.


def test_numbers_of_a_device() -> None:
    assert [records.device(numbers) for numbers in ((0, 0), (1, 3), (8, 256), (4095, 2**20 - 1))] == [
        *[0, 0x103, 0x100800, 0xFFFFFFFF]
    ]
