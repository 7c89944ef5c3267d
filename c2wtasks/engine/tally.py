"""What has become of what a run makes, in numbers and names."""

from __future__ import annotations

from typing import Literal

from c2wtasks.errors import one_line, program
from c2wtasks.telling.progress import Progress
from c2wtasks.telling.sizes import human

State = Literal["built", "current", "failed"]
_NAMED = 5  # names in a command to type
_LONGEST = 300  # characters of such a command


class Tally:
    """`products` are what the run is for, by name; `tasks` all other tasks that were looked at. A name that is told
    twice (it was tried again) has the state that was told last."""

    def __init__(self) -> None:
        self.products: dict[str, State] = {}
        self.tasks: dict[str, State] = {}
        self.cut_short = False  # the run was ended before it had looked at all

    def summary(self, seconds: float) -> str:
        """`3 built, 996 current, 1 failed in 12.4 s`."""
        return f"{self.counts()} in {duration(seconds)}"

    def counts(self) -> str:
        """`3 built, 996 current, 1 failed`; of tasks, where the run had no products."""
        of = self.products or self.tasks
        words = {"built": "built" if self.products else "done", "current": "current", "failed": "failed"}
        states = list(of.values())
        counts = [f"{states.count(state)} {word}" for state, word in words.items() if state in states]
        return ", ".join(counts) or ("nothing done" if self.cut_short else "nothing to do")

    def again(self) -> str:
        """The command that tries again what failed; "" where nothing did."""
        of = self.products or self.tasks
        failed = [name for name, state in of.items() if state == "failed"]
        if not failed:
            return ""
        words = " ".join([program(), *failed])
        return words if len(failed) <= _NAMED and len(words) <= _LONGEST else program()


def duration(seconds: float) -> str:
    """A time in words: 12.4 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def clock(seconds: float) -> str:
    """0:12, 3:20, 2:05:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def how_far(progress: Progress | None, seconds: float) -> str:
    """How far a job is: `reading 12.1 MB of 80.2 MB`, or just for how many seconds it has been at work."""
    if progress is None or not progress.step:
        return duration(seconds)
    of = f" of {human(progress.total)}" if progress.total else ""
    return f"{progress.step} {human(progress.done)}{of}" if progress.done or of else progress.step


def line(state: str, name: str, *more: str) -> str:
    """A line of a report: what has happened, with what, and more on that."""
    return one_line("  ".join([f"{state:<7}", name, *filter(None, more)]))
