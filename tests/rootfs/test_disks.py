"""What the forms `ext4` and `erofs` have alike: the tool of each finds nothing wrong, and what Linux mounts is the
tree."""

from __future__ import annotations

import os
import struct
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import OutputError, TreeError
from c2wtasks.rootfs.ext4 import geometry
from c2wtasks.rootfs.writing.linuxfs import block_runs
from c2wtasks.tree.model import CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Inode
from tests.rootfs.bordering import bordering, fragments
from tests.rootfs.disks import EROFS, EXT4, KEY, Disk, each_disk
from tests.rootfs.making import TIME, Making, as_linux_has_it, empty, filled, flat, needs_root, subfolder
from tests.rootfs.random_trees import RandomTree
from tests.support import child, headers, roots
from tests.support.headers import archive
from tests.support.nasty import nasty
from tests.support.random_layers import ACL_NAMES, ACLS, encoded, layers

MIB = 1 << 20


# Whole trees.


@pytest.mark.parametrize(
    ("disk", "options"), [(EXT4, {}), (EXT4, {"journal": True}), (EROFS, {})], ids=["ext4", "ext4-journal", "erofs"]
)
def test_nasty_tree(tmp_path: Path, disk: Disk, options: dict[str, object]) -> None:
    disk.holds(*nasty(tmp_path), tmp_path / "image", **options)


@each_disk
def test_large_nasty_tree(tmp_path: Path, disk: Disk) -> None:
    disk.holds(*nasty(tmp_path, files=40_000, links=70_000), tmp_path / "image")
    with disk.mounted(tmp_path / "image") as place:
        found = {os.stat(name).st_nlink for name in (place / "links").iterdir()}
    assert found == ({70_000} if disk is EROFS else {65_000, 5_000})


@each_disk
@given(made=layers)
def test_random_trees(disk: Disk, made: list[list[dict[str, object]]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            root = Making(Path(scratch))(*(archive(*map(encoded, layer)) for layer in made))
        except TreeError:
            return
        with disk.mounted(disk.written(root.tree, root.tars, Path(scratch, "image"))) as place:
            assert disk.lines(place, root.tree) == roots.of_tree(as_linux_has_it(root.tree), root.contents)


@given(bordering(), st.sampled_from([128, 256, 2048]), st.booleans(), st.sampled_from([None, 0, 1, 4096, 50 * MIB]))
def test_ext4_around_borders(random: RandomTree, per_group: int, journal: bool, more: int | None) -> None:
    """Groups are small, so that contents lie across many: ext4 takes any length that is a multiple of 8. `more` is
    the size beyond the least."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "PER_GROUP", per_group)
        tar, image = Path(scratch, "tar"), Path(scratch, "image")
        tar.write_bytes(random.tar)
        size = None
        if more is not None:
            with pytest.raises(OutputError, match="bytes are too few") as caught:
                EXT4.written(random.tree, [str(tar)], image, size=0, journal=journal)
            size = int(str(caught.value).split()[-1]) + more
        EXT4.holds(random.tree, [str(tar)], image, size=size, journal=journal)


@given(bordering())
def test_erofs_around_borders(random: RandomTree) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        tar = Path(scratch, "tar")
        tar.write_bytes(random.tar)
        EROFS.holds(random.tree, [str(tar)], Path(scratch, "image"))


@each_disk
def test_same_bytes_whoever_writes(tmp_path: Path, disk: Disk) -> None:
    home = tmp_path / "home"
    home.mkdir()
    tree, tars = nasty(home)
    image = tmp_path / "image"
    images = [disk.written(tree, tars, image).read_bytes()]

    def write() -> None:
        os.umask(0o077)
        disk.write(tree, lambda number: os.path.basename(tars[number]), "image", key=KEY)
        assert os.stat("image").st_mode & 0o777 == 0o644

    if os.geteuid() == 0:
        child.as_user(write, home)
    else:
        os.chdir(home)
        child.in_child(write)
    image.write_bytes(b"x" * (20 * MIB))  # what was there before shows nowhere
    images += [(home / "image").read_bytes(), disk.written(tree, tars, image).read_bytes()]
    assert images[0] == images[1] == images[2]


# Parts of trees.

COUNTS = [0, 1, 14, 15, 16, 34, 35, 36, 37, 90, 250, 251, 252, 290, 291, 292, *range(336, 344), 3000]


@each_disk
@pytest.mark.parametrize("length", [2, 3, 100, 255])
def test_folders(tmp_path: Path, disk: Disk, length: int) -> None:
    """Looked up by name: what is there, and what is not."""

    def names(numbers: range) -> set[bytes]:
        made = {number.to_bytes(length).replace(b"\0", b"-").replace(b"/", b"+") for number in numbers}
        return made - {b".."}

    folders = {count: names(range(7, 21 * count + 7, 21)) for count in COUNTS}
    tree = flat({b"%d" % count: subfolder(dict.fromkeys(found, empty())) for count, found in folders.items()})
    disk.holds(tree, [], tmp_path / "image")
    with disk.mounted(tmp_path / "image") as place:
        for count, present in folders.items():
            absent = names(range(0, 21 * count + 28, 10)) | {name[:-1] for name in present}
            absent |= {b"!", b"-", b"...", b"\xff", b"0", b"\xff" * 255, b"." * 255}
            for name in absent - present - {b"."}:
                assert not os.path.lexists(os.fsencode(place / str(count)) + b"/" + name)


@given(fragments)
def test_block_runs(sparse: list[tuple[int, int]]) -> None:
    """All the blocks that have bytes in them and no other, in as few runs as can be."""
    runs = block_runs(sparse, 4096)
    blocks = [block for first, length in runs for block in range(first, first + length)]
    assert blocks == sorted({at // 4096 for start, length in sparse for at in range(start, start + length)})
    assert all(first > sum(before) for before, (first, _) in pairwise(runs))


@each_disk
def test_nothing_in_it(tmp_path: Path, disk: Disk) -> None:
    disk.holds(flat({}), [], tmp_path / "image")


@each_disk
def test_tars_on_another_file_system(tmp_path: Path, disk: Disk) -> None:
    """There the kernel may refuse to copy."""
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as tar:
        (inode,) = filled(Path(tar.name), [3 * MIB + 5])
        disk.holds(flat({b"f": inode}), [tar.name], tmp_path / "image")


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


@each_disk
def test_acls(tmp_path: Path, disk: Disk) -> None:
    access, default = (b"system.posix_acl_access", ACL), (b"system.posix_acl_default", ACL)
    children = {
        b"f": empty(xattrs=dict([access])),
        b"d": subfolder(xattrs=dict([access, default])),
        b"has none": empty(xattrs=dict([default])),
        b"has an empty one": empty(xattrs={access[0]: ACL[:4]}),
        b"l": Inode(SYMLINK, 0o777, target=b"f", xattrs=dict([access])),
    }
    with disk.mounted(disk.written(flat(children), [], tmp_path / "image")) as place:
        have = {
            os.fsencode(path.name): {
                os.fsencode(name): os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
            }
            for path in place.iterdir()
            if path.name != "lost+found"
        }
    want = {b"f": dict([access]), b"d": dict([access, default])}
    assert have == {**want, b"has none": {}, b"has an empty one": {}, b"l": {}}


MODES = [0, 0o600, 0o640, 0o644, 0o755, 0o070, 0o777, 0o4711, 0o2750, 0o1777]


@needs_root
def test_acls_as_in_a_folder(tmp_path: Path) -> None:
    """Each ACL with each mode on each kind of file; what lies in folders with a default ACL, named by a layer or not;
    an ACL of a lower layer, whose file gets another mode. All three forms hold the same, and it is in the tree."""
    lower, upper = [], []
    for mode, other in zip(MODES, reversed(MODES), strict=True):
        for index, value in enumerate(ACLS):
            end = b"-%d-%o" % (index, mode)
            access, default = ({name: value} for name in ACL_NAMES)
            lower += [
                headers.file(b"file" + end, mode=mode, xattrs=access),
                headers.member(name=b"fifo" + end, kind=b"6", mode=mode, xattrs=access),
            ]
            for folder, xattrs in ((b"access" + end, access), (b"default" + end, default)):
                lower += [
                    headers.folder(folder, mode=mode, xattrs=xattrs),
                    headers.file(folder + b"/in", mode=other),
                    headers.folder(folder + b"/sub", mode=other),
                    headers.file(folder + b"/not/named/x", mode=0o664),
                ]
                upper += [headers.folder(folder, mode=other), headers.file(folder + b"/later", mode=mode)]
    made = Making(tmp_path)(archive(*lower), archive(*upper))
    made.write(tmp_path / "folder")
    want = roots.of_folder(tmp_path / "folder")
    assert want == made.lines()
    assert sum(ACL_NAMES[0].decode() in line for line in want) > 200
    for disk in (EXT4, EROFS):
        with disk.mounted(disk.written(made.tree, made.tars, tmp_path / "image")) as place:
            assert disk.lines(place, made.tree) == want


XATTRS: dict[str, dict[bytes, bytes]] = {
    "as much as an inode of ext4 takes": {b"user.a": b"v" * 68},
    "just too large for it": {b"user.a": b"v" * 69},
    "as much as a block of ext4 takes": {b"user.a": b"v" * 4040},
    "both full": {b"user.a": b"v" * 4040, b"user.b": b"v" * 68},
    "small ones and a large one": {b"user.%d" % number: b"v" * number**3 for number in range(11)},
    "as much as fits beside an inode of EROFS": {b"user.a": b"v" * (4096 - 64 - 12 - 4 - 1)},
    "just too large to be beside one": {b"user.a": b"v" * (4096 - 64 - 12 - 4)},
    "empty ones": {b"user.%d" % number: b"" for number in range(30)},
    "long names": {b"user." + b"n" * 250: b"1", b"user." + b"m" * 250: b""},
    "odd names": {b"user.\xff\xfe\x80" * 10: b"v" * 30, b"security.x": b"\xff" * 101},
    "odd names in a block": {b"user.\xff\xfe\x80" * 10: b"v" * 3000, b"security.x": b"\xff" * 101},
    "other namespaces": {b"trusted.t": b"1" * 200, b"security.s": b"2" * 200, b"user.u": b"3" * 200},
}
LARGE_XATTRS: dict[str, dict[bytes, bytes]] = {
    "many blocks": {b"user." + b"n" * number: b"v" * number * 7 for number in range(1, 250)},
    "large values": {b"user.%d" % number: b"%d" % number * 30_000 for number in range(8)},
    "largest value": {b"user.a": b"v" * (2**16 - 1)},
}


@pytest.mark.parametrize("kind", [FILE, DIRECTORY])
@pytest.mark.parametrize(("disk", "xattrs"), [(EXT4, XATTRS), (EROFS, XATTRS | LARGE_XATTRS)], ids=["ext4", "erofs"])
def test_xattrs(tmp_path: Path, disk: Disk, xattrs: dict[str, dict[bytes, bytes]], kind: str) -> None:
    (content,) = filled(tmp_path / "tar", [700])
    children = {
        name.encode(): empty(size=700, content=content.content, xattrs=pairs)
        if kind == FILE
        else subfolder({b"f": empty()}, xattrs=pairs)
        for name, pairs in xattrs.items()
    }
    disk.holds(flat(children), [str(tmp_path / "tar")], tmp_path / "image")


@pytest.mark.parametrize(("disk", "most"), [(EXT4, 4000), (EROFS, 5000)], ids=["ext4", "erofs"])
def test_xattrs_of_other_kinds(tmp_path: Path, disk: Disk, most: int) -> None:
    pairs = {b"security.x": b"1" * most, b"trusted.x": b"2"}
    children = {
        b"l": Inode(SYMLINK, 0o777, mtime_ns=TIME, target=b"t" * 4000, xattrs=pairs),
        b"m": Inode(SYMLINK, 0o777, mtime_ns=TIME, target=b"t", xattrs={b"security.x": b"1" * 300}),
        b"c": Inode(CHARACTER, 0o600, mtime_ns=TIME, device=(4095, 2**20 - 1), xattrs=pairs),
        b"p": Inode(FIFO, 0o600, mtime_ns=TIME, xattrs=pairs),
    }
    disk.holds(flat(children), [], tmp_path / "image")


# What both refuse. (What one alone does, and what goes wrong while one is written, is tested elsewhere.)

_MALFORMED = "d/x: its xattr system.posix_acl_access is malformed"
REFUSED: dict[str, tuple[Inode, str]] = {
    "empty target": (Inode(SYMLINK, 0o777), "d/x: a target of 0 bytes: {} takes 1 to 4095"),
    "long target": (Inode(SYMLINK, 0o777, target=b"t" * 4096), "d/x: a target of 4096 bytes: {} takes 1 to 4095"),
    "long name": (subfolder({b"n" * 256: empty()}), f"d/x/{'n' * 256}: its name has 256 bytes, and {{}} takes 255"),
    "long name of an xattr": (
        empty(xattrs={b"user." + b"n" * 251: b""}),
        "d/x: the name of an xattr has 256 bytes, and Linux takes 255",
    ),
    "malformed ACL": (empty(xattrs={b"system.posix_acl_access": b"x"}), _MALFORMED),
    "cut ACL": (empty(xattrs={b"system.posix_acl_access": ACL[:-1]}), _MALFORMED),
    "unordered ACL": (empty(xattrs={b"system.posix_acl_access": ACL[:4] + ACL[12:] + ACL[4:12]}), _MALFORMED),
}


@each_disk
@pytest.mark.parametrize(("inode", "wrong"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, disk: Disk, inode: Inode, wrong: str) -> None:
    disk.refuses(inode, wrong.format({"ext4": "ext4", "erofs": "EROFS"}[disk.kind]), tmp_path / "image")
