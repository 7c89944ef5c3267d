"""A root that is made of another one: the same as if it had been written anew, whatever the two trees are."""

from __future__ import annotations

import os
import random
import shutil
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c2wtasks.disk import files
from c2wtasks.process import seats
from c2wtasks.rootfs import dir as directory
from c2wtasks.rootfs.dir import Previous, Spare, Young, folders, parts, renewal, settled, writer
from c2wtasks.tree import difference
from tests.rootfs.making import Made, Making, needs_root
from tests.rootfs.test_directory import CAPABILITY, OPEN, PLAIN, ROOTS, TIME
from tests.support import child, roots
from tests.support.headers import archive, file, folder, hardlink, member, symlink

pytestmark = needs_root

ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, 7, 0xFFFFFFFF) for tag in (1, 4, 0x20))


@pytest.fixture(autouse=True)
def even_of_few_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of small roots, too, are known by their stamps."""
    monkeypatch.setattr(folders, "FEW", 0)


def renew(
    before: Made,
    now: Made,
    place: Path | str,
    stamps: Mapping[int, int],
    published: tuple[Made, Path | str] | None = None,
) -> list[int]:
    """Makes the folder `place`, which holds `before`, hold `now`. Gives the numbers of the layers that were read.
    `published` is the root that has come after `before`: it is known by its difference from that."""
    asked: list[int] = []

    def tar(number: int) -> str:
        asked.append(number)
        return now.tars[number]

    made, at = published or (before, place)
    until = difference.compare(before.tree, made.tree, before.same_content(made))
    delta = difference.delta(before.tree, made.tree, ("", ""), until, set())
    compared = difference.compare(made.tree, now.tree, made.same_content(now))
    previous = Previous(str(at), compared.kept)
    of_spare = difference.with_before(delta, made.tree, now.tree, compared)

    def xattrs(at: int) -> difference.Xattrs:
        return delta.xattrs.get(at, made.tree.nodes[at].xattrs)

    spare = Spare(Previous(str(place), of_spare.kept), of_spare.fuller, stamps, xattrs)
    directory.write(now.tree, tar, str(place), previous if published else None, spare)
    assert not os.path.exists(f"{place}-scratch")
    return sorted(set(asked))


def written(made: Made, place: Path | str) -> dict[int, int]:
    """Writes a root; gives its stamps."""
    made.write(place)
    return directory.stamps(made.tree.nodes, str(place))


def numbers(top: Path) -> dict[str, int]:
    return {os.path.relpath(f"{at}/{name}", top): os.lstat(f"{at}/{name}").st_ino
            for at, folders, names in os.walk(top) for name in (*folders, *names)}  # fmt: skip


@pytest.mark.parametrize("few", [0, folders.FEW])
def test_what_is_equal_stays(make: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(writer, "FEW", few)
    made = make(archive(*(parts for name, parts in {**PLAIN, **ROOTS}.items())))
    stamps = written(made, tmp_path / "root")
    before = numbers(tmp_path / "root")
    assert renew(made, made, tmp_path / "root", stamps) == []
    assert roots.of_folder(tmp_path / "root") == made.lines()
    assert numbers(tmp_path / "root") == before


def test_a_change_costs_its_size(make: Making, tmp_path: Path) -> None:
    many = [file(b"d%d/f%d" % (n % 9, n), b"x%d" % n) for n in range(300)]
    before = make(archive(*many))
    after = Making.at(tmp_path / "after")(archive(*many), archive(file(b"d3/new", b"1"), file(b"d4/f4", b"2")))
    stamps = written(before, tmp_path / "root")
    then = numbers(tmp_path / "root")
    with (tmp_path / "root/d4/f4").open():  # so that its inode is not given to another
        assert renew(before, after, tmp_path / "root", stamps) == [1]
    assert roots.of_folder(tmp_path / "root") == after.lines()
    now = numbers(tmp_path / "root")
    assert {name for name in now if now[name] != then.get(name)} == {"d3/new", "d4/f4"}


KINDS: dict[str, bytes] = {
    "nothing": b"",
    "file": file(b"x", b"1", mtime_ns=TIME),
    "other content": file(b"x", b"2", mtime_ns=TIME),
    "longer": file(b"x", b"12", mtime_ns=TIME),
    "other mtime": file(b"x", b"1", mtime_ns=TIME + 1),
    "other mode": file(b"x", b"1", mtime_ns=TIME, mode=0o755),
    "set-id": file(b"x", b"1", mtime_ns=TIME, mode=0o6755),
    "other owner": file(b"x", b"1", mtime_ns=TIME, uid=7, gid=8),
    "xattr": file(b"x", b"1", mtime_ns=TIME, xattrs={b"user.a": b"1"}),
    "other xattr": file(b"x", b"1", mtime_ns=TIME, xattrs={b"user.a": b"2"}),
    "capability": file(b"x", b"1", mtime_ns=TIME, xattrs={b"security.capability": CAPABILITY}),
    "symlink": symlink(b"x", b"t", mtime_ns=TIME),
    "other target": symlink(b"x", b"u", mtime_ns=TIME),
    "fifo": member(b"x", b"6", mtime_ns=TIME),
    "device": member(b"x", b"3", device=(1, 3), mtime_ns=TIME),
    "other device": member(b"x", b"3", device=(1, 5), mtime_ns=TIME),
    "folder": folder(b"x/", mtime_ns=TIME),
    "folder of another mtime": folder(b"x/", mtime_ns=TIME + 1),
    "folder of another mode": folder(b"x/", 0o2700, mtime_ns=TIME),
    "folder of another owner": folder(b"x/", mtime_ns=TIME, uid=5, gid=6),
    "folder with an xattr": folder(b"x/", mtime_ns=TIME, xattrs={b"user.a": b"1"}),
    "folder with another xattr": folder(b"x/", mtime_ns=TIME, xattrs={b"user.b": b"1"}),
    "shut folder": folder(b"x/", 0, mtime_ns=TIME) + file(b"x/in", b"1"),
    "full folder": folder(b"x/", mtime_ns=TIME) + file(b"x/in", b"1") + folder(b"x/deep/") + file(b"x/deep/f"),
    "hard links": file(b"w", b"1", mtime_ns=TIME) + hardlink(b"x", b"w", mtime_ns=TIME),
    "equal files": file(b"w", b"1", mtime_ns=TIME) + file(b"x", b"1", mtime_ns=TIME),
    "hard link to a later name": file(b"y", b"1", mtime_ns=TIME) + hardlink(b"x", b"y", mtime_ns=TIME),
    "more hard links": file(b"w", b"1", mtime_ns=TIME) + hardlink(b"x", b"w", mtime_ns=TIME) + hardlink(b"y", b"w"),
}
BOTH = folder(b"d/", mtime_ns=TIME) + file(b"d/f", b"same", mtime_ns=TIME)


@pytest.mark.parametrize("least", [1, 1 << 24])
def test_each_kind_after_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int) -> None:
    monkeypatch.setattr(parts, "_LEAST", least)
    made = {name: Making.at(tmp_path / f"{n}")(archive(BOTH, kind)) for n, (name, kind) in enumerate(KINDS.items())}
    for at, (first, before) in enumerate(made.items()):
        for second, after in made.items():
            place = tmp_path / "root"
            stamps = written(before, place)
            os.system(f"rm -rf {tmp_path}/other; cp -al {place} {tmp_path}/other")
            then = roots.of_folder(tmp_path / "other")
            renew(before, after, place, stamps)
            assert roots.of_folder(place) == after.lines(), (first, second, at)
            assert roots.of_folder(tmp_path / "other") == then, (first, second)  # nothing is written through a link
            files.remove_tree(str(place))


def random_layer(rng: random.Random) -> bytes:
    """A few of all kinds, in few folders, with few contents and metadata: so two of them have much in common."""
    names = [b"a", b"b", b"c/", b"c/a", b"c/b", b"c/d/", b"c/d/a", b"c/d/b", b"e/", b"e/a", b"e/b", b"z"]
    mtime = rng.choice([1, TIME])
    found, plain = [], []
    for name in names:
        fields = {"mtime_ns": rng.choice([mtime, 5]), "uid": rng.choice([0, 0, 0, 9])}
        xattrs = rng.choice([{}, {}, {b"user.a": b"1"}, {b"user.b": b"2"}])
        kind = rng.randrange(8)
        if name.endswith(b"/"):
            found.append(folder(name, rng.choice([0o755, 0o755, 0o2775, 0]), xattrs=xattrs, **fields))  # type: ignore[arg-type]
        elif kind < 4:
            content = rng.choice([b"", b"1", b"2", b"x" * 70_000])
            found.append(file(name, content, mode=rng.choice([0o644, 0o4755]), xattrs=xattrs, **fields))  # type: ignore[arg-type]
            plain.append(name)
        elif kind == 4 and plain:
            found.append(hardlink(name, rng.choice(plain)))
        elif kind == 5:
            found.append(symlink(name, rng.choice([b"t", b"u"]), **fields))  # type: ignore[arg-type]
        elif kind == 6:
            found.append(member(name, b"3", device=(1, rng.choice([3, 5])), **fields))  # type: ignore[arg-type]
    return archive(*found)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([1, 100_000, 1 << 24]), st.sampled_from([1, 3]))
def test_any_tree_after_any(tmp_path_factory: pytest.TempPathFactory, seed: int, least: int, workers: int) -> None:
    """The spare root, the published one and the new one have three trees; the first two share files."""
    place = tmp_path_factory.mktemp("any")
    rng = random.Random(seed)
    pool = [random_layer(rng) for _ in range(3)]
    layers = [[rng.choice(pool) for _ in range(rng.randint(1, 2))] for _ in range(3)]
    spare, published, new = (Making.at(place / str(n))(*each) for n, each in enumerate(layers))
    stamps = written(spare, place / "spare")
    published.after(spare, place / "spare", place / "published")

    def work() -> None:
        if workers > 1:
            seats.set_out(workers)
            seats.sit(0)
        with seats.busy():
            renew(spare, new, place / "spare", stamps, (published, place / "published"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "_LEAST", least)
        child.in_child(work)  # type: ignore[arg-type]
    assert roots.of_folder(place / "spare") == new.lines()
    assert roots.of_folder(place / "published") == published.lines()
    shutil.rmtree(place)


def _add(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"odd")


def _unseen(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """A change after which all mtimes are what they were."""

    def changed(top: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in [top, *top.rglob("*")]}
        change(top)
        for path, mtime_ns in before.items():
            if path.exists():
                os.utime(path, ns=(mtime_ns, mtime_ns))

    return changed


def _swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("third"))
    other.rename(one)
    one.with_name("third").rename(other)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a file is gone": lambda old: (old / "e/g").unlink(),
    "a file was touched": lambda old: os.utime(old / "e/g", ns=(1, 1)),
    "a file has another mode": lambda old: (old / "e/g").chmod(0o600),
    "a file is longer": lambda old: os.truncate(old / "e/g", 10),
    "a file is a folder": lambda old: ((old / "e/g").unlink(), (old / "e/g").mkdir(), _add(old / "e/g/in")),
    "a folder is gone": lambda old: files.remove_tree(str(old / "e")),
    "a folder is a file": lambda old: (files.remove_tree(str(old / "e")), _add(old / "e")),
    "a folder is a link": lambda old: ((old / "e").rename(old / "moved"), (old / "e").symlink_to("moved")),
    "a folder has another mode": lambda old: (old / "e").chmod(0o777),
    "a folder has another owner": lambda old: os.chown(old / "e", 5, 5),
    "something is put in": lambda old: _add(old / "e/odd"),
    "something is put in above": lambda old: _add(old / "odd"),
    "a folder is put in": lambda old: _add(old / "more/odd"),
    "a link became a copy": lambda old: ((old / "l").unlink(), _add(old / "l")),
    "two files are one": lambda old: ((old / "d/f").unlink(), os.link(old / "d/k", old / "d/f")),
    "two files are swapped": lambda old: _swap(old / "d/f", old / "d/k"),
    "two folders are swapped": lambda old: _swap(old / "d", old / "e"),
    "a folder is a copy": lambda old: (shutil.copytree(old / "d", old / "c"), _swap(old / "c", old / "d")),
}
DAMAGES |= {
    f"{what}, unseen": _unseen(DAMAGES[what])
    for what in ("something is put in", "something is put in above", "two files are one", "two files are swapped",
                 "two folders are swapped", "a folder is a copy", "a folder has another mode")
}  # fmt: skip


@pytest.mark.parametrize(("least", "few"), [(1, 0), (1 << 24, 0), (1 << 24, folders.FEW)])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_not_as_recorded_is_made_anew(
    make: Making,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], object],
    least: int,
    few: int,
) -> None:
    monkeypatch.setattr(parts, "_LEAST", least)
    monkeypatch.setattr(writer, "FEW", few)
    made = make(archive(file(b"d/f", b"1"), file(b"d/k", b"3"), file(b"e/g", b"2"), hardlink(b"l", b"e/g")))
    stamps = written(made, tmp_path / "root")
    damage(tmp_path / "root")
    renew(made, made, tmp_path / "root", stamps)
    assert roots.of_folder(tmp_path / "root") == made.lines()


def test_where_the_clock_is_coarse_no_folder_is_known(
    make: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has just been written could be changed once more, and have the same times: all is made anew then."""
    made = make(archive(file(b"d/f", b"1"), file(b"d/in/g", b"2"), file(b"e/g", b"3"), file(b"h")))
    assert len(written(made, tmp_path / "fine")) == 4
    monkeypatch.setattr(folders, "is_over", lambda _time_ns: False)
    stamps = written(made, tmp_path / "root")
    assert list(stamps) == [(tmp_path / "root").stat().st_ino]
    before = numbers(tmp_path / "root")
    with (tmp_path / "root/e/g").open(), (tmp_path / "root/d/f").open():  # so that their inodes are not given away
        renew(made, made, tmp_path / "root", stamps)
    now = numbers(tmp_path / "root")
    assert {name for name in now if now[name] == before[name]} == {"h"}
    assert roots.of_folder(tmp_path / "root") == made.lines()


def test_a_small_root_that_is_whole_is_only_looked_at(
    make: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(archive(folder(b"./", mode=0o750), file(b"d/f", b"1"), symlink(b"d/s", b"t"), hardlink(b"l", b"d/f")))
    stamps = written(made, tmp_path / "root")
    (tmp_path / "root").chmod(0o700)  # as a spare one is
    before = {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in (tmp_path / "root").rglob("*")}
    monkeypatch.setattr(renewal, "Renewal", None)
    assert renew(made, made, tmp_path / "root", stamps) == []
    assert {path: (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in before} == before
    assert roots.of_folder(tmp_path / "root") == made.lines()


@pytest.mark.parametrize("other", ["xattrs", "a default ACL"])
def test_of_a_small_root_all_is_looked_at(make: Making, tmp_path: Path, other: str) -> None:
    """What only an open folder tells, too."""
    before = now = make(archive(folder(b"./"), folder(b"d/", xattrs={b"user.a": b"1"} if other == "xattrs" else {})))
    stamps = written(before, tmp_path / "root")
    if other == "xattrs":
        now = Making.at(tmp_path / "after")(archive(folder(b"./"), folder(b"d/", xattrs={b"user.a": b"2"})))
    else:
        os.setxattr(tmp_path / "root", "system.posix_acl_default", ACL)
    renew(before, now, tmp_path / "root", stamps)
    assert roots.of_folder(tmp_path / "root") == now.lines()
    assert "system.posix_acl_default" not in os.listxattr(tmp_path / "root")


def test_a_young_folder_is_known_once_nobody_can_change_it_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that was changed since, nor one that is another, or gone."""
    for name in ("old", "changed", "another", "gone"):
        (tmp_path / name).mkdir()
    young = [Young(path.name.encode(), path.stat().st_ino, path.stat().st_ctime_ns) for path in tmp_path.iterdir()]
    time.sleep(0.02)
    (tmp_path / "changed/in").mkdir()
    (tmp_path / "another").rename(tmp_path / "changed/away")
    (tmp_path / "another").mkdir()
    (tmp_path / "gone").rmdir()
    old = (tmp_path / "old").stat()
    assert settled(young, str(tmp_path)) == {old.st_ino: old.st_ctime_ns}
    monkeypatch.setattr(folders, "is_over", lambda _time_ns: False)
    assert settled(young, str(tmp_path)) == {}


def test_by_a_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    made = Making(home)(archive(*OPEN, file(b"owned", uid=7))).nearby()

    def renewed() -> str:
        said = str(made.write("new"))
        renew(made, made, "old", written(made, "old"))
        return said

    child.as_user(renewed, home)
    assert roots.of_folder(home / "old") == roots.of_folder(home / "new")
