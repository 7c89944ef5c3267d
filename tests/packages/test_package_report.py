"""packages.json: the packages of a root with the layers that brought them, and the files that belong to none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.errors import TreeError
from c2wtasks.layers.tarindex import read_entries
from c2wtasks.packages import folders, listed, owned
from c2wtasks.tree import model
from c2wtasks.tree.apply import apply
from c2wtasks.tree.lookup import lookup
from tests.packages.databases import InMemory, header, ndb_of, report_of, rpm, sqlite_of
from tests.support.tars import Dir, Fifo, File, Hardlink, Symlink, Tree, tar


def status(*packages: tuple[str, str]) -> str:
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        for name, version in packages
    )


def listing(*paths: str) -> str:
    return "".join(f"/{path}\n" for path in (".", *paths))


INFO = "var/lib/dpkg/info/"
DEBIAN: Tree = {
    "etc/os-release": Symlink("../usr/lib/os-release"),
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "bin": Symlink("usr/bin"),
    "usr/bin/ls": "ls",
    "usr/share/doc/": None,
    "var/lib/dpkg/status": status(("ls", "1.0+b1"), ("libc6", "2.36")),
    INFO + "ls.list": listing("bin", "bin/ls", "usr", "usr/share", "usr/share/doc", "usr/share/gone"),
    INFO + "libc6:amd64.list": listing("usr", "usr/lib", "usr/lib/os-release", "usr/share", "usr/share/doc"),
}


def shown(found: listed.Report) -> list[tuple[object, ...]]:
    return [(one.kind, one.name, one.version, one.layer, one.files) for one in found.packages]


def test_debian() -> None:
    """Lists say `/bin/ls` where that is `/usr/bin/ls`; an empty directory is no file, nor is what was removed."""
    found = report_of(DEBIAN, {"srv/app/main": "x", "srv/app/deep/er/file": "y", "srv/app/link": Symlink("main")})
    assert shown(found) == [("deb", "ls", "1.0+b1", 0, 1), ("deb", "libc6", "2.36", 0, 1)]
    assert [one.purl for one in found.packages] == [
        "pkg:deb/debian/ls@1.0%2Bb1?arch=amd64&distro=debian-12",
        "pkg:deb/debian/libc6@2.36?arch=amd64&distro=debian-12",
    ]
    assert {one.folder: one.files for one in found.unowned} == {
        "/etc": 1,
        "/srv/app": 2,
        "/srv/app/deep": 1,
        "/var/lib/dpkg": 3,
    }
    assert found.databases == (listed.Database("deb", "/var/lib/dpkg/status", 2),)
    assert (found.version, found.distribution, found.notes) == (1, {"id": "debian", "version": "12"}, ())


def test_the_layer_that_unpacked_a_package_brought_it() -> None:
    """dpkg writes all of its status anew, and the list of what it unpacks."""
    later: Tree = {
        "var/lib/dpkg/status": status(("ls", "1.0+b1"), ("libc6", "2.37"), ("vim", "9")),
        INFO + "libc6:amd64.list": listing("usr"),
        INFO + "vim.list": listing("usr", "usr/bin", "usr/bin/vim"),
        "usr/bin/vim": "vim",
    }
    assert shown(report_of(DEBIAN, {"a": "b"}, later, {"c": "d"})) == [
        ("deb", "ls", "1.0+b1", 0, 1),
        ("deb", "libc6", "2.37", 2, 0),
        ("deb", "vim", "9", 2, 1),
    ]


def test_distroless() -> None:
    """No file for all packages, and the sums for lists."""
    found = report_of(
        {"var/lib/dpkg/status.d/base": status(("base", "1")), "var/lib/dpkg/status.d/base.md5sums": "0  etc/x\n"},
        {"etc/x": "x", "var/lib/dpkg/status.d/tzdata": "Package: tzdata\nVersion: 2024a\nArchitecture: all"},
    )
    assert shown(found) == [("deb", "base", "1", 0, 1), ("deb", "tzdata", "2024a", 1, 0)]
    assert found.packages[1].purl == "pkg:deb/debian/tzdata@2024a?arch=all"


def apk_database(*packages: tuple[str, str]) -> str:
    return "".join(f"P:{name}\nV:{version}\nA:x86_64\nF:bin\nR:{name}\n\n" for name, version in packages)


@pytest.mark.parametrize("folder", ["lib/apk/db", "usr/lib/apk/db"])
def test_alpine(folder: str) -> None:
    """One file, which each layer writes anew: what it said before tells which layer brought what."""
    bases: list[Tree] = [
        {
            "etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n",
            f"{folder}/installed": apk_database(("a", "1"), ("b", "1")),
        },
        {"etc/motd": "hi"},
        {f"{folder}/installed": apk_database(("a", "1"), ("b", "2"), ("c", "1")), "bin/a": "", "bin/b": ""},
    ]
    if folder.startswith("usr"):
        bases[0] = {**bases[0], "lib": Symlink("usr/lib")}
    found = report_of(*bases)
    assert shown(found) == [("apk", "a", "1", 0, 1), ("apk", "b", "2", 2, 1), ("apk", "c", "1", 2, 0)]
    assert found.packages[0].purl == "pkg:apk/alpine/a@1?arch=x86_64&distro=alpine-3.20.1"
    assert len(found.databases) == 1  # though links give it two names


def test_a_package_that_went_and_came_is_of_the_layer_where_it_came() -> None:
    versions = [(("a", "1"), ("b", "1")), (("a", "1"),), (("a", "1"), ("b", "1"))]
    found = report_of(*({"lib/apk/db/installed": apk_database(*one)} for one in versions))
    assert [(one.name, one.layer) for one in found.packages] == [("a", 0), ("b", 2)]


@pytest.mark.parametrize("name", ["var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/Packages.db"])
def test_rpm_based(tmp_path: Path, name: str) -> None:
    def database(*headers: bytes) -> bytes:
        return ndb_of(headers) if name.endswith(".db") else sqlite_of(tmp_path, headers)

    first, second = rpm("bash", "5.2", "1.fc40", EPOCH=1), rpm("zsh", "5.9", "2.fc40")
    found = report_of(
        {"etc/os-release": "ID=fedora\nVERSION_ID=40\n", name: File(database(first)), "usr/bin/bash": ""},
        {name: File(database(first, second)), "usr/share/doc": ""},
    )
    assert shown(found) == [("rpm", "bash", "1:5.2-1.fc40", 0, 2), ("rpm", "zsh", "5.9-2.fc40", 1, 1)]
    assert found.packages[0].purl == "pkg:rpm/fedora/bash@5.2-1.fc40?arch=x86_64&distro=fedora-40&epoch=1"


def test_languages() -> None:
    site = "usr/lib/python3/site-packages/"
    found = report_of(
        {
            site + "Foo_Bar-1.0.dist-info/METADATA": "Name: Foo_Bar\nVersion: 1.0\n\n" + "long " * 100_000,
            site + "Foo_Bar-1.0.dist-info/RECORD": "foo.py,,\n../../../bin/foo,,\nFoo_Bar-1.0.dist-info/METADATA,,\n",
            site + "foo.py": "",
            "usr/bin/foo": "",
            site + "old.egg-info": "Name: old\nVersion: 2\n",
        },
        {
            site + "older.egg-info/PKG-INFO": "Name: older\nVersion: 3\n",
            site + "older.egg-info/installed-files.txt": "../older.py\nPKG-INFO\n",
            site + "older.py": "",
            "app/node_modules/@s/x/package.json": '{"name": "@s/x", "version": "1.0.0-a+b"}',
            "app/node_modules/@s/x/lib/index.js": "",
            "app/node_modules/@s/x/node_modules/y/package.json": '{"name": "y", "version": "2"}',
            "app/package.json": '{"name": "app", "version": "0"}',
        },
    )
    assert [(one.kind, one.name, one.layer, one.files, one.path, one.purl) for one in found.packages] == [
        ("pypi", "Foo_Bar", 0, 3, f"/{site}Foo_Bar-1.0.dist-info", "pkg:pypi/foo-bar@1.0"),
        ("pypi", "old", 0, 0, f"/{site}old.egg-info", "pkg:pypi/old@2"),
        ("pypi", "older", 1, 2, f"/{site}older.egg-info", "pkg:pypi/older@3"),
        ("npm", "@s/x", 1, 2, "/app/node_modules/@s/x", "pkg:npm/%40s/x@1.0.0-a%2Bb"),
        ("npm", "y", 1, 1, "/app/node_modules/@s/x/node_modules/y", "pkg:npm/y@2"),
    ]
    assert {one.folder for one in found.unowned} == {"/app", "/usr/lib/python3"}


STATUS_PATH = "var/lib/dpkg/status"
HOSTILE: dict[str, tuple[Tree, str]] = {
    "a FIFO": ({STATUS_PATH: Fifo()}, "/var/lib/dpkg/status: it is no regular file"),
    "a directory": ({STATUS_PATH: Dir()}, "/var/lib/dpkg/status: it is no regular file"),
    "too large": (
        {
            STATUS_PATH: File(
                "x", pax={"GNU.sparse.numblocks": "1", "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1"}
            )
        },
        "/var/lib/dpkg/status: it has 1099511627776 bytes, more than are read (134217728)",
    ),
    "malformed": ({STATUS_PATH: "Version: 1\x1b[31m"}, "/var/lib/dpkg/status: a paragraph names no package: "),
    "Berkeley DB": ({"var/lib/rpm/Packages": "\0"}, "/var/lib/rpm/Packages: it is a Berkeley DB, which is not read"),
    "no database": ({"var/lib/rpm/rpmdb.sqlite": "x"}, "/var/lib/rpm/rpmdb.sqlite: it is no SQLite database"),
    "a FIFO for a list": (
        {STATUS_PATH: status(("a", "1")), INFO + "a.list": Fifo()},
        "/var/lib/dpkg/status: it is no",
    ),
    "a file for a folder": ({"var/lib/dpkg/status.d": "x"}, "/var/lib/dpkg/status.d: it is no directory"),
    "METADATA": ({"x.dist-info/METADATA": "\xff"}, "/x.dist-info: a name is empty"),
    "RECORD": (
        {"x.dist-info/METADATA": "Name: a\nVersion: 1", "x.dist-info/RECORD": "x" * 200_000},
        "/x.dist-info: its files are not counted: field larger than field limit (131072)",
    ),
    "package.json": ({"node_modules/x/package.json": "[" * 9999}, "/node_modules/x: "),
    "a link for package.json": (
        {"node_modules/x/package.json": Symlink("/etc/passwd")},
        "/node_modules/x: what tells",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_databases(case: str) -> None:
    tree, note = HOSTILE[case]
    found = report_of(tree)
    assert len(found.notes) == 1 and found.notes[0].startswith(note)
    assert found.notes[0].isprintable() and len(found.notes[0]) <= 300


@pytest.mark.parametrize("target", ["../../../../../../etc/x", "/etc/x", "status", "/no/such"])
def test_links_stay_in_the_root(target: str) -> None:
    found = report_of({STATUS_PATH: Symlink(target), "etc/x": status(("a", "1"))})
    assert [one.name for one in found.packages] == (["a"] if "etc" in target else [])
    assert found.notes == ()


def test_links_to_a_database() -> None:
    tree: Tree = {
        "opt/db": status(("a", "1")),
        "var/lib/dpkg": Symlink("../../opt/dpkg"),
        "opt/dpkg/status": Hardlink("opt/db"),
    }
    assert [one.name for one in report_of(tree).packages] == ["a"]


def test_many_notes_and_folders_are_few_lines() -> None:
    tree: Tree = {f"node_modules/x{number}/package.json": "?" for number in range(500)}
    found = report_of({**tree, **{f"a/b{number}/c/d": "" for number in range(2000)}})
    assert len(found.notes) == 101 and found.notes[-1] == "and 400 more that cannot be read"
    assert {one.folder: one.files for one in found.unowned} == {"/a": 2000, "/node_modules": 500}


def test_a_database_is_read_once_however_many_roots_have_it() -> None:
    held: list[InMemory] = []
    base: Tree = {**DEBIAN, "lib/apk/db/installed": apk_database(("seldom", "1")), "srv/once": "1"}
    wholes = [report_of(base, {"srv/app": str(number)}, held=held) for number in range(3)]
    assert len({listed.encode(one) for one in wholes}) == 1
    assert held[0].reads and not held[1].reads and not held[2].reads


def test_what_is_remembered_is_of_the_same_layers() -> None:
    """The same list in another place among the layers brought its package elsewhere."""
    first = report_of(DEBIAN)
    moved = report_of({"etc/motd": ""}, DEBIAN)
    assert [one.layer for one in first.packages] == [0, 0] and [one.layer for one in moved.packages] == [1, 1]


def test_the_text_is_json_a_line_a_package() -> None:
    text = listed.encode(report_of(DEBIAN))
    found = json.loads(text)
    assert [one["name"] for one in found["packages"]] == ["ls", "libc6"]
    assert found["packages"][0] == {
        "type": "deb", "name": "ls", "version": "1.0+b1", "architecture": "amd64", "layer": 0, "files": 1,
        "purl": "pkg:deb/debian/ls@1.0%2Bb1?arch=amd64&distro=debian-12",
    }  # fmt: skip
    assert sum(b'"name"' in line for line in text.splitlines()) == 2
    assert json.loads(listed.encode(report_of({}))) == {
        "version": 1, "distribution": {}, "databases": [], "notes": [], "packages": [], "unowned": [],
    }  # fmt: skip


paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map("/".join)
trees = st.dictionaries(
    paths, st.sampled_from(["", Symlink("a"), Symlink("../b"), Symlink("/a/b"), Dir()]), max_size=12
)
listed_folders = st.lists(st.sampled_from([b"a", b"b", b"c", b"x" * 300]), max_size=3).map(b"/".join)
listed_files = st.lists(
    st.lists(st.tuples(listed_folders, st.sampled_from([b"a", b"b", b"c", b"d"])), max_size=6, unique=True),
    max_size=4,
)


@given(trees, listed_files, listed_files)
def test_counts_are_those_of_looking_at_each_file(
    tree: Tree, one: list[list[tuple[bytes, bytes]]], other: list[list[tuple[bytes, bytes]]]
) -> None:
    root = model.new_directory()
    try:
        apply(root, read_entries(tar(tree)), 0)
    except TreeError:
        return
    found = folders.changes(root, None, 0)
    counts = owned.count(root, found.folders, [owned.Listing(one), owned.Listing(other)], ())
    everything = {path for path, inode in model.walk(root) if inode.kind != model.DIRECTORY}
    listed = set()
    for found, packages in zip(counts.owned, (one, other), strict=True):
        whole = [[(folder + b"/" + name).strip(b"/") for folder, name in package] for package in packages]
        parents = {folder for package in packages for folder, _ in package}
        for number, paths in enumerate(whole):
            there = [
                place for path in paths if path not in parents and (place := naive_place(root, path)) in everything
            ]
            assert found[number] == len(there)
        listed |= {place for paths in whole for path in paths if (place := naive_place(root, path)) is not None}
    assert sum(counts.unowned.values()) == len(everything - listed)


def naive_place(root: model.Inode, path: bytes) -> bytes | None:
    """Where a path leads to, its last part not followed."""
    above, _, name = path.rpartition(b"/")
    try:
        folder = lookup(root, above)
    except OSError:
        return None
    if folder is None or folder.kind != model.DIRECTORY or folder.child(name) is None:
        return None
    return next((p + b"/" + name).strip(b"/") for p, inode in [(b"", root), *model.walk(root)] if inode is folder)


def test_header_without_files() -> None:
    found = report_of({"usr/share/rpm/Packages.db": File(ndb_of([header({1000: "a", 1001: "1", 1002: "1"})]))})
    assert shown(found) == [("rpm", "a", "1-1", 0, 0)]
