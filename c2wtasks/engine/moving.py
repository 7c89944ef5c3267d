"""Lines at the end of a terminal that are written anew again and again, below those that stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from c2wtasks.engine.block import Line

_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class Moving:
    """The lines on one stream. The cursor is never hidden, so there is nothing to put right however a run ends."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._widths: list[int] = []  # of the lines that are there
        self._last = ""
        self._colours = not os.environ.get("NO_COLOR")

    def size(self) -> tuple[int, int]:
        """The columns and rows of the terminal."""
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return 80, 24
        return columns or 80, rows or 24

    def put(self, above: str, block: Sequence[Line]) -> None:
        """Replaces the lines that are there: first come those that stay, then the new ones. One write, so that
        nothing flickers."""
        columns, _ = self.size()
        text = "\n".join(f"{line.in_codes(colours=self._colours)}{_CLEAR_LINE}" for line in block)
        if not above and text == self._last:
            return
        # A terminal that has become narrower shows a line of the block on several.
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        back = "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "")
        above = "".join(f"{line}{_CLEAR_LINE}\n" for line in above.splitlines())
        self._widths, self._last = [line.width for line in block], text
        self._stream.write(f"{back}{above}{text}{_CLEAR_BELOW}")
        self._stream.flush()


class Above:
    """What stands for `stream` meanwhile: whole lines go to `write`, which has them stand above those that move."""

    def __init__(self, stream: Any, write: Callable[[str], None]) -> None:
        self._stream = stream
        self._write = write
        self._begun = ""

    def write(self, text: str) -> int:
        """Takes text, which stays here until its line is whole."""
        whole, end, self._begun = (self._begun + text).rpartition("\n")
        if end:
            self._write(f"{whole}\n")
        return len(text)

    def flush(self) -> None:
        """Nothing: whoever writes the lines that move does."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def is_same_terminal(one: Any, other: Any) -> bool:
    """Whether two streams are one terminal."""
    try:
        found = [os.fstat(stream.fileno()) for stream in (one, other)]
    except (AttributeError, OSError, ValueError):
        return False
    return all(stat.S_ISCHR(each.st_mode) for each in found) and found[0].st_rdev == found[1].st_rdev
