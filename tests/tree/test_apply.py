"""Applying a layer to the tree below it: rows of tree before, layer, tree after.

The names up to DirectoryCreation are those of containerd's own cases (`TestBreakouts`, `TestApplyTar` in
archive/tar_test.go), with the same entries. An mtime of 9 is that of a directory which no entry names.
"""

from __future__ import annotations

import time

import pytest

from c2wtasks.layers.entry import TarEntry
from c2wtasks.tree import model
from c2wtasks.tree.apply import apply
from tests.support import headers
from tests.support.tars import Device, Dir, Fifo, File, Hardlink, Symlink, Tree, tar
from tests.tree.applying import CAPABILITY, ETC, applied

ROOT = ". d 0755 0:0 9"
USERS: Tree = [
    ("etc/", None),
    ("etc/passwd", "all users"),
    ("etc/whitedout", "ahhhh whiteout"),
    ("localetc", Symlink("/etc")),
]
BINS: Tree = [("bin/", None), ("bin/superbinary", "\0\0")]

CASES: list[tuple[str, Tree, Tree, list[str]]] = [
    (
        "SymlinkAbsolute",
        [],
        [("etc/", None), ("localetc", Symlink("/etc")), ("/localetc/unbroken", "unbroken")],
        ["etc d 0755 0:0 0", "etc/unbroken f 0644 0:0 0 8", "localetc l 0777 0:0 0 -> /etc"],
    ),
    (
        "SymlinkUpAndOut",
        [],
        [
            ("etc/", None),
            ("dummy/", None),
            ("localetc", Symlink("/dummy/../etc")),
            ("/localetc/unbroken", "unbroken"),
        ],
        [
            "dummy d 0755 0:0 0",
            "etc d 0755 0:0 0",
            "etc/unbroken f 0644 0:0 0 8",
            "localetc l 0777 0:0 0 -> /dummy/../etc",
        ],
    ),
    (
        "SymlinkMultipleAbsolute",
        [],
        [
            ("etc/", None),
            ("dummy/", None),
            ("/dummy/etc", Symlink("/etc")),
            ("localetc", Symlink("/dummy/etc")),
            ("/dummy/etc/unbroken", "unbroken"),
        ],
        [
            "dummy d 0755 0:0 0",
            "dummy/etc l 0777 0:0 0 -> /etc",
            "etc d 0755 0:0 0",
            "etc/unbroken f 0644 0:0 0 8",
            "localetc l 0777 0:0 0 -> /dummy/etc",
        ],
    ),
    (
        "SymlinkMultipleRelative",
        [],
        [
            ("etc/", None),
            ("dummy/", None),
            ("/dummy/etc", Symlink("/etc")),
            ("localetc", Symlink("./dummy/etc")),
            ("/dummy/etc/unbroken", "unbroken"),
        ],
        [
            "dummy d 0755 0:0 0",
            "dummy/etc l 0777 0:0 0 -> /etc",
            "etc d 0755 0:0 0",
            "etc/unbroken f 0644 0:0 0 8",
            "localetc l 0777 0:0 0 -> ./dummy/etc",
        ],
    ),
    (
        "SymlinkEmptyFile",
        [],
        [("etc/", None), ("etc/emptied", "notempty"), ("localetc", Symlink("/etc")), ("/localetc/emptied", "")],
        ["etc d 0755 0:0 0", "etc/emptied f 0644 0:0 0 0", "localetc l 0777 0:0 0 -> /etc"],
    ),
    (
        "HardlinkRelative",
        [],
        [
            *ETC,
            ("breakouts/", None),
            ("breakouts/d1", Symlink("../../etc")),
            ("breakouts/mypasswd", Hardlink("/breakouts/d1/passwd")),
        ],
        [
            "breakouts d 0755 0:0 0",
            "breakouts/d1 l 0777 0:0 0 -> ../../etc",
            "breakouts/mypasswd f 0644 0:0 0 6",
            "etc d 0755 0:0 0",
            "etc/passwd = breakouts/mypasswd",
        ],
    ),
    (
        "HardlinkDownAndOut",
        [],
        [
            *ETC,
            ("breakouts/", None),
            ("downandout/", None),
            ("breakouts/d1", Symlink("../downandout/../../etc")),
            ("breakouts/mypasswd", Hardlink("/breakouts/d1/passwd")),
        ],
        [
            "breakouts d 0755 0:0 0",
            "breakouts/d1 l 0777 0:0 0 -> ../downandout/../../etc",
            "breakouts/mypasswd f 0644 0:0 0 6",
            "downandout d 0755 0:0 0",
            "etc d 0755 0:0 0",
            "etc/passwd = breakouts/mypasswd",
        ],
    ),
    (
        "HardlinkAbsolute",
        [],
        [*ETC, ("localetc", Symlink("/etc")), ("localpasswd", Hardlink("/localetc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localetc l 0777 0:0 0 -> /etc",
            "localpasswd = etc/passwd",
        ],
    ),
    (
        "HardlinkRelativeLong",
        [],
        [*ETC, ("localetc", Symlink("../../../../../../../etc")), ("localpasswd", Hardlink("/localetc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localetc l 0777 0:0 0 -> ../../../../../../../etc",
            "localpasswd = etc/passwd",
        ],
    ),
    (
        "HardlinkRelativeUpAndOut",
        [],
        [*ETC, ("localetc", Symlink("upandout/../../../etc")), ("localpasswd", Hardlink("/localetc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localetc l 0777 0:0 0 -> upandout/../../../etc",
            "localpasswd = etc/passwd",
        ],
    ),
    (
        "HardlinkDirectRelative",
        [],
        [*ETC, ("localpasswd", Hardlink("../../../../../etc/passwd"))],
        ["etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 6", "localpasswd = etc/passwd"],
    ),
    (
        "HardlinkDirectAbsolute",
        [],
        [*ETC, ("localpasswd", Hardlink("/etc/passwd"))],
        ["etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 6", "localpasswd = etc/passwd"],
    ),
    (
        "SymlinkParentDirectory",
        [],
        [*ETC, ("..", Symlink("/etc/")), ("localpasswd", Hardlink("/etc/passwd"))],
        ["etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 6", "localpasswd = etc/passwd"],
    ),
    (
        "SymlinkEmptyFilename",
        [],
        [*ETC, ("", Symlink("/etc/")), ("localpasswd", Hardlink("/etc/passwd"))],
        ["etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 6", "localpasswd = etc/passwd"],
    ),
    (
        "SymlinkParentRelative",
        [],
        [*ETC, ("localetc/sub/..", Symlink("/etc/")), ("/localetc/localpasswd", Hardlink("/etc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/localpasswd f 0644 0:0 0 6",
            "etc/passwd = etc/localpasswd",
            "localetc l 0777 0:0 0 -> /etc/",
        ],
    ),
    (
        "SymlinkSlashEnded",
        [],
        [*ETC, ("localetc/", None), ("/localetc/localpasswd", Hardlink("/etc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localetc d 0755 0:0 0",
            "localetc/localpasswd = etc/passwd",
        ],
    ),
    (
        "SymlinkOverrideDirectory",
        [*ETC, ("localetc/", None)],
        [("localetc", Symlink("/etc")), ("/localetc/localpasswd", Hardlink("/etc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/localpasswd f 0644 0:0 0 6",
            "etc/passwd = etc/localpasswd",
            "localetc l 0777 0:0 0 -> /etc",
        ],
    ),
    (
        "SymlinkOverrideDirectoryRelative",
        [*ETC, ("localetc/", None)],
        [("localetc", Symlink("../../etc")), ("/localetc/localpasswd", Hardlink("/etc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/localpasswd f 0644 0:0 0 6",
            "etc/passwd = etc/localpasswd",
            "localetc l 0777 0:0 0 -> ../../etc",
        ],
    ),
    (
        "DirectoryOverrideSymlink",
        [*ETC, ("localetc", Symlink("/etc"))],
        [("localetc/", None), ("/localetc/localpasswd", Hardlink("/etc/passwd"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localetc d 0755 0:0 0",
            "localetc/localpasswd = etc/passwd",
        ],
    ),
    (
        "DirectoryOverrideSymlinkAndHardlink",
        [*ETC, ("localetc", Symlink("etc")), ("localetc/localpasswd", Hardlink("/etc/passwd"))],
        [("localetc/", None), ("/localetc/localpasswd", "different")],
        [
            "etc d 0755 0:0 0",
            "etc/localpasswd f 0644 0:0 0 6",
            "etc/passwd = etc/localpasswd",
            "localetc d 0755 0:0 0",
            "localetc/localpasswd f 0644 0:0 0 9",
        ],
    ),
    (
        "WhiteoutSymlink",
        USERS,
        [(".wh.localetc", "")],
        ["etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 9", "etc/whitedout f 0644 0:0 0 14"],
    ),
    (
        "WhiteoutSymlinkPath",
        USERS,
        [("localetc/.wh.whitedout", "")],
        ["etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 9", "localetc l 0777 0:0 0 -> /etc"],
    ),
    (
        "WhiteoutDirectoryName",
        USERS,
        [(".wh.etc/somefile", "non-empty")],
        [
            ".wh.etc d 0755 0:0 9",
            ".wh.etc/somefile f 0644 0:0 0 9",
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 9",
            "etc/whitedout f 0644 0:0 0 14",
            "localetc l 0777 0:0 0 -> /etc",
        ],
    ),
    (
        "WhiteoutDeadSymlinkParent",
        [*ETC, ("localetc", Symlink("/dne"))],
        [("localetc/.wh.etc", "")],
        ["dne d 0755 0:0 9", "etc d 0755 0:0 0", "etc/passwd f 0644 0:0 0 6", "localetc l 0777 0:0 0 -> /dne"],
    ),
    (
        "WhiteoutRelativePath",
        [*ETC, ("localetc", Symlink("/dne"))],
        [("dne/../.wh.etc", "")],
        ["localetc l 0777 0:0 0 -> /dne"],
    ),
    (
        "HardlinkSymlinkBeforeCreateTarget",
        [],
        [
            ("etc/", None),
            ("localpasswd", Symlink("/etc/passwd")),
            ("localpasswd-dup", Hardlink("localpasswd")),
            ("/etc/passwd", "after"),
        ],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 5",
            "localpasswd l 0777 0:0 0 -> /etc/passwd",
            "localpasswd-dup = localpasswd",
        ],
    ),
    (
        "HardlinkSymlinkRelative",
        [],
        [*ETC, ("passwdlink", Symlink("../../../../../etc/passwd")), ("localpasswd", Hardlink("/passwdlink"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localpasswd l 0777 0:0 0 -> ../../../../../etc/passwd",
            "passwdlink = localpasswd",
        ],
    ),
    (
        "HardlinkSymlinkAbsolute",
        [],
        [*ETC, ("passwdlink", Symlink("/etc/passwd")), ("localpasswd", Hardlink("/passwdlink"))],
        [
            "etc d 0755 0:0 0",
            "etc/passwd f 0644 0:0 0 6",
            "localpasswd l 0777 0:0 0 -> /etc/passwd",
            "passwdlink = localpasswd",
        ],
    ),
    (
        "HardlinkSymlinkChmod",
        [],
        [
            ("perm400", File("...", mode=0o400)),
            ("outside", Symlink("/perm400")),
            ("sketchylink", Hardlink("outside", mode=0o777)),
        ],
        ["outside l 0777 0:0 0 -> /perm400", "perm400 f 0400 0:0 0 3", "sketchylink = outside"],
    ),
    (
        "DirectoryCreation",
        [("etc/", None)],
        [
            ("/etc/subdir", None),
            ("/etc/subdir2/", None),
            ("/etc/subdir2/more", None),
            ("/other/noparent-1/1", None),
            ("/other/noparent-2/2/", None),
        ],
        [
            "etc d 0755 0:0 0",
            "etc/subdir d 0755 0:0 0",
            "etc/subdir2 d 0755 0:0 0",
            "etc/subdir2/more d 0755 0:0 0",
            "other d 0755 0:0 9",
            "other/noparent-1 d 0755 0:0 9",
            "other/noparent-1/1 d 0755 0:0 0",
            "other/noparent-2 d 0755 0:0 9",
            "other/noparent-2/2 d 0755 0:0 0",
        ],
    ),
    # And what its other tests do, and what follows from its rules.
    (
        "RelativeSymlinks",
        [],
        [
            ("home/", None),
            ("home/derek/", Dir(mode=0o700)),
            ("home/derek/other", Symlink("../other")),
            ("home/derek/updown", Symlink("up/../../other")),
            ("home/derek/breakout", Symlink("../../../breakout")),
            ("breakout", Symlink("etc/../../upandout")),
        ],
        [
            "breakout l 0777 0:0 0 -> etc/../../upandout",
            "home d 0755 0:0 0",
            "home/derek d 0700 0:0 0",
            "home/derek/breakout l 0777 0:0 0 -> ../../../breakout",
            "home/derek/other l 0777 0:0 0 -> ../other",
            "home/derek/updown l 0777 0:0 0 -> up/../../other",
        ],
    ),
    (
        "SymlinkToDirectory",
        [*BINS, ("bin/myapp", Symlink("superbinary"))],
        [("bin/", None), ("bin/myapp/", None)],
        ["bin d 0755 0:0 0", "bin/myapp d 0755 0:0 0", "bin/superbinary f 0644 0:0 0 2"],
    ),
    (
        "SymlinkReplaced",
        [*BINS, ("bin/other1", Symlink("../bin/superbinary"))],
        [
            ("bin/", Dir(mtime=5)),
            ("bin/.wh.other1", ""),
            ("bin/other1", Symlink("/bin/superbinary")),
            ("bin/other2", Symlink("../bin/superbinary")),
        ],
        [
            "bin d 0755 0:0 5000000000",
            "bin/other1 l 0777 0:0 0 -> /bin/superbinary",
            "bin/other2 l 0777 0:0 0 -> ../bin/superbinary",
            "bin/superbinary f 0644 0:0 0 2",
        ],
    ),
    (
        "DirectoryToFile",
        [("d/", None), ("d/e/", None), ("d/e/f", "x")],
        [("d", "now a file")],
        ["d f 0644 0:0 0 10"],
    ),
    (
        "FileToDirectory",
        [("d", "a file")],
        [("d/", Dir(mode=0o700, uid=5)), ("d/f", "in it")],
        ["d d 0700 5:0 0", "d/f f 0644 0:0 0 5"],
    ),
    (
        "DirectoryMetadata",
        [("d/", Dir(mode=0o755, uid=1, gid=2, mtime=3)), ("d/f", "kept")],
        [("d/", Dir(mode=0o1777, uid=4, gid=5, mtime=6))],
        ["d d 1777 4:5 6000000000", "d/f f 0644 0:0 0 4"],
    ),
    (
        "Opaque",
        [("d/", None), ("d/old", "x"), ("d/sub/", None), ("d/sub/old", "x")],
        [("d/", None), ("d/.wh..wh..opq", ""), ("d/new", "y")],
        ["d d 0755 0:0 0", "d/new f 0644 0:0 0 1"],
    ),
    (
        "OpaqueAfterAdds",
        [("d/", None), ("d/old", "x"), ("d/sub/", None), ("d/sub/old", "x")],
        [("d/new", "y"), ("d/sub/", None), ("d/sub/new", "y"), ("d/.wh..wh..opq", "")],
        ["d d 0755 0:0 0", "d/new f 0644 0:0 0 1", "d/sub d 0755 0:0 0", "d/sub/new f 0644 0:0 0 1"],
    ),
    (
        "OpaqueTakesImplicitParents",
        [("d/", None)],
        [("d/sub/new", "y"), ("d/.wh..wh..opq", "")],
        ["d d 0755 0:0 0"],
    ),
    (
        "OpaqueRoot",
        [("old", "x"), ("kept", "x")],
        [("kept", "new"), (".wh..wh..opq", "")],
        ["kept f 0644 0:0 0 3"],
    ),
    (
        "OpaqueThroughSymlink",
        [*ETC, ("localetc", Symlink("etc"))],
        [("localetc/.wh..wh..opq", ""), ("etc/new", "y")],
        ["etc d 0755 0:0 0", "etc/new f 0644 0:0 0 1", "localetc l 0777 0:0 0 -> etc"],
    ),
    (
        "OpaqueMissing",
        [],
        [("a/b/.wh..wh..opq", "")],
        ["a d 0755 0:0 9", "a/b d 0755 0:0 9"],
    ),
    (
        "WhiteoutThenAdd",
        [("d/", None), ("d/f", "old")],
        [(".wh.d", ""), ("d/g", "new")],
        ["d d 0755 0:0 9", "d/g f 0644 0:0 0 3"],
    ),
    (
        "AddThenWhiteout",
        [("f", "old")],
        [("f", "new"), (".wh.f", "")],
        [],
    ),
    (
        "WhiteoutMissing",
        [],
        [("a/.wh.b", "")],
        ["a d 0755 0:0 9"],
    ),
    (
        "WhiteoutOfAnyKind",
        [("f", "x")],
        [(".wh.f", None), (".wh.g", Hardlink("nowhere"))],
        [],
    ),
    (
        "NamedDirectoryIsAFileNow",
        [],
        [("d/", Dir(mtime=7)), ("d", File("x", mtime=8))],
        ["d f 0644 0:0 7000000000 1"],
    ),
    (
        "NamedDirectoryIsALinkToTheRootNow",
        [],
        [("d/", Dir(mtime=7)), ("d", Symlink("..", mtime=8))],
        [". d 0755 0:0 7000000000", "d l 0777 0:0 8000000000 -> .."],
    ),
    (
        "HardlinkToLowerLayer",
        [("f", File("x", mode=0o600, uid=1))],
        [("g", Hardlink("f", mode=0o644, uid=2, mtime=3))],
        ["f f 0644 2:0 3000000000 1", "g = f"],
    ),
    (
        "HardlinkOutlivesItsTarget",
        [("f", "x"), ("g", Hardlink("f"))],
        [(".wh.f", "")],
        ["g f 0644 0:0 0 1"],
    ),
    (
        "HardlinkSlashEnded",
        [("f", "x")],
        [("g", Hardlink("f/"))],
        ["f f 0644 0:0 0 1", "g = f"],
    ),
    (
        "HardlinkToDeviceAndFifo",
        [],
        [
            ("null", Device(1, 3, mode=0o666)),
            ("pipe", Fifo(mode=0o600)),
            ("null2", Hardlink("null", mode=0o600)),
            ("pipe2", Hardlink("pipe", mode=0o600)),
        ],
        ["null c 0600 0:0 0 1,3", "null2 = null", "pipe p 0600 0:0 0", "pipe2 = pipe"],
    ),
    (
        "DeadSymlinkParent",
        [("l", Symlink("made/here"))],
        [("l/f", "x")],
        ["l l 0777 0:0 0 -> made/here", "made d 0755 0:0 9", "made/here d 0755 0:0 9", "made/here/f f 0644 0:0 0 1"],
    ),
    (
        "Aufs",
        [],
        [
            (".wh..wh.aufs", ""),
            (".wh..wh.orph/", None),
            (".wh..wh.plnk/12.34", "x"),
            ("f", Hardlink(".wh..wh.plnk/12.34")),
        ],
        ["f f 0644 0:0 0 1"],
    ),
    (
        "Dots",
        [],
        [("./", Dir(mtime=4)), ("./a/./b//c", "x"), ("../../d", "y"), ("/e/../f", "z")],
        [
            ". d 0755 0:0 4000000000",
            "a d 0755 0:0 9",
            "a/b d 0755 0:0 9",
            "a/b/c f 0644 0:0 0 1",
            "d f 0644 0:0 0 1",
            "f f 0644 0:0 0 1",
        ],
    ),
    (
        "SetgidParent",
        [
            ("var/", Dir(mode=0o2775, gid=50)),
        ],
        [("var/local/implied/", None), ("var/named/", Dir(gid=7))],
        ["var d 2775 0:50 0", "var/local d 0755 0:50 9", "var/local/implied d 0755 0:0 0", "var/named d 0755 0:7 0"],
    ),
    (
        "Capability",
        [("f", File("x", xattrs={"security.capability": CAPABILITY, "user.a": "1"}))],
        [("g", Hardlink("f"))],
        ["f f 0644 0:0 0 1 user.a=31", "g = f"],
    ),
    (
        "EmptyCapability",
        [("f", File("x", xattrs={"security.capability": ""})), ("g", File("y", xattrs={"security.capability": ""}))],
        [
            ("h", Hardlink("f")),
            ("i", Hardlink("g", xattrs={"security.capability": CAPABILITY})),
            ("j", Hardlink("g")),
        ],
        ["f f 0644 0:0 0 1 security.capability=", "g f 0644 0:0 0 1", "h = f", "i = g", "j = g"],
    ),
    (
        "ForeignXattrs",
        [],
        [
            ("f", File("x", xattrs={"trusted.overlay.opaque": "y", "com.apple": "1", "user.b": "", "user.a": "2"})),
            ("l", Symlink("f", xattrs={"user.a": "1", "security.selinux": "s"})),
        ],
        ["f f 0644 0:0 0 1 user.a=32 user.b=", "l l 0777 0:0 0 -> f security.selinux=73"],
    ),
    (
        "UnchangedOwner",
        [("f", File("x", uid=5, gid=6))],
        [("f", File("x", uid=2**32 - 1, gid=7)), ("g", Hardlink("f", uid=2**32 - 1, gid=2**32 - 1))],
        ["f f 0644 0:7 0 1", "g = f"],
    ),
]


@pytest.mark.parametrize(("before", "layer", "after"), [pytest.param(*row, id=name) for name, *row in CASES])
def test_apply(before: Tree, layer: Tree, after: list[str]) -> None:
    lines = applied(tar(before), tar(layer))
    assert lines == (after if after[:1] and after[0].startswith(". ") else [ROOT, *after])


def test_no_same_owner() -> None:
    lower = tar([("var/", Dir(mode=0o2775, uid=5, gid=50)), ("f", File("x", uid=5, gid=6))])
    upper = tar([("var/f", File("x", uid=7, gid=8)), ("g", Hardlink("f", uid=7, gid=8, mode=0o4755))])
    assert applied(lower, upper, same_owner=False) == [
        ROOT,
        "f f 4755 0:0 0 1",
        "g = f",
        "var d 2775 0:0 0",
        "var/f f 0644 0:0 0 1",
    ]


def test_opaque_spares_only_its_own_layer() -> None:
    lower = tar([("d/", None), ("d/f", "1")])
    middle = tar([("d/g", "2"), ("d/.wh..wh..opq", "")])
    upper = tar([("d/h", "3"), ("d/.wh..wh..opq", "")])
    assert applied(lower, middle, upper)[1:] == ["d d 0755 0:0 0", "d/h f 0644 0:0 0 1"]


def test_global_header_removes_its_name() -> None:
    lower = tar([("f", "x"), ("g", "x")])
    upper = headers.archive(headers.pax([(b"path", b"f"), (b"mtime", b"7")], b"g"), headers.file(b"h"))
    assert applied(lower, upper)[1:] == ["g f 0644 0:0 0 1", "h f 0644 0:0 0 0"]


def test_two_thousand_levels() -> None:
    deep = b"/".join([b"d"] * 2000)
    lines = applied(
        headers.archive(headers.file(deep + b"/f")),
        headers.archive(headers.file(deep + b"/g"), headers.file(b"d/.wh..wh..opq"), headers.file(deep + b"/h")),
    )
    assert len(lines) == 1 + 2000 + 1
    assert lines[-1].startswith(deep.decode() + "/h f")


def test_a_hundred_thousand_files_in_a_folder() -> None:
    root = model.new_directory()
    started = time.process_time()
    apply(root, (TarEntry("0", b"d/%06d" % number, 0o644, 0, 0, 0, 0) for number in range(100_000)), 0)
    apply(root, (TarEntry("0", b"d/.wh.%06d" % number, 0o644, 0, 0, 0, 0) for number in range(0, 100_000, 2)), 1)
    assert len(root.names()[b"d"].names()) == 50_000
    assert time.process_time() - started < 10  # about 0.5 s; what is quadratic takes hours
