"""The form `iso`: what Linux and others read in an image is the tree, as far as ISO 9660 with Rock Ridge holds it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2wtasks.errors import OutputError
from c2wtasks.layers.fragments import pack
from c2wtasks.rootfs import iso
from c2wtasks.rootfs.iso import layout, names
from c2wtasks.rootfs.writing.pieces import with_paths
from c2wtasks.tree import treefile
from c2wtasks.tree.model import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK, Content, Inode
from c2wtasks.tree.treefile import Node, TreeFile
from tests.forms import vm
from tests.rootfs import isoreader
from tests.support import roots
from tests.support.growing import grow
from tests.support.nasty import nasty

SECOND = 10**9
FIRST_SECOND, LAST_SECOND = -2_208_988_800, 5_869_583_999  # of 1900 and of 2155
LINUX_NAME_MAX = 253
NO_TIME = re.compile(r"( [dflcbp] [0-7]{4} \d+:\d+ )(-?\d+)")


def held(tree: TreeFile) -> TreeFile:
    """What an image can hold of a tree: seconds, and no xattrs."""

    def of(node: Node) -> Node:
        seconds = min(max(node.mtime_ns // SECOND, FIRST_SECOND), LAST_SECOND)
        return msgspec.structs.replace(node, mtime_ns=seconds * SECOND, xattrs=())

    return TreeFile(tree.layers, [of(node) for node in tree.nodes])


def shown_by_linux(tree: TreeFile) -> TreeFile:
    """What Linux shows of that: each name of a file as a file of its own, and long names cut."""
    nodes = held(tree).nodes
    files = [node if node.link < 0 else nodes[node.link] for node in nodes]
    return TreeFile(
        tree.layers,
        [
            msgspec.structs.replace(file, parent=node.parent, name=node.name[:LINUX_NAME_MAX])
            for node, file in zip(nodes, files, strict=True)
        ],
    )


def in_32_bits(lines: list[str]) -> list[str]:
    """Linux up to 6.1 at least shows the low 32 bits of the seconds; the image has all."""
    return [NO_TIME.sub(lambda found: f"{found[1]}{int(found[2]) // SECOND % 2**32}", line) for line in lines]


def link_counts(tree: TreeFile) -> list[int]:
    firsts = [node.link if node.link >= 0 else index for index, node in enumerate(tree.nodes)]
    counts = [2 if node.kind == DIRECTORY else 0 for node in tree.nodes]
    for index, node in enumerate(tree.nodes):
        if node.kind != DIRECTORY:
            counts[firsts[index]] += 1
        elif index:
            counts[node.parent] += 1
    return [counts[first] for first in firsts]


def without(tree: TreeFile, unwanted: Callable[[bytes, Inode], bool]) -> TreeFile:
    """The tree less some names, told by name and file."""
    root = grow(tree)
    stack = [root]
    while stack:
        children = stack.pop().names()
        for name, inode in list(children.items()):
            if unwanted(name, inode):
                del children[name]
            elif inode.kind == DIRECTORY:
                stack.append(inode)
    return treefile.flatten(root, tree.layers, default_mtime_ns=0)


def not_found_by_linux(name: bytes, _: Inode) -> bool:
    """Linux lists such a name, and then finds no file of it, whoever wrote the image. (From 6.2 on, or where `char`
    has no sign, only that of byte 1.)"""
    return len(name) == 1 and (name[0] >= 0x80 or name[0] == 1)


def write(tree: TreeFile, tars: Sequence[str], image: Path, **options: object) -> Path:
    iso.write(tree, tars.__getitem__, str(image), **options)  # type: ignore[arg-type]
    return image


def contents(tars: Sequence[str]) -> list[bytes]:
    return [Path(tar).read_bytes() for tar in tars]


def assert_linux_shows(tree: TreeFile, tars: Sequence[str], image: Path) -> None:
    lines, links = isoreader.linux(image)
    want = roots.of_tree(shown_by_linux(tree), contents(tars))
    assert in_32_bits(lines) == in_32_bits([vm.as_listed(line) for line in want])
    assert links == link_counts(tree)


def test_linux_shows_the_nasty_tree(tmp_path: Path) -> None:
    tree, tars = nasty(tmp_path, files=3000, hole=1 << 20)
    tree = without(tree, not_found_by_linux)
    assert_linux_shows(tree, tars, write(tree, tars, tmp_path / "root.iso"))


@pytest.mark.parametrize("reader", ["linux", "bsdtar", "xorriso"])
def test_files_of_many_extents(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of more than 4 GiB have them; here with smaller ones."""
    monkeypatch.setattr(layout, "SECTION", 128 << 10)
    tree, tars = nasty(tmp_path, files=1, links=100)
    tree = without(tree, lambda name, inode: inode.size < 100_000 and name not in (b"sizes", b"sparse"))
    image = write(tree, tars, tmp_path / "root.iso")
    if reader == "linux":
        assert_linux_shows(tree, tars, image)
    else:
        want = roots.of_tree(held(tree), contents(tars))
        assert isoreader.extracted(reader, image)[1:] == want[1:]


def misread_by_bsdtar(name: bytes, inode: Inode) -> bool:
    """It takes device numbers for others and second -1 for 0; names of what has no content it joins only at times."""
    return inode.kind in "cb" or inode.mtime_ns == -1 or name == b"other-names"


def test_bsdtar_reads_the_nasty_tree(tmp_path: Path) -> None:
    """It leaves the mtime of the folder it extracts into."""
    tree, tars = nasty(tmp_path)
    tree = without(tree, misread_by_bsdtar)
    have = isoreader.extracted("bsdtar", write(tree, tars, tmp_path / "root.iso"))
    assert have[1:] == roots.of_tree(held(tree), contents(tars))[1:]


def test_xorriso_reads_the_nasty_tree(tmp_path: Path) -> None:
    """It extracts no devices, paths of 4,000 bytes, or symlinks with owners and times, and its mtime of the root is
    another; it drops the second of two slashes in a target; and refuses targets of some length."""
    tree, tars = nasty(tmp_path)
    tree = without(
        tree,
        lambda name, inode: (
            inode.kind in "cb" or name == b"long" or len(inode.target) > 1000 or b"//" in inode.target
        ),
    )
    have = isoreader.extracted("xorriso", write(tree, tars, tmp_path / "root.iso"))
    want = roots.of_tree(held(tree), contents(tars))
    symlink = re.compile(r" l 0777 \d+:\d+ -?\d+ -> ")
    assert [symlink.sub(" l ", line) for line in have[1:]] == [symlink.sub(" l ", line) for line in want[1:]]


@pytest.mark.parametrize(
    ("folders", "files"), [(0, 0), (1, 0), (5, 30), (10, 0), (10, 1), (40, 0), (40, 1), (100, 3)]
)
def test_xorriso_reads_to_the_last_folder(tmp_path: Path, folders: int, files: int) -> None:
    """With nothing behind it but the padding."""
    names = {b"f%d" % number: a_file(0) for number in range(files)}
    image = write(tree_of({b"d%d" % number: names for number in range(folders)}), [], tmp_path / "iso")
    have = isoreader.extracted("xorriso", image)
    assert len(have) == 1 + folders * (1 + files)
    assert image.read_bytes().endswith(bytes(150 * 2048))


def test_isoinfo_and_isovfy_read_the_nasty_tree(tmp_path: Path) -> None:
    """They crash over long targets and paths."""
    if shutil.which("isoinfo") is None:
        pytest.skip("needs isoinfo and isovfy: install Debian's genisoimage")
    tree, tars = nasty(tmp_path)
    tree = without(tree, lambda name, inode: name == b"long" or len(inode.target) > 1000)
    image = write(tree, tars, tmp_path / "root.iso")

    def said(*command: str) -> bytes:
        return subprocess.run([*command, "-i", image], capture_output=True, check=True).stdout

    want = b"".join(b"/%b\n" % path for path, _ in with_paths(tree.nodes) if path)
    assert sorted(said("isoinfo", "-R", "-f").split(b"\n")) == sorted(want.split(b"\n"))
    large = next(node for node in tree.nodes if node.name == b"3000001")
    assert said("isoinfo", "-R", "-x", "/sizes/3000001") == roots.content_of(large, contents(tars))
    assert said("isovfy").endswith(b"\nNo errors found\n")


# Random trees: lengths around those at which entries are split, or go to another place.

lengths = st.sampled_from([1, 2, 8, 30, 140, 141, 142, 143, 144, 145, 146, 147, 249, 250, 251, 252, 253, 254, 255])
file_names = st.builds(
    lambda text, length: (text * length)[:length],
    st.binary(min_size=1, max_size=4).map(lambda text: text.translate(bytes.maketrans(b"\0/.", b"0_-"))),
    lengths,
).filter(lambda name: not not_found_by_linux(name, Inode(FILE)))
parts = st.sampled_from([b"", b".", b"..", b"a"] + [b"%d" % (n % 10) * n for n in (60, 246, 247, 248, 249, 250, 255)])
targets = st.lists(parts, min_size=1, max_size=17).map(b"/".join).map(lambda target: target[:4095]).filter(len)
metadata = st.fixed_dictionaries(
    {
        "mode": st.integers(0, 0o7777),
        "uid": st.integers(0, 2**32 - 2),
        "gid": st.integers(0, 2**32 - 2),
        "mtime_ns": st.integers((FIRST_SECOND - 5) * SECOND, (LAST_SECOND + 5) * SECOND),
    }
)
files = st.builds(
    lambda fields, size: Inode(FILE, **fields, size=size, content=Content(0, 0, None)),
    metadata,
    st.sampled_from([0, 1, 2047, 2048, 2049, 70_000]),
)
devices = st.builds(
    lambda fields, kind, major, minor: Inode(kind, **fields, device=(major, minor if major else minor & 0xFF)),
    metadata,
    st.sampled_from([CHARACTER, BLOCK]),
    st.integers(0, 4095),
    st.integers(0, 2**20 - 1),
)
symlinks = st.builds(
    lambda fields, target: Inode(SYMLINK, **{**fields, "mode": 0o777}, target=target), metadata, targets
)
leaves = files | devices | symlinks | st.builds(lambda fields: Inode(FIFO, **fields), metadata)
trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda fields, children: Inode(DIRECTORY, **fields, children=children),
        metadata,
        st.dictionaries(file_names, inner, max_size=12),
    ),
    max_leaves=30,
)


def test_linux_shows_random_trees(tar: str, tmp_path: Path) -> None:
    """All in one image, since a kernel takes seconds to start."""
    firsts: dict[bytes, Inode] = {}
    others: dict[bytes, Inode] = {}  # further names of what is no directory

    @given(trees)
    @settings(
        max_examples=150, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    def add(inode: Inode) -> None:
        name = b"%d" % len(firsts)
        firsts[name] = inode
        if inode.kind != DIRECTORY:
            others[name] = inode

    add()
    tree = tree_of({b"trees": firsts, b"names": others})
    assert_linux_shows(tree, [tar], write(tree, [tar], tmp_path / "root.iso"))


def keys_of(named: Iterable[tuple[bytes, bool]]) -> list[bytes]:
    keys = bytes(names.keys(named))
    return [keys[at : at + names.KEY] for at in range(0, len(keys), names.KEY)]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.binary(min_size=1, max_size=12), st.booleans(), max_size=60))
def test_identifiers_are_valid_and_differ(children: dict[bytes, bool]) -> None:
    made = keys_of(children.items())
    assert len(set(made)) == len(children)
    for key, is_directory in zip(made, children.values(), strict=True):
        pattern = rb"[A-Z0-9_]{1,8}" if is_directory else rb"[A-Z0-9_]{1,8}\.[A-Z0-9_]{0,3};1"
        assert re.fullmatch(pattern, names.identifier(key, is_directory))


@pytest.mark.parametrize(
    ("name", "is_directory", "identifier"),
    [
        (b"motd", False, b"MOTD.;1"),
        (b"a.tar.gz", False, b"A_TAR.GZ;1"),
        (b".profile", False, b"_PROFILE.;1"),
        (b"etc", True, b"ETC"),
        (b"init.d", True, b"INIT_D"),
        (b"libstdc++.so.6.0.30", False, b"LIBSTDC_.30;1"),
        (b" ", False, b"_.;1"),
        (b"dot.", False, b"DOT.;1"),
        (b"\xff\n", True, b"__"),
    ],
)
def test_identifiers(name: bytes, is_directory: bool, identifier: bytes) -> None:
    assert names.identifier(keys_of([(name, is_directory)])[0], is_directory) == identifier


def test_many_names_that_are_alike() -> None:
    """Takes no time that grows with their square."""
    made = keys_of((b"alike-%d" % number, False) for number in range(100_000))
    assert len(set(made)) == 100_000
    assert made[:3] == [b"ALIKE_0    ", b"ALIKE_1    ", b"ALIKE_2    "]


# What is not in the tree: the volume, its tables, and that nothing else matters.


@pytest.fixture
def small() -> TreeFile:
    """Some directories and files; all contents are in one tar of 100,000 bytes."""
    return tree_of(
        {
            b"bin": {b"sh": a_file(70_000), b"ls": a_file(100, 500)},
            b"etc": {b"conf.d": {b"x": a_file(1)}, b"motd": a_file(0)},
            b"lib": {b"lib.so": a_file(2048, 9), b"%s" % (b"n" * 200): a_file(3)},
        }
    )


def a_file(size: int, offset: int = 0, sparse: list[tuple[int, int]] | None = None) -> Inode:
    return Inode(
        FILE, 0o644, mtime_ns=SECOND, size=size, content=Content(0, offset, None if sparse is None else pack(sparse))
    )


def tree_of(children: dict[bytes, Any]) -> TreeFile:
    def folder(children: dict[bytes, Any]) -> Inode:
        inodes = {name: folder(child) if isinstance(child, dict) else child for name, child in children.items()}
        return Inode(DIRECTORY, 0o755, mtime_ns=2 * SECOND, children=inodes)

    return treefile.flatten(folder(children), ["sha256:" + "0" * 64], default_mtime_ns=0)


@pytest.fixture
def tar(tmp_path: Path) -> str:
    path = tmp_path / "0.tar"
    path.write_bytes(hashlib.shake_256(b"content").digest(100_000))
    return str(path)


def test_volume(small: TreeFile, tar: str, tmp_path: Path) -> None:
    image = write(small, [tar], tmp_path / "root.iso", volume_id="WEB_1", created_ns=1_700_000_000_129_999_999)
    descriptor = image.read_bytes()[16 * 2048 : 17 * 2048]
    assert descriptor[40:72] == b"WEB_1".ljust(32)
    assert descriptor[813:830] == b"2023111422132012\0"  # made
    assert descriptor[830:847] == b"2023111422132012\0"  # changed
    assert int.from_bytes(descriptor[80:84], "little") * 2048 == image.stat().st_size
    assert stat.S_IMODE(image.stat().st_mode) == 0o644


def test_pycdlib_finds_nothing_wrong(small: TreeFile, tar: str, tmp_path: Path) -> None:
    """It compares the path tables with one another and with the directories, and both orders of bytes."""
    pycdlib = pytest.importorskip("pycdlib", reason="needs pycdlib: pip install it, or Debian's python3-pycdlib")
    image = pycdlib.PyCdlib()
    image.open(str(write(small, [tar], tmp_path / "root.iso")))
    found = {
        f"{base}/{name}".lstrip("/")
        for base, folders, leaves in image.walk(rr_path="/")
        for name in [*folders, *leaves]
    }
    assert found == {line.split(" ")[0] for line in treefile.dump(small)} - {"."}
    for path, size in {"/bin/sh": 70_000, "/etc/motd": 0, "/lib/lib.so": 2048}.items():
        assert image.get_record(rr_path=path).get_data_length() == size


@pytest.mark.parametrize(("order", "at"), [("little", 140), ("big", 148)])
def test_path_tables(order: Literal["little", "big"], at: int, tmp_path: Path) -> None:
    """In the order of levels, of parents, and of identifiers (ECMA-119, 6.9.1)."""
    tree = tree_of({b"b": {b"z": {}, b"y": {}}, b"a": {b"x": {b"deep": {}}}, b"c": {}})
    image = write(tree, [], tmp_path / "root.iso").read_bytes()

    def number(at: int, order: Literal["little", "big"] = "little") -> int:
        return int.from_bytes(image[at : at + 4], order)

    descriptor = 16 * 2048
    table = number(descriptor + at, order) * 2048
    end = table + number(descriptor + 132)
    found = []
    while table < end:
        length = image[table]
        extent = number(table + 2, order)
        assert number(extent * 2048 + 2) == extent  # the first record of a directory is its own
        found.append((image[table + 8 : table + 8 + length], int.from_bytes(image[table + 6 : table + 8], order)))
        table += 8 + length + length % 2
    first_and_second_level = [(b"\0", 1), (b"A", 1), (b"B", 1), (b"C", 1)]
    assert found == [*first_and_second_level, (b"X", 2), (b"Y", 3), (b"Z", 3), (b"DEEP", 5)]


def test_nothing_but_tree_and_contents_matters(tmp_path: Path) -> None:
    tree, tars = nasty(tmp_path, files=10, links=10, hole=10_000)
    image = write(tree, tars, tmp_path / "root.iso")
    (tmp_path / "tree").write_bytes(treefile.encode(tree))
    again = tmp_path / "again.iso"
    script = f"""
import os, sys
os.umask(0o77)
from c2wtasks.rootfs import iso
from c2wtasks.tree import treefile
tree = treefile.decode(open({str(tmp_path / "tree")!r}, "rb").read())
iso.write(tree, {tars!r}.__getitem__, {str(again)!r})
"""
    environment = {"TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **environment}, check=True)
    assert again.read_bytes() == image.read_bytes()
    assert again.stat().st_mode == image.stat().st_mode


def test_layers_do_not_matter(small: TreeFile, tar: str, tmp_path: Path) -> None:
    """The same tree, its contents in other tars and in another order."""
    moved, content = [], bytearray(b"other")
    for node in small.nodes:
        if node.content is not None:
            _, offset, _ = node.content
            node = msgspec.structs.replace(node, content=Content(1, len(content), pack([(0, node.size)])))
            content += Path(tar).read_bytes()[offset : offset + node.size]
        moved.append(node)
    other = tmp_path / "1.tar"
    other.write_bytes(content)
    first = write(small, [tar], tmp_path / "first.iso")
    second = write(TreeFile(["", ""], moved), ["none", str(other)], tmp_path / "second.iso")
    assert first.read_bytes() == second.read_bytes()


def test_what_was_at_the_path_is_gone(small: TreeFile, tar: str, tmp_path: Path) -> None:
    first = write(small, [tar], tmp_path / "first.iso")
    (tmp_path / "second.iso").write_bytes(b"x" * 1_000_000)
    assert write(small, [tar], tmp_path / "second.iso").read_bytes() == first.read_bytes()


def test_holes_are_holes(tmp_path: Path, tar: str) -> None:
    tree = tree_of({b"sparse": a_file(1 << 32, 7, [(0, 3), ((1 << 32) - 4, 4)])})
    image = write(tree, [tar], tmp_path / "root.iso")
    assert image.stat().st_size > 1 << 32
    assert image.stat().st_blocks * 512 < 1 << 20


def test_small_sparse_file_between_small_files(tmp_path: Path, tar: str) -> None:
    """What fills the room between the others leaves it alone."""
    files = {b"a": a_file(5), b"b": a_file(2000, 100, [(1, 700), (1000, 900)]), b"c": a_file(5, 3000)}
    image = write(tree_of(files), [tar], tmp_path / "root.iso").read_bytes()
    content = Path(tar).read_bytes()
    assert b"\0" + content[100:800] + bytes(299) + content[800:1700] in image


def test_a_file_of_8_gib(tar: str, tmp_path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.skip("needs xorriso: install Debian's xorriso")
    size = 2 * layout.SECTION + 5000
    tree = tree_of({b"large": a_file(size, 7, [(0, 3), (layout.SECTION - 2, 4), (size - 4, 4)]), b"next": a_file(9)})
    image = write(tree, [tar], tmp_path / "root.iso")
    command = ["xorriso", "-indev", str(image), "-find", "/", "-type", "f", "-exec", "report_lba"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split(":", 1)[1].split(",") for line in lines if line.startswith("File data lba:")]
    starts = [int(start) * 2048 for _, start, _, _, _ in found]
    assert [int(of) for _, _, _, of, _ in found] == [size, size, size, 9]
    want = Path(tar).read_bytes()
    with image.open("rb") as stream:

        def read(at: int, length: int) -> bytes:
            stream.seek(at)
            return stream.read(length)

        assert read(starts[0], 4) == want[7:10] + b"\0"
        assert read(starts[0] + layout.SECTION - 2, 2) + read(starts[1], 3) == want[10:14] + b"\0"
        assert read(starts[2] + 4996, 4) == want[14:18]
        assert read(starts[3], 9) == want[:9]


def error_of(tree: TreeFile, tars: Sequence[str], image: Path, **options: object) -> str:
    with pytest.raises(OutputError) as raised:
        write(tree, tars, image, **options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("inode", "wrong"),
    [
        (
            a_file(100 * layout.SECTION + 1),
            "of its 429496524801 bytes in an ISO 9660 image Linux reads only 429496524800",
        ),
        (Inode(CHARACTER, device=(0, 256)), "Linux takes the device 0,256 in an ISO 9660 image for another one"),
    ],
    ids=["size", "device"],
)
def test_refused(inode: Inode, wrong: str, tmp_path: Path) -> None:
    tree = tree_of({b"d": {b"odd\n": inode}})
    said = error_of(tree, [], tmp_path / "root.iso")
    assert said == f"{tmp_path}/root.iso: d/odd\\n: {wrong}; write the root in another form"


def test_image_that_is_too_large(tmp_path: Path) -> None:
    tree = tree_of({b"%d" % number: a_file(100 * layout.SECTION) for number in range(21)})
    wrong = r"it would take 9019427\d{6} bytes, more than an ISO 9660 image can have; write the root in another form"
    assert re.fullmatch(f"{tmp_path}/root.iso: {wrong}", error_of(tree, [], tmp_path / "root.iso"))


@pytest.mark.parametrize("volume_id", ["", "a", "A" * 33, "A B", "É"])
def test_volume_id_that_is_none(volume_id: str, small: TreeFile, tmp_path: Path) -> None:
    said = error_of(small, [], tmp_path / "root.iso", volume_id=volume_id)
    assert said == f"{tmp_path}/root.iso: {volume_id!r} is no volume id: that is 1 to 32 of A-Z, 0-9 and _"
