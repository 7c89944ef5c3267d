"""What a few bytes of a layer could make much of: each kind has a limit, and a line that names the entry and it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from c2wtasks.errors import TreeError
from c2wtasks.layers import indexfile
from c2wtasks.layers.entry import TarEntry
from c2wtasks.layers.tarlimits import ArchiveError
from c2wtasks.tree import acl, apply, limits, model, weight, xattrs
from c2wtasks.tree.model import Inode
from c2wtasks.tree.weight import Scales
from tests.support.random_layers import ACLS


def entry(kind: str, name: bytes, **more: object) -> TarEntry:
    return TarEntry(kind, name, 0o644, 0, 0, 0, 0, **more)  # type: ignore[arg-type]


def folder(name: bytes, **more: object) -> TarEntry:
    return entry("5", name, **more)


def file(name: bytes, **more: object) -> TarEntry:
    return entry("0", name, **more)


def link(name: bytes, target: bytes) -> TarEntry:
    return entry("2", name, target=target)


def through_links() -> Iterator[TarEntry]:
    """Each file lies behind 40 links, a thousand folders deep."""
    deep = b"d/" * 1000
    yield folder(deep + b"k39")
    yield link(b"l", deep)
    for number in range(39):
        yield link(deep + b"k%d" % number, b"k%d" % (number + 1))
    for number in range(1000):
        yield file(b"l/k1/f%d" % number)


def cleared_again() -> Iterator[TarEntry]:
    for number in range(1000):
        yield file(b"d/%d" % number)
        yield file(b"d/.wh..wh..opq")


def behind_a_link_at_last() -> Iterator[TarEntry]:
    """Folders whose times, at the end of the layer, are looked for behind a link."""
    for above in (b"e", b"d"):
        for number in range(30):
            yield folder(above + b"/%d" % number)
    yield file(b".wh.d")
    yield link(b"d", b"e")


LIMITS = [
    (
        "steps through links",
        "MAX_STEPS",
        100_000,
        through_links(),
        "entry 'l/k1/f",
        "takes more than 100000 steps",
    ),
    ("steps to clear", "MAX_STEPS", 10_000, cleared_again(), "entry 'd/.wh..wh..opq'", "takes more than 10000 steps"),
    (
        "steps at the end",
        "MAX_STEPS",
        60,
        behind_a_link_at_last(),
        "entry 'd/6': looking up its paths takes more than 60 steps",
        "",
    ),
    (
        "implied folders",
        "MAX_IMPLIED",
        1000,
        (file(b"%d/" % number + b"a/" * 99 + b"f") for number in range(11)),
        "entry '10/a/a",
        "the layer has more than 1000 folders that no entry names",
    ),
    (
        "paths of folders",
        "MAX_PATHS",
        10_000,
        (folder(b"p" * 200 + b"/%d" % number) for number in range(100)),
        "entry 'ppp",
        "the paths of the layer's folders take more than 10000 bytes",
    ),
    (
        "inherited ACLs",
        "MAX_INHERITED",
        10_000,
        (
            folder(b"d", xattrs={acl.DEFAULT: ACLS[1]}) if not number else file(b"d/%d" % number)
            for number in range(300)
        ),
        "entry 'd/193'",
        "the ACLs that the layer's files inherit take more than 10000 bytes",
    ),
    (
        "xattrs of a file that is named again and again",
        "MAX_XATTRS",
        1024,
        (folder(b"d", xattrs={b"user.%d" % (number * 600 + n): b"" for n in range(600)}) for number in range(2)),
        "entry 'd'",
        "more than 1024 xattrs",
    ),
]


@pytest.mark.parametrize(
    ("limit", "value", "entries", "names", "says"), [pytest.param(*row, id=case) for case, *row in LIMITS]
)
def test_limits_of_a_layer(
    limit: str, value: int, entries: Iterable[TarEntry], names: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = xattrs if hasattr(xattrs, limit) else limits
    assert getattr(module, limit) >= value
    monkeypatch.setattr(module, limit, value)
    with pytest.raises(TreeError) as caught:
        apply.apply(model.new_directory(), entries, 0)
    assert caught.value.message.startswith(names)
    assert says in caught.value.message


def test_clearing_a_folder_again_and_again_takes_no_time() -> None:
    """As it is, in time that grows with the entries."""
    root = model.new_directory()
    names = (file(b"d/%d" % number) for number in range(20_000))
    markers = (file(b"d/.wh..wh..opq") for _ in range(20_000))
    with pytest.raises(TreeError, match="takes more than 20000000 steps"):
        apply.apply(root, [*names, *markers], 0)


def test_a_mode_is_set_anew_without_a_look_at_a_large_acl() -> None:
    entries = [(1, 7, 0), *[(2, 6, number) for number in range(8000)], (4, 5, 0), (0x10, 7, 0), (0x20, 1, 0)]
    value = b"\2\0\0\0" + b"".join(acl._ENTRY.pack(*one) for one in entries)
    root = model.new_directory()
    again = (folder(b"d") for _ in range(20_000))
    apply.apply(root, [folder(b"d", xattrs={acl.ACCESS: value}), *again], 0)
    left = (root.names()[b"d"].xattrs or {})[acl.ACCESS]
    assert len(left) == len(value)
    assert acl.entries(left)[0].permissions == 6


def grow(root: Inode, scales: Scales, entries: Iterable[TarEntry], layer: int) -> None:
    scales.add(apply.apply(root, scales.watch(entries), layer))


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([file(b"%d" % number) for number in range(3000)], r"the root has \d+ names, .* as 3 \(2000 at most\)"),
        ([file(b"%d/f" % number) for number in range(1500)], r"the root has \d+ names, .* as 3 \(2000 at most\)"),
        (
            [link(b"%d" % number, b"t" * 4000) for number in range(20)],
            r"the root has [78]\d{4} bytes of",
        ),
        (
            [file(b"%d" % number, xattrs={b"user.a": b"v" * 4000}) for number in range(20)],
            r"the root has [78]\d{4} bytes of",
        ),
        ([file(b"%d" % number, sparse=bytes(4000)) for number in range(20)], r"the root has [78]\d{4} bytes of"),
        ([file(b"n" * 250 + b"%d" % number) for number in range(300)], r"the root has \d+ bytes of"),
    ],
    ids=["names", "implied", "targets", "xattrs", "fragments", "long names"],
)
def test_the_weight_of_a_root(entries: list[TarEntry], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "MAX_NAMES", 2000)
    monkeypatch.setattr(weight, "MAX_TEXT", 70_000)
    for layers in (1, 3):  # in one, and together
        root = model.new_directory()
        scales = Scales(root)
        with pytest.raises(TreeError, match=says) as caught:
            for number in range(layers):
                grow(root, scales, entries[number::layers], number)
            scales.finish()
        assert caught.value.hint == "build the image with less in it"


def test_what_is_replaced_adds_no_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "MAX_NAMES", 1100)
    root = model.new_directory()
    scales = Scales(root)
    for number in range(10):
        grow(root, scales, (file(b"%d" % at) for at in range(1000)), number)
    grow(root, scales, (file(b".wh.%d" % at) for at in range(900)), 10)
    grow(root, scales, (file(b"new%d" % at) for at in range(1000)), 11)
    assert len(root.names()) == 1100
    scales.finish()
    with pytest.raises(TreeError, match="the root has 1101 names, "):
        grow(root, scales, [file(b"more")], 12)
        scales.finish()


def test_entries_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexfile, "MAX_ENTRIES", 5000)
    assert list(indexfile.pieces(file(b"%d" % number) for number in range(5000)))
    with pytest.raises(ArchiveError, match=r"more entries than are read \(5000\), near '4096'"):
        list(indexfile.pieces(file(b"%d" % number) for number in range(5001)))
