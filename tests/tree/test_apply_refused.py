"""Layers that cannot be applied, and the limits beyond which none can: rows of tree before, layer and error."""

from __future__ import annotations

import pytest

from c2wtasks.errors import TreeError
from tests.support import headers
from tests.support.random_layers import ACL_NAMES, ACLS, ODD_ACLS
from tests.support.tars import File, Hardlink, Symlink, Tree, tar
from tests.tree.applying import ETC, applied

ERRORS: list[tuple[str, Tree, Tree, str]] = [
    (
        "WhiteoutRootParent",
        ETC,
        [(".wh...", "")],
        "entry '.wh...': invalid whiteout name",
    ),
    (
        "WhiteoutParent",
        ETC,
        [("etc/.wh...", "")],
        "entry 'etc/.wh...': invalid whiteout name",
    ),
    (
        "WhiteoutRoot",
        ETC,
        [(".wh..", "")],
        "entry '.wh..': invalid whiteout name",
    ),
    (
        "WhiteoutCurrentDirectory",
        ETC,
        [("etc/.wh..", "")],
        "entry 'etc/.wh..': invalid whiteout name",
    ),
    (
        "FileInFile",
        [("d", "a file")],
        [("d/f", "x")],
        "entry 'd/f': its parent 'd': Not a directory",
    ),
    (
        "FileInFileDeep",
        [("d", "a file")],
        [("d/e/f", "x")],
        "entry 'd/e/f': its parent 'd/e': Not a directory",
    ),
    (
        "OpaqueInFile",
        [("d", "a file")],
        [("d/.wh..wh..opq", "")],
        "entry 'd/.wh..wh..opq': its parent 'd': Not a directory",
    ),
    (
        "WhiteoutNamedDirectoryGone",
        [],
        [("d/", None), (".wh.d", "")],
        "entry 'd': the directory is removed again by the same layer (No such file or directory)",
    ),
    (
        "HardlinkOverItself",
        [("f", "x")],
        [("f", Hardlink("f"))],
        "entry 'f': its hard link target 'f' does not exist",
    ),
    (
        "HardlinkMissing",
        [],
        [("g", Hardlink("no/such"))],
        "entry 'g': its hard link target 'no/such' does not exist",
    ),
    (
        "HardlinkToDirectory",
        [("d/", None)],
        [("g", Hardlink("d"))],
        "entry 'g': its hard link target 'd' is a directory",
    ),
    (
        "HardlinkToRoot",
        [],
        [("g", Hardlink("../.."))],
        "entry 'g': its hard link target '../..' is a directory",
    ),
    (
        "HardlinkThroughFile",
        [("f", "x")],
        [("g", Hardlink("f/x"))],
        "entry 'g': its hard link target 'f/x': Not a directory",
    ),
    (
        "SymlinkLoopParent",
        [("l", Symlink("m")), ("m", Symlink("l"))],
        [("l/f", "x")],
        "entry 'l/f': its parent 'l': Too many levels of symbolic links",
    ),
    (
        "CapabilityMalformed",
        [],
        [("f", File("x", xattrs={"security.capability": "x"}))],
        "entry 'f': xattr 'security.capability' is malformed",
    ),
]


@pytest.mark.parametrize(("before", "layer", "error"), [pytest.param(*row, id=name) for name, *row in ERRORS])
def test_refused(before: Tree, layer: Tree, error: str) -> None:
    with pytest.raises(TreeError) as caught:
        applied(tar(before), tar(layer))
    assert str(caught.value) == error


LONG = b"n" * 256
ACL = ACL_NAMES[0].decode()
FROM_HEADERS = [  # what `tarfile` would not write: layer, error
    (
        "OldGnuSparse",
        headers.header(b"f", b"S", magic=headers.GNU),
        "entry 'f': an old-GNU sparse file, which containe",
    ),
    ("Contiguous", headers.header(b"f", b"7"), "entry 'f': of type 0x37, which container runtimes refuse"),
    ("HighType", headers.header(b"f", b"\xff"), "entry 'f': of type 0xff, which container runtimes refuse"),
    ("LongName", headers.file(b"d/" + LONG), f"entry 'd/{LONG.decode()}': File name too long"),
    ("LongParent", headers.file(LONG + b"/f"), f"entry '{LONG.decode()}/f': its parent '{LONG.decode()}': File name"),
    ("LongImpliedParent", headers.file(b"d/" + LONG + b"/f"), f"entry 'd/{LONG.decode()}/f': its parent 'd/nn"),
    ("LongWhiteout", headers.file(b".wh." + LONG), f"entry '.wh.{LONG.decode()}': File name too long"),
    ("DeepPath", headers.file(b"a/" * 2047 + b"f"), "entry 'a/a/"),
    ("DeepImpliedParent", headers.file(b"a/" * 2047 + b"f/"), "entry 'a/a/"),
    ("DeepDirectory", headers.folder(b"a/" * 2047 + b"d/"), "entry 'a/a/"),
    ("DeepThroughLink", headers.symlink(b"l", b"a/" * 2000) + headers.file(b"l/" + b"b/" * 50 + b"f"), "entry 'l/b/"),
    ("LongSymlink", headers.symlink(b"l", b"t" * 4096), "entry 'l': a symlink's target of 4096 bytes"),
    ("EmptySymlink", headers.symlink(b"l", b""), "entry 'l': a symlink without a target"),
    ("NamelessXattr", headers.file(b"f", xattrs={b"user.": b""}), "entry 'f': xattr 'user.' is malformed"),
    (
        "MalformedAcl",
        headers.file(b"f", xattrs={ACL_NAMES[0]: ODD_ACLS[-1]}),
        f"entry 'f': xattr '{ACL}' is malformed",
    ),
    (
        "MalformedAclThatIsHidden",
        headers.file(b"f", xattrs={ACL_NAMES[0]: ODD_ACLS[-1]}) + headers.file(b"f"),
        f"entry 'f': xattr '{ACL}' is malformed",
    ),
    (
        "DefaultAclOfAFile",
        headers.file(b"f", xattrs={ACL_NAMES[1]: ACLS[0]}),
        "entry 'f': xattr 'system.posix_acl_default' can only be a directory's",
    ),
    (
        "NotUtf8",
        headers.hardlink(b"f\xff\n", b"\xfe"),
        r"entry 'f\\xff\n': its hard link target '\\xfe' does not exist",
    ),
]


@pytest.mark.parametrize(("layer", "error"), [pytest.param(*row, id=name) for name, *row in FROM_HEADERS])
def test_refused_header(layer: bytes, error: str) -> None:
    with pytest.raises(TreeError) as caught:
        applied(headers.archive(layer))
    assert str(caught.value).startswith(error)


def test_longest_names() -> None:
    name, target = b"n" * 255, b"t" * 4095
    assert applied(headers.archive(headers.symlink(name, target)))[1:] == [
        f"{name.decode()} l 0777 0:0 0 -> {target.decode()}"
    ]


def test_255_links_are_followed_and_no_more() -> None:
    def chain(length: int) -> bytes:
        links = [headers.symlink(b"%d" % number, b"%d" % (number + 1)) for number in range(length)]
        return headers.archive(*links, headers.file(b"0/f"))

    assert applied(chain(255))[-1] == "99 l 0777 0:0 0 -> 100"
    with pytest.raises(TreeError, match=r"entry '0/f': its parent '0': Too many levels of symbolic links"):
        applied(chain(257))


def test_a_path_as_long_as_a_kernel_takes():
    """With a slash before it: 4,095 bytes."""
    name = b"a/" * 2046 + b"ff"
    assert len(name) == 4094
    assert applied(headers.archive(headers.file(name)))
    with pytest.raises(TreeError, match="File name too long"):
        applied(headers.archive(headers.file(name + b"f")))
