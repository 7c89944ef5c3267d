"""The block of lines that a terminal shows while a run goes on."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from c2wtasks.engine.tally import how_far
from c2wtasks.engine.work import Amount
from c2wtasks.progress import Progress
from c2wtasks.sizes import human

_BAR = 12  # columns that a bar takes at least
_SPARE = 4  # columns at the right that stay free: a terminal that shows `^C` wraps no line then
_ABOVE = 3  # lines of the terminal that stay for what is finished
_JOBS = 8  # lines for what is at work, at most


class View(NamedTuple):
    """What there is to show: `done` of the products that are `wanted`, the bytes, for how many seconds the run goes
    on, and what is at work, as `Report.at_work` gives it."""

    done: int
    wanted: int
    amount: Amount
    seconds: float
    at_work: list[tuple[str, Progress | None, float]]


def lines(view: View, columns: int, rows: int) -> list[Text]:
    """The lines, none of them wider than a terminal of that size has room for."""
    width = max(8, columns - _SPARE)
    room = max(1, min(_JOBS, rows - _ABOVE))
    shown = [_summary(view, width)]
    shown += [_job(title, how_far(far, seconds), width) for title, far, seconds in view.at_work[:room]]
    if len(view.at_work) > room:
        shown[-1] = Text(f"  and {len(view.at_work) - room + 1} more")
    for text in shown:
        text.truncate(width, overflow="ellipsis")
    return shown


def in_codes(text: Text, console: Console) -> str:
    """The line as that terminal takes it."""
    with console.capture() as taken:
        console.print(text, end="", no_wrap=True, overflow="ignore", crop=False, highlight=False, soft_wrap=True)
    return taken.get()


def _summary(view: View, width: int) -> Text:
    """As many of its parts as there is room for, in the order of `parts`; a bar takes what is left."""
    done, total, rate, left = view.amount
    parts = [
        (0, f"{view.done}/{view.wanted}" if view.wanted else "at work"),
        (4, _clock(view.seconds)),
        (1, f"{human(done)} of {human(total)}" if total else ""),
        (3, f"{_clock(left)} left" if left is not None else ""),
        (2, f"{human(rate)}/s" if rate is not None else ""),
    ]
    chosen: list[tuple[int, str]] = []
    for part in parts:
        if part[1] and sum(len(text) + 2 for _, text in chosen) + len(part[1]) <= width:
            chosen.append(part)
    line = Text("  ".join(text for _, text in sorted(chosen)), style="bold")
    room = min(40, width - line.cell_len - 2)
    if total and room >= _BAR:
        full = int(room * min(1.0, done / total))
        line.append("  ").append("#" * full, style="green").append("-" * (room - full), style="dim")
    return line


def _job(title: str, how: str, width: int) -> Text:
    room = width - len(how) - 4
    name = Text(f"  {title}")
    if room >= 8:
        name.truncate(room + 2, overflow="ellipsis", pad=True)
        return name.append(f"  {how}", style="cyan")
    return Text(f"  {how}", style="cyan")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
