"""The form `ext4`, beside what it has in common with EROFS: other readers than the kernel, writing into it, and what
takes more than a block, a group, a number."""

from __future__ import annotations

import os
import random
import re
import uuid
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import pack
from c2wtasks.rootfs.ext4 import folders, geometry, inodes, superblock
from c2wtasks.rootfs.ext4.geometry import BLOCK, Geometry, Space, TooLarge, TooSmall
from c2wtasks.rootfs.ext4.hashing import name_hashes
from c2wtasks.rootfs.ext4.plan import plan
from c2wtasks.tree.model import BLOCK as BLOCK_DEVICE
from c2wtasks.tree.model import CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import TreeFile
from tests.rootfs import disks
from tests.rootfs.disks import EXT4, KEY
from tests.rootfs.making import TIME, Making, empty, flat, subfolder
from tests.support import roots
from tests.support.headers import archive, file, folder, symlink
from tests.support.nasty import CAPABILITY, nasty

MIB = 1 << 20
KINDS = {"regular": FILE, "directory": DIRECTORY, "symlink": SYMLINK, "character special": CHARACTER}
KINDS |= {"block special": BLOCK_DEVICE, "FIFO": FIFO}

written, mounted, check = EXT4.written, EXT4.mounted, disks.e2fsck


def tool(*command: object) -> str:
    return disks.tool("e2fsprogs", *command)


# Other readers.

SIMPLE = archive(
    folder(b"./", 0o755, mtime_ns=TIME),
    folder(b"d/", 0o2750, uid=70_000, gid=5, mtime_ns=TIME),
    file(b"d/f", b"content", mode=0o4755, uid=2**32 - 2, gid=70_001, xattrs={b"security.capability": CAPABILITY}),
    file(b"big", b"0123456789" * 20_000, mtime_ns=2**33 * 10**9 + 5),
    file(b"xattr", xattrs={b"user.large": b"l" * 3000, b"user.a": b"1"}, mtime_ns=-1),
    symlink(b"short", b"d/f", mtime_ns=TIME),
    symlink(b"long", b"t" * 300),
)


def test_debugfs_reads_it(make: Making, tmp_path: Path) -> None:
    """Needs no root: the other reader where nothing can be mounted."""
    made = make(SIMPLE)
    image = written(made.tree, made.tars, tmp_path / "image")
    for line in made.lines():
        path, kind, mode, owner, mtime = line.split(" ")[:5]
        said = tool("debugfs", "-R", f"stat /{path}", image)
        uid, gid = (re.search(rf"{who}: +(-?\d+)", said) for who in ("User", "Group"))
        found = re.search(r"Type: (.+?) +Mode: +(\d+)", said)
        assert found and uid and gid
        assert (KINDS[found[1]], int(found[2], 8), f"{int(uid[1]) % 2**32}:{gid[1]}") == (kind, int(mode, 8), owner)
        time = re.search(r"mtime: 0x(\w+):(\w+)", said)
        assert time and [int(part, 16) for part in time.groups()] == list(inodes.time(int(mtime)))
        if kind == SYMLINK:
            short = re.search(r'"(.*)"', said)
            assert line.endswith(short[1] if short else tool("debugfs", "-R", f"cat /{path}", image))
    assert tool("debugfs", "-R", "cat /big", image) == "0123456789" * 20_000
    assert "user.large (3000)" in tool("debugfs", "-R", "ea_list /xattr", image)
    assert "security.capability (20)" in tool("debugfs", "-R", "ea_list /d/f", image)


def test_debugfs_dumps_it(tmp_path: Path) -> None:
    """Names, kinds, contents and targets; debugfs gives no devices, and a file for each of its names."""
    tree, tars = nasty(tmp_path)
    nodes = [
        msgspec.structs.replace(
            tree.nodes[node.link] if node.link >= 0 else node,
            parent=node.parent,
            name=node.name,
            mode=0o777 if node.kind == SYMLINK else 0o755,
            xattrs=(),
        )
        for node in tree.nodes
    ]
    legible = TreeFile(tree.layers, nodes)
    image = written(legible, tars, tmp_path / "image")
    (tmp_path / "out").mkdir()
    tool("debugfs", "-R", f"rdump / {tmp_path}/out", image)
    owner_and_time = re.compile(r"(?<= [fdl] [0-7]{4}) \d+:\d+ -?\d+")
    have = [owner_and_time.sub("", line, 1) for line in roots.of_folder(tmp_path / "out")]
    want = roots.of_tree(legible, [Path(tar).read_bytes() for tar in tars])
    assert (
        have[1:]
        == [
            owner_and_time.sub("", line, 1)
            for line, node in zip(want, nodes, strict=True)
            if node.kind in (FILE, DIRECTORY, SYMLINK)
        ][1:]
    )


def test_key_gives_uuid(make: Making, tmp_path: Path) -> None:
    made = make(SIMPLE)
    said = [
        tool("dumpe2fs", "-h", written(made.tree, made.tars, tmp_path / "image", key=key)) for key in (b"1", b"2")
    ]
    for pattern in (r"Filesystem UUID: +(\S+)", r"Directory Hash Seed: +(\S+)"):
        found = [uuid.UUID(re.findall(pattern, text)[0]) for text in said]
        assert found[0] != found[1]
        assert all(one.variant == uuid.RFC_4122 for one in found)
    assert "Filesystem state:         clean" in said[0]


# Writing into it.


@pytest.mark.parametrize(
    ("many", "journal"), [(20, False), (20, True), (40_000, False)]
)  # the last has groups of less than the full size
def test_writing_into_it(tmp_path: Path, many: int, journal: bool) -> None:
    names = {b"%d" % number: empty() for number in range(many)}
    tree = flat({b"many": subfolder(names), b"few": subfolder({b"f": empty()})})
    image = written(tree, [], tmp_path / "image", journal=journal)
    assert ("has_journal" in tool("dumpe2fs", "-h", image)) == journal
    with mounted(image, "rw") as place:
        (place / "new").mkdir()
        (place / "new/big").write_bytes(bytes(range(256)) * 2048)
        os.setxattr(place / "few/f", "user.new", b"n" * 2000)
        for number in range(50):
            (place / "many" / ("n" * 200 + str(number))).write_text(str(number))
        for number in range(0, many, 2):
            (place / "many" / str(number)).unlink()
        (place / "few").rename(place / "new/few")
        want = roots.of_folder(place)
    check(image)
    with mounted(image) as place:
        assert roots.of_folder(place) == want


def test_there_is_room(tmp_path: Path) -> None:
    image = written(flat({}), [], tmp_path / "image")
    with mounted(image) as place:
        left = os.statvfs(place)
    assert left.f_bfree * left.f_frsize >= MIB
    assert left.f_ffree >= 64
    assert image.stat().st_size < 2 * MIB


# What takes more than a block, a group, a number.


def test_folder_of_many_blocks_of_blocks(tmp_path: Path) -> None:
    """Lookups go by the hash, which the kernel makes of the name; more than 508 leaves take a level more."""
    numbers = random.Random(1)
    names = [
        b"%05d" % number + numbers.randbytes(250).translate(bytes(b or 1 for b in range(256)))
        for number in range(9000)
    ]
    names = [name.replace(b"/", b"_") for name in names]
    tree = flat({b"large": subfolder({name: empty() for name in names})})
    image = written(tree, [], tmp_path / "image")
    with mounted(image) as place:
        inside = os.fsencode(place / "large")
        assert sorted(os.listdir(inside)) == sorted(names)
        assert all(os.path.lexists(inside + b"/" + name) for name in names)
        assert not any(os.path.lexists(inside + b"/" + name[:-1]) for name in names[:1000])


def test_names_of_one_hash_in_two_leaves(tmp_path: Path) -> None:
    """The second leaf is marked as going on with the hash: else its name would not be found."""
    seed = superblock.Identity.of(KEY).hash_seed
    names = [b"%032d" % number for number in range(200_000)]
    hashes = name_hashes(names, seed)
    order = sorted(range(len(names)), key=hashes.__getitem__)
    in_a_leaf = BLOCK // folders.SIZES[32]
    pair = next(at for at in range(in_a_leaf, len(order) - in_a_leaf) if hashes[order[at]] == hashes[order[at + 1]])
    chosen = [names[index] for index in order[pair + 1 - in_a_leaf : pair + in_a_leaf]]
    assert folders.plan(chosen, seed).hashes[1] == hashes[order[pair]] + 1
    tree = flat({b"d": subfolder({name: empty() for name in chosen})})
    image = written(tree, [], tmp_path / "image")
    with mounted(image, "rw") as place:
        for name in chosen:
            (place / "d" / name.decode()).unlink()
    check(image)


def test_more_folders_than_links(tmp_path: Path) -> None:
    """A directory of 65,000 links is the last that counts them: of more, nobody knows how many."""
    trees = {
        count: flat({b"many": subfolder({b"%d" % number: subfolder() for number in range(count)})})
        for count in (64_998, 64_999)
    }
    assert plan(trees[64_998], bytes(range(16))).links[inodes.FIRST] == 65_000
    image = written(trees[64_999], [], tmp_path / "image")
    with mounted(image, "rw") as place:
        assert (place / "many").stat().st_nlink == 1
        assert place.stat().st_nlink == 4
        assert len(os.listdir(place / "many")) == 64_999
        (place / "many/new").mkdir()
        (place / "many/5").rmdir()
    check(image)


def test_files_of_many_extents(tmp_path: Path) -> None:
    """4 are in the inode, 340 in a block, of which 4 are in the inode again."""
    children, parts = {}, []
    for count in (4, 5, 340, 341, 1360, 1361, 3000):
        sparse = [(number * 3 * BLOCK + number % 5000, 100 + number) for number in range(count)]
        content = Content(0, sum(map(len, parts)), pack(sparse))
        children[b"%d" % count] = empty(size=count * 3 * BLOCK + 7, content=content)
        parts.append(random.Random(count).randbytes(sum(length for _, length in sparse)))
    tar = tmp_path / "tar"
    tar.write_bytes(b"".join(parts))
    EXT4.holds(flat(children), [str(tar)], tmp_path / "image")
    with mounted(tmp_path / "image") as place:
        assert (place / "3000").stat().st_blocks * 512 < 3000 * 3 * BLOCK


def test_file_over_many_groups(tmp_path: Path) -> None:
    """From a tar that is nearly all hole; what is written is not."""
    size = 700 * MIB
    marks = {at: b"mark at %d" % at for at in range(0, size, 9_999_991)}
    with (tmp_path / "tar").open("wb") as tar:
        for at, mark in marks.items():
            tar.seek(at)
            tar.write(mark)
        tar.truncate(size)
    tree = flat({b"f": empty(size=size, content=Content(0, 0, None)), b"g": empty()})
    image = written(tree, [str(tmp_path / "tar")], tmp_path / "image")
    try:
        with mounted(image) as place, (place / "f").open("rb") as stream:
            assert (place / "f").stat().st_size == size
            for at, mark in marks.items():
                assert os.pread(stream.fileno(), len(mark) + 1, at) == mark + b"\0"
    finally:
        image.unlink()


def test_largest_file(tmp_path: Path) -> None:
    size = inodes.MAX_SIZE
    (tmp_path / "tar").write_bytes(b"startend")
    tree = flat({b"f": empty(size=size, content=Content(0, 0, pack([(0, 5), (5 << 30, 0), (size - 3, 3)])))})
    image = written(tree, [str(tmp_path / "tar")], tmp_path / "image")
    with mounted(image) as place, (place / "f").open("rb") as stream:
        assert (place / "f").stat().st_size == size
        assert os.lseek(stream.fileno(), BLOCK, os.SEEK_DATA) == size - BLOCK
        assert os.pread(stream.fileno(), 9, size - 3) == b"end"
        assert os.pread(stream.fileno(), 6, 0) == b"start\0"


def test_xattrs_are_shared(tmp_path: Path) -> None:
    """Not by more inodes than the kernel lets share."""
    large = {b"user.large": b"l" * 4000}
    shared = flat({b"%d" % number: empty(xattrs=large) for number in range(2100)})
    image = written(shared, [], tmp_path / "image")
    with mounted(image, "rw") as place:
        assert EXT4.lines(place, shared) == roots.of_tree(shared, [])
        os.setxattr(place / "5", "user.large", b"m")
        os.setxattr(place / "6", "user.large", large[b"user.large"])
        (place / "7").unlink()
    check(image)
    bare = written(flat({b"%d" % number: empty() for number in range(2100)}), [], tmp_path / "bare")
    assert image.stat().st_size - bare.stat().st_size <= 4 * BLOCK


# Sizes.


def least_size(tree: TreeFile, image: Path, *, journal: bool) -> int:
    """In bytes, as the error says."""
    with pytest.raises(OutputError) as caught:
        written(tree, [], image, size=5000, journal=journal)
    found = re.fullmatch(
        rf"{image}: 5000 bytes are too few for this root, which takes at least (\d+)", str(caught.value)
    )
    assert found
    return int(found[1])


@pytest.mark.parametrize("journal", [False, True])
@pytest.mark.parametrize("count", [0, 3000, 40_000])
def test_size(tmp_path: Path, count: int, journal: bool) -> None:
    tree, image = flat({b"%d" % number: empty() for number in range(count)}), tmp_path / "image"
    needed = least_size(tree, image, journal=journal)
    for size in (needed, needed + 4095, 2 * needed + 77, 300 * MIB):
        written(tree, [], image, size=size, journal=journal)
        assert image.stat().st_size == size
    with pytest.raises(OutputError, match=f"takes at least {needed}$"):
        written(tree, [], image, size=needed - 1, journal=journal)


def test_journal_of_an_image_that_just_holds_the_root(tmp_path: Path) -> None:
    """From 128 MiB on the usual journal is larger: too large for an image that has this size for its contents."""
    tree, image = flat({b"f": empty(size=31_750 * BLOCK, content=Content(0, 0, None))}), tmp_path / "image"
    with (tmp_path / "tar").open("wb") as tar:
        tar.truncate(31_750 * BLOCK)
    written(tree, [tar.name], image, size=least_size(tree, image, journal=True), journal=True)


def test_files_cut_by_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of the least size has room for the extents that the borders of groups add. Groups are small here."""
    monkeypatch.setattr(geometry, "PER_GROUP", 128)
    image, tar = tmp_path / "image", tmp_path / "tar"
    for blocks in range(400, 800, 19):
        with tar.open("wb") as stream:
            stream.truncate(blocks * BLOCK)
        tree = flat({b"f": empty(size=blocks * BLOCK, content=Content(0, 0, None))})
        written(tree, [str(tar)], image, size=least_size(tree, image, journal=False))


@pytest.mark.parametrize("size", [2**44 + 1, 10**27])
def test_size_too_large(tmp_path: Path, size: int) -> None:
    with pytest.raises(OutputError, match=f"^{tmp_path}/image: {size} bytes are too many .* at most {2**44}$"):
        EXT4.write(flat({}), [].__getitem__, str(tmp_path / "image"), key=KEY, size=size)


def test_inodes_of_a_larger_image(tmp_path: Path) -> None:
    said = tool("dumpe2fs", "-h", written(flat({}), [], tmp_path / "image", size=1 << 30))
    count = int(re.findall(r"Inode count: +(\d+)", said)[0])
    assert (1 << 30) / 16_384 * 0.99 < count < (1 << 30) / 16_384 * 1.01


@given(
    st.one_of(st.integers(1, 200), st.integers(1, 3 * 10**5), st.integers(1, 10**8)),
    st.one_of(st.integers(11, 200), st.integers(11, 3 * 10**6)),
    st.one_of(st.none(), st.integers(0, 10**6), st.integers(0, 2**42)),
)
def test_fit(wanted: int, count: int, size: int | None) -> None:
    try:
        found = geometry.fit(wanted, count, size)
    except TooSmall as error:
        assert size is not None and size < error.needed
        found = geometry.fit(wanted, count, size := error.needed)
    assert found.inodes >= count
    assert found.inodes_per_group <= geometry.PER_GROUP
    assert found.blocks_per_group <= geometry.PER_GROUP
    assert found.blocks_per_group % 8 == 0
    assert found.holds(wanted)
    assert size is None or found.blocks * BLOCK <= size
    assert all(found.size(group) > found.overhead(group) for group in (0, found.groups // 2, found.groups - 1))


def test_too_large() -> None:
    with pytest.raises(TooLarge):
        geometry.fit(geometry.MAX_BLOCKS, 11, None)


def test_copies() -> None:
    copies = [group for group in range(3000) if geometry.has_copy(group)]
    assert copies == [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729, 2187, 2401]
    for groups in (1, 2, 3, 4, 10, 2187, 2188):
        assert geometry.groups_with_copy(groups) == [group for group in copies if group < groups]


@given(st.lists(st.integers(0, 5000), max_size=30), st.integers(0, 8))
def test_space(counts: list[int], table: int) -> None:
    """Every block is handed out once, and none that is a group's own."""
    shape = Geometry(20_000, 2048, 16 * table)
    space = Space(shape)
    own = [
        block for group in range(shape.groups) for block in range(group * 2048, group * 2048 + shape.overhead(group))
    ]
    free = sorted(set(range(20_000)) - set(own))
    assert shape.room == len(free)
    taken: list[int] = []
    for count in counts:
        if count > len(free) - len(taken):
            break
        taken += [block for start, length in space.take(count) for block in range(start, start + length)]
    assert taken == free[: len(taken)]
    used = set(own) | set(taken)
    for group in range(shape.groups):
        blocks = range(group * 2048, group * 2048 + shape.size(group))
        assert space.used(group) == sum(block in used for block in blocks)


# What goes wrong.

REFUSED: dict[str, tuple[Inode, str]] = {
    "large file": (
        empty(size=inodes.MAX_SIZE + 1),
        f"d/x: {inodes.MAX_SIZE + 1} bytes are more than a file in ext4 can have",
    ),
    "large xattr": (
        empty(xattrs={b"user.a": b"v" * 4043}),
        "d/x: its xattrs take 4064 bytes, which is more than ext4 can hold",
    ),
}


@pytest.mark.parametrize(("inode", "wrong"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, inode: Inode, wrong: str) -> None:
    EXT4.refuses(inode, wrong, tmp_path / "image")
