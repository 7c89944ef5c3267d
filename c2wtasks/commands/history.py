"""`doit history`: what earlier runs did, the last one first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.changes import wording
from c2wtasks.changes.model import Change
from c2wtasks.commands.base import FINE, OurCommand, chosen
from c2wtasks.commands.options import JSON
from c2wtasks.engine.tally import duration
from c2wtasks.errors import one_line
from c2wtasks.graph.nights import noted
from c2wtasks.output import history
from c2wtasks.output.history import NullRun, Run
from c2wtasks.output.past import Event, events, local
from c2wtasks.telling.sizes import human

_Step = tuple[str, str, str]
"""A bundle, and the SHA-256 of its bundle.json before and after a run."""


class History(OurCommand):
    """Lists the runs that are remembered."""

    name = "history"
    doc_purpose = "list what earlier runs did, the last one first"
    doc_usage = "[BUNDLE|IMAGE ...]"
    doc_description = (
        "With names: what became of these bundles, a line for each change, and what changed in them. Runs that found "
        "all current are counted. "
        "Exit status 0: done. 3: wrong command line."
    )
    cmd_options = (JSON,)
    looks_up = "not"

    def _execute(self, as_json: bool) -> int:
        graph = self.graph
        bundles = [] if self.sel_default_tasks else chosen(self.graph_hooks, self.sel_tasks)
        found = list(history.runs(graph.file.output))
        known = _known(found, bundles)
        if as_json:
            self.show_json({"runs": [_of(run, bundles) for run in found if not bundles or id(run) in known]})
        else:
            output = graph.file.output
            self.show(_of_bundles(found, known, _noted(output, bundles)) if bundles else _of_runs(found))
        return FINE


def _noted(output: str, bundles: Iterable[Bundle]) -> dict[_Step, Change]:
    """What runs have noted of changes in these bundles."""
    keys = {str(bundle) for bundle in bundles}
    return {(one.bundle, one.before, one.after): one for _, some in noted(output, keys) for one in some}


def _known(found: list[Run | NullRun], bundles: Iterable[Bundle]) -> dict[int, list[tuple[str, Event]]]:
    """What each run, by its `id`, did with these bundles, where it did anything."""
    known: dict[int, list[tuple[str, Event]]] = {}
    for bundle in bundles:
        for run, one in events(found, str(bundle), bundle.name):
            known.setdefault(id(run), []).append((str(bundle), one))
    return known


def _of(run: Run | NullRun, bundles: list[Bundle]) -> Run | NullRun:
    """The run, with nothing of other bundles than these, if there are any."""
    if not bundles or isinstance(run, NullRun):
        return run
    keys = {str(bundle) for bundle in bundles}
    return replace(
        run,
        bundles=tuple(one for one in run.bundles if one.bundle in keys),
        current=tuple(one for one in run.current if one in keys),
    )


def _of_runs(found: Iterable[Run | NullRun]) -> Iterator[str]:
    """A line for each run: `2026-11-28 02:13  12.4 s  3 built, 996 current, 1 failed`."""
    quiet = _Quiet()
    for run in found:
        if isinstance(run, NullRun):
            quiet.add(run.began)
            continue
        yield from quiet.lines("nothing to do")
        counts = Counter(one.state for one in run.bundles)
        said = [f"{counts[state]} {state}" for state in ("built", "failed", "left out") if counts[state]]
        said += [f"{len(run.current)} current"] if run.current else []
        saved = sum(one.saved for one in run.bundles)
        said += [f"{human(saved)} of disk saved by sharing"] if saved else []
        what = ", ".join(said) or f"exit status {run.status}"
        asked = f"  ({' '.join(run.asked)})" if run.asked else ""
        yield f"{_when(run.began)}  {duration(run.seconds):>10}  {what}{asked}"
    yield from quiet.lines("nothing to do")


def _of_bundles(
    found: Iterable[Run | NullRun], known: Mapping[int, list[tuple[str, Event]]], changes: Mapping[_Step, Change]
) -> Iterator[str]:
    """A line for each change of one of the bundles: `2026-11-25 02:13  failed  web@linux/amd64  ...`."""
    quiet = _Quiet()
    for run in found:
        told = known.get(id(run), [])
        if not told:
            continue
        if all(one.state == "current" for _, one in told):
            quiet.add(run.began)
            continue
        yield from quiet.lines("current")
        details = {one.bundle: one for one in run.bundles} if isinstance(run, Run) else {}
        for key, one in told:
            more = one.error
            if one.state == "built":
                step = key, details[key].before, details[key].after
                more = f"{duration(details[key].seconds)}, {_change(*step[1:], changes.get(step))}"
            yield f"{_when(run.began)}  {one.state:<8}  {key}  {more}".rstrip()
    yield from quiet.lines("current")


def _change(before: str, after: str, change: Change | None) -> str:
    if not before:
        return f"new: {after[:12]}"
    if before == after:
        return "the same as before"
    return f"{before[:12]} -> {after[:12]}" + (f": {one_line(wording.summary(change))}" if change is not None else "")


class _Quiet:
    """Runs of which there is nothing to say, one after another, the last one first."""

    def __init__(self) -> None:
        self.began: list[str] = []

    def add(self, began: str) -> None:
        self.began.append(began)

    def lines(self, what: str) -> Iterator[str]:
        if self.began:
            since = f", the first {_when(self.began[-1])}" if len(self.began) > 1 else ""
            count = f" in {len(self.began)} runs" if len(self.began) > 1 else ""
            yield f"{_when(self.began[0])}  {what}{count}{since}"
        self.began = []


def _when(began: str) -> str:
    return f"{local(began):%Y-%m-%d %H:%M}"
