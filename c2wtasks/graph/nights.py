"""What changed since a night, by what runs have noted: their changes, composed, as far as they are remembered."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from msgspec.structs import replace

from c2wtasks.changes import stored
from c2wtasks.changes.composing import Composer
from c2wtasks.changes.model import Change
from c2wtasks.changes.records import gone
from c2wtasks.output import changelog, history
from c2wtasks.output.history import Run
from c2wtasks.output.past import Replayed, local

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d)(?::\d\d(?:\.\d+)?)?")
SOME = "?"
"""A bundle.json that is not known any more."""
_NOW = "~"  # later than any time


def noted(
    output: str, bundles: Container[str] | None = None, moment: str = ""
) -> Iterator[tuple[str, Sequence[Change]]]:
    """When each run began (UTC, RFC 3339) that has changed something after a moment, the last one first, and what it
    changed of these bundles, or of all, in order; of a run that was killed, too."""
    room = stored.Room(stored.MAX_FILES)
    for began, content in changelog.read(output):
        if began <= moment:
            break
        yield began, list(stored.decode(content, room, bundles))


class Nights:
    """What is remembered of an output. Moments are times as records have them (UTC, RFC 3339)."""

    def __init__(self, output: str) -> None:
        self._output = output
        self.runs = Replayed(history.runs(output))
        self._composer = Composer()

    def moment(self, word: str) -> str:
        """The moment until which runs belong to the night that `word` names: a date, or the time of a run.

        Raises ValueError, with a line: it names none.
        """
        if _DATE.fullmatch(word):
            try:
                day = date.fromisoformat(word)
            except ValueError:
                raise ValueError(f"{word} is no date") from None
            return end_of(day)
        asked = _TIME.fullmatch(word)
        if asked is None:
            raise ValueError(
                f"'{word}' is no night: give a date (2026-11-27), or the time of a run (2026-11-27 02:13)"
            )
        wanted = f"{asked[1]} {asked[2]}"
        found = [run.began for run in self.runs]
        for began in found:
            if shown(began) == wanted:
                return began
        near = _nearest(wanted, found)
        raise ValueError(f"no run began at {wanted}" + (f"; did you mean {near}?" if near else ""))

    def last_night(self) -> str | None:
        """The moment before the last day on which there was a run; None where none is remembered."""
        last = next(iter(self.runs), None)
        return end_of(local(last.began).date() - timedelta(days=1)) if last is not None else None

    def last_change(self, until: str = _NOW) -> str | None:
        """When the last run began, up to a moment, that has changed anything."""
        return next((began for began in changelog.moments(self._output) if began <= until), None)

    def horizon(self) -> str | None:
        """Since when runs are remembered."""
        found = [run.began for run in self.runs][-1:] + list(changelog.moments(self._output))[-1:]
        return min(found, default=None)

    def there(self, moment: str) -> set[str]:
        """The bundles that bundle.yaml had when a run was last for all of them, up to a moment."""
        for run in self.runs:
            if isinstance(run, Run) and run.began <= moment and not run.asked:
                return {one.bundle for one in run.bundles if one.before or one.after} | set(run.current)
        return set()

    def _before(self, bundle: str, moment: str) -> str:
        """The SHA-256 of the bundle.json that a bundle had at a moment, as far as runs tell."""
        for run in self.runs:
            for one in run.bundles if isinstance(run, Run) and run.began <= moment else ():
                if one.bundle == bundle:
                    return one.after or one.before
        return ""

    def since(self, moment: str, now: Mapping[str, str]) -> dict[str, Change]:
        """What changed after a moment, of the bundles that `now` has with the SHA-256 of their bundle.json, "" where
        there is none: those of which anything did."""
        steps = self._steps(moment, now)
        was_there = self.there(moment) if not all(now.values()) else set()
        found: dict[str, Change] = {}
        for bundle, digest in now.items():
            mine = steps.get(bundle, [])
            if not digest:
                if bundle in was_there or (mine and mine[0].before):
                    found[bundle] = gone(bundle, SOME)
                continue
            change = self._along(bundle, mine, digest)
            if change is None or change.before == change.after:
                continue
            if change.is_new and self._before(bundle, moment) == digest:  # it was removed, and built as it was
                continue
            found[bundle] = change
        return found

    def between(self, bundle: str, before: str, after: str) -> Change | None:
        """What changed from one bundle.json to another, by their SHA-256, the last time that it did; None where that
        is not noted."""
        steps = self._steps("", {bundle}).get(bundle, [])
        ends = [number for number, one in enumerate(steps) if one.after == after]
        for end in reversed(ends):
            begins = [number for number in range(end + 1) if steps[number].before == before]
            if begins:
                found = self._along(bundle, steps[begins[-1] : end + 1], after)
                return found if found is not None and found.files is not None else None
        return None

    def _steps(self, moment: str, bundles: Container[str]) -> dict[str, list[Change]]:
        """What each bundle's runs have noted after a moment, the first one first; what is not noted any more is there
        as a change of which nothing is known."""
        steps: dict[str, list[tuple[str, int, Change]]] = {}
        known: set[tuple[str, str, str]] = set()
        for began, changes in noted(self._output, bundles, moment):
            for number, one in enumerate(changes):
                known.add((one.bundle, one.before, one.after))
                steps.setdefault(one.bundle, []).append((began, number, one))
        for run in self.runs:
            if run.began <= moment:
                break
            for number, built in enumerate(run.bundles if isinstance(run, Run) else ()):
                key = built.bundle, built.before, built.after
                if built.bundle in bundles and built.after and built.before != built.after and key not in known:
                    steps.setdefault(built.bundle, []).append((run.began, number, _unknown(*key, run.began)))
        in_order = {bundle: sorted(found, key=lambda step: step[:2]) for bundle, found in steps.items()}
        return {bundle: [one for *_, one in found] for bundle, found in in_order.items()}

    def _along(self, bundle: str, steps: Sequence[Change], now: str) -> Change | None:
        """The steps of a bundle together. One that was noted and then not published is left out: the next one begins
        before it."""
        way: list[Change] = []
        for one in steps:
            while way and one.before != way[-1].after and any(one.before == step.before for step in way):
                way.pop()
            if way and one.before != way[-1].after:
                way.append(_unknown(bundle, way[-1].after, one.before))
            way.append(one)
        while way and way[-1].after != now and any(now in (step.before, step.after) for step in way):
            way.pop()
        if not way:
            return None
        if way[-1].after != now:
            way.append(_unknown(bundle, way[-1].after, now))
        if not way[0].before:  # what changed in between is none of its business
            return Change(bundle=bundle, after=now, size=(0, way[-1].size[1]), layers=((), way[-1].layers[1]))
        return _with_both_sides(self._composer.all(way))


def _with_both_sides(change: Change) -> Change:
    """A change without what would be said of a side of which nothing is known."""
    (old, new), layers = change.size, change.layers
    if change.before and not layers[0]:
        return replace(change, size=(new, new), layers=(layers[1], layers[1]))
    if change.after and not layers[1]:
        return replace(change, size=(old, old), layers=(layers[0], layers[0]))
    return change


def _unknown(bundle: str, before: str, after: str, began: str = "") -> Change:
    if not before and began:
        return Change(bundle=bundle, after=after)
    if began:
        what = f"what the run of {shown(began)} changed is not known any more"
    elif not after:
        what = "it was removed and built anew: what changed is not known"
    else:
        what = "not all that changed is noted"
    return Change(bundle=bundle, before=before, after=after, packages=None, files=None, unknown=(what,))


def end_of(day: date) -> str:
    """The last moment of a day, by the clock here; of one in the first or last year that there is, in which no run
    began, by no clock."""
    if not datetime.min.year < day.year < datetime.max.year:
        return f"{day}T23:59:59.999Z"
    return history.stamp(datetime.combine(day, time.max).astimezone(UTC).timestamp())


def shown(began: str) -> str:
    """A time as `doit history` shows it."""
    return f"{local(began):%Y-%m-%d %H:%M}"


def _nearest(wanted: str, found: Sequence[str]) -> str:
    """The run's time that is nearest to that one; by the same clock, so its offset does not matter."""
    try:
        asked = datetime.fromisoformat(wanted)
    except ValueError:
        return ""
    return min(map(shown, found), key=lambda one: abs(datetime.fromisoformat(one) - asked), default="")
