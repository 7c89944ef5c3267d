"""Paths in a tree: as a kernel in a chroot resolves them, and as continuity's `fs.RootPath` does."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.layers.tarindex import read_entries
from c2wtasks.tree import model, recorded, treefile
from c2wtasks.tree.apply import apply
from c2wtasks.tree.lookup import Steps, holder, lookup, root_path
from c2wtasks.tree.model import Inode
from tests.support.growing import grow
from tests.support.tars import Symlink, tar

ENTRIES = {
    "etc/": None,
    "etc/passwd": "x",
    "usr/lib/os": "y",
    "lib": Symlink("usr/lib"),
    "abs": Symlink("/usr/lib"),
    "slash": Symlink("usr/lib/"),
    "up": Symlink("../../../etc"),
    "etc/back": Symlink("../lib"),
    "nested": Symlink("etc/back"),
    "over": Symlink("lib/../etc"),
    "etc/over": Symlink("../lib/../etc"),
    "file": Symlink("etc/passwd"),
    "fileslash": Symlink("etc/passwd/"),
    "dead": Symlink("no/such"),
    "loop": Symlink("loop"),
    "root": Symlink("/"),
    "dot": Symlink("."),
    **{f"chain{number}": Symlink(f"chain{number - 1}") for number in range(1, 41)},
    "chain0": Symlink("etc"),
}


@pytest.fixture(scope="module")
def root() -> Inode:
    made = model.new_directory()
    apply(made, read_entries(tar(ENTRIES)), 0)
    return grow(treefile.flatten(made, [], default_mtime_ns=0))


def path_of(root: Inode, inode: Inode | None) -> str | None:
    if inode is root:
        return ""
    return next((path.decode() for path, found in model.walk(root) if found is inode), None)


FOUND = [  # path, what stat finds, what lstat finds
    ("", "", ""),
    ("/", "", ""),
    (".", "", ""),
    ("..", "", ""),
    ("../../etc", "etc", "etc"),
    ("/etc/passwd", "etc/passwd", "etc/passwd"),
    ("etc//./passwd", "etc/passwd", "etc/passwd"),
    ("etc/", "etc", "etc"),
    ("etc/.", "etc", "etc"),
    ("etc/nothing", None, None),
    ("nothing/at/all", None, None),
    ("lib", "usr/lib", "lib"),
    ("lib/", "usr/lib", "usr/lib"),
    ("lib/os", "usr/lib/os", "usr/lib/os"),
    ("lib/..", "usr", "usr"),
    ("abs/os", "usr/lib/os", "usr/lib/os"),
    ("slash", "usr/lib", "slash"),
    ("up/passwd", "etc/passwd", "etc/passwd"),
    ("etc/back", "usr/lib", "etc/back"),
    ("nested/os", "usr/lib/os", "usr/lib/os"),
    ("over", None, "over"),
    ("etc/over", None, "etc/over"),
    ("file", "etc/passwd", "file"),
    ("dead", None, "dead"),
    ("dead/x", None, None),
    ("root/root/etc", "etc", "etc"),
    ("dot/dot/etc", "etc", "etc"),
    ("chain39", "etc", "chain39"),
    ("n" * 255, None, None),
]


@pytest.mark.parametrize(("path", "stat", "lstat"), FOUND)
def test_lookup(root: Inode, path: str, stat: str | None, lstat: str | None) -> None:
    assert path_of(root, lookup(root, path.encode())) == stat
    assert path_of(root, lookup(root, path.encode(), follow=False)) == lstat


@pytest.mark.parametrize(("path", "stat", "lstat"), FOUND)
def test_lookup_in_a_flat_tree(root: Inode, path: str, stat: str | None, lstat: str | None) -> None:
    tree = treefile.flatten(root, [], default_mtime_ns=0)
    nodes = {".": tree.nodes[0]} | dict(
        zip([found.decode() for found, _ in model.walk(root)], tree.nodes[1:], strict=True)
    )
    for follow, want in ((True, stat), (False, lstat)):
        found = lookup(recorded.root_of(tree), path.encode(), follow=follow)
        assert (None if found is None else found.node) == (None if want is None else nodes[want or "."])


HOLDERS = [  # a clean path, the directory that has its last part, and that part
    ("", None, ""),
    ("etc", "", "etc"),
    ("etc/passwd", "etc", "passwd"),
    ("lib/os", "usr/lib", "os"),
    ("lib", "", "lib"),
    ("etc/back", "etc", "back"),
    ("nested/os", "usr/lib", "os"),
    ("dead", "", "dead"),
    ("dead/x", None, ""),
    ("etc/nothing", None, ""),
    ("nothing/at", None, ""),
    ("root/root/lib", "", "lib"),
]


@pytest.mark.parametrize(("path", "directory", "name"), HOLDERS)
def test_who_holds_a_path(root: Inode, path: str, directory: str | None, name: str) -> None:
    found = holder(root, path.encode())
    assert (None if found is None else (path_of(root, found[0]), found[1].decode())) == (
        None if directory is None else (directory, name)
    )


@pytest.mark.parametrize(("path", "error"), [("etc/passwd/x", errno.ENOTDIR), ("loop/x", errno.ELOOP)])
def test_nobody_holds_what_cannot_be_looked_up(root: Inode, path: str, error: int) -> None:
    with pytest.raises(OSError) as caught:
        holder(root, path.encode())
    assert caught.value.errno == error


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("etc/passwd/", errno.ENOTDIR),
        ("etc/passwd/.", errno.ENOTDIR),
        ("etc/passwd/..", errno.ENOTDIR),
        ("etc/passwd/x", errno.ENOTDIR),
        ("file/", errno.ENOTDIR),
        ("fileslash", errno.ENOTDIR),
        ("loop", errno.ELOOP),
        ("loop/x", errno.ELOOP),
        ("chain40", errno.ELOOP),
        ("n" * 256, errno.ENAMETOOLONG),
        ("etc/passwd/" + "n" * 256, errno.ENOTDIR),
    ],
)
def test_lookup_fails(root: Inode, path: str, error: int) -> None:
    with pytest.raises(OSError) as caught:
        lookup(root, path.encode())
    assert caught.value.errno == error


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("", ""),
        ("/", ""),
        ("..", ""),
        ("../..", ""),
        ("etc", "etc"),
        ("etc/", "etc"),
        ("//etc//", "etc"),
        ("etc/../usr", "usr"),
        ("lib", "usr/lib"),
        ("lib/", "usr/lib"),
        ("abs/new", "usr/lib/new"),
        ("slash/new", "usr/lib/new"),
        ("up", "etc"),
        ("nested/new", "usr/lib/new"),
        ("over", "usr/etc"),
        ("etc/over", "etc"),  # a kernel finds usr/etc there
        ("dead", "no/such"),
        ("dead/new", "no/such/new"),
        ("dead/..", "no"),  # a path that is not there has parents too
        ("lib/..", "usr"),
        ("etc/passwd", "etc/passwd"),
        ("etc/passwd/..", "etc"),  # no kernel would
        ("file/..", "etc"),
        ("root/root/x", "x"),
        ("chain40/x", "etc/x"),
        ("new/deep/one", "new/deep/one"),
        ("new/" + "n" * 256, "new/" + "n" * 256),
    ],
)
def test_root_path(root: Inode, path: str, resolved: str) -> None:
    assert root_path(root, path.encode()) == resolved.encode()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("loop", errno.ELOOP),
        ("etc/passwd/x", errno.ENOTDIR),
        ("file/x", errno.ENOTDIR),
        ("etc/" + "n" * 256, errno.ENAMETOOLONG),
    ],
)
def test_root_path_fails(root: Inode, path: str, error: int) -> None:
    with pytest.raises(OSError) as caught:
        root_path(root, path.encode())
    assert caught.value.errno == error


# Against a literal rendering of continuity's `RootPath` and `walkLinks`.


def literally(root: Inode, path: bytes) -> bytes:
    links = 0
    while path:
        before = links
        here = b"/" if path.startswith(b"/") else b""
        for part in filter(None, path.split(b"/")):
            if links > 255:
                raise OSError(errno.ELOOP, "")
            at = join(b"/", here, part)
            if len(at) > 4095:
                raise OSError(errno.ENAMETOOLONG, "")
            inode = lookup(root, at, follow=False)
            if inode is None or inode.kind != model.SYMLINK:
                here = at
                continue
            links += 1
            here = inode.target if inode.target.startswith(b"/") or not here else join(here, inode.target)
        if links == before:
            return here[1:]
        path = here
    return b""


def join(*parts: bytes) -> bytes:
    joined = posixpath.normpath(b"/".join(filter(None, parts)))
    return joined[1:] if joined.startswith(b"//") else joined


NAMES = [b"a", b"b", b"c"]
paths = st.builds(
    lambda before, parts, after: (before + b"/".join(parts) + after) or b"/",
    st.sampled_from([b"", b"", b"/"]),
    st.lists(st.sampled_from([*NAMES, *NAMES, b"..", b".", b"", b"n" * 255, b"n" * 256]), min_size=1, max_size=6),
    st.sampled_from([b"", b"", b"/"]),
)
links = st.builds(lambda target: Inode(model.SYMLINK, target=target), paths)
trees = st.recursive(
    links | st.builds(lambda: Inode(model.FILE)),
    lambda inner: st.builds(
        lambda children: Inode(model.DIRECTORY, children=children),
        st.dictionaries(st.sampled_from(NAMES), inner | links, max_size=3),
    ),
    max_leaves=20,
).filter(lambda tree: tree.kind == model.DIRECTORY)


def told(find: Callable[[Inode, bytes], bytes], root: Inode, path: bytes) -> bytes | int | None:
    try:
        return find(root, path)
    except OSError as error:
        return error.errno


@given(trees, st.lists(paths, min_size=1, max_size=5))
def test_root_path_as_it_is_written(root: Inode, wanted: list[bytes]) -> None:
    for path in wanted:
        assert told(root_path, root, path) == told(literally, root, path)


DEEP = [b"d"] * 2000


@pytest.mark.parametrize(
    ("link", "path"),
    [
        (b"/" + b"/".join(DEEP), b"l/" + b"../" * 1300),
        (b"/" + b"/".join(DEEP[:1000]) + b"/." * 900, b"l/x"),
        (b"/" + b"d/.." * 900, b"l/l/l/x"),
        (b"/" + b"./" * 2000, b"l/x"),
        (b"/" + b"/".join([*DEEP[:100], *[b".."] * 100]), b"l/" * 200 + b"x"),
    ],
)
def test_steps_are_counted(link: bytes, path: bytes) -> None:
    """Each step costs the same, however deep it is; and there is an end to them."""
    root = model.new_directory()
    inside = root
    for part in DEEP:
        inside.names()[part] = inside = model.new_directory()
    root.names()[b"l"] = Inode(model.SYMLINK, target=link)
    assert told(root_path, root, path) == told(literally, root, path)
    with pytest.raises(OSError, match="looking up its paths takes more than 100 steps"):
        root_path(root, path, steps=Steps(100))
