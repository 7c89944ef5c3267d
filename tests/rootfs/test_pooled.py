"""Roots that share their files by way of a pool: each as if it had been written alone, and one file for all."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2wtasks.process import seats
from c2wtasks.process.rights import LeftOut
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.dir import Pool, Previous, Spare, parts, pool
from c2wtasks.tree import difference
from tests.rootfs.making import Made, Making, needs_root
from tests.rootfs.test_directory import CAPABILITY, PLAIN, ROOTS, TIME
from tests.rootfs.test_renewal import random_layer
from tests.support import child, roots
from tests.support.headers import archive, file, folder, hardlink

pytestmark = needs_root
BASE = archive(*(parts for name, parts in {**PLAIN, **ROOTS}.items()))


def names(made: Made) -> list[str]:
    found = [hashlib.sha256(content).hexdigest() for content in made.contents]
    return [name if found.count(name) == 1 else "" for name in found]


@contextmanager
def pooled(made: Made, place: Path | str, before: Made | None = None) -> Iterator[Pool]:
    os.makedirs(place, exist_ok=True)
    layers = names(made)
    known = names(before) if before is not None else []
    descriptor = os.open(place, os.O_RDONLY)
    try:
        yield Pool(descriptor, layers, {at for at, name in enumerate(layers) if name not in known})
    finally:
        os.close(descriptor)


def write(made: Made, root: Path | str, place: Path | str) -> tuple[LeftOut, directory.Shared]:
    with pooled(made, place) as found:
        return directory.write(made.tree, made.tars.__getitem__, str(root), pool=found), found.shared


def files(root: Path | str) -> dict[str, os.stat_result]:
    """The regular files of a root that are not empty."""
    found = {}
    for at, _, inside in os.walk(root):
        for name in inside:
            state = os.lstat(f"{at}/{name}")
            if stat.S_ISREG(state.st_mode) and state.st_size:
                found[os.path.relpath(f"{at}/{name}", root)] = state
    return found


def inodes(root: Path | str) -> dict[str, int]:
    return {name: state.st_ino for name, state in files(root).items()}


def test_what_is_alike_is_one_file(tmp_path: Path) -> None:
    one = Making.at(tmp_path / "1")(BASE, archive(file(b"own", b"1")))
    other = Making.at(tmp_path / "2")(BASE, archive(file(b"own", b"2"), file(b"bin/su", b"!#", mode=0o4755)))
    for number, made in enumerate((one, other)):
        write(made, tmp_path / f"root{number}", tmp_path / "pool")
        assert roots.of_folder(tmp_path / f"root{number}") == made.lines()
    first, second = (inodes(tmp_path / f"root{number}") for number in range(2))
    assert {name for name in first if first[name] != second[name]} == {"own", "bin/su"}
    assert roots.of_folder(tmp_path / "root0") == one.lines()


def test_how_much_is_saved(tmp_path: Path) -> None:
    made = Making.at(tmp_path / "1")(BASE)
    assert write(made, tmp_path / "one", tmp_path / "pool")[1] == directory.Shared()
    disk = {state.st_ino: state.st_blocks * 512 for state in files(tmp_path / "one").values()}
    assert write(made, tmp_path / "two", tmp_path / "pool")[1] == directory.Shared(sum(disk.values()))


X: dict[str, Any] = {"mtime_ns": TIME}
OTHERS: dict[str, bytes] = {
    "content at another place": file(b"before", b"1") + file(b"x", b"1", **X),
    "mode": file(b"x", b"1", mode=0o600, **X),
    "owner": file(b"x", b"1", uid=5, **X),
    "group": file(b"x", b"1", gid=5, **X),
    "mtime": file(b"x", b"1", mtime_ns=TIME + 1),
    "mtime before 1970": file(b"x", b"1", mtime_ns=-TIME),
    "size": file(b"x", b"12", **X),
    "xattr": file(b"x", b"1", xattrs={b"user.a": b"1"}, **X),
    "xattr's value": file(b"x", b"1", xattrs={b"user.a": b"2"}, **X),
    "xattr's name": file(b"x", b"1", xattrs={b"user.b": b"1"}, **X),
    "capability": file(b"x", b"1", xattrs={b"security.capability": CAPABILITY}, **X),
    "sparse": PLAIN["sparse"],
}


def test_each_that_is_another_has_another_name(tmp_path: Path) -> None:
    """Also where all are taken for one layer."""
    pool_names = set()
    for number, entry in enumerate((file(b"x", b"1", **X), *OTHERS.values())):
        made = Making.at(tmp_path / str(number))(archive(entry))
        with pooled(made, tmp_path / "pool") as found:
            alike = Pool(found.folder, ["layer"])
            directory.write(made.tree, made.tars.__getitem__, str(tmp_path / f"root{number}"), pool=alike)
        assert roots.of_folder(tmp_path / f"root{number}") == made.lines()
        now = set(os.listdir(tmp_path / "pool/layer"))
        assert now > pool_names
        pool_names = now


def test_what_is_not_shared(tmp_path: Path) -> None:
    """Empty files, and all that is no regular file: these have names of their own."""
    made = Making.at(tmp_path / "1")(BASE)
    write(made, tmp_path / "root", tmp_path / "pool")
    shared = {state.st_ino for state in files(tmp_path / "pool").values()}
    assert shared == set(inodes(tmp_path / "root").values())
    assert len(files(tmp_path / "pool")) == len(shared)  # no two names of one


def _edit(path: Path) -> None:
    """As one who writes into a file by way of one of its roots."""
    found = path.stat()
    path.write_bytes(b"odd")
    os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))


def _instead(path: Path, put: Callable[[Path], object]) -> None:
    path.unlink()
    put(path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "longer": _edit,
    "touched": lambda path: os.utime(path),
    "of another mode": lambda path: path.chmod(0o777),
    "of another owner": lambda path: os.chown(path, 5, 5),
    "a link": lambda path: _instead(path, lambda path: path.symlink_to("/etc/passwd")),
    "a dead link": lambda path: _instead(path, lambda path: path.symlink_to("no/such")),
    "a FIFO": lambda path: _instead(path, os.mkfifo),
    "a folder": lambda path: _instead(path, lambda path: path.mkdir()),
    "in no folder": lambda path: (os.system(f"rm -rf {path.parent}"), path.parent.write_text("")),
    "in a folder that is gone": lambda path: os.system(f"rm -rf {path.parent}"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_does_not_look_as_it_was_left_is_not_taken(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    made = Making.at(tmp_path / "1")(archive(file(b"d/f", b"1", **X), hardlink(b"l", b"d/f"), file(b"g", b"22")))
    write(made, tmp_path / "one", tmp_path / "pool")
    path = next(path for path in (tmp_path / "pool").glob("*/*") if path.stat().st_size == 1)
    damage(path)
    for number in range(2):
        write(made, tmp_path / f"after{number}", tmp_path / "pool")
        assert roots.of_folder(tmp_path / f"after{number}") == made.lines()


def test_what_was_dropped_is_shared_again(tmp_path: Path) -> None:
    made = Making.at(tmp_path / "1")(archive(file(b"f", b"1", **X), file(b"g", b"22")))
    write(made, tmp_path / "one", tmp_path / "pool")
    _edit(tmp_path / "one/f")
    for number in range(2):
        write(made, tmp_path / f"after{number}", tmp_path / "pool")
    first, second = (inodes(tmp_path / f"after{number}") for number in range(2))
    assert first == second
    assert first["g"] == inodes(tmp_path / "one")["g"]


def few_links(most: int) -> Callable[..., None]:
    """os.link on a file system where a file can have so many names."""
    link = os.link

    def call(*args: Any, **named: Any) -> None:
        if os.stat(args[0], dir_fd=named["src_dir_fd"], follow_symlinks=False).st_nlink >= most:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(*args, **named)

    return call


def test_more_names_than_a_file_can_have_begin_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", few_links(4))
    made = Making.at(tmp_path / "1")(archive(file(b"f", b"1"), file(b"g", b"22", xattrs={b"user.a": b"1"})))
    for number in range(10):
        assert not write(made, tmp_path / f"root{number}", tmp_path / "pool")[1].cannot
        assert roots.of_folder(tmp_path / f"root{number}") == made.lines()
    for name in "f", "g":
        counts = Counter((tmp_path / f"root{number}/{name}").stat().st_ino for number in range(10))
        assert list(counts.values()) == [3, 3, 3, 1]  # and one name in the pool
    assert len(os.listdir(tmp_path / "pool")) == 1


def test_a_file_with_several_names_has_them_in_each_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not run out of names within a root."""
    monkeypatch.setattr(os, "link", few_links(10))
    monkeypatch.setattr(pool, "MOST_NAMES", 10)
    made = Making.at(tmp_path / "1")(archive(file(b"f", b"1"), hardlink(b"g", b"f"), hardlink(b"h", b"f")))
    for number in range(8):
        left_out, _ = write(made, tmp_path / f"root{number}", tmp_path / "pool")
        assert not left_out
        assert roots.of_folder(tmp_path / f"root{number}") == made.lines()
    assert len({(tmp_path / f"root{number}/f").stat().st_ino for number in range(8)}) == 3


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EIO, errno.ENOSPC])
def test_where_nothing_can_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    link = os.link

    def refused(*args: Any, **named: Any) -> None:
        if isinstance(args[1], str):  # a name in the pool
            raise OSError(number, os.strerror(number))
        link(*args, **named)

    monkeypatch.setattr(os, "link", refused)
    made = Making.at(tmp_path / "1")(BASE)
    for at in "one", "two":
        assert write(made, tmp_path / at, tmp_path / "pool")[1] == directory.Shared(0, os.strerror(number))
        assert roots.of_folder(tmp_path / at) == made.lines()


@pytest.mark.parametrize("least", [1, 1 << 24])
def test_what_stays_of_an_older_root_is_shared_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    """Its content may be that of a layer which is new."""
    monkeypatch.setattr(parts, "_LEAST", least)
    many = [file(b"d%d/f%d" % (n % 3, n), b"x%d" % n) for n in range(30)]
    before = Making.at(tmp_path / "before")(archive(*many))
    after = Making.at(tmp_path / "after")(archive(file(b"new", b"1"), *many, file(b"d1/f4", b"2")))
    for at in "one", "two", "three":
        write(before, tmp_path / at, tmp_path / "pool")
    compared = difference.compare(before.tree, after.tree, before.same_content(after))
    stamps = directory.stamps(before.tree.nodes, str(tmp_path / "two"))
    with pooled(after, tmp_path / "pool", before) as found:
        # One by links to the old root, one made of a spare one; what the latter has the former must find, and both
        # what is written anew.
        previous = Previous(str(tmp_path / "one"), compared.kept)
        directory.write(after.tree, after.tars.__getitem__, str(tmp_path / "linked"), previous, pool=found)
        spare = Spare(Previous(str(tmp_path / "two"), compared.kept), compared.fuller, stamps, lambda _: ())
        directory.write(after.tree, after.tars.__getitem__, str(tmp_path / "two"), None, spare, found)
    write(after, tmp_path / "anew", tmp_path / "pool")
    found_inodes = [inodes(tmp_path / at) for at in ("linked", "two", "anew")]
    assert found_inodes[0] == found_inodes[1] == found_inodes[2]
    old = inodes(tmp_path / "three")
    assert {name for name in old if old[name] != found_inodes[0][name]} == {"d1/f4"}
    assert all(roots.of_folder(tmp_path / at) == after.lines() for at in ("linked", "two", "anew"))
    assert roots.of_folder(tmp_path / "three") == before.lines()


def test_a_root_that_has_files_of_its_own_gets_the_shared_ones(tmp_path: Path) -> None:
    """When another one was first to share the layer."""
    before = Making.at(tmp_path / "before")(archive(file(b"f", b"1"), file(b"g", b"2")))
    after = Making.at(tmp_path / "after")(archive(file(b"f", b"1"), file(b"g", b"2"), file(b"h", b"3")))
    before.write(tmp_path / "spare")
    write(after, tmp_path / "first", tmp_path / "pool")
    compared = difference.compare(before.tree, after.tree, before.same_content(after))
    stamps = directory.stamps(before.tree.nodes, str(tmp_path / "spare"))
    with pooled(after, tmp_path / "pool", before) as found:
        spare = Spare(Previous(str(tmp_path / "spare"), compared.kept), compared.fuller, stamps, lambda _: ())
        directory.write(after.tree, after.tars.__getitem__, str(tmp_path / "spare"), None, spare, found)
    assert inodes(tmp_path / "spare") == inodes(tmp_path / "first")
    assert roots.of_folder(tmp_path / "spare") == after.lines()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([1, 100_000]), st.sampled_from([1, 3]), st.sampled_from([3, 1000]))
def test_any_roots(tmp_path_factory: pytest.TempPathFactory, seed: int, least: int, workers: int, most: int) -> None:
    """Of few layers, in any order, anew or after one another, by one process or several: each is its tree, none is
    changed by those that follow, and what could be one file is one."""
    top = tmp_path_factory.mktemp("any")
    rng = random.Random(seed)
    few = [random_layer(rng) for _ in range(3)]
    made = [Making.at(top / f"made{number}")(*rng.choices(few, k=rng.randint(1, 3))) for number in range(4)]

    def work() -> None:
        if workers > 1:
            seats.set_out(workers)
            seats.sit(0)
        with seats.busy():
            for number, one in enumerate(made):
                before = rng.randrange(number) if number and rng.random() < 0.5 else None
                with pooled(one, top / "pool", made[before] if before is not None else None) as found:
                    previous = None
                    if before is not None:
                        compared = difference.compare(made[before].tree, one.tree, made[before].same_content(one))
                        previous = Previous(str(top / str(before)), compared.kept)
                    directory.write(one.tree, one.tars.__getitem__, str(top / str(number)), previous, pool=found)
                    assert not found.shared.cannot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_LEAST", least)
        patch.setattr(pool, "MOST_NAMES", most)
        child.in_child(work)  # type: ignore[arg-type]
    for number, one in enumerate(made):
        assert roots.of_folder(top / str(number)) == one.lines()
    assert all(path.parent != top / "pool" or path.is_dir() for path in (top / "pool").iterdir())
    if most == 1000:
        shared = {state.st_ino for state in files(top / "pool").values()}
        for number, one in enumerate(made):
            if "" not in names(one):
                assert set(inodes(top / str(number)).values()) <= shared
    os.system(f"rm -rf {top}")


def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes write the same root into one pool: none loses a file, and in the end each is there once."""
    made = Making.at(tmp_path / "1")(archive(*(file(b"d%d/f%d" % (n % 7, n), b"x%d" % n) for n in range(700))))
    for round_ in range(3):
        place, pids = tmp_path / f"pool{round_}", []
        place.mkdir()
        for number in range(4):
            if not (pid := os.fork()):
                try:
                    write(made, tmp_path / f"root{round_}-{number}", place)
                finally:
                    os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.waitpid(pid, 0)
        found = [inodes(tmp_path / f"root{round_}-{number}") for number in range(4)]
        assert found[0] == found[1] == found[2] == found[3]
        assert roots.of_folder(tmp_path / f"root{round_}-3") == made.lines()
        assert [path for path in place.iterdir() if path.name.startswith(".")] == []


def test_by_a_user(tmp_path: Path) -> None:
    """What a user cannot give to files is so in all roots; xattrs that they lack keep them from being shared."""
    home = tmp_path / "home"
    home.mkdir()
    open_ = [file(b"own", b"1"), file(b"owned", b"2", uid=7), file(b"su", b"3", mode=0o4755, uid=9)]
    capable = file(b"capable", b"4", xattrs={b"security.capability": CAPABILITY})
    made = Making(home)(archive(folder(b"d/"), *open_, capable)).nearby()

    def work() -> str:
        said = [str(write(made, at, "pool")[0]) for at in ("one", "two")]
        assert said[0] == said[1] == str(made.write("alone"))
        return ""

    child.as_user(work, home)
    assert roots.of_folder(home / "two") == roots.of_folder(home / "one") == roots.of_folder(home / "alone")
    first, second = inodes(home / "one"), inodes(home / "two")
    assert {name for name in first if first[name] != second[name]} == {"capable"}


def test_what_a_user_has_left_root_makes_better(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    made = Making(home)(archive(file(b"owned", b"2", uid=7))).nearby()
    child.as_user(lambda: str(write(made, "one", "pool")), home)
    at_home = Made(made.tree, made.contents, tuple(str(home / tar) for tar in made.tars))
    assert not write(at_home, home / "two", home / "pool")[0]
    assert roots.of_folder(home / "two") == made.lines()
