"""The form `dir`: what is written is the tree, whatever it holds, wherever and by whomever it is written."""

from __future__ import annotations

import errno
import os
import resource
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from c2wtasks.disk import files
from c2wtasks.errors import OutputError
from c2wtasks.process.rights import LeftOut
from c2wtasks.tree.treefile import TreeFile
from tests.rootfs.making import Made, Making, needs_root
from tests.support import child, roots
from tests.support.headers import archive, file, folder, hardlink, header, member, padded, pax, symlink

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
HIGHEST = 2**32 - 2
TIME = 1_500_000_000_987_654_321
BIG = bytes(range(256)) * 1024
HOLES = pax(
    [(b"GNU.sparse.map", b"0,3,20000000,4"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.size", b"40000000")]
)

PLAIN = {  # all that anybody may make; by what is odd in it
    "empty file": file(b"empty"),
    "big file": file(b"big", BIG + b"odd"),
    "mtime 0": file(b"mtime-0", mtime_ns=0),
    "nanoseconds": file(b"ns", b"x", mtime_ns=TIME),
    "far mtime": file(b"far", mtime_ns=2**33 * 10**9 + 1),
    "setuid": file(b"bin/su", b"#!", mode=0o4755, mtime_ns=1),
    "setgid and sticky": file(b"bin/wall", mode=0o3711),
    "mode 0": file(b"shadow", b"secret", mode=0),
    "user xattrs": file(b"x", xattrs={b"user.b": b"2\0", b"user.a": b"", b"user.\xff": b"3"}, mode=0o400),
    "folder xattr": folder(b"bin/", xattrs={b"user.a": b"1"}, mtime_ns=TIME),
    "fifo": member(b"pipe", b"6", mode=0o620, mtime_ns=TIME),
    "symlinks": symlink(b"abs", b"/bin/su", mtime_ns=TIME)
    + symlink(b"dead", b"no/such")
    + symlink(b"long", b"t" * 4095),
    "sticky folder": folder(b"tmp/", 0o1777) + file(b"tmp/f"),
    "setgid folder": folder(b"mail/", 0o2775) + file(b"mail/f") + folder(b"mail/d/"),
    "folder 0555": folder(b"ro/", 0o555, mtime_ns=TIME) + file(b"ro/f", b"x", mtime_ns=1),
    "folder 0000": folder(b"shut/", 0, mtime_ns=TIME) + folder(b"shut/in/", 0) + file(b"shut/in/f", b"x"),
    "folder 0300": folder(b"blind/", 0o300) + file(b"blind/f"),
    "implied folder": file(b"not/named/f"),
    "hard links": file(b"h/1", b"x", mtime_ns=TIME) + hardlink(b"h/2", b"h/1", mtime_ns=2) + hardlink(b"a0", b"h/1"),
    "hard links into shut folders": hardlink(b"zz", b"shut/in/f", mtime_ns=3) + hardlink(b"shut/in/g", b"blind/f"),
    "hard link of a symlink": hardlink(b"abs2", b"abs", mtime_ns=4),
    "hard link of a fifo": hardlink(b"pipe2", b"pipe", mode=0o640),
    "sparse": HOLES + header(b"sparse", size=7) + padded(b"abcdefg"),
    "all hole": pax(
        [
            (b"GNU.sparse.major", b"0"),
            (b"GNU.sparse.minor", b"1"),
            (b"GNU.sparse.numblocks", b"0"),
            (b"GNU.sparse.size", b"9999"),
        ]
    )
    + header(b"hole"),
    "odd names": b"".join(
        map(file, [b"n" * 255, b"new\nline", b"\xff\xfe", b" ", b"-rf", b"\\", b"caf\xc3\xa9", b"*"])
    ),
    "odd folder": file(b"\xff\n/" + b"m" * 255 + b"/f"),
    "root's mtime": folder(b"./", mtime_ns=TIME),
}
OPEN = [parts for name, parts in PLAIN.items() if b"shut" not in parts and name not in ("mode 0", "folder 0300")]
ROOTS = {  # what only root may make
    "owners": file(b"owned", b"x", uid=HIGHEST, gid=HIGHEST, mode=0o6755)
    + symlink(b"owned-l", b"x", uid=5, gid=HIGHEST),
    "owned folder": folder(b"home/", 0o700, uid=1000, gid=1000) + file(b"home/f", uid=1000, gid=50),
    "devices": member(b"null", b"3", device=(1, 3), mode=0o666, mtime_ns=TIME)
    + member(b"loop", b"4", device=(4095, 2**20 - 1), uid=7, mode=0o660),
    "overlay's whiteout": member(b"zero", b"3", device=(0, 0)),
    "hard link of a device": hardlink(b"null2", b"null", mode=0o600),
    "capability": file(
        b"ping", b"x", xattrs={b"security.capability": CAPABILITY, b"user.a": b"1"}, uid=5, mode=0o755
    ),
    "hard link keeps none": file(b"ping2", xattrs={b"security.capability": CAPABILITY})
    + hardlink(b"ping3", b"ping2"),
    "xattrs of a symlink": symlink(b"selinux-l", b"x", xattrs={b"security.x": b"1"}, uid=3),
    "xattrs of a device": member(b"selinux-c", b"3", xattrs={b"security.x": b"1"}),
}


def for_user(tree: TreeFile) -> TreeFile:
    """What a user without rights makes of a tree."""
    nodes = [msgspec.structs.replace(node, uid=child.USER, gid=child.USER) for node in tree.nodes]
    return TreeFile(tree.layers, nodes)


@needs_root
def test_everything(make: Making, tmp_path: Path) -> None:
    made = make(archive(*PLAIN.values(), *ROOTS.values()))
    made.write(tmp_path / "root")
    assert roots.of_folder(tmp_path / "root") == made.lines()


@needs_root
@pytest.mark.parametrize("parts", ROOTS.values(), ids=ROOTS)
def test_what_only_root_may_make(make: Making, tmp_path: Path, parts: bytes) -> None:
    made = make(archive(*(ROOTS["devices"],) * (b"null2" in parts), parts))
    made.write(tmp_path / "root")
    assert roots.of_folder(tmp_path / "root") == made.lines()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for `child.as_user`."""
    made = tmp_path / "home"
    made.mkdir()
    return made


@needs_root
def test_by_a_user(home: Path) -> None:
    """Without owners, devices and `security.` xattrs; and it can be removed by that user."""
    others = [file(b"owned", uid=7), file(b"cap", xattrs={b"security.x": b"1"}), ROOTS["devices"]]
    made = Making(home)(archive(*PLAIN.values(), *others)).nearby()

    theirs = len(made.tree.nodes) - 2
    assert child.as_user(lambda: str(made.write("root")), home) == (
        f"{theirs} owners (0:0, 7:0), 2 devices, 1 xattr (security.x)"
    )
    plain = Making(home)(archive(*PLAIN.values(), file(b"owned"), file(b"cap")))
    assert roots.of_folder(home / "root") == replace(plain, tree=for_user(plain.tree)).lines()
    child.as_user(lambda: files.remove_tree("root"), home)
    assert os.listdir(home) == ["0.tar"]


def test_as_whoever_runs_the_tests(make: Making, tmp_path: Path) -> None:
    made = make(archive(*OPEN))
    made.write(tmp_path / "root")
    assert roots.of_folder(tmp_path / "root") == made.lines_if_mine()


@needs_root
def test_nothing_is_left_out_by_root(make: Making, tmp_path: Path) -> None:
    made = make(archive(*PLAIN.values(), *ROOTS.values()))
    assert made.write(tmp_path / "root") == LeftOut()


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
def test_whatever_the_umask(make: Making, tmp_path: Path, umask: int) -> None:
    made = make(
        archive(*(PLAIN[name] for name in ("setuid", "fifo", "sticky folder", "setgid folder", "implied folder")))
    )
    before = os.umask(umask)
    try:
        made.write(tmp_path / "root")
    finally:
        os.umask(before)
    assert roots.of_folder(tmp_path / "root") == made.lines_if_mine()


@needs_root
def test_whatever_the_folder_around_it(make: Making, tmp_path: Path) -> None:
    """A set-group-id folder and a default ACL pass on to what is made in them."""
    around = tmp_path / "around"
    around.mkdir()
    os.chown(around, 0, 50)
    os.chmod(around, 0o2775)
    acl = [
        (1, 7, -1),
        (2, 7, 1234),
        (4, 7, -1),
        (16, 7, -1),
        (32, 0, -1),
    ]  # user::rwx user:1234:rwx group:: mask:: other::
    try:
        os.setxattr(
            around,
            "system.posix_acl_default",
            struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *line) for line in acl),
        )
    except OSError:
        pytest.skip("needs a file system with ACLs")
    made = make(archive(*PLAIN.values(), *ROOTS.values()))
    made.write(around / "root")
    assert roots.of_folder(around / "root") == made.lines()


def test_sparse_files_stay_sparse(make: Making, tmp_path: Path) -> None:
    make(archive(PLAIN["sparse"], PLAIN["all hole"])).write(tmp_path / "root")
    found = os.stat(tmp_path / "root/sparse")
    assert found.st_size == 40_000_000
    assert found.st_blocks * 512 < 1_000_000
    assert os.stat(tmp_path / "root/hole").st_blocks == 0


def test_upper_layers_hide(make: Making, tmp_path: Path) -> None:
    made = make(
        archive(file(b"d/f", b"old"), file(b"d/g", b"kept")), archive(file(b"d/f", b"new"), symlink(b"l", b"d"))
    )
    made.write(tmp_path / "root")
    assert (tmp_path / "root/l/f").read_bytes() == b"new"
    assert (tmp_path / "root/l/g").read_bytes() == b"kept"


LEVELS = 2000
DEEP = b"/".join([b"d"] * LEVELS)  # nearly as long as a path may be


@pytest.fixture
def bottomless(tmp_path: Path) -> Iterator[Path]:
    """A folder that is emptied by a program which can: pytest's own way of removing gives up on such depths."""
    place = tmp_path / "bottomless"
    place.mkdir()
    yield place
    for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        subprocess.run([*command, str(place)], check=True)


def test_two_thousand_levels(make: Making, bottomless: Path) -> None:
    made = make(
        archive(
            folder(DEEP + b"/shut", 0),
            file(DEEP + b"/shut/f", b"x"),
            hardlink(DEEP + b"/g", DEEP + b"/shut/f"),
            hardlink(b"z", DEEP + b"/shut/f"),
        )
    )

    def write_link_remove() -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
        made.write(bottomless / "root")
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
        if os.geteuid() == 0:
            assert made.after(made, bottomless / "root", bottomless / "linked") == []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
        made.write(bottomless / "removed")
        files.remove_tree(str(bottomless / "removed"))

    child.in_child(write_link_remove)
    assert not (bottomless / "removed").exists()
    if os.geteuid() == 0:
        assert roots.of_folder(bottomless / "root") == made.lines()
        assert roots.of_folder(bottomless / "linked") == made.lines()


def test_more_names_than_the_file_system_allows(
    make: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = [hardlink(b"%d" % number, b"0", mtime_ns=TIME) for number in range(1, 10)]
    made = make(
        archive(
            file(b"0", b"content", mode=0o640),
            *links,
            symlink(b"l0", b"t"),
            *(hardlink(b"l%d" % number, b"l0") for number in range(1, 5)),
        )
    )
    real = os.link

    def limited(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        if os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False).st_nlink >= 4:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "link", limited)
    made.write(tmp_path / "root")
    monkeypatch.undo()
    lines = roots.of_folder(tmp_path / "root")[1:]
    assert [line.partition(" = ")[2] or line.split()[0] for line in lines] == [
        *["0", "0", "0", "0", "4", "4", "4", "4", "8", "8"],
        *["l0", "l0", "l0", "l0", "l4"],
    ]
    _, file_line, *_, link_line = [line for line in made.lines_if_mine() if "=" not in line]
    for line in lines:
        name, _, said = line.partition(" ")
        assert said.startswith("= ") or line in (f"{name}{file_line[1:]}", f"{name}{link_line[2:]}")
    monkeypatch.setattr(os, "link", limited)
    made.after(made, tmp_path / "root", tmp_path / "linked")
    monkeypatch.undo()
    have = roots.of_folder(tmp_path / "linked")[1:]
    assert [line.partition(" = ")[0].split()[0] for line in have] == [line.split()[0] for line in lines]
    assert all(os.stat(tmp_path / "linked" / line.split()[0], follow_symlinks=False).st_nlink <= 4 for line in have)


# Sharing with what was written before; what else can be shared is in test_difference.py.


def inodes(top: Path) -> dict[str, tuple[int, bool]]:
    """What lies below `top`, by its path: the number of its inode, and whether it is a folder. By descriptors, as the
    paths of deep folders are longer than a kernel takes."""
    found = {}
    for at, folders, names, descriptor in os.fwalk(top):
        for name in (*folders, *names):
            state = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            found[f"{os.path.relpath(at, top)}/{name}"] = (state.st_ino, stat.S_ISDIR(state.st_mode))
    return found


@needs_root
def test_every_inode_is_shared(make: Making, tmp_path: Path) -> None:
    made = make(archive(*PLAIN.values(), *ROOTS.values()))
    old, new = tmp_path / "old", tmp_path / "new"
    made.write(old)
    assert made.after(made, old, new) == []
    assert roots.of_folder(new) == roots.of_folder(old) == made.lines()
    before, now = inodes(old), inodes(new)
    assert before.keys() == now.keys()
    assert all((before[name][0] == inode) != is_folder for name, (inode, is_folder) in now.items())
    files.remove_tree(str(old))
    assert roots.of_folder(new) == made.lines()


@needs_root
def test_sharing_by_a_user(home: Path) -> None:
    made = Making(home)(archive(*OPEN)).nearby()

    def write_twice() -> str:
        made.write("old")
        return str(made.after(made, "old", "new"))

    assert child.as_user(write_twice, home) == "[]"
    assert roots.of_folder(home / "new") == roots.of_folder(home / "old")


@needs_root
def test_what_a_user_cannot_look_into_is_written(home: Path) -> None:
    made = Making(home)(archive(PLAIN["folder 0000"], file(b"f", b"x"))).nearby()

    def write_twice() -> str:
        made.write("old")
        return str(made.after(made, "old", "new"))

    assert child.as_user(write_twice, home) == "[0]"
    assert roots.of_folder(home / "new") == roots.of_folder(home / "old")
    assert (home / "new/f").stat().st_ino == (home / "old/f").stat().st_ino


def _touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "nothing there": lambda old: files.remove_tree(str(old)),
    "a file is gone": lambda old: (old / "e/g").unlink(),
    "a file was touched": lambda old: _touch(old / "e/g"),
    "a file has another mode": lambda old: (old / "e/g").chmod(0o600),
    "a file is longer": lambda old: os.truncate(old / "e/g", 10),
    "a folder is gone": lambda old: files.remove_tree(str(old / "e")),
    "a folder is a link": lambda old: ((old / "e").rename(old / "moved"), (old / "e").symlink_to("moved")),
    "a file is a folder": lambda old: ((old / "e/g").unlink(), (old / "e/g").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_seen_to_be_damaged_is_written(
    make: Making, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    made = make(archive(file(b"d/f", b"1"), file(b"e/g", b"2")))
    old, new = tmp_path / "old", tmp_path / "new"
    made.write(old)
    damage(old)
    assert made.after(made, old, new) == [0]
    assert roots.of_folder(new) == made.lines_if_mine()


# What goes wrong.


def error_of(made: Made, folder: Path) -> str:
    with pytest.raises(OutputError) as caught:
        made.write(folder)
    return str(caught.value)


def test_folder_exists(make: Making, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    assert error_of(make(archive(file(b"f"))), tmp_path / "root") == f"{tmp_path}/root: /: File exists"


def test_tar_is_gone(make: Making, tmp_path: Path) -> None:
    made = make(archive(file(b"f", b"x")))
    os.unlink(made.tars[0])
    wrong = f"{made.tars[0]}: cannot be read: No such file or directory; run again"
    assert error_of(made, tmp_path / "root") == wrong


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_tar_is_too_short(make: Making, tmp_path: Path, size: int) -> None:
    made = make(archive(file(b"d/f\n", b"x" * size), end=b""))
    os.truncate(made.tars[0], 512 + size - 5)
    wrong = f"{tmp_path}/root: d/f\\n: the layer's tar in the cache is too short; delete it and run again"
    assert error_of(made, tmp_path / "root") == wrong


INODES = 60


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a file system")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=256k,nr_inodes={INODES}", "tiny", str(place)],
        capture_output=True,
        check=False,
    )
    if mount.returncode != 0:
        pytest.skip(f"needs to mount a file system: {mount.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("content", [b"x" * (1 << 20), b"x" * 60_000], ids=["one big", "many small"])
def test_disk_is_full(make: Making, tiny: Path, content: bytes) -> None:
    count = (1 << 20) // len(content)
    made = make(archive(*(file(b"d/%02d" % number, content) for number in range(count))))
    error = error_of(made, tiny / "root")
    assert error.startswith(f"{tiny}/root: d/0")
    assert error.endswith(f": No space left on device (the whole root takes {count * len(content)} bytes)")
    files.remove_tree(str(tiny / "root"))
    assert os.listdir(tiny) == []


def test_disk_is_full_when_linking(make: Making, tiny: Path) -> None:
    made = make(archive(*(folder(b"%02d" % number) for number in range(INODES * 2 // 3))))
    made.write(tiny / "old")
    with pytest.raises(OutputError, match=f"{tiny}/new: [0-9]+: No space left on device"):
        made.after(made, tiny / "old", tiny / "new")


def test_removing_what_is_not_there(tmp_path: Path) -> None:
    files.remove_tree(str(tmp_path / "nothing"))
    (tmp_path / "link").symlink_to(tmp_path)
    files.remove_tree(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == []


def test_removing_what_cannot_be_removed(tiny: Path) -> None:
    (tiny / "f").touch()
    with pytest.raises(OutputError) as caught:
        files.remove_tree(str(tiny))
    assert str(caught.value) == f"{tiny}: cannot be removed: a file system is mounted there"
    assert stat.S_ISDIR(os.stat(tiny).st_mode)
