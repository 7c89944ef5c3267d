"""A run as it is remembered: what became of each bundle that it was for."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING

from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.engine.outcome import DONE, Ran, reasons
from c2wtasks.errors import OutputError
from c2wtasks.graph.published import Published
from c2wtasks.output import history, record
from c2wtasks.output.history import BundleRun, NullRun, Run
from c2wtasks.output.places import Places
from c2wtasks.tasks import names

if TYPE_CHECKING:
    from c2wtasks.graph.changing import Changing

DEFAULT_KEPT = 400
"""Runs that are remembered where bundle.yaml does not say how many."""


def remember(file: BundleFile, ran: Ran, published: Published) -> bool:
    """Writes the record of a run, which has `published` something, or a line where there was nothing to do. Says
    whether there was anything.

    Raises OSError, OutputError.
    """
    lines = list(_others(file, ran, published))
    current = tuple(str(bundle) for bundle in file.bundles if _is_current(ran, bundle))
    began, seconds, keep = history.stamp(ran.began), round(ran.seconds, 3), file.keep_runs or DEFAULT_KEPT
    if not lines and ran.status == DONE:
        with suppress(OutputError):  # one who may only read the output has nothing to tell
            history.note_null(file.output, NullRun(began, seconds, len(current), ran.asked), keep)
        return False
    _note(file, _run(began, seconds, ran.status, ran.asked, lines, current), published.changing)
    return True


def _note(file: BundleFile, run: Run, changing: Changing | None) -> None:
    """Writes the record of a run, beside which what it has changed gets its name. Raises OSError, OutputError."""
    keep = file.keep_runs or DEFAULT_KEPT
    stem = history.note(file.output, run, keep)
    if changing is not None and changing.log.path:
        from c2wtasks.output import changelog  # most runs change nothing

        changing.log.close(stem)
        changelog.tidy(file.output, keep)


def remember_merge(
    file: BundleFile, began: float, asked: Sequence[str], status: int, lines: Sequence[BundleRun], changing: Changing
) -> None:
    """Writes the record of a merge that `began` then (seconds since 1970) and ends with `status`; `lines` are of what
    was not here already, and what they change is noted by `changing`.

    Raises OSError, OutputError.
    """
    others = {line.bundle for line in lines}
    current = [str(bundle) for bundle in file.bundles if str(bundle) not in others]
    run = _run(history.stamp(began), round(time.time() - began, 3), status, asked, lines, current)
    _note(file, run, changing)


def _run(
    began: str, seconds: float, status: int, asked: Sequence[str], lines: Sequence[BundleRun], current: Sequence[str]
) -> Run:
    return Run(
        version=history.VERSION,
        began=began,
        seconds=seconds,
        status=status,
        program=f"c2wtasks {metadata.version('c2wtasks')}",
        user=_user(),
        host=os.uname().nodename,
        asked=tuple(asked),
        bundles=tuple(lines),
        current=tuple(current),
    )


def _is_current(ran: Ran, bundle: Bundle) -> bool:
    task = names.bundle(bundle)
    return task in ran.current and task not in ran.done


def _others(file: BundleFile, ran: Ran, published: Published) -> Iterator[BundleRun]:
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
            seconds, (size, now) = round(ran.seconds_of(task), 3), published.after.get(key) or found(places)
            sharing = published.sharing.get(key) if _wrote_root(ran, bundle) else None
            saved = sharing.saved if sharing is not None else 0
            yield BundleRun(key, "built", seconds, size, published.before.get(key, ""), now, saved=saved)
        elif (stands := published.now(key, places))[1]:  # a signal came before that was recorded
            yield BundleRun(key, "built", round(ran.seconds_of(task), 3), stands[0], published.before[key], stands[1])
        elif not ran.asked or task in ran.selected:
            yield BundleRun(key, "left out", before=record.digest(places.record))


def _wrote_root(ran: Ran, bundle: Bundle) -> bool:
    form = bundle.folder_form
    return form is not None and names.rootfs(bundle, form.name) in ran.done


def found(places: Places) -> tuple[int | None, str]:
    """The bytes of what is published, and the digest of its record."""
    made, digest = record.with_digest(places.record)
    return made.size if made is not None else None, digest


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
