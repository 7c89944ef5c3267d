"""What a run shows on a terminal, as a terminal shows it (`pyte`)."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
import pytest

from tests.engine import toys
from tests.engine.test_report import PRODUCTS
from tests.support.running import environment

LIMIT = 60  # seconds
STALE = re.compile(r"^  (?:tree|layer|bundle|publishing|and )|#{3,}|-{3,}| left\b")
"""What only the block has."""


class Terminal:
    """A run of `doit` on a terminal of its own; `screen` is what that shows."""

    def __init__(self, folder: Path, columns: int, rows: int, *args: str, **env: str) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.fd, inner = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "doit", *args],
            cwd=folder,
            env=environment({"TERM": "xterm-256color", **env}),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )
        os.close(inner)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def take(self, seconds: float) -> bool:
        """Takes what comes within that time, and says whether more may come."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.fd], [], [], left)[0]:
                return True
            try:
                content = os.read(self.fd, 1 << 16)
            except OSError:
                content = b""
            if not content:
                return False
            self.written += content
            self._stream.feed(content)
        return True

    def wait_for(self, seen: Callable[[list[str]], bool]) -> None:
        deadline = time.monotonic() + LIMIT
        while not seen(self.lines()):
            assert self.take(0.02), self.lines()
            assert time.monotonic() < deadline, self.lines()

    def end(self) -> list[str]:
        """Takes all to the end of the run, and gives the lines that stay."""
        deadline = time.monotonic() + LIMIT
        while self.take(0.2):
            assert time.monotonic() < deadline
        self.process.wait()
        return self.lines()

    def lines(self) -> list[str]:
        above = ["".join(row[at].data for at in range(self.screen.columns)) for row in self.screen.history.top]
        return [line.rstrip() for line in (*above, *self.screen.display) if line.strip()]


@contextmanager
def terminal(folder: Path, columns: int, rows: int, *args: str, **env: str) -> Iterator[Terminal]:
    run = Terminal(folder, columns, rows, *args, **env)
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()
        os.close(run.fd)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The toy, whose bundles are products, and whose trees tell how far they are."""
    folder = toys.make(tmp_path / "toy")
    with (folder / "dodo.py").open("a") as dodo:
        dodo.write(PRODUCTS)
    return folder


def at_work(lines: list[str]) -> bool:
    return any(line.startswith("  tree:") for line in lines)


def check_whole(run: Terminal, lines: list[str]) -> None:
    """That nothing of the block has stayed, and that the cursor stands, to be seen, below what has."""
    assert [line for line in lines if STALE.search(line)] == []
    assert not run.screen.cursor.hidden
    below = run.screen.display[run.screen.cursor.y].strip()
    assert (below, run.screen.cursor.x) in [("", 0), ("^C", 2)]  # that was typed when the run had ended


@pytest.mark.parametrize("parallel", ["1", "2", "8"])
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12), (32, 6), (200, 60)])
def test_block_comes_and_goes(shop: Path, columns: int, rows: int, parallel: str) -> None:
    with terminal(shop, columns, rows, "-n", parallel, slow="0.7") as run:
        run.wait_for(at_work)
        block = run.lines()
        assert len(block) <= rows
        assert any(re.match(r"[0-3]/3  \d:\d\d", line) for line in block), block
        lines = run.end()
    assert run.process.returncode == 0
    check_whole(run, lines)
    text = "".join(lines)
    assert all(f"built    {name}" in text for name in ("api@linux", "web@linux"))
    assert re.search(r"3 built in .* s; out/ 8\.4 MB$", text)


def test_nothing_to_do_takes_no_block(shop: Path) -> None:
    with terminal(shop, 80, 24) as run:
        run.end()
    with terminal(shop, 80, 24) as run:
        lines = run.end()
    assert len(lines) == 1
    assert b"\x1b" not in run.written


@pytest.mark.parametrize("number", range(50))
def test_interrupted_at_any_moment(shop: Path, number: int) -> None:
    with terminal(shop, 80, 24, "-n", "2", slow="0.5") as run:
        run.take(0.2 + number * 0.04)
        os.write(run.fd, b"\x03")
        lines = run.end()
    assert run.process.returncode in (0, 130)
    if run.process.returncode:
        assert lines[-1].startswith(("interrupted", "^Cinterrupted"))
    check_whole(run, lines)


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_ended_by_another_signal(shop: Path, signal_: signal.Signals) -> None:
    with terminal(shop, 80, 24, "-n", "2", slow="5") as run:
        run.wait_for(at_work)
        run.process.send_signal(signal_)
        lines = run.end()
    assert run.process.returncode == 128 + signal_
    check_whole(run, lines)


def test_what_is_printed_meanwhile_stands_above(shop: Path) -> None:
    with (shop / "dodo.py").open("a") as dodo:
        dodo.write(
            "from c2wtasks.notices import tell\nusual = tree\n"
            "def tree(bundle):\n    usual(bundle)\n    tell(f'note: of {bundle}')\n    print('spoken', end='!\\n')\n"
        )
    with terminal(shop, 80, 24, "-n", "2", "-v2", slow="0.6") as run:
        lines = run.end()
    check_whole(run, lines)
    assert lines.count("spoken!") == 3
    assert sorted(line for line in lines if line.startswith("note: ")) == [
        "note: of api@linux/amd64",
        "note: of web@linux/amd64",
        "note: of web@linux/arm64",
    ]


def test_resized_meanwhile(shop: Path) -> None:
    with terminal(shop, 120, 30, "-n", "2", slow="1.5") as run:
        run.wait_for(at_work)
        for columns, rows in ((40, 12), (100, 20), (60, 8), (120, 30)):
            run.resize(columns, rows)
            run.take(0.3)
            assert all(len(line.rstrip()) < columns for line in run.screen.display if line.startswith("  tree:"))
        lines = run.end()
    assert run.process.returncode == 0
    check_whole(run, lines)


def test_without_colours(shop: Path) -> None:
    with terminal(shop, 80, 24, "-n", "2", slow="0.6", NO_COLOR="1") as run:
        run.end()
    assert set(re.findall(rb"\x1b\[[0-9;]*m", run.written)) <= {b"\x1b[1m", b"\x1b[0m", b"\x1b[2m"}


def test_a_dumb_terminal_gets_lines_only(shop: Path) -> None:
    with terminal(shop, 80, 24, "-n", "2", slow="0.6", TERM="dumb") as run:
        lines = run.end()
    assert b"\x1b" not in run.written
    assert len(lines) == 4
