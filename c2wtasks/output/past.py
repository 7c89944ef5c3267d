"""What earlier runs did with single bundles, and when, in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

import msgspec

from c2wtasks.output import history
from c2wtasks.output.history import NullRun, Run

_LONG_AGO = 60  # nights
_GOOD = ("built", "current")


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run that `began` then did with a bundle: `built`, `current`, `failed` with an error, `left out`."""

    began: str
    state: str
    error: str = ""


class Past(msgspec.Struct, rename="camel"):
    """The last time that a bundle failed, and the last time that it was as it should be."""

    bundle: str
    last_failed: Event | None = None
    last_good: Event | None = None


class Replayed:
    """Runs that are read once, as far as anybody asks, and can be gone through again and again."""

    def __init__(self, source: Iterable[Run | NullRun]) -> None:
        self._source = iter(source)
        self._seen: list[Run | NullRun] = []

    def __iter__(self) -> Iterator[Run | NullRun]:
        at = 0
        while True:
            if at == len(self._seen):
                one = next(self._source, None)
                if one is None:
                    return
                self._seen.append(one)
            yield self._seen[at]
            at += 1


def events(runs: Iterable[Run | NullRun], bundle: str, image: str) -> Iterator[tuple[Run | NullRun, Event]]:
    """What each of these runs, the last one first, did with a bundle, if anything is known of that.

    A run that found all current tells how many bundles that were, not which. This one was among them where it was
    good when a run before told of it: a new one would have been built, and not current.
    """
    quiet: list[tuple[Run | NullRun, Event]] = []
    for run in runs:
        one = _event(run, bundle, image)
        if one is None:
            continue
        if isinstance(run, NullRun):
            quiet.append((run, one))
            continue
        if one.state in _GOOD:
            yield from quiet
        quiet = []
        yield run, one


def _event(run: Run | NullRun, bundle: str, image: str) -> Event | None:
    """What the run did with a bundle; None where it was for others, or tells nothing of it."""
    if isinstance(run, NullRun):
        named = not run.asked or not {bundle, image, f"bundle:{bundle}", "bundle"}.isdisjoint(run.asked)
        return Event(run.began, "current") if named else None
    if bundle in run.current:
        return Event(run.began, "current")
    return next((Event(run.began, one.state, one.error) for one in run.bundles if one.bundle == bundle), None)


def last(output: str, bundles: Collection[tuple[str, str]]) -> list[Past]:
    """Of each of these (bundle, image).

    Raises OutputError.
    """
    runs = Replayed(history.runs(output))
    return [_last(runs, bundle, image) for bundle, image in bundles]


def _last(runs: Iterable[Run | NullRun], bundle: str, image: str) -> Past:
    past = Past(bundle)
    for _, one in events(runs, bundle, image):
        if one.state == "failed":
            past.last_failed = past.last_failed or one
        elif one.state in _GOOD:
            past.last_good = past.last_good or one
        if past.last_failed and past.last_good:
            break
    return past


def told(pasts: Iterable[Past]) -> Iterator[str]:
    """`web@linux/amd64: last failed 02:13, 3 nights ago: ...`"""
    for past in pasts:
        if failed := past.last_failed:
            yield f"{past.bundle}: last failed {ago(failed.began)}: {failed.error}"
        if good := past.last_good:
            yield f"{past.bundle}: last good {ago(good.began)} ({good.state})"


def local(began: str) -> datetime:
    """When that was, by the clock here."""
    return datetime.fromisoformat(began).astimezone()


def ago(began: str, now: datetime | None = None) -> str:
    """`02:13, 3 nights ago`, by the clock here."""
    then = local(began)
    nights = ((now or datetime.now().astimezone()).date() - then.date()).days
    if not 0 <= nights <= _LONG_AGO:
        return f"{then:%Y-%m-%d %H:%M}"
    return f"{then:%H:%M}, " + {0: "today", 1: "last night"}.get(nights, f"{nights} nights ago")
