"""The block of lines that a terminal shows while a run goes on; it is drawn often, and loads nothing meanwhile."""

from __future__ import annotations

from typing import NamedTuple
from unicodedata import category, east_asian_width

from c2wtasks.engine.tally import clock, how_far
from c2wtasks.engine.work import Amount
from c2wtasks.errors import one_line
from c2wtasks.telling.progress import Progress
from c2wtasks.telling.sizes import human

_BAR = 12  # columns that a bar takes at least
_SPARE = 4  # columns at the right that stay free: a terminal that shows `^C` wraps no line then
_ABOVE = 3  # lines of the terminal that stay for what is finished
_NAME = 8  # columns that a name takes at least
_JOBS = 8  # lines for what is at work, at most

_BOLD, _DIM, _GREEN, _CYAN = "1", "2", "32", "36"
_COLOURS = (_GREEN, _CYAN)


class View(NamedTuple):
    """What there is to show: `done` of the products that are `wanted`, the bytes, for how many seconds the run goes
    on, and what is at work, as `Report.at_work` gives it."""

    done: int
    wanted: int
    amount: Amount
    seconds: float
    at_work: list[tuple[str, Progress | None, float]]


class Line:
    """Texts one after another, each with a style: the number of a terminal's code, or ""."""

    def __init__(self, text: str = "", style: str = "") -> None:
        self.parts = [(text, style)]

    def add(self, text: str, style: str) -> Line:
        """This one, with more text."""
        self.parts.append((text, style))
        return self

    @property
    def width(self) -> int:
        """How many columns it takes."""
        return sum(width(text) for text, _ in self.parts)

    def cut(self, columns: int) -> None:
        """Ends it at so many columns, with an ellipsis."""
        left = columns
        for at, (text, style) in enumerate(self.parts):
            if width(text) > left:
                self.parts[at:] = [(shortened(text, left), style)]
                return
            left -= width(text)

    def in_codes(self, *, colours: bool) -> str:
        """The line as a terminal takes it."""
        return "".join(
            f"\x1b[{style}m{text}\x1b[0m" if style and text and (colours or style not in _COLOURS) else text
            for text, style in self.parts
        )


def width(text: str) -> int:
    """How many columns of a terminal a text takes, which holds only what can be printed."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def shortened(text: str, columns: int) -> str:
    """The text, or as much of it as has room in so many columns, with an ellipsis."""
    if width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[:-1]
    return f"{text}\N{HORIZONTAL ELLIPSIS}" if columns > 0 else ""


def lines(view: View, columns: int, rows: int) -> list[Line]:
    """The lines, none of them wider than a terminal of that size has room for."""
    room_for = max(8, columns - _SPARE)
    room = max(1, min(_JOBS, rows - _ABOVE))
    shown = [_summary(view, room_for)]
    shown += [_job(title, far, how_far(far, seconds), room_for) for title, far, seconds in view.at_work[:room]]
    if len(view.at_work) > room:
        shown[-1] = Line(f"  and {len(view.at_work) - room + 1} more")
    for line in shown:
        line.cut(room_for)
    return shown


def _summary(view: View, columns: int) -> Line:
    """The line on the whole run: as many of its parts as there is room for; a bar takes what is left."""
    done, total, rate, left = view.amount
    parts = [
        (0, f"{view.done}/{view.wanted}" if view.wanted else "at work"),
        (4, clock(view.seconds)),
        (1, f"{human(done)} of {human(total)}" if total else ""),
        (3, f"{clock(left)} left" if left is not None else ""),
        (2, f"{human(rate)}/s" if rate is not None else ""),
    ]
    chosen: list[tuple[int, str]] = []
    for part in parts:
        if part[1] and sum(len(text) + 2 for _, text in chosen) + len(part[1]) <= columns:
            chosen.append(part)
    line = Line("  ".join(text for _, text in sorted(chosen)), _BOLD)
    room = min(40, columns - line.width - 2)
    if total and room >= _BAR:
        full = int(room * min(1.0, done / total))
        line.add("  ", "").add("#" * full, _GREEN).add("-" * (room - full), _DIM)
    return line


def _job(title: str, far: Progress | None, how: str, columns: int) -> Line:
    """Where there is little room, which one it is tells more than the step, or than what all digests begin with; and
    then, than how many bytes it has."""
    title, how = one_line(title), "" if how == title else how
    room = columns - len(how) - 4
    if room < len(title):
        title = title.replace("sha256:", "")
        _step, _, count = how.partition(" ")
        if room < len(title) and count[:1].isdigit():
            how = count
            room = columns - len(how) - 4
    if room < _NAME and far is not None and far.total:
        how = f"{100 * far.done // far.total}%"
        room = columns - len(how) - 4
    if room < _NAME:
        return Line(f"  {how}", _CYAN)
    name = shortened(title, room)
    return Line(f"  {name}{' ' * (room - width(name))}").add(f"  {how}", _CYAN)
