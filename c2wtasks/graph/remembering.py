"""A run as it is remembered: what became of each bundle that it was for."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata

from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.engine.outcome import DONE, Ran, reasons
from c2wtasks.errors import OutputError
from c2wtasks.output import history, record
from c2wtasks.output.history import BundleRun, NullRun, Run
from c2wtasks.output.places import Places
from c2wtasks.tasks import names

DEFAULT_KEPT = 400
"""Runs."""


def remember(file: BundleFile, ran: Ran, before: Mapping[str, str]) -> None:
    """Writes the record of a run, or a line where there was nothing to do. `before` has the digests of what stood for
    bundles that were replaced.

    Raises OSError, OutputError.
    """
    lines = list(_others(file, ran, before))
    current = tuple(str(bundle) for bundle in file.bundles if _is_current(ran, bundle))
    began, seconds, keep = history.stamp(ran.began), round(ran.seconds, 3), file.keep_runs or DEFAULT_KEPT
    if not lines and ran.status == DONE:
        with suppress(OutputError):  # one who may only read the output has nothing to tell
            history.note_null(file.output, NullRun(began, seconds, len(current), ran.asked), keep)
        return
    run = Run(
        version=history.VERSION,
        began=began,
        seconds=seconds,
        status=ran.status,
        program=f"c2wtasks {metadata.version('c2wtasks')}",
        user=_user(),
        host=os.uname().nodename,
        asked=ran.asked,
        bundles=tuple(lines),
        current=current,
    )
    history.note(file.output, run, keep)


def _is_current(ran: Ran, bundle: Bundle) -> bool:
    task = names.bundle(bundle)
    return task in ran.current and task not in ran.done


def _others(file: BundleFile, ran: Ran, before: Mapping[str, str]) -> Iterator[BundleRun]:
    """The bundles that were not current."""
    for bundle in file.bundles:
        key, task = str(bundle), names.bundle(bundle)
        if task not in ran.failed and _is_current(ran, bundle):
            continue
        places = Places.of(file.output, bundle)
        if task in ran.failed:
            seconds, error = round(ran.seconds_of(task), 3), reasons(ran.failed[task])
            yield BundleRun(key, "failed", seconds, before=record.digest(places.record), error=error)
        elif task in ran.done:
            made, seconds = record.read(places.record), round(ran.seconds_of(task), 3)
            size = made.size if made is not None else None
            yield BundleRun(key, "built", seconds, size, before.get(key, ""), record.digest(places.record))
        elif not ran.asked or task in ran.selected:
            yield BundleRun(key, "left out", before=record.digest(places.record))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
