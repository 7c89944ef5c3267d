"""The pool of an output: who may have put files there, what is thrown away of it, and when."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.output import pool, waiting

ONE, OTHER = ("sha256:" + digit * 64 for digit in "ab")
HEX = ONE.partition(":")[2]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    (tmp_path / ".parts").mkdir()
    return tmp_path


def put(output: Path, name: str, *, roots: int, layers: tuple[str, ...] = (ONE,)) -> Path:
    """A file that is shared by so many roots; gives its path in the pool."""
    with pool.opened(pool.path_of(str(output)), layers, ()):
        pass
    paths = [output / ".parts/.shared" / layer.partition(":")[2] / name for layer in layers]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
    paths[0].write_text("x" * 5000)
    for path in (*paths[1:], *(output / f"{name}-{number}" for number in range(roots))):
        os.link(paths[0], path)
    return paths[0]


def reopened(output: Path) -> None:
    with pool.opened(pool.path_of(str(output)), [ONE], ()) as found:
        assert not found.shared.cannot


def test_what_is_known_of_layers(output: Path) -> None:
    put(output, "x", roots=1)
    with pool.opened(pool.path_of(str(output)), [ONE, OTHER], [OTHER]) as found:
        assert found.layers == [HEX, "b" * 64]
        assert found.unknown == {0, 1}  # the one had not been there before, of the other there is nothing in the pool
    with pool.opened(pool.path_of(str(output)), [ONE], [ONE]) as found:
        assert found.unknown == set()


def test_a_layer_that_is_there_twice_is_not_shared(output: Path) -> None:
    with pool.opened(pool.path_of(str(output)), [ONE, OTHER, ONE], ()) as found:
        assert found.layers == ["", "b" * 64, ""]


INSTEAD: dict[str, Callable[[Path], object]] = {
    "a folder that others can look into": lambda path: path.chmod(0o755),
    "a folder that a group can write to": lambda path: path.chmod(0o720),
    "another's folder": lambda path: os.chown(path, 5, 5),
    "a file": lambda path: (os.system(f"rm -r {path}"), path.write_text("")),
    "a link": lambda path: (path.rename(path.parent / "moved"), path.symlink_to("moved")),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another's folder")
@pytest.mark.parametrize("put_there", INSTEAD.values(), ids=INSTEAD)
def test_what_others_can_have_put_there_is_thrown_away(output: Path, put_there: Callable[[Path], object]) -> None:
    path = put(output, "x", roots=1)
    put_there(output / ".parts/.shared")
    reopened(output)
    assert not path.exists()
    assert (output / ".parts/.shared").stat().st_mode & 0o777 == 0o700
    assert (output / "x-0").read_text() == "x" * 5000


def test_where_there_can_be_none(output: Path) -> None:
    with pool.opened(f"{output}/gone/.shared", [ONE], ()) as found:
        assert found.shared.cannot == os.strerror(2)


@pytest.mark.parametrize("boot", [b"", b"another"])
def test_after_a_start_of_the_machine_only_what_roots_have_counts(output: Path, boot: bytes) -> None:
    kept, alone = put(output, "x", roots=1), put(output, "y", roots=0)
    reopened(output)
    assert alone.exists()
    (output / ".parts/.shared/boot").write_bytes(boot)
    reopened(output)
    assert kept.exists()
    assert not alone.exists()
    assert (output / ".parts/.shared/boot").read_text() == waiting.boot()


def tidy(output: Path, *wanted: str, loose: int | None = None) -> int:
    return pool.tidy(str(output), wanted, 1_000_000, loose)


def test_layers_that_nobody_has_go(output: Path) -> None:
    kept, gone = put(output, "x", roots=1), put(output, "y", roots=1, layers=(OTHER,))
    assert tidy(output, ONE, loose=0) == 0
    assert kept.exists()
    assert not gone.parent.exists()
    assert (output / "y-0").exists()


@pytest.mark.parametrize("layers", [(ONE,), (ONE, OTHER)])
def test_what_no_root_has_goes_when_all_is_looked_at(output: Path, layers: tuple[str, ...]) -> None:
    """However many names it has in the pool."""
    alone, kept = put(output, "x", roots=0, layers=layers), put(output, "y", roots=1, layers=layers)
    disk = alone.stat().st_blocks * 512
    assert tidy(output, ONE, OTHER) == disk
    assert not alone.exists()
    assert kept.exists()


def test_all_is_looked_at_when_much_is_loose(output: Path) -> None:
    alone = put(output, "x", roots=0)
    for loose, noted in ((30_000, b"30000"), (0, b"30000"), (30_000, b"60000")):
        assert tidy(output, ONE, loose=loose) == 0
        assert (output / ".parts/.shared/loose").read_bytes() == noted
    disk = alone.stat().st_blocks * 512
    assert tidy(output, ONE, loose=2_500) == disk
    assert not alone.exists()
    assert not (output / ".parts/.shared/loose").exists()


@pytest.mark.parametrize("text", [b"", b"-5", b"a lot", b"9" * 200])
def test_a_damaged_note_counts_for_nothing(output: Path, text: bytes) -> None:
    alone = put(output, "x", roots=0)
    (output / ".parts/.shared/loose").write_bytes(text)
    assert tidy(output, ONE, loose=10) == 0
    assert alone.exists()


def test_a_pool_that_nobody_needs_goes(output: Path) -> None:
    put(output, "x", roots=1)
    assert tidy(output) == 0
    assert not (output / ".parts/.shared").exists()
    assert tidy(output) == tidy(output, ONE) == 0


def test_what_is_dropped(output: Path) -> None:
    first, second = put(output, "x", roots=1, layers=(ONE, OTHER)), put(output, "y", roots=1)
    pool.drop(str(output), {first.stat().st_ino})
    assert not first.exists()
    assert not (output / ".parts/.shared" / ("b" * 64) / "x").exists()
    assert second.exists()
    pool.drop(f"{output}/none", {1})


def test_what_a_killed_process_has_left(output: Path) -> None:
    kept = put(output, "x", roots=1)
    os.link(kept, output / ".parts/.shared/.tmp-123")
    pool.recover(str(output))
    assert {path.name for path in (output / ".parts/.shared").iterdir()} == {HEX, "boot"}
