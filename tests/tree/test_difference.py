"""What a new root shares with the one before it: it is the root that would have been written anew, the old one stays
as it was, and all that can be shared is."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.disk import files
from c2wtasks.errors import TreeError
from c2wtasks.layers import sameness
from c2wtasks.tree import difference
from c2wtasks.tree.model import DIRECTORY, Inode
from c2wtasks.tree.paths import node_path
from tests.rootfs.making import Made, Making, empty, flat, needs_root, subfolder
from tests.support import roots
from tests.support.headers import archive, file, folder, hardlink, symlink
from tests.support.random_layers import encoded, layers, members

TIME = 1_500_000_000_987_654_321


def inodes(folder: Path) -> dict[str, int]:
    """The inode of each name that is no folder."""
    found = {}
    for path, folders, names in os.walk(folder):
        for name in (*names, *folders):
            found_there = os.lstat(f"{path}/{name}")
            if not stat.S_ISDIR(found_there.st_mode):
                found[os.path.relpath(f"{path}/{name}", folder)] = found_there.st_ino
    return found


def shared(make: Making, tmp_path: Path, before: list[bytes], after: list[bytes]) -> set[str]:
    """The names in the new root whose files are those of the old one, after checking both."""
    old, new = make(*before), Making.at(tmp_path / "after")(*after)
    old.write(tmp_path / "old")
    lines = roots.of_folder(tmp_path / "old")
    old_inodes = inodes(tmp_path / "old")
    new.after(old, tmp_path / "old", tmp_path / "new")
    assert roots.of_folder(tmp_path / "new") == new.lines_if_mine()
    assert roots.of_folder(tmp_path / "old") == lines
    assert inodes(tmp_path / "old") == old_inodes
    return {name for name, inode in inodes(tmp_path / "new").items() if inode in old_inodes.values()}


F = file(b"d/f", b"content", mtime_ns=TIME)
G = file(b"d/g", b"other", mtime_ns=TIME)

# (the layers before, those after, what is shared)
CASES: dict[str, tuple[list[bytes], list[bytes], set[str]]] = {
    "nothing changed": ([F, G], [F, G], {"d/f", "d/g"}),
    "a file added": ([F], [F, G], {"d/f"}),
    "a file gone": ([F, G], [F], {"d/f"}),
    "another layer with the same files": ([F + G], [G + F], {"d/f", "d/g"}),
    "the same content in another layer": ([F], [G, F], {"d/f"}),
    "a layer split in two": ([F + G], [F, G], {"d/f", "d/g"}),
    "other content": ([F + G], [file(b"d/f", b"CONTENT", mtime_ns=TIME) + G], {"d/g"}),
    "other size": ([F], [file(b"d/f", b"contents", mtime_ns=TIME)], set()),
    "other mtime": ([F], [file(b"d/f", b"content", mtime_ns=TIME + 1)], set()),
    "other mode": ([F], [file(b"d/f", b"content", mode=0o600, mtime_ns=TIME)], set()),
    "other xattr": ([F], [file(b"d/f", b"content", xattrs={b"user.a": b"1"}, mtime_ns=TIME)], set()),
    "the xattr gone": ([file(b"f", xattrs={b"user.a": b"1"})], [file(b"f")], set()),
    "the folder alone": ([folder(b"d", 0o700) + F], [folder(b"d", 0o755, mtime_ns=5) + F], {"d/f"}),
    "the folder is shut": ([folder(b"d", 0o700) + F], [folder(b"d", 0) + F], {"d/f"}),
    "moved": ([file(b"a/f", b"x")], [file(b"b/f", b"x")], set()),
    "a folder in place of a file": ([file(b"d"), file(b"e")], [file(b"d/e"), file(b"e")], {"e"}),
    "a file in place of a folder": ([file(b"d/e"), file(b"e")], [file(b"d"), file(b"e")], {"e"}),
    "a symlink": ([symlink(b"l", b"t")], [symlink(b"l", b"t")], {"l"}),
    "a symlink elsewhere": ([symlink(b"l", b"t")], [symlink(b"l", b"u")], set()),
    "a symlink to a folder in place of it": ([F + file(b"e/f")], [symlink(b"d", b"e") + file(b"e/f")], {"e/f"}),
    "empty files": ([file(b"a") + file(b"b")], [file(b"b") + file(b"a")], {"a", "b"}),
    "a group of links": (
        [F + hardlink(b"h", b"d/f", mtime_ns=TIME)],
        [F + hardlink(b"h", b"d/f", mtime_ns=TIME)],
        {"d/f", "h"},
    ),
    "one more link": ([F], [F + hardlink(b"h", b"d/f", mtime_ns=TIME)], {"d/f", "h"}),
    "one link less": ([F + hardlink(b"h", b"d/f", mtime_ns=TIME)], [F], {"d/f"}),
    "links become copies": (
        [F + hardlink(b"d/h", b"d/f", mtime_ns=TIME)],
        [F + file(b"d/h", b"content", mtime_ns=TIME)],
        {"d/f"},
    ),
    "copies become links": (
        [F + file(b"d/h", b"content", mtime_ns=TIME)],
        [F + hardlink(b"d/h", b"d/f", mtime_ns=TIME)],
        {"d/f", "d/h"},
    ),
    "links to another file": (
        [F + G + hardlink(b"h", b"d/f", mtime_ns=TIME)],
        [F + G + hardlink(b"h", b"d/g", mtime_ns=TIME)],
        {"d/f", "d/g", "h"},
    ),
    "too many links": (
        [F + b"".join(hardlink(b"h%d" % number, b"d/f", mtime_ns=TIME) for number in range(600))],
        [F + b"".join(hardlink(b"h%d" % number, b"d/f", mtime_ns=TIME) for number in range(600))],
        set(),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_is_shared(make: Making, tmp_path: Path, case: tuple[list[bytes], list[bytes], set[str]]) -> None:
    before, after, names = case
    assert shared(make, tmp_path, [archive(one) for one in before], [archive(one) for one in after]) == names


@needs_root
def test_another_owner(make: Making, tmp_path: Path) -> None:
    before = [archive(file(b"f", b"x", uid=1), file(b"g", b"x", gid=5))]
    after = [archive(file(b"f", b"x", uid=2), file(b"g", b"x", gid=5))]
    assert shared(make, tmp_path, before, after) == {"g"}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[bytes], list[bytes]]:
    """The layers of an image, and of what became of it: some of them, some with other entries, some more."""
    before = draw(layers)
    after = []
    for layer in before:
        changed = list(layer)
        match draw(st.sampled_from(["same", "same", "same", "gone", "other"])):
            case "gone":
                continue
            case "other":
                at = draw(st.integers(0, len(layer) - 1))
                changed[at : at + 1] = draw(st.lists(members(), max_size=2))
        after.append(changed)
    after += draw(layers) if draw(st.booleans()) else []
    old, new = ([archive(*map(encoded, layer)) for layer in image] for image in (before, after))
    return old, new


@needs_root
@given(pairs())
def test_difference_is_as_written_anew(pair: tuple[list[bytes], list[bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        try:
            old, new = (Making.at(place / part)(*image) for part, image in zip(("1", "2"), pair, strict=True))
        except TreeError:
            return
        old.write(place / "old")
        new.write(place / "anew")
        lines = roots.of_folder(place / "old")
        new.after(old, place / "old", place / "new")
        assert roots.of_folder(place / "new") == roots.of_folder(place / "anew") == new.lines()
        assert roots.of_folder(place / "old") == lines
        assert _inode_per_file(old, place / "old", new, place / "new")
        for folder_name in ("old", "new", "anew"):
            files.remove_tree(str(place / folder_name))


def _inode_per_file(old: Made, old_folder: Path, new: Made, new_folder: Path) -> bool:
    """That names share a file of the old root just where `kept` says so."""
    keeps = difference.compare(old.tree, new.tree, old.same_content(new)).kept
    before = set(inodes(old_folder).values())
    now = set(inodes(new_folder).values())
    firsts = [node.link < 0 and node.kind != "d" for node in new.tree.nodes]
    return len(now & before) == sum(keep >= 0 and first for keep, first in zip(keeps, firsts, strict=True))


@given(st.randoms(use_true_random=False))
def test_what_has_the_same_path(rng: Random) -> None:
    """As looking up each path in the other tree finds it."""

    def some(depth: int) -> dict[bytes, Inode]:
        names = rng.sample([b"a", b"aa", b"a.", b"b", b"c", b"\xff"], rng.randint(0, 4))
        return {name: subfolder(some(depth - 1)) if depth and rng.random() < 0.5 else empty() for name in names}

    old, new = flat(some(3)), flat(some(3))
    paths = [[node_path(tree.nodes, index) for index in range(len(tree.nodes))] for tree in (old, new)]
    found, fuller = difference._at_same_path(old, new)
    assert found == [paths[0].index(path) if path in paths[0] else difference.NONE for path in paths[1]]
    more = {path.rpartition(b"/")[0] for path in set(paths[0]) - set(paths[1])}
    assert fuller == {
        index for index, path in enumerate(paths[1]) if path in more and new.nodes[index].kind == DIRECTORY
    }


@pytest.mark.parametrize(
    ("one", "at", "other", "other_at", "length", "same"),
    [
        (b"abc", 0, b"abc", 0, 3, True),
        (b"abc", 1, b"xxbc", 2, 2, True),
        (b"abc", 0, b"abd", 0, 3, False),
        (b"abc", 0, b"abd", 0, 2, True),
        (b"abc", 1, b"abc", 1, 3, False),  # beyond the end of both
        (b"abc", 0, b"ab", 0, 3, False),
        (b"", 0, b"abc", 0, 1, False),
        (None, 0, b"abc", 0, 1, False),
        (b"abc", 0, None, 0, 1, False),
        (3 << 20, 0, 3 << 20, 0, 3 << 20, True),
        (3 << 20, 0, 3 << 20, 0, (3 << 20) + 1, False),
        (1 << 20, 1, 1 << 20, 1, 1 << 20, False),
    ],
)
def test_same_bytes(
    tmp_path: Path,
    one: bytes | int | None,
    at: int,
    other: bytes | int | None,
    other_at: int,
    length: int,
    same: bool,
) -> None:
    """A number is how many bytes the two have that are the same, before one that is not."""
    for name, content in (("one", one), ("other", other)):
        if content is not None:
            (tmp_path / name).write_bytes(
                content if isinstance(content, bytes) else b"x" * content + name[-1].encode()
            )
    tars = sameness.MappedTars()
    for _ in range(2):
        assert tars.same(str(tmp_path / "one"), at, str(tmp_path / "other"), other_at, length) == same
    tars.close()
