"""Each format of a database: what is in it, by the formats' own descriptions; and what is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c2wtasks.packages import apk, distribution, dpkg, npm, python, rpmdb, rpmheader
from c2wtasks.packages.model import MAX_TEXT, Package, Unread
from tests.packages.databases import header, ndb_of, rpm, sqlite_of

STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Description: GNU C Library
 Version: 9 is no field here
Version: 2.36-9

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: half
Status: install reinstreq half-installed
Architecture: amd64
Version: 1:2~rc1+b2

 \t
package: lower
status: install ok unpacked
architecture: all
version: 3
"""
INSTALLED = b"""C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
o:musl
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
R:libc.musl-x86_64.so.1
F:usr/lib
M:0:0:755

P:.build-deps
V:20240101.000000
A:noarch

"""


def test_dpkg() -> None:
    assert dpkg.packages(STATUS) == [
        Package("libc6", "2.36-9", "amd64"),
        Package("half", "1:2~rc1+b2", "amd64"),
        Package("lower", "3", "all"),
    ]
    assert dpkg.packages(b"Package: one\nVersion: 1\n") == [Package("one", "1")]  # in status.d, with no status
    assert dpkg.packages(b"") == []


def test_dpkg_lists() -> None:
    assert dpkg.listed(b"/.\n/usr\n/usr/bin\n/usr/bin/a b\n/etc\n") == [
        (b"", b"usr"),
        (b"usr", b"bin"),
        (b"usr/bin", b"a b"),
        (b"", b"etc"),
    ]
    assert dpkg.summed(b"0123  usr/bin/x\n4567  ./etc/y  z\nnone\n") == [(b"usr/bin", b"x"), (b"etc", b"y  z")]


def test_apk() -> None:
    found = apk.parse(INSTALLED)
    assert found.packages == [
        Package("musl", "1.2.5-r0", "x86_64"),
        Package(".build-deps", "20240101.000000", "noarch"),
    ]
    assert found.files == [[(b"lib", b"ld-musl-x86_64.so.1"), (b"lib", b"libc.musl-x86_64.so.1")], []]
    assert apk.parse(b"P:a\nV:1\nF:\nR:top") == ([Package("a", "1")], [[(b"", b"top")]])


def test_rpm_header() -> None:
    assert rpmheader.parse(rpm("bash", "5.2", "1.fc40", EPOCH=1)) == (
        Package("bash", "1:5.2-1.fc40", "x86_64"),
        [(b"usr/bin", b"bash"), (b"usr/share", b"doc")],
    )
    without = header(
        {rpmheader.NAME: "data", rpmheader.VERSION: "1", rpmheader.RELEASE: "2", rpmheader.ARCH: "noarch"}
    )
    assert rpmheader.parse(without) == (Package("data", "1-2", "noarch"), [])
    assert rpmheader.parse(rpm("gpg-pubkey", "a1", "b2")) is None


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_rpm_sqlite(tmp_path: Path, page_size: int) -> None:
    """Few and many packages, small ones and ones that take many pages."""
    for count in (0, 1, 300):
        headers = [
            rpm(f"p{number}", "1", "1", BASE_NAMES=["x" * 7 * number, "y", "z"]) for number in range(1, count + 1)
        ]
        found = rpmdb.parse_sqlite(sqlite_of(tmp_path, headers, page_size=page_size))
        assert [one.name for one in found.packages] == [f"p{number}" for number in range(1, count + 1)]
        assert [files[0] for files in found.files] == [(b"usr/bin", b"x" * 7 * n) for n in range(1, count + 1)]


def test_rpm_ndb() -> None:
    found = rpmdb.parse_ndb(ndb_of([rpm("one", "1", "1"), rpm("gpg-pubkey", "1", "1"), rpm("two", "2", "1")]))
    assert found.packages == [Package("one", "1-1", "x86_64"), Package("two", "2-1", "x86_64")]


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs Debian's package rpm")
def test_rpm_itself(tmp_path: Path) -> None:
    """What rpm has written, against what it says is there."""
    spec = tmp_path / "it.spec"
    spec.write_text(
        "Name: %{called}\nVersion: 1.5~rc1\nRelease: 2\nEpoch: 3\nSummary: it\nLicense: MIT\nBuildArch: noarch\n"
        "%description\nit\n%install\nmkdir -p %{buildroot}/usr/share/%{called}/empty %{buildroot}/usr/bin\n"
        "for n in $(seq 400); do echo $n > %{buildroot}/usr/share/%{called}/file-with-a-long-name-$n; done\n"
        "ln -s x %{buildroot}/usr/bin/%{called}\n%files\n/usr/share/%{called}\n/usr/bin/%{called}\n"
    )

    def run(*words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    made = []
    for name in ("alpha", "beta"):
        run("rpmbuild", "-bb", "--define", f"_topdir {tmp_path}/top", "--define", f"called {name}", str(spec))
        made.append(f"{tmp_path}/top/RPMS/noarch/{name}-1.5~rc1-2.noarch.rpm")
    root = ("rpm", "--dbpath", str(tmp_path / "db"))
    run(*root, "-i", "--justdb", "--nodeps", "--noscripts", *made)
    found = rpmdb.parse_sqlite((tmp_path / "db/rpmdb.sqlite").read_bytes())
    rows = run(*root, "-qa", "--qf", "%{NAME} %{EVR} %{ARCH}\\n").split("\n")
    assert sorted(" ".join(one) for one in found.packages) == sorted(filter(None, rows))
    for package, files in zip(found.packages, found.files, strict=True):
        listed = run(*root, "-q", "--qf", "[%{FILENAMES} %{FILEMODES:perms}\\n]", package.name).split("\n")
        whole = {path for path, modes in (line.rsplit(" ", 1) for line in listed if line) if modes[0] != "d"}
        assert {f"/{folder.decode()}/{name.decode()}" for folder, name in files} == whole


def test_python() -> None:
    assert python.parse(b"Metadata-Version: 2.1\nName: Six\nVersion:1.16.0\n\nName: not this\n") == (
        "Six",
        "1.16.0",
        "",
    )
    assert python.recorded(
        b'six.py,sha256=x,10\r\n"a,b.py",,\n../../bin/six,,\n/abs,,\n', b"usr/lib/site-packages"
    ) == [
        (b"usr/lib/site-packages", b"six.py"),
        (b"usr/lib/site-packages", b"a,b.py"),
        (b"usr/bin", b"six"),
        (b"", b"abs"),
    ]
    assert python.installed(b"../six.py\nPKG-INFO\n", b"s/six.egg-info") == [
        (b"s", b"six.py"),
        (b"s/six.egg-info", b"PKG-INFO"),
    ]


def test_npm() -> None:
    assert npm.parse(b'\xef\xbb\xbf{"version": "1.0.0", "name": "@a/b", "more": [1]}') == Package("@a/b", "1.0.0")
    places = {
        b"node_modules/x": True,
        b"usr/lib/node_modules/@s/x": True,
        b"usr/share/nodejs/x": True,
        b"node_modules/@s": False,
        b"node_modules/.bin": False,
        b"node_modules/x/lib": False,
        b"x": False,
        b"": False,
    }
    assert {path: npm.is_package(path) for path in places} == places


def test_distribution() -> None:
    text = b'NAME="x"\nID=Debian\nVERSION_ID="12"\nID_LIKE=other\n'
    assert distribution.parse(text) == ("debian", "12")
    assert distribution.parse(b"ID=$(rm)\nVERSION_ID=\n") == ("", "")


BAD = {
    "dpkg, no name": (dpkg.packages, b"Version: 1\nStatus: install ok installed\n", "names no package"),
    "dpkg, no version": (dpkg.packages, b"Package: a\n", "version of a is empty"),
    "dpkg, no text": (dpkg.packages, b"Package: \xff\nVersion: 1\n", "the name is not text"),
    "dpkg, control character": (dpkg.packages, b"Package: a\x1b[1m\nVersion: 1\n", "the name is not text"),
    "dpkg, long": (dpkg.packages, b"Package: a\nVersion: 1" + b"1" * MAX_TEXT, "longer than"),
    "apk, other lines": (apk.parse, b"P:a\nnone\n", "none of apk's"),
    "apk, no version": (apk.parse, b"P:a\n", "version of a is empty"),
    "sqlite, other": (rpmdb.parse_sqlite, b"x" * 1000, "no SQLite database"),
    "sqlite, empty": (rpmdb.parse_sqlite, b"", "no SQLite database"),
    "ndb, other": (rpmdb.parse_ndb, b"x" * 5000, "no database of rpm's"),
    "ndb, short": (rpmdb.parse_ndb, b"RpmP", "too short"),
    "python, none": (python.parse, b"Name: a\n\nVersion: 1", "version of a is empty"),
    "npm, no JSON": (npm.parse, b"{", "truncated"),
    "npm, deep": (npm.parse, b'{"name":"a","version":' + b"[" * 100_000, "."),
    "npm, a list": (npm.parse, b"[]", "object"),
    "npm, white space": (npm.parse, b'{"name": "a b", "version": "1"}', "not text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_databases(case: str) -> None:
    parse, content, why = BAD[case]
    with pytest.raises(Unread, match=why):
        parse(content)


def test_sqlite_without_the_table(tmp_path: Path) -> None:
    with pytest.raises(Unread, match="no table Packages"):
        rpmdb.parse_sqlite(sqlite_of(tmp_path, [], table="Others"))


def test_sqlite_rows_that_overlap(tmp_path: Path) -> None:
    """A page may say that thousands of rows lie in the same bytes."""
    whole = bytearray(sqlite_of(tmp_path, [rpm("a", "1", "1")] * 3, page_size=65536))
    leaf = whole.index(b"\x0d\0\0\0\x03", 65536)
    cells = [*whole[leaf + 8 : leaf + 10]] * 20_000
    whole[leaf + 3 : leaf + 5] = (20_000).to_bytes(2, "big")
    whole[leaf + 8 : leaf + 8 + len(cells)] = bytes(cells)
    with pytest.raises(Unread, match="more than it can have"):
        rpmdb.parse_sqlite(bytes(whole))


def test_sqlite_pages_in_a_circle(tmp_path: Path) -> None:
    whole = bytearray(sqlite_of(tmp_path, [rpm(f"p{number}", "1", "1") for number in range(99)], page_size=512))
    for page in range(512, len(whole), 512):
        if whole[page] == 5:  # its last page becomes itself
            whole[page + 8 : page + 12] = (page // 512 + 1).to_bytes(4, "big")
    with pytest.raises(Unread, match="belongs to two"):
        rpmdb.parse_sqlite(bytes(whole))


def test_a_long_folder_of_many_names_takes_little() -> None:
    """Paths as texts would be 4 GB."""
    names = [""] * 1_000_000
    one = rpm("a", "1", "1", DIR_NAMES=["/" + "x" * 4000], BASE_NAMES=names, DIR_INDEXES=[0] * len(names))
    found = rpmheader.parse(one)
    assert found is not None and len({id(folder) for folder, _ in found[1]}) == 1


ANY = (
    dpkg.packages, dpkg.listed, dpkg.summed, apk.parse, rpmheader.parse, rpmdb.parse_sqlite, rpmdb.parse_ndb,
    python.parse, npm.parse, distribution.parse, lambda content: python.recorded(content, b"x"),
)  # fmt: skip
WHOLE = (
    STATUS, INSTALLED, rpm("a", "1", "1"), ndb_of([rpm("a", "1", "1"), rpm("b", "1", "1")]),
    b'{"name":"a","version":"1"}', b"a,b,c\n\"d\",,\n", b"Name: a\nVersion: 1\n\n",
)  # fmt: skip


@given(st.binary(max_size=300) | st.text().map(str.encode))
def test_any_bytes_give_packages_or_are_unread(content: bytes) -> None:
    for parse in ANY:
        with_errors(parse, content)


changes = st.lists(st.tuples(st.integers(0), st.sampled_from([0, 1, 2, 13, 127, 128, 255])), min_size=1, max_size=6)


@given(st.sampled_from(WHOLE), changes, st.integers(0))
def test_damaged_databases_give_packages_or_are_unread(whole: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    for parse in ANY:
        with_errors(parse, damaged(whole, edits, cut))


@settings(max_examples=300)
@given(changes=changes, cut=st.integers(0))
@example(changes=[(13741, 0)], cut=0)  # a row of the schema without columns
def test_damaged_sqlite_gives_packages_or_is_unread(changes: list[tuple[int, int]], cut: int) -> None:
    with_errors(rpmdb.parse_sqlite, damaged(SQLITE, changes, cut if cut % 4 == 0 else 0))


@pytest.fixture(scope="module", autouse=True)
def _sqlite(tmp_path_factory: pytest.TempPathFactory) -> None:
    global SQLITE
    headers = [rpm(f"p{number}", "1", "1", BASE_NAMES=["x" * 99, "y", "z"]) for number in range(9)]
    SQLITE = sqlite_of(tmp_path_factory.mktemp("db"), headers, page_size=512)


SQLITE = b""


def damaged(whole: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    found = bytearray(whole)
    for at, byte in edits:
        found[at % len(found)] = byte
    return bytes(found[: cut % (len(found) + 1)] if cut else found)


def with_errors(parse: object, content: bytes) -> None:
    try:
        parse(content)  # type: ignore[operator]
    except Unread as refusal:
        assert str(refusal).isprintable() and len(str(refusal)) < 1000
