"""A root that is written in parts, by several processes: the same as if one had written it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c2wtasks.disk import files
from c2wtasks.process import seats
from c2wtasks.rootfs.dir import parts
from c2wtasks.tree.model import DIRECTORY
from c2wtasks.tree.treefile import ROOT, Node
from tests.rootfs.making import Made, Making, needs_root
from tests.rootfs.test_directory import OPEN, PLAIN, ROOTS, TIME, for_user
from tests.support import child, roots
from tests.support.headers import archive, file, folder, hardlink

WORKERS = 3


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LEAST", 1)


def write(made: Made, target: Path | str) -> str:
    """What is left out of a root that WORKERS processes write; "" for nothing."""

    def worker() -> str:
        seats.set_out(WORKERS)
        seats.sit(0)
        with seats.busy():
            return str(made.write(target))

    return child.in_child(worker)


# How a tree is cut.


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    """Nodes in the order of a tree: what is in a directory follows it."""
    nodes = [Node(ROOT, b"", DIRECTORY)]
    way = [ROOT]
    for index in range(1, draw(st.integers(1, 60))):
        way = way[: draw(st.integers(1, len(way)))]
        is_folder = draw(st.booleans())
        nodes.append(Node(way[-1], b"%d" % index, DIRECTORY if is_folder else "f", size=draw(st.integers(0, 10**6))))
        if is_folder:
            way.append(index)
    return nodes


@given(trees(), st.integers(1, 10**6))
def test_parts_are_all_nodes_in_order(nodes: list[Node], least: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_LEAST", least)
        found = parts.cut(nodes)
    assert [index for start, end in found for index in range(start, end)] == list(range(1, len(nodes)))
    assert len(found) <= parts.MOST
    assert all(start < end for start, end in found) or len(nodes) == 1


@given(trees())
def test_what_is_not_crossed_is_in_one_part_with_all_it_holds(nodes: list[Node]) -> None:
    found = parts.cut(nodes)
    part_of = {index: number for number, (start, end) in enumerate(found) for index in range(start, end)}
    holding: dict[int, set[int]] = {}
    for index in range(1, len(nodes)):
        for folder_of in (index, *parts.ancestors(nodes, index)):
            holding.setdefault(folder_of, set()).add(part_of[index])
    several = {index for index, met in holding.items() if len(met) > 1}
    assert parts.crossed(nodes, found) == several


def test_what_is_kept_weighs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LEAST", 1 << 20)
    nodes = [Node(ROOT, b"", DIRECTORY), *(Node(ROOT, b"%d" % n, "f", size=1 << 20) for n in range(9))]
    assert len(parts.cut(nodes)) == 9
    assert len(parts.cut(nodes, [True] * 10)) == 1


# What is written.


@needs_root
def test_everything(make: Making, tmp_path: Path) -> None:
    made = make(archive(*PLAIN.values(), *ROOTS.values()))
    assert write(made, tmp_path / "root") == ""
    assert roots.of_folder(tmp_path / "root") == made.lines()


def test_as_whoever_runs_the_tests(make: Making, tmp_path: Path) -> None:
    made = make(archive(*OPEN))
    write(made, tmp_path / "root")
    assert roots.of_folder(tmp_path / "root") == made.lines_if_mine()


@needs_root
def test_by_a_user(tmp_path: Path) -> None:
    """What is left out is counted once, whoever has found it."""
    home = tmp_path / "home"
    home.mkdir()
    others = [file(b"owned", uid=7), file(b"cap", xattrs={b"security.x": b"1"}), ROOTS["devices"]]
    made = Making(home)(archive(*PLAIN.values(), *others)).nearby()

    def by_user() -> str:
        seats.set_out(WORKERS)
        seats.sit(0)
        with seats.busy():
            return str(made.write("root"))

    theirs = len(made.tree.nodes) - 2
    assert child.as_user(by_user, home) == f"{theirs} owners (0:0, 7:0), 2 devices, 1 xattr (security.x)"
    plain = Making(home)(archive(*PLAIN.values(), file(b"owned"), file(b"cap")))
    assert roots.of_folder(home / "root") == replace(plain, tree=for_user(plain.tree)).lines()
    child.as_user(lambda: files.remove_tree("root"), home)


def large(names: int) -> bytes:
    """Many folders and files, with links from each folder into another."""
    found = [file(b"0/first", b"x" * 100, mtime_ns=TIME)]
    for number in range(names):
        at = b"%d" % (number % 7)
        found += [
            folder(at + b"/%d/" % number, 0o555, mtime_ns=TIME + number),
            file(at + b"/%d/f" % number, b"%d" % number, mtime_ns=number),
            hardlink(b"z%d" % number, at + b"/%d/f" % number),
            hardlink(b"4/%d" % number, b"0/first"),
        ]
    return archive(*found)


@needs_root
def test_links_from_part_to_part(make: Making, tmp_path: Path) -> None:
    made = make(large(200))
    assert write(made, tmp_path / "root") == ""
    assert roots.of_folder(tmp_path / "root") == made.lines()


@needs_root
@settings(max_examples=5, deadline=None)
@given(st.integers(1, 10**7))
def test_however_it_is_cut(tmp_path_factory: pytest.TempPathFactory, least: int) -> None:
    place = tmp_path_factory.mktemp("cut")
    made = Making(place)(large(20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_LEAST", least)
        write(made, place / "root")
    assert roots.of_folder(place / "root") == made.lines()


@needs_root
def test_what_is_unchanged_is_shared(make: Making, tmp_path: Path) -> None:
    made = make(large(50))
    made.write(tmp_path / "old")

    def worker() -> str:
        seats.set_out(WORKERS)
        seats.sit(0)
        with seats.busy():
            return str(made.after(made, tmp_path / "old", tmp_path / "new"))

    assert child.in_child(worker) == "[]"
    assert roots.of_folder(tmp_path / "new") == made.lines()
    assert os.stat(tmp_path / "new/6/6/f").st_ino == os.stat(tmp_path / "old/6/6/f").st_ino


# What goes wrong.


def test_an_error_is_told_as_it_is_to_one_writer(make: Making, tmp_path: Path) -> None:
    made = make(archive(*(file(b"%02d" % number, b"x") for number in range(60))))
    os.truncate(made.tars[0], 30 * 1024)
    with pytest.raises(AssertionError, match=r"root: \d\d: the layer's tar in the cache is too short; delete it and"):
        write(made, tmp_path / "root")
