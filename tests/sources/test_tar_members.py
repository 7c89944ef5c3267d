"""The table of contents of archives: against `tarfile`, and on damaged ones."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.sources.archive import follow
from c2wtasks.sources.tarmembers import Member, normal_name, read_members
from tests.support.images import Dir, Fifo, File, Hardlink, Symlink, tar


def members(content: bytes) -> dict[str, Member]:
    return read_members(lambda at, count: content[at : at + count])


parts = st.text("abé\N{SNOWMAN} ", min_size=1, max_size=70)
names = st.lists(parts, min_size=1, max_size=5).map("/".join)
nodes = st.one_of(
    st.binary(max_size=1500).map(File),
    st.just(Dir()),
    st.just(Fifo()),
    names.map(Symlink),
)


@given(
    st.lists(st.tuples(names, nodes), max_size=8),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.booleans(),
)
def test_finds_what_tarfile_finds(tree, format, cut):
    content = tar(tree, format=format)
    if cut:  # the blocks of zeros at the end are often missing
        end = max((at for at in range(0, len(content), 512) if content[at : at + 512].strip(b"\0")), default=0)
        content = content[: end + 512]
    want = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for info in archive:
            want[normal_name(info.name)] = info
    found = members(content)
    assert found.keys() == want.keys()
    for name, info in want.items():
        if info.isreg():
            assert (found[name].kind, found[name].offset, found[name].size) == ("file", info.offset_data, info.size)
        if info.issym():
            assert (found[name].kind, found[name].target) == ("symlink", info.linkname)


@given(st.binary(max_size=3000), st.integers(0, 4000), st.binary(min_size=1, max_size=40))
def test_any_damage_is_a_value_error_or_none(body, at, patch):
    content = bytearray(tar({"a" * 120: body, "b": Symlink("c" * 150), "c": "x"}))
    content[at : at + len(patch)] = patch
    try:
        members(bytes(content))
    except ValueError:
        pass


def header(**fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo("name")
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def test_hard_links_are_second_names():
    found = members(tar([("a", "one"), ("./b", Hardlink("a")), ("a", "second"), ("c", Hardlink("nowhere"))]))
    assert found["b"].size == 3
    assert found["a"].size == 6
    assert (found["c"].kind, found["c"].target) == ("broken link", "nowhere")


def test_sizes_of_entries_without_content_are_not_skipped():
    info = header(type=tarfile.SYMTYPE, linkname="x", size=512)
    content = info.tobuf(tarfile.USTAR_FORMAT) + tar({"after": "x"})
    assert set(members(content)) == {"name", "after"}


def test_base_256_and_global_headers():
    big = header(size=8**11 + 5).tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ValueError, match=f"which has {8**11 + 5} bytes; it is truncated"):
        members(big)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "fooled"}) as archive:
        archive.addfile(header())
    assert set(members(out.getvalue())) == {"name"}


def patched(content: bytes, at: int, patch: bytes) -> bytes:
    """`content` with `patch` in its first header, the checksum made right."""
    block = bytearray(content[:512])
    block[at : at + len(patch)] = patch
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + content[512:]


PLAIN = tar({"name": "content"}, format=tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short"),
        (b"\0" * 100, "too short"),
        (b"no tar" * 200, "is not a tar archive"),
        (PLAIN[:515], "ends inside the entry at offset 0"),
        (PLAIN[:1024] + b"x" * 512, "is damaged: no number in the header at offset 1024"),
        (PLAIN[:1024] + b"x" + PLAIN[1:], "the header at offset 1024 has a wrong checksum"),
        (patched(PLAIN, 124, b"\xff" * 12), "negative number"),
        (patched(PLAIN, 156, b"S"), "has a sparse entry"),
        (tar({"name": File("", pax={"GNU.sparse.major": "1"})}), "has a sparse entry"),
        (tar({"name": File("", pax={"x": "y" * 2_000_000})}), "extended header of 2000"),
        (tar({"n" * 5000: ""}), "name of 5000 characters"),
        (tar({"name": File("", pax={"size": "-1"})}), "has the size '-1'"),
    ],
)
def test_refused(content, message):
    with pytest.raises(ValueError, match=message):
        members(content)


def test_damaged_pax_records():
    content = bytearray(tar({"name": File("", pax={"a": "b"})}))
    for record in (b"99 a=b\n", b"x", b"6 abc\n", b"6 a=bcc", b"0 a=b\n"):
        content[512 : 512 + len(record)] = record
        with pytest.raises(ValueError, match="extended header at offset 0 cannot be read"):
            members(bytes(content))


def link(target: str) -> Member:
    return Member("symlink", 0, 0, target)


FILE = Member("file", 512, 1)
LINKED = {
    "d/file": FILE,
    "d/up": link("../d/file"),
    "folder": link("d"),
    "chain": link("folder/./up"),
    "loop": link("loop"),
    "out": link("../x"),
    "absolute": link("/d/file"),
    "under/file": link("d/file/x"),
}


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("d/file", FILE),
        ("./d//file", FILE),
        ("d/up", FILE),
        ("folder/file", FILE),
        ("chain", FILE),
        ("folder/../d/file", FILE),
        ("nothing", None),
        ("d/file/x", None),
        ("", None),
        ("loop", "more than 40 symbolic links"),
        ("out", "outside"),
        ("absolute", "outside"),
        ("/d/file", "outside"),
        ("..", "outside"),
    ],
)
def test_follow(name, want):
    if isinstance(want, str):
        with pytest.raises(ValueError, match=want):
            follow(LINKED, name)
    else:
        assert follow(LINKED, name) == want


def with_pax(*records: tuple[str, str], size: int = 0) -> bytes:
    return header(pax_headers=dict(records), size=size).tobuf(tarfile.PAX_FORMAT)


SPARSE = (("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.size", "9"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            lambda: b"".join(header(name=f"{n}/" + "n" * 4000).tobuf(tarfile.GNU_FORMAT) for n in range(8500)),
            "has more than 33554432 characters in names and targets of links",
        ),
        (
            lambda: b"".join(
                header(name=f"{n}", type=tarfile.SYMTYPE, linkname="n" * 4000).tobuf(tarfile.GNU_FORMAT)
                for n in range(8500)
            ),
            "has more than 33554432 characters in names and targets of links",
        ),
        (
            lambda: header(type=tarfile.SYMTYPE, linkname="n" * 4097).tobuf(tarfile.GNU_FORMAT),
            "a link to a name of 4097",
        ),
        (lambda: with_pax(*((f"k{n}", "") for n in range(90_000))) * 12, "has more than 1000000 PAX records"),
        (
            lambda: (
                with_pax(*SPARSE, ("GNU.sparse.numblocks", "60000"), ("GNU.sparse.map", ",".join(["0"] * 120_000)))
                * 5
            ),
            "has more than 262144 fragments of sparse entries",
        ),
        (
            lambda: with_pax(*SPARSE[:2], ("GNU.sparse.size", str(1 << 61)), ("GNU.sparse.numblocks", "0")),
            "has more than 68719476736 bytes of holes in sparse entries",
        ),
        (lambda: with_pax(*SPARSE, ("comment", "1" * 1_000_000)), "has a sparse entry"),
        (lambda: with_pax(*SPARSE) + (with_pax(("a", "b"))[:1024] * 2000) + with_pax(*SPARSE), "has a sparse entry"),
    ],
    ids=[
        "names",
        "targets",
        "long target",
        "records",
        "fragments",
        "holes",
        "a number without end",
        "headers without end",
    ],
)
def test_what_a_few_bytes_could_make_much_of(content, message):
    with pytest.raises(ValueError, match=message):
        members(content() + bytes(1024))
