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

from c2wtasks.engine.block import Line, View, lines, shortened, width
from c2wtasks.engine.work import Amount
from c2wtasks.telling.progress import Progress
from tests.engine import toys
from tests.engine.test_report import PRODUCTS
from tests.graph.catalogs import write_catalog
from tests.support.running import environment

LIMIT = 60  # seconds
STAGES = r"reading bundle\.yaml|looking images up|making tasks|checking |planning|finishing|removing what"
STALE = re.compile(rf"^  (?:tree|layer|bundle|publishing|and |{STAGES})|^(?:{STAGES})|#{{3,}}|-{{3,}}| left\b")
"""What only the block has, and the line before it."""
BEGUN = b"\x07"
STARTED = """
from c2wtasks.engine import early
early.catch()
import os
os.write(1, b"\\x07")
from c2wtasks.__main__ import main
main()
"""
"""Before Python runs the first line of a program nothing can be caught. A bell tells when it has."""


def _at_the_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what runs in the background may ignore it


class Terminal:
    """A run of `doit` on a terminal of its own; `screen` is what that shows."""

    def __init__(self, folder: Path, columns: int, rows: int, *args: str, **env: str) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.fd, inner = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-c", STARTED, *args],
            cwd=folder,
            env=environment({"TERM": "xterm-256color", **env}),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            preexec_fn=_at_the_terminal,
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

    def begun(self) -> None:
        """Waits until signals are caught."""
        self.wait_for(lambda _lines: BEGUN in self.written)

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


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, "  layer sha256:0123456789ab                        reading 1.5 MB of 95.0 MB"),
        (60, "  layer sha256:0123456789ab    reading 1.5 MB of 95.0 MB"),
        (54, "  layer 0123456789ab     reading 1.5 MB of 95.0 MB"),
        (40, "  layer 01234567…  1.5 MB of 95.0 MB"),
        (30, "  layer 0123456789ab    1%"),
        (24, "  layer 0123456…  1%"),
        (14, "  1%"),
    ],
)
def test_where_there_is_little_room_the_name_comes_first(columns: int, shown: str) -> None:
    at_work = [("layer sha256:0123456789ab", Progress("reading", 1_500_000, 95_000_000, 0), 3.0)]
    view = View(0, 1, Amount(0, 0, None, None), 3.0, at_work)
    (_, line) = lines(view, columns, 24)
    assert line.in_codes(colours=False) == shown
    assert line.in_codes(colours=True).endswith(f"{shown[-2:]}\x1b[0m")


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("abcdef", 1, "…"),
        ("abcdef", 0, ""),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_what_takes_no_column_or_two(text: str, columns: int, shown: str) -> None:
    found = shortened(text, columns)
    assert found == shown
    assert width(found) <= columns
    screen = pyte.Screen(20, 1)
    pyte.Stream(screen).feed(found)
    assert screen.cursor.x == width(found)


def test_a_line_ends_where_there_is_no_more_room() -> None:
    line = Line("abc").add("  defg", "36").add("hij", "")
    line.cut(8)
    assert line.in_codes(colours=True) == "abc\x1b[36m  de…\x1b[0m"
    assert line.width == 8


def test_nothing_to_do_takes_no_block(shop: Path) -> None:
    with terminal(shop, 80, 24) as run:
        run.end()
    with terminal(shop, 80, 24) as run:
        lines = run.end()
    assert len(lines) == 1
    assert b"\x1b" not in run.written.replace(b"\r\x1b[K", b"")  # of a line before the block, on a busy machine


def interrupted(folder: Path, seconds: float, number: int, *args: str, **env: str) -> int:
    """Interrupts a run at that moment, checks what it leaves, and gives its exit status. SIGINT is typed."""
    with terminal(folder, 80, 24, *args, **env) as run:
        run.begun()
        run.take(seconds)
        if number == signal.SIGINT:
            os.write(run.fd, b"\x03")
        else:
            run.process.send_signal(number)
        lines = run.end()
    assert run.process.returncode in (0, 128 + number), lines
    if run.process.returncode:
        assert lines[-1].startswith(("interrupted", "^Cinterrupted")), lines
        assert not any("nothing to do" in line for line in lines)
    check_whole(run, lines)
    return run.process.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("seconds", [0, 0.15, 0.3, 0.5, 0.7, 1, 1.4])
def test_interrupted_at_any_moment(shop: Path, seconds: float, number: signal.Signals) -> None:
    interrupted(shop, seconds, number, "-n", "2", slow="0.5")


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_ended_by_another_signal(shop: Path, signal_: signal.Signals) -> None:
    with terminal(shop, 80, 24, "-n", "2", slow="5") as run:
        run.wait_for(at_work)
        run.process.send_signal(signal_)
        lines = run.end()
    assert run.process.returncode == 128 + signal_
    check_whole(run, lines)
    assert not any(line.startswith("nothing to do") for line in lines)


def test_what_is_printed_meanwhile_stands_above(shop: Path) -> None:
    with (shop / "dodo.py").open("a") as dodo:
        dodo.write(
            "from c2wtasks.telling.notices import tell\nusual = tree\n"
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


@pytest.mark.parametrize(("failing", "times"), [(2, 1), (40, 2)])
def test_a_failure_that_is_still_to_be_seen_is_not_said_again(tmp_path: Path, failing: int, times: int) -> None:
    write_catalog(tmp_path, {f"gone{number}": "oci:gone" for number in range(failing)})
    with terminal(tmp_path, 160, 60) as run:
        lines = run.end()
    assert run.process.returncode == 1
    check_whole(run, lines)
    said = [line for line in lines if "gone1@linux/amd64" in line and "gone does not exist; put it there" in line]
    assert len(said) == times, lines
    assert said[0].startswith("failed   gone1@linux/amd64  ")


def fit_in(shown: list[str], columns: int) -> bool:
    return all(len(line.rstrip()) < columns for line in shown if line.startswith("  tree:"))


def test_resized_meanwhile(shop: Path) -> None:
    with (shop / "dodo.py").open("a") as dodo:
        dodo.write(toys.HELD)
    (shop / "hold").touch()
    with terminal(shop, 120, 30, "-n", "2") as run:
        run.wait_for(at_work)
        for columns, rows in ((40, 12), (100, 20), (60, 8), (120, 30)):
            run.resize(columns, rows)
            run.take(0.3)
            run.wait_for(lambda _lines, most=columns: fit_in(run.screen.display, most))  # type: ignore[misc]
        (shop / "hold").unlink()
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
