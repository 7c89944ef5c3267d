"""`doit changes`: what changed in the bundles since a night, by its causes."""

from __future__ import annotations

from collections.abc import Sequence

from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.changes import records
from c2wtasks.changes.model import Change
from c2wtasks.commands.base import OurCommand, chosen
from c2wtasks.commands.options import JSON
from c2wtasks.commands.reporting import EXIT_CODE, MARKDOWN, report
from c2wtasks.errors import one_line
from c2wtasks.graph.nights import SOME, Nights, shown
from c2wtasks.output import record
from c2wtasks.output.past import local
from c2wtasks.output.places import Places
from c2wtasks.telling.sizes import counted

_SINCE = {
    "name": "since",
    "long": "since",
    "type": str,
    "default": "",
    "help": "a date, for what changed after that day, or the time of a run as `history` shows it",
}


class Changes(OurCommand):
    """Tells what changed."""

    name = "changes"
    doc_purpose = "tell what changed in the bundles since a night"
    doc_usage = "[BUNDLE|IMAGE ...]"
    doc_description = (
        "Without --since: on the last day on which there was a run. Packages, files, settings and sizes, by causes; "
        "with names, all packages and files of these bundles. No image is read for it. "
        "Exit status 0: done. 1: with --exit-code, something changed. 3: wrong command line."
    )
    cmd_options = (_SINCE, JSON, MARKDOWN, EXIT_CODE)
    looks_up = "not"

    def _execute(self, since: str, as_json: bool, markdown: bool, exit_code: bool) -> int:
        file, nights = self.graph.file, Nights(self.graph.file.output)
        bundles = [] if self.sel_default_tasks else chosen(self.graph_hooks, self.sel_tasks)
        try:
            moment = nights.moment(since) if since else nights.last_night()
        except ValueError as error:
            raise InvalidCommand(one_line(str(error))) from error
        changes = [] if moment is None else self._found(nights, moment, bundles or file.bundles)
        if moment is not None and not bundles:
            wanted = {str(bundle) for bundle in file.bundles}
            changes += [records.gone(name, SOME) for name in sorted(nights.there(moment) - wanted)]
        form = "json" if as_json else "markdown" if markdown else ""
        notes = _notes(nights, moment, changes)
        title = _title(nights, since, moment, changes)
        return report(
            self, title, changes, form, full=bool(bundles), since=moment or "", notes=notes, exit_code=exit_code
        )

    def _found(self, nights: Nights, moment: str, bundles: Sequence[Bundle]) -> list[Change]:
        """Raises OutputError."""
        output = self.graph.file.output
        now = {str(bundle): record.digest(Places.of(output, bundle).record) for bundle in bundles}
        return list(nights.since(moment, now).values())


def _title(nights: Nights, since: str, moment: str | None, changes: Sequence[Change]) -> str:
    if moment is None:
        return "no run is remembered"
    when = f"since {since}" if since else f"on {local(next(iter(nights.runs)).began):%Y-%m-%d}"
    if changes:
        return f"{counted(len(changes), 'bundle')} changed {when}"
    last = nights.last_change(moment)
    return f"nothing changed {when}" + (f"; the last change was {shown(last)}" if last else "")


def _notes(nights: Nights, moment: str | None, changes: Sequence[Change]) -> list[str]:
    """What is not known."""
    horizon = nights.horizon()
    if moment is None or horizon is None or moment >= horizon or all(one.is_new for one in changes):
        return []
    return [f"what changed before {shown(horizon)} is no longer known"]
