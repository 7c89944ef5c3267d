"""What changed from one tree to another, and over several nights: compared, composed, turned round, stored."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from c2wtasks.changes import composing, fields, installed, roots, stored
from c2wtasks.changes.composing import compose, inverse
from c2wtasks.changes.model import Change, Details, Files
from c2wtasks.changes.stored import Room
from c2wtasks.packages.listed import Listed, Report, encode
from c2wtasks.tree import alike, difference, treefile
from c2wtasks.tree.model import DIRECTORY, FILE, SYMLINK, Content
from c2wtasks.tree.treefile import Node, TreeFile

NAMES = [b"a", b"b", b"c\\", b"c\xff", b"d"]
CONTENTS = [b"", b"one", b"two", b"four"]


def nodes_of(tree: dict[bytes, object], parent: int, nodes: list[Node]) -> list[Node]:
    for name in sorted(tree):
        what = tree[name]
        if isinstance(what, dict):
            nodes.append(Node(parent, name, DIRECTORY, mode=0o755))
            nodes_of(what, len(nodes) - 1, nodes)
        elif isinstance(what, tuple):
            content, mode, time = what
            place = Content(0, 10 * CONTENTS.index(content), None)
            nodes.append(Node(parent, name, FILE, -1, mode, 0, 0, time, len(content), place))
        else:
            assert isinstance(what, bytes)
            nodes.append(Node(parent, name, SYMLINK, target=what))
    return nodes


def flat(tree: dict[bytes, object]) -> TreeFile:
    return TreeFile(["sha256:" + "0" * 64], nodes_of(tree, 0, [Node(0, b"", DIRECTORY, mode=0o755)]))


class Contents:
    """Those of CONTENTS, by where they lie."""

    def same(self, old: Content, new: Content, size: int) -> bool:
        return old == new

    def of(self, content: Content, size: int) -> str:
        return xxhash.xxh3_128_hexdigest(CONTENTS[content.offset // 10]) if size else ""

    of_old = of_new = of


def files_between(old: dict[bytes, object], new: dict[bytes, object]) -> Files:
    contents, trees = Contents(), (flat(old), flat(new))
    others = roots.others(*trees, difference.compare(*trees, contents.same))
    found = roots.compare(*trees, others, contents)
    quickly = alike.alike(*map(treefile.encode, trees))
    if quickly is not None:
        sides = zip(quickly.others, quickly.others, strict=True)
        assert roots.compare(quickly.old, quickly.new, sides, contents) == found
    return found


plain = st.tuples(st.sampled_from(CONTENTS), st.sampled_from([0o644, 0o600]), st.sampled_from([1, 2]))
files = plain | st.sampled_from([b"target", b"other\xff"])
trees = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), files, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), files | inner, max_size=4),
    max_leaves=12,
)
packages = st.dictionaries(
    st.sampled_from(["libc6", "zlib1g", "tzdata"]), st.sets(st.sampled_from(["1", "1.0", "2~rc1", "2"]), min_size=1)
)
options = st.dictionaries(
    st.sampled_from(["a", "b.c", "Env"]),
    st.integers(0, 2)
    | st.lists(st.sampled_from(["A=1", "A=2", "B=1"]))
    | st.dictionaries(st.just("c"), st.booleans()),
)
nights = st.lists(st.tuples(trees, packages, options), min_size=3, max_size=5)


def listing(found: dict[str, set[str]]) -> bytes:
    listed = [Listed("deb", name, version, "", 0, 1, "amd64") for name in found for version in sorted(found[name])]
    return encode(Report(1, {}, (), (), tuple(listed), ()))


def change(old: tuple, new: tuple, number: int = 0) -> Change:
    layers = (("sha256:1",), ("sha256:1",))
    return Change(
        bundle="web@linux/amd64",
        before=str(number),
        after=str(number + 1),
        size=(len(str(old)), len(str(new))),
        layers=layers,
        fields=tuple(fields.compare("options", old[2], new[2])),
        packages=installed.compare(listing(old[1]), listing(new[1]), layers),
        files=files_between(old[0], new[0]),
    )


@given(nights)
def test_nights_one_after_the_other_are_as_one(found: list[tuple]) -> None:
    """And so are those that lead back."""
    steps = [change(*pair, number) for number, pair in enumerate(pairwise(found))]
    direct = replace(change(found[0], found[-1]), after=str(len(steps)))
    assert reduce(compose, steps) == direct
    assert reduce(compose, map(inverse, reversed(steps))) == inverse(direct)
    back = compose(direct, inverse(direct))
    assert (back.fields, back.packages, back.files) == ((), (), Files())


@given(trees, trees)
def test_which_files_differ_is_as_a_walk_through_both_says(old: dict, new: dict) -> None:
    def walk(tree: dict, above: bytes = b"") -> dict[str, object]:
        found = {}
        for name, what in tree.items():
            path = above + b"/" + name
            if isinstance(what, dict):
                found |= walk(what, path)
            shown = "".join(chr(byte) if chr(byte).isascii() and byte != 0x5C else f"\\x{byte:02x}" for byte in path)
            found[shown] = "folder" if isinstance(what, dict) else what[:2] if isinstance(what, tuple) else what
        return found

    was, now = walk(old), walk(new)
    found = files_between(old, new)
    assert [one.path for one in found.listed] == sorted(
        path for path in was.keys() | now.keys() if was.get(path) != now.get(path)
    )
    assert {one.path for one in found.listed if one.old is None} == now.keys() - was.keys()
    assert {one.path for one in found.listed if one.new is None} == was.keys() - now.keys()
    assert found.added == len(now.keys() - was.keys()) and found.removed == len(was.keys() - now.keys())
    assert found.count == len(found.listed) and not found.is_cut


def test_of_very_many_files_the_first_are_kept_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (roots, composing):
        monkeypatch.setattr(module, "MOST_FILES", 3)
    many = {b"srv": {b"%d" % number: (b"one", 0o644, 1) for number in range(9)}, b"z": b"x"}
    found = files_between({}, many)
    assert (found.added, len(found.listed), found.is_cut) == (11, 3, True)
    assert [(one.folder, one.added) for one in found.folders] == [("/", 2), ("/srv", 9)]
    both = compose(Change(bundle="a", files=found), Change(bundle="a", files=files_between({b"z": b"x"}, {})))
    assert both.files is not None and both.files.at_most and both.files.count == 12 and len(both.files.listed) == 3


def test_an_unknown_part_stays_unknown() -> None:
    known, unknown = Change(bundle="a"), Change(bundle="a", packages=None, files=None, unknown=("why",))
    for one in (compose(known, unknown), compose(unknown, known), inverse(unknown)):
        assert (one.packages, one.files, one.unknown) == (None, None, ("why",))


@pytest.mark.parametrize(
    ("old", "new", "way"),
    [("1.9", "1.10", "up"), ("1.0", "1.0~rc1", "down"), ("1:0", "9", "down"), ("1.0", "1.00", "other")],
)
def test_ways_of_packages(old: str, new: str, way: str) -> None:
    (found,) = installed.compare(listing({"a": {old}}), listing({"a": {new}}), ((), ()))
    assert found.way == way


def test_what_is_stored_is_read_as_it_was_and_shared_details_once() -> None:
    details = Details((), files_between({}, {b"a": (b"one", 0o644, 1)}))
    name, document = stored.encode_details(details)
    found = [
        Change(bundle=bundle, before="1", after="2", details=name, packages=details.packages, files=details.files)
        for bundle in "ab"
    ]
    plain = Change(bundle="c", after="3", packages=None, files=None)
    text = document + stored.encode_changes([*found, plain])
    assert list(stored.decode(text, Room(1 << 30))) == [*found, plain]
    more = stored.encode_changes([replace(plain, bundle="d")])
    for cut in (1, len(more) // 2, len(more) - 1):
        assert list(stored.decode(text + more[:-cut], Room(1 << 30))) == [*found, plain]
    damaged = bytearray(text + more)
    damaged[len(document) // 2] ^= 1
    assert list(stored.decode(bytes(damaged), Room(1 << 30))) == []
    assert [one.files for one in stored.decode(stored.encode_changes(found), Room(1 << 30))] == [None, None]


def test_more_than_there_is_room_for_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes can stand for very many."""
    one = stored.encode_changes([Change(bundle="a", after="1")])
    many = stored.encode_changes([Change(bundle="b" * 10_000, after="1")])
    content = one + many * 20 + one
    room = Room(100_000)
    assert len(list(stored.decode(content, room))) == 10
    assert list(stored.decode(many, room)) == []
    assert stored.readable(content) == len(content)
    monkeypatch.setattr(stored, "MAX_FILE", 100_000)
    assert stored.readable(content) == len(one) + 9 * len(many)
