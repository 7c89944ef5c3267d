"""Two runs at once: in one repository the second waits; two that share a cache read each layer once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from c2wtasks.disk import locks
from tests.engine import toys
from tests.graph.catalogs import small_catalog, write_catalog
from tests.soak import pairs
from tests.support.hooking import LARGE_LAYERS, READINGS, hooked
from tests.support.running import environment, executed, run_doit

LIMIT = 90  # seconds, for what takes well under one


@contextmanager
def running(folder: Path, *args: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "doit", *args],
        cwd=folder,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    """The first that it says on stderr."""
    assert process.stderr is not None
    return process.stderr.readline()


@contextmanager
def busy(folder: Path) -> Iterator[str]:
    """A run of the repository seems to be at work. Gives who says so."""
    with locks.locked(str(folder / ".doit.db.lock"), None):
        yield locks.myself()


def test_the_second_waits_and_has_nothing_left_to_do(toy: Path) -> None:
    with (toy / "dodo.py").open("a") as dodo:
        dodo.write(toys.HELD)
    (toy / "hold").touch()
    with running(toy) as first:
        deadline = time.monotonic() + LIMIT
        while not (toy / "calls").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with running(toy, "-r", "json") as second:
            assert first_line(second) == (
                f"waiting for pid {first.pid} on {os.uname().nodename}, which is at work here\n"
            )
            (toy / "hold").unlink()
            assert first.communicate(timeout=LIMIT)[1] == ""
            stdout, stderr = second.communicate(timeout=LIMIT)
    assert (first.returncode, second.returncode, stderr) == (0, 0, "")
    assert {task["result"] for task in json.loads(stdout)["tasks"] if ":" in task["name"]} == {"up-to-date"}
    assert not (toy / ".doit.db.lock").exists()
    assert not (toy / "recovered").exists()


@pytest.mark.parametrize("args", [[], ["-n", "2"], ["clean"], ["forget"]], ids=" ".join)
def test_an_interrupt_while_waiting(toy: Path, args: list[str]) -> None:
    with busy(toy) as who, running(toy, *args) as process:
        assert first_line(process) == f"waiting for {who}, which is at work here\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=LIMIT)
    assert (process.returncode, stdout) == (130, "")
    assert stderr.startswith("interrupted")
    assert not (toy / "calls").exists()


@pytest.mark.parametrize("args", [["clean", "bundle:api@*"], ["forget", "api"]], ids=" ".join)
def test_changes_by_other_commands_wait_too(toy: Path, args: list[str]) -> None:
    executed(toy)
    with busy(toy) as who, running(toy, *args) as process:
        assert first_line(process) == f"waiting for {who}, which is at work here\n"
        process.kill()
        process.wait()
    assert executed(toy) == set()
    assert run_doit(toy, *args).exit == 0
    assert executed(toy) == {"bundle:api@linux/amd64"}


def test_other_commands_do_not_wait(toy: Path) -> None:
    with busy(toy):
        assert run_doit(toy, "list", "--all", "-s").exit == 0
        assert run_doit(toy, "info", "bundle:api@linux/amd64").exit in (0, 1)


def test_what_a_dead_run_left_is_seen_to_once(toy: Path) -> None:
    with running(toy, slow="600") as first:
        deadline = time.monotonic() + LIMIT
        while not (toy / "calls").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert (toy / ".doit.db.lock").read_text() == f"pid {first.pid} on {os.uname().nodename}\n"
    assert run_doit(toy).stderr == ""
    assert run_doit(toy).stderr == ""
    assert (toy / "recovered").read_text() == "once\n"


def test_a_state_file_that_cannot_be_locked(toy: Path) -> None:
    result = run_doit(toy, "--db-file", "no/such.db")
    assert (result.exit, result.stdout) == (1, "")
    assert result.stderr == "no/such.db.lock: cannot be locked: No such file or directory\n"


def test_a_layer_that_another_run_reads_is_waited_for_by_name(tmp_path: Path) -> None:
    small_catalog(tmp_path)
    plan = executed(tmp_path)
    key = next(task for task in plan if task.startswith("layer:")).removeprefix("layer:")
    assert run_doit(tmp_path, "clean", "--yes").exit == 0
    for path in (tmp_path / "cache/layers/receipts/sha256").iterdir():
        path.unlink()
    folder = tmp_path / "cache/layers/locks"
    folder.mkdir()
    env = hooked(tmp_path / "hook", LARGE_LAYERS)
    with locks.locked(str(folder / key), None), running(tmp_path, **env) as process:
        assert first_line(process) == f"layer sha256:{key[:12]}: waiting for {locks.myself()}, which reads it\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT) == 130


@pytest.mark.parametrize("number", range(2))
def test_two_at_once(tmp_path: Path, number: int) -> None:
    pairs.prepare(tmp_path)
    pairs.one_repository(tmp_path, number)
    pairs.one_cache(tmp_path, number)


def test_two_at_once_of_which_one_makes_roots_of_spare_ones(tmp_path: Path) -> None:
    pairs.prepare(tmp_path)
    pairs.spare_roots(tmp_path, 0)


def test_each_layer_is_read_once(tmp_path: Path) -> None:
    images = small_catalog(tmp_path)
    write_catalog(tmp_path, images, cache="../shared")
    log = tmp_path / "readings"
    env = hooked(tmp_path / "hook", READINGS, READINGS=str(log))
    assert run_doit(tmp_path, env=env).exit == 0
    assert set(Counter(log.read_text().split()).values()) == {1}
