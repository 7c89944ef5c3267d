"""Takes the picture of README: a real build of the example catalog on a terminal, as an SVG.

    python docs/picture.py docs/run.svg

It needs what the tests need (`pip install --editable '.[test]'`). A test compares the words of the picture with those
of a new one.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shutil
import struct
import sys
import tempfile
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

PROJECT = Path(__file__).parents[1]
SCRIPT = (
    "doit",
    "doit",
    "sed -i 's/app:staff/app/' bundle.yaml",
    "doit why",
    "doit",
)
COLUMNS, LINES = 90, 40
COLOURS = {"default": None, "brown": "yellow"}  # as pyte and rich call them


def recorded(folder: Path) -> bytes:
    """What a terminal gets while a shell in `folder` runs the commands."""
    shown = "; ".join(f"printf '\\033[1m$ %s\\033[0m\\n' {quoted(line)}; {line}" for line in SCRIPT)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        os.execvpe("sh", ["sh", "-c", shown], {"PATH": path, "HOME": str(folder), "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    pieces = []
    while piece := read(terminal):
        pieces.append(piece)
    os.close(terminal)
    os.waitpid(pid, 0)
    return b"".join(pieces)


def quoted(line: str) -> str:
    return "'" + line.replace("'", "'\\''") + "'"


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: its other end was closed
        return b""


def picture(output: bytes) -> str:
    """The SVG of a terminal that got this."""
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.ByteStream(screen).feed(output)
    lines = [line_of(screen, number) for number in range(LINES)]
    while lines and not lines[-1].plain.strip():
        lines.pop()
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(line, no_wrap=True, highlight=False)
    others = r"@font-face \{\{.*?\}\}\n|<!-- .*? -->\n"  # fonts from elsewhere, and a note
    plain = re.sub(others, "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="c2wtasks", code_format=plain, unique_id="run")


def line_of(screen: pyte.Screen, number: int) -> Text:
    """A line of the screen, as pieces of one style each."""
    line = Text()
    chars = (screen.buffer[number][column] for column in range(COLUMNS))
    for (colour, bold), piece in groupby(chars, lambda char: (char.fg, char.bold)):
        text = "".join(char.data for char in piece)
        line.append(text, Style(color=COLOURS.get(colour, colour), bold=bold))
    line.rstrip()
    return line


def main(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("bundle.yaml", "dodo.py"):
            shutil.copy(PROJECT / name, folder)
        shutil.copytree(PROJECT / "examples", f"{folder}/examples")
        text = picture(recorded(Path(folder)))
    Path(path).write_text("\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
