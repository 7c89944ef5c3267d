from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from c2wtasks.disk import files, locks
from c2wtasks.disk.locks import locked, locked_if_free
from c2wtasks.errors import OutputError
from tests.support.child import in_child

COUNT = """
import sys
from c2wtasks.disk.locks import locked
for _ in range(60):
    with locked("lock", None):
        with open("count") as stream:
            count = int(stream.read())
        with open("count", "w") as stream:
            stream.write(str(count + 1))
"""

HOLD = """
import sys, time
from c2wtasks.disk.locks import locked
with locked(sys.argv[1], None):
    print(flush=True)
    time.sleep(float(sys.argv[2]))
"""


def test_one_at_a_time_though_the_file_comes_and_goes(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    runs = [subprocess.Popen([sys.executable, "-c", COUNT], cwd=tmp_path) for _ in range(6)]
    assert [run.wait(60) for run in runs] == [0] * 6
    assert (tmp_path / "count").read_text() == "360"
    assert not (tmp_path / "lock").exists()


def test_who_holds_it_and_who_died(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    pids = []
    for _ in range(2):
        pids.append(_died_holding(path))
    host = os.uname().nodename
    with locked(path, None) as held:
        assert held.died == tuple(f"pid {pid} on {host}" for pid in pids)
        with locked_if_free(path) as other:
            assert other is None
        assert Path(path).read_text().splitlines() == [*held.died, locks.myself()]
        held.recovered()
        assert Path(path).read_text() == f"{locks.myself()}\n"
    assert not Path(path).exists()
    with locked_if_free(path) as held_at_once:
        assert held_at_once is not None
        assert held_at_once.died == ()


def _died_holding(path: str) -> int:
    code = (
        "import time\nfrom c2wtasks.disk.locks import locked\n"
        f"with locked({path!r}, None): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    return process.pid


@pytest.mark.parametrize("step", ["pwrite", "ftruncate"])
def test_who_died_is_known_though_the_next_one_dies_as_it_notes_itself(tmp_path: Path, step: str) -> None:
    path = str(tmp_path / "lock")
    first = _died_holding(path)
    child = os.fork()
    if child == 0:
        usual = getattr(os, step)

        def killed(*args: object) -> None:
            usual(*args)
            os.kill(os.getpid(), signal.SIGKILL)

        try:
            setattr(os, step, killed)
            with locked(path, None):
                pass
        finally:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with locked(path, None) as held:
        assert held.died == tuple(f"pid {pid} on {os.uname().nodename}" for pid in (first, child))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_gives_it_back_and_an_interrupt_does_not(tmp_path: Path, error: type[BaseException]) -> None:
    path = str(tmp_path / "lock")
    with pytest.raises(error), locked(path, None):
        raise error
    assert os.path.exists(path) == (error is KeyboardInterrupt)
    with locked(path, None) as held:
        assert held.died == ((locks.myself(),) if error is KeyboardInterrupt else ())
        held.unfinished = True
    assert os.path.exists(path)


def test_a_folder_that_is_taken_away(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with locked(str(folder / "lock"), None):
        (folder / "lock").unlink()
        folder.rmdir()
        folder.mkdir()
        with locked(str(folder / "lock"), None):  # another lock by the same name
            pass
    refused = pytest.raises(OutputError, match="lock: cannot be locked: No such file or directory")
    with refused, locked(str(tmp_path / "none/lock"), None):
        pass


@pytest.mark.parametrize(("mode", "want"), [(0o755, 0o600), (0o775, 0o660), (0o777, 0o666)])
def test_who_may_write_the_folder_may_take_the_lock(tmp_path: Path, mode: int, want: int) -> None:
    tmp_path.chmod(mode)
    before = os.umask(0o077)
    try:
        with locked(str(tmp_path / "lock"), None):
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == want
        files.make_folders(str(tmp_path / "a/b"), shared=True)
        files.make_folders(str(tmp_path / "c"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be several users")
def test_users_of_one_group(tmp_path: Path) -> None:
    """A folder of a group, set-group-id: what one user makes in it others can go on with, and take locks there."""
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, 1, 2000)
    shared.chmod(0o2775)

    def work() -> str:
        files.make_folders("locks", shared=True)
        with locked("locks/key", None) as held:
            files.make_folders("unfinished/key", shared=True)
            Path("unfinished/key/part").write_text("x")
            held.unfinished = True
            died = len(held.died)
        files.remove_tree("unfinished/key")
        return f"{died} {os.stat('locks').st_gid} {stat.S_IMODE(os.stat('locks').st_mode):o}"

    def as_user(uid: int) -> str:
        os.chdir(shared)
        os.setgroups([2000])
        os.setgid(uid)
        os.setuid(uid)
        return work()

    assert in_child(lambda: as_user(1001)) == "0 2000 2775"
    with pytest.raises(AssertionError, match="cannot be locked: Permission denied"):
        in_child(lambda: _outsider(shared))
    assert in_child(lambda: as_user(1002)) == "1 2000 2775"


def _outsider(shared: Path) -> str:
    os.chdir(shared)
    os.setgroups([])
    os.setgid(1003)
    os.setuid(1003)
    with locked("locks/key", None):
        return "held"


def test_waiting_is_announced_once(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    code = (
        "import sys\nfrom c2wtasks.disk.locks import locked\n"
        f"with locked({path!r}, None): print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        said: list[str] = []
        end = process.stdin.close
        with locked(path, lambda holder: (said.append(holder), end())):
            assert process.wait(30) == 0
    assert said == [f"pid {process.pid} on {os.uname().nodename}"]


def test_a_holder_takes_a_moment_to_write_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "lock")
    code = (
        "import fcntl, os, sys\n"
        f"lock = os.open({path!r}, os.O_CREAT | os.O_RDWR)\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\nprint(flush=True)\nsys.stdin.readline()\n"
        "os.write(lock, b'somebody\\n')\nprint(flush=True)\nsys.stdin.readline()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None
        stdout.readline()

        def sleep(_seconds: float) -> None:
            if not stdin.closed and os.stat(path).st_size == 0:
                stdin.write(b"\n")
                stdin.flush()
                stdout.readline()

        monkeypatch.setattr(locks.time, "sleep", sleep)
        said: list[str] = []
        with locked(path, lambda holder: (said.append(holder), stdin.close())):
            pass
    assert said == ["somebody"]


def test_the_true_holder_is_named(tmp_path: Path) -> None:
    """Whoever can open a lock's file can lock it: the one who is named in it may be long dead."""
    path = str(tmp_path / "lock")
    dead = _died_holding(path)
    code = f"import fcntl, os\nlock = os.open({path!r}, os.O_RDONLY)\nfcntl.flock(lock, fcntl.LOCK_EX)\n"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}print(flush=True)\ninput()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        said: list[str] = []

        def announce(holder: str) -> None:
            said.append(holder)
            assert other.stdin is not None
            other.stdin.close()

        with locked(path, announce) as held:
            assert held.died == (f"pid {dead} on {os.uname().nodename}",)
    assert said == [f"pid {other.pid} on {os.uname().nodename}"]


def test_waiting_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "lock")
    monkeypatch.setattr(locks, "_HOURS", 0)
    refused = pytest.raises(OutputError, match=r"lock: pid \d+ on .* has held this lock for 0 hours; end it")
    with locked(path, None), refused, locked(path, None):
        pass


def plant(kind: str, path: Path, canary: Path) -> None:
    match kind:
        case "link":
            path.symlink_to(canary)
        case "link to nothing":
            path.symlink_to(canary.parent / "new")
        case "hard link":
            path.hardlink_to(canary)
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "large file":
            path.write_bytes(bytes(1 << 17))
        case "link above":
            path.parent.rmdir()
            path.parent.symlink_to(canary.parent)


KINDS = ["link", "link to nothing", "hard link", "FIFO", "folder", "large file", "link above"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_put_in_its_place_is_left_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "canary").mkdir()
    canary = tmp_path / "canary/file"
    canary.write_text("secret")
    canary.chmod(0o600)
    folder = tmp_path / "shared/locks"
    folder.mkdir(parents=True)
    for one in (folder, folder.parent):
        one.chmod(0o2777)
    plant(kind, folder / "key", canary)
    before = canary.lstat()
    with pytest.raises(OutputError, match="key: cannot be locked"), locked(str(folder / "key"), None):
        pass
    with pytest.raises(OutputError, match="key: cannot be locked"), locked_if_free(str(folder / "key")):
        pass
    assert canary.read_text() == "secret"
    assert canary.lstat()[:9] == before[:9]
    assert [path.name for path in (tmp_path / "canary").iterdir()] == ["file"]
