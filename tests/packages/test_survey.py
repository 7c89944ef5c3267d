"""What was found in a root tells of another over some of the same layers, and changes nothing that is said of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import TreeError
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.packages import folders, listed, survey
from c2wtasks.packages.listed import Report
from c2wtasks.tree import model
from c2wtasks.tree.apply import apply
from tests.packages.databases import report_of
from tests.support import headers
from tests.support.random_layers import Made, encoded, layers
from tests.support.tars import Hardlink, Node, Symlink, Tree, tar

INFO = "var/lib/dpkg/info/"
SITE = "usr/site-packages/"
MODULES = "srv/node_modules/"
BASE: Tree = {
    "bin": Symlink("usr/bin"),
    "usr/bin/a": "a",
    "usr/bin/b": "b",
    "usr/share/doc/x": "x",
    "var/lib/dpkg/status": "Package: a\nVersion: 1\n\nPackage: b\nVersion: 2\n",
    INFO + "a.list": "/bin\n/bin/a\n/usr/share/doc/x\n/usr/lib/gone/y\n",
    INFO + "b.list": "/usr\n/usr/bin\n/usr/bin/b\n/usr/share/doc\n/opt/lib/z\n",
    SITE + "one.dist-info/METADATA": "Name: one\nVersion: 1\n",
    SITE + "one.dist-info/RECORD": "one.py,,\n../bin/b,,\ngone.py,,\n",
    SITE + "one.py": "",
    SITE + "two.egg-info": "Name: two\nVersion: 2\n",
    MODULES + "m/package.json": '{"name": "m", "version": "1"}',
    MODULES + "m/lib/deep/index.js": "",
    MODULES + "m/node_modules/n/package.json": '{"name": "n", "version": "1"}',
    MODULES + "broken/package.json": "{",
    "opt/lib": Symlink("../usr/share"),
    **{f"usr/share/many/{number}/": None for number in range(60)},
}


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """Roots of few folders are kept, too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(survey, "_FEW", 10)
        yield


def anew(*made: Tree | bytes) -> Report:
    """The report on a root, with nothing kept of others."""
    survey._kept = ()
    return report_of(*made)


TOPS: dict[str, tuple[Tree, bool]] = {
    "nothing": ({"usr/": None}, True),
    "files": ({"srv/app/main": "x", "usr/bin/c": "c", "usr/share/doc/y": "y"}, True),
    "a file through a link": ({"bin/c": "c"}, True),
    "a file replaced": ({"usr/bin/a": "A", "usr/bin/b": Hardlink("usr/bin/a")}, True),
    "files removed": ({"usr/bin/.wh.a": "", SITE + ".wh.one.py": ""}, True),
    "a folder for a file": ({"usr/bin/.wh.a": "", "usr/bin/a/deep/x": ""}, True),
    "a folder cleared": ({MODULES + "m/.wh..wh..opq": "", MODULES + "m/new/x": ""}, False),
    "a folder cleared deep down": ([(MODULES + "m/lib/", None), (MODULES + "m/.wh..wh..opq", "")], False),
    "a folder made anew": ({"usr/share/.wh.doc": "", "usr/share/doc/": None}, True),
    "folders removed": ({"usr/.wh.share": ""}, False),
    "a package of npm more": ({MODULES + "o/package.json": '{"name": "o", "version": "3"}'}, True),
    "in another": ({MODULES + "m/lib/node_modules/o/package.json": '{"name": "o", "version": "3"}'}, True),
    "one that is another": ({MODULES + "m/package.json": '{"name": "m", "version": "2"}'}, True),
    "one that is none": ({MODULES + "m/package.json": "{"}, False),
    "one that is no more": ({MODULES + ".wh.m": ""}, True),
    "one that was none": ({MODULES + "broken/package.json": '{"name": "mended", "version": "2"}'}, False),
    "a package of Python more": ({"opt/three.dist-info/METADATA": "Name: three\nVersion: 1\n"}, True),
    "in other folders": (
        {
            "opt/x-1.egg-info/PKG-INFO": "Name: x\nVersion: 1",
            "opt/x-1.egg-info/installed-files.txt": "../../usr/bin/a\n../../bin/b\n../lib/x\n../q/z\n",
        },
        True,
    ),
    "a list less": ({SITE + "one.dist-info/.wh.RECORD": ""}, True),
    "one less": ({SITE + ".wh.two.egg-info": ""}, True),
    "none of Python": ({"usr/.wh.site-packages": ""}, True),
    "a link elsewhere": ({"opt/lib": Symlink("../srv")}, False),
    "a folder where one is listed": ({"usr/lib/gone/y": ""}, False),
    "a package of dpkg more": ({"var/lib/dpkg/status": "Package: c\nVersion: 3\n"}, False),
}


@pytest.mark.parametrize("other", ["files", "folders removed", "a package of npm more", "a package of dpkg more"])
@pytest.mark.parametrize("top", TOPS)
def test_it_is_as_if_nothing_were_known(top: str, other: str) -> None:
    want = listed.encode(anew(BASE, TOPS[top][0]))
    anew(BASE, TOPS[other][0])
    assert listed.encode(report_of(BASE, TOPS[top][0])) == want


@pytest.mark.parametrize("top", TOPS)
def test_what_tells_of_a_root(top: str) -> None:
    """All that a small layer has changed, unless the rest is to be seen otherwise for it."""
    anew(BASE, {"srv/other/x": ""})
    before = survey._kept
    report_of(BASE, TOPS[top][0])
    assert (survey._kept == before) == TOPS[top][1]


def test_only_folders_that_a_layer_changed_are_looked_at() -> None:
    roots = []
    for top in ("srv/a/x", "usr/bin/z"):
        root = model.new_directory()
        for number, made in enumerate((BASE, {top: ""})):
            apply(root, read_entries(tar(made)), number)
        roots.append(root)
    first = folders.changes(roots[0], None, 0)
    found = folders.changes(roots[1], folders.known(first.folders), 1)
    assert [*found.folders] == [b"", b"usr", b"srv", b"usr/bin"] or {*found.folders} == {b"srv", b"usr/bin"}
    assert found.gone == [b"srv/a"]


def test_no_more_is_kept_than_may_be() -> None:
    survey._kept = ()
    for number in range(40):
        report_of({f"{number}/{folder}/x": "" for folder in range(4000)})
    assert sum(one.size for one in survey._kept) <= survey._MAX_KEPT
    assert len(survey._kept) > 10


PATHS = st.sampled_from([path for tree in (BASE, *(top for top, _ in TOPS.values())) for path in dict(tree)])
NODES: st.SearchStrategy[Node] = st.sampled_from(
    [
        *["", "{", '{"name": "x", "version": "1"}', "Name: y\nVersion: 1\n", "one.py,,\n", "/usr/bin/a\n/srv/q/r\n"],
        *[Symlink("../usr"), Symlink("/srv"), None],
    ]
)
WHITEOUTS = PATHS.map(lambda path: (f"{path.rstrip('/').rpartition('/')[0]}/.wh.{path.rpartition('/')[2]}", ""))
some = st.lists(
    st.tuples(PATHS, NODES) | st.sampled_from([*BASE.items()]) | WHITEOUTS,  # type: ignore[union-attr]
    max_size=6,
)


@given(some, some, some)
def test_it_is_as_if_nothing_were_known_whatever_the_layers(below: Tree, one: Tree, other: Tree) -> None:
    stack = [tar(BASE), tar(below), tar(other)]
    try:
        want = listed.encode(anew(*stack))
        anew(*stack[:2], tar(one))
    except TreeError:
        return
    assert listed.encode(report_of(*stack)) == want


@given(layers)
def test_a_folder_that_a_layer_has_not_changed_holds_what_it_did(made: list[list[Made]]) -> None:
    root = model.new_directory()
    for number, layer in enumerate(made):
        before = held(root)
        try:
            apply(root, read_entries(headers.archive(*map(encoded, layer))), number)
        except TreeError:
            return
        for path, (changed, names) in held(root).items():
            assert changed == number or (path in before and before[path] == (changed, names))


def held(root: model.Inode) -> dict[bytes, tuple[int, object]]:
    """Each folder with the layer that has changed it, and what its names are of."""
    found: dict[bytes, tuple[int, object]] = {}
    for path, inode in [(b"", root), *model.walk(root)]:
        if inode.kind == model.DIRECTORY:
            below = {name: inode.child(name) for name in inode.names()}
            found[path] = (
                inode.changed,
                {
                    name: (one.kind, one.size, one.content, one.target)
                    for name, one in below.items()
                    if one is not None
                },
            )
    return found
