"""The record of what was done, where it cannot be used."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from c2wtasks.engine.state import Backend
from c2wtasks.errors import OutputError
from tests.engine import toys
from tests.graph.catalogs import small_catalog
from tests.support.disks import NEEDS_ROOT
from tests.support.mounts import bindfs, memory, mounted_over
from tests.support.running import environment, executed, run_doit

IS_A_FOLDER = ".doit.db: is a folder, where the record of what was done must lie; move it away\n"


@pytest.mark.parametrize("parallel", [[], ["-n", "2"]], ids=["one by one", "-n 2"])
def test_a_folder_in_its_place(toy: Path, parallel: list[str]) -> None:
    (toy / ".doit.db").mkdir()
    (toy / ".doit.db/theirs").write_text("keep")
    result = run_doit(toy, *parallel)
    assert (result.exit, result.stdout, result.stderr) == (1, "", IS_A_FOLDER)
    assert (toy / ".doit.db/theirs").read_text() == "keep"
    assert not (toy / "calls").exists()
    (toy / ".doit.db").rename(toy / "elsewhere")
    assert executed(toy, *parallel) == toys.ALL


@pytest.mark.parametrize("command", ["why", "plan"])
def test_a_folder_in_its_place_is_told_by_commands(tmp_path: Path, command: str) -> None:
    small_catalog(tmp_path)
    (tmp_path / ".doit.db").mkdir()
    result = run_doit(tmp_path, command)
    assert (result.exit, result.stdout, result.stderr) == (1, "", IS_A_FOLDER)


def test_what_is_no_file(toy: Path) -> None:
    os.mkfifo(toy / ".doit.db")
    result = run_doit(toy)
    assert (result.exit, result.stdout) == (1, "")
    said = ".doit.db: is not a regular file, where the record of what was done must lie; move it away\n"
    assert result.stderr == said


def test_damaged_ones_are_moved_aside_and_none_is_lost(toy: Path) -> None:
    for number, name in enumerate((".doit.db.unusable", ".doit.db.unusable-2", ".doit.db.unusable-3")):
        (toy / ".doit.db").write_text(f"no record {number}")
        (toy / ".doit.db-journal").write_text("of that one")
        (toy / "blobs/web").write_text(f"web {number}")
        result = run_doit(toy)
        assert result.exit == 0
        said = "warning: .doit.db cannot be used (file is not a database); moved to"
        assert result.stderr == f"{said} {name}, and all is checked anew\n"
        assert (toy / name).read_text() == f"no record {number}"
        assert (toy / f"{name}-journal").read_text() == "of that one"
        assert executed(toy) == set()


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table t (x)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma user_version = 99")


@pytest.mark.parametrize(
    ("change", "said", "mend"),
    [
        (foreign, "is a database of another program; --db-file FILE puts the record elsewhere", ["--db-file", "own"]),
        (newer, "use the newer program, or remove the file: all is checked anew then", []),
    ],
)
def test_what_is_not_damaged_is_never_moved(
    toy: Path, change: Callable[[Path], None], said: str, mend: list[str]
) -> None:
    executed(toy)
    change(toy / ".doit.db")
    before = (toy / ".doit.db").read_bytes()
    result = run_doit(toy)
    assert (result.exit, result.stdout) == (1, "")
    assert result.stderr.startswith(".doit.db: is ")
    assert result.stderr.endswith(f"{said}\n")
    assert (toy / ".doit.db").read_bytes() == before
    assert not list(toy.glob(".doit.db.*"))
    if not mend:
        (toy / ".doit.db").unlink()
    assert executed(toy, *mend) == toys.ALL


def test_one_of_an_older_version_counts_as_none(toy: Path) -> None:
    executed(toy)
    with closing(sqlite3.connect(toy / ".doit.db")) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma user_version = 1")
    assert executed(toy) == toys.ALL
    assert executed(toy) == set()


@NEEDS_ROOT
def test_a_full_disk_says_nothing_against_it(tmp_path: Path) -> None:
    with memory(tmp_path / "small", "2m") as folder:
        toy = toys.make(folder / "toy")
        executed(toy)
        (toy / "blobs/web").write_text("another")
        good = (toy / ".doit.db").read_bytes()
        with (folder / "fill").open("wb", buffering=0) as fill, pytest.raises(OSError):
            while True:
                fill.write(bytes(4096))
        result = run_doit(toy)
        assert result.exit == 1
        assert "Traceback" not in result.stdout + result.stderr
        assert (toy / ".doit.db").read_bytes() == good
        assert not list(toy.glob(".doit.db.unusable*"))
        (folder / "fill").unlink()
        assert "layer:web" in executed(toy)


@NEEDS_ROOT
def test_where_no_file_can_be_mapped_shared(tmp_path: Path) -> None:
    back = toys.make(tmp_path / "back")
    with bindfs(back, tmp_path / "toy", "-o", "direct_io") as toy:
        assert executed(toy) == toys.ALL
        assert executed(toy) == set()
    assert executed(back) == set()


def test_a_path_that_sqlite_does_not_take(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    deep = tmp_path.joinpath(*["d" * 200] * 3)
    deep.parent.mkdir(parents=True)
    catalog = shutil.copytree(tmp_path, deep, ignore=shutil.ignore_patterns("d" * 200))
    assert run_doit(catalog, "plan").exit == 0
    result = run_doit(catalog)
    length = len(os.fsencode(catalog / ".doit.db"))
    hint = f"its whole path has {length} bytes, and SQLite takes 503: --db-file FILE puts the record elsewhere"
    assert (result.exit, result.stdout) == (1, "")
    assert result.stderr == f".doit.db: what was done cannot be recorded: unable to open database file; {hint}\n"
    assert run_doit(catalog, "--db-file", str(tmp_path / "own")).exit == 0
    assert executed(catalog, "--db-file", str(tmp_path / "own")) == set()


@NEEDS_ROOT
def test_one_that_belongs_to_another(tmp_path: Path) -> None:
    """After one `sudo doit`: told before any work is done, with the way round."""
    small_catalog(tmp_path)
    assert run_doit(tmp_path).exit == 0
    shutil.rmtree(tmp_path / "bundles")
    for path in (tmp_path, *(tmp_path / "cache").rglob("*"), tmp_path / "cache"):
        os.chown(path, 12345, 12345)
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]

    def by_user(*args: str) -> subprocess.CompletedProcess[str]:
        command = [*user, "/usr/bin/python3", "-c", AS_DOIT, *args]
        return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    for above in tmp_path.parents[:3]:
        above.chmod(above.stat().st_mode | 0o055)
    done = by_user("-r", "console")
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("/usr/bin/python3 cannot load what this environment has installed")
    assert done.returncode == 1
    assert not [line for line in done.stdout.splitlines() if not line.startswith("-- ")]
    assert done.stderr == (
        ".doit.db: what was done cannot be recorded: attempt to write a readonly database; "
        "it belongs to root: run as root, or --db-file FILE puts the record elsewhere\n"
    )
    assert by_user("--db-file", "own.db").returncode == 0


AS_DOIT = f"""
import sys
sys.path[:0] = {sys.path!r}
from doit.doit_cmd import DoitMain
sys.exit(DoitMain().run(sys.argv[1:]))
"""


@NEEDS_ROOT
def test_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    toy = toys.make(tmp_path / "toy")
    with mounted_over(toy, tmp_path / "seen", "ro") as seen:
        result = run_doit(seen)
        assert (result.exit, result.stdout) == (1, "")
        way = "--db-file FILE puts the record, and its lock beside it, elsewhere"
        assert result.stderr == f".doit.db.lock: cannot be locked: Read-only file system; {way}\n"


# Damage.


def record(number: int) -> dict[str, object]:
    return {"result:": None, "deps:": [f"file{number}"] * (number % 7), "_values_:": {"x": "y" * (number % 90)}}


def filled(path: Path) -> None:
    state = Backend(str(path))
    for number in range(120):
        for key, value in record(number).items():
            state.set(f"tree:image{number}@linux/amd64", key, value)
    state.dump()


def damaged(content: bytes, rng: random.Random) -> bytes:
    broken = bytearray(content)
    at = rng.randrange(len(broken) if rng.random() < 0.7 else 200)
    match rng.randrange(8):
        case 0:
            del broken[at:]
        case 1:
            broken[at : at + 700] = bytes(min(700, len(broken) - at))
        case 2:
            broken[at : at + 64] = rng.randbytes(min(64, len(broken) - at))
        case _:
            broken[at] ^= 1 << rng.randrange(8)
    return bytes(broken)


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_is_believed(tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What is remembered is what was recorded, or nothing; and what is recorded then is there afterwards."""
    rng = random.Random(seed)
    filled(tmp_path / "good")
    good = (tmp_path / "good").read_bytes()
    path = tmp_path / "db"
    refused = kept = 0
    for _ in range(150):
        path.write_bytes(damaged(good, rng))
        reading = Backend(str(path))
        before = path.read_bytes()
        try:
            found = {number: reading.record(f"tree:image{number}@linux/amd64") for number in range(120)}
        except OutputError:  # its header makes it another program's, or a newer one's
            refused += 1
            continue
        assert all(have in ({}, record(number)) for number, have in found.items())
        kept += sum(bool(have) for have in found.values())
        reading.discard()
        reading.dump()
        assert path.read_bytes() == before
        assert set(os.listdir(tmp_path)) == {"good", "db"}
        writing = Backend(str(path))
        writing.set("new", "key", "value")
        writing.dump()
        again = Backend(str(path))
        assert again.get("new", "key") == "value"
        assert all(again.record(f"tree:image{number}@linux/amd64") in ({}, have) for number, have in found.items())
        again.dump()
        for one in tmp_path.glob("db*"):
            one.unlink()
    assert refused < 15
    assert kept > 150 * 120 / 4
    assert "Traceback" not in capsys.readouterr().err


def test_damage_costs_only_the_tasks_it_is_in(toy: Path) -> None:
    executed(toy)
    with closing(sqlite3.connect(toy / ".doit.db")) as database, database:
        (row,) = database.execute("select data from task where id = 'tree:api@linux/amd64'").fetchone()
        flipped = bytearray(row)
        flipped[20] ^= 4
        database.execute("update task set data = ? where id = 'tree:api@linux/amd64'", (bytes(flipped),))
    result = run_doit(toy, "-r", "console")
    assert (result.exit, result.stderr) == (
        0,
        "warning: .doit.db: a record in it cannot be used (damaged): taken as if never done\n",
    )
    assert [line for line in result.stdout.splitlines() if line.startswith(".")] == [".  tree:api@linux/amd64"]
    assert executed(toy) == set()


def test_damage_that_shows_when_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that was read is in the file that takes its place."""
    path = tmp_path / "db"
    filled(path)
    state = Backend(str(path))
    assert not state.lost
    content = bytearray(path.read_bytes())
    content[100:110] = b"\xff" * 10  # the first page, after it was read
    path.write_bytes(content)
    state.set("new", "key", "value")
    state.commit()
    state.dump()
    assert "moved to" in capsys.readouterr().err
    again = Backend(str(path))
    assert again.get("new", "key") == "value"
    assert all(again.record(f"tree:image{number}@linux/amd64") == record(number) for number in range(120))


KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("pragma cache_size = 1")
database.execute("pragma journal_mode = persist")
database.execute("begin")
database.execute("update task set data = zeroblob(3000)")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_as_it_wrote(tmp_path: Path) -> None:
    """Who reads finds what was there before, and leaves the file as it is; who writes goes on from there."""
    path = tmp_path / "db"
    filled(path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    assert set(before) == {"db", "db-journal"}
    reading = Backend(str(path))
    assert all(reading.record(f"tree:image{number}@linux/amd64") == record(number) for number in range(120))
    reading.dump()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    writing = Backend(str(path))
    writing.set("new", "key", "value")
    writing.dump()
    again = Backend(str(path))
    assert again.get("new", "key") == "value"
    assert all(again.record(f"tree:image{number}@linux/amd64") == record(number) for number in range(120))
    assert set(os.listdir(tmp_path)) == {"db"}
