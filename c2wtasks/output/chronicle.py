"""What the remembered runs tell of each bundle, for people: since when it is as it is, what became of it, and how
large it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from c2wtasks.output.history import BundleRun, NullRun, Run
from c2wtasks.page import secrets, trend
from c2wtasks.page.model import Change, Event, Tonight, Trend
from c2wtasks.telling.sizes import counted

RUNS = 120
"""So many runs are looked back at, at the most: what is older is `doit history`'s."""
_LINES = 100_000  # of all runs
_EVENTS = 12  # of a bundle

EDITIONS = 30
"""Of so many runs that changed something it is told what, at the most."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What a run changed, in words: for all bundles together, a text and lines below it; and for each bundle the
    number of its lines in `lines`, as many have the same."""

    together: tuple[tuple[str, tuple[str, ...]], ...] = ()
    lines: tuple[tuple[str, ...], ...] = ()
    bundles: dict[str, int] = {}

    def of(self, bundle: str) -> tuple[str, ...]:
        """The lines of a bundle."""
        number = self.bundles.get(bundle, -1)
        return self.lines[number] if 0 <= number < len(self.lines) else ()


_NOTHING = Told()


class Past(NamedTuple):
    """What is known of one bundle: its `events`, the last one first; when it came to be as it is, "" where that was
    before what is remembered; and how its size went, None where it stayed the same."""

    events: tuple[Event, ...]
    since: str
    trend: Trend | None


class Edition(NamedTuple):
    """A run that changed bundles (`name@platform`): when it `began`, what `changed` in each, without its name; `new`
    are those that were not there before. `changes` are those of all together."""

    began: str
    changed: Mapping[str, Change]
    new: frozenset[str]
    changes: tuple[Change, ...]


class Chronicle:
    """The runs that are remembered, the last one first, gone through once. What they changed is `told` by when they
    began."""

    def __init__(self, runs: Iterable[Run | NullRun], told: Mapping[str, Told]) -> None:
        self._told = told
        self._events: dict[str, list[Event]] = {}
        self._good: dict[str, str] = {}  # bundle -> when it came to be what stands
        self._failing: dict[str, str] = {}  # bundle -> since when each run fails that tries it
        self._settled: set[str] = set()  # bundles that one of the runs so far found as they should be
        self._sizes: dict[str, list[tuple[float, int]]] = {}
        self._span: list[float] = []
        self.last: Run | None = None
        self.editions: list[Edition] = []
        lines = 0
        for run in islice(runs, RUNS):
            if isinstance(run, NullRun):
                if not run.asked:
                    self._settled.update(self._failing)
                continue
            self.last = self.last or run
            self._add(run)
            lines += len(run.bundles)
            if lines > _LINES:
                break

    @property
    def tonight(self) -> Tonight | None:
        """The last run."""
        if self.last is None:
            return None
        states = [one.state for one in self.last.bundles]
        current = len(self.last.current)
        changes = self.editions[0].changes if self._is_of_last(self.editions) else ()
        return Tonight(self.last.began, states.count("built"), current, states.count("failed"), changes)

    def of(self, bundle: str, *, failed: bool) -> Past:
        """What is known of `name@platform`, which stands, or `failed`."""
        since = (self._failing if failed else self._good).get(bundle, "")
        return Past(tuple(self._events.get(bundle, ())), since, self._trend(bundle))

    def _add(self, run: Run) -> None:
        at = datetime.fromisoformat(run.began).timestamp()
        self._span.append(at)
        changed: dict[str, Change] = {}
        told = self._told.get(run.began, _NOTHING)
        for one in run.bundles:
            if one.state == "failed":
                self._failed(run.began, one)
            elif one.state == "built":
                self._settled.add(one.bundle)
                if one.bytes is not None:
                    self._sizes.setdefault(one.bundle, []).append((at, one.bytes))
                if one.before != one.after:
                    self._good.setdefault(one.bundle, run.began)
                    state, lines = "changed" if one.before else "new", told.of(one.bundle)
                    self._event(one.bundle, Event(run.began, state, lines))
                    changed[one.bundle] = Change(state, (one.bundle,), lines)
        if changed and len(self.editions) < EDITIONS:
            new = frozenset(bundle for bundle, change in changed.items() if change.text == "new")
            changes = tuple(Change(text, (), lines) for text, lines in told.together) or together(changed)
            self.editions.append(Edition(run.began, changed, new, changes))
        if not self._failing.keys() <= self._settled:
            self._settled.update(self._failing.keys() & set(run.current))

    def _is_of_last(self, editions: Sequence[Edition]) -> bool:
        return bool(editions) and self.last is not None and editions[0].began == self.last.began

    def _failed(self, began: str, one: BundleRun) -> None:
        if one.bundle not in self._settled:
            self._failing[one.bundle] = began
        lines = (secrets.told(one.error),) if one.error else ()
        known = self._events.get(one.bundle)
        if known and known[-1].state == "failed" and known[-1].lines == lines:
            known[-1] = replace(known[-1], times=known[-1].times + 1, since=began)
        else:
            self._event(one.bundle, Event(began, "failed", lines))

    def _event(self, bundle: str, event: Event) -> None:
        known = self._events.setdefault(bundle, [])
        if len(known) < _EVENTS:
            known.append(event)

    def _trend(self, bundle: str) -> Trend | None:
        sizes = self._sizes.get(bundle, [])[::-1]
        if len(sizes) < 2:
            return None
        first, span = self._span[-1], (self._span[0] - self._span[-1]) or 1.0
        line = trend.line([((at - first) / span, size) for at, size in sizes])
        return Trend(line, sizes[0][1]) if line else None


def together(changed: Mapping[str, Change]) -> tuple[Change, ...]:
    """The changes of many bundles: what is equal is told once, with all bundles that it is about; what is about most
    of them first."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for bundle, change in changed.items():
        groups.setdefault((change.text, change.lines), []).append(bundle)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[1]))
    return tuple(
        Change(_of_many(text, len(bundles)), tuple(sorted(bundles)), lines) for (text, lines), bundles in ordered
    )


def _of_many(state: str, bundles: int) -> str:
    return counted(bundles, "new bundle") if state == "new" else f"{counted(bundles, 'bundle')} {state}"
