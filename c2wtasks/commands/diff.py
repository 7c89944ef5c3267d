"""`doit diff`: what one bundle has otherwise than another, or than itself on a night; or one catalog.json."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from doit.exceptions import InvalidCommand
from msgspec.structs import replace

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.changes import records
from c2wtasks.changes.composing import compose, inverse
from c2wtasks.changes.model import UNKNOWN, Change, Details
from c2wtasks.changes.records import NO_DETAILS, Made
from c2wtasks.commands.base import OurCommand, chosen
from c2wtasks.commands.options import JSON
from c2wtasks.commands.reporting import EXIT_CODE, MARKDOWN, report
from c2wtasks.disk import safely
from c2wtasks.errors import one_line, os_reason
from c2wtasks.graph.nights import Nights
from c2wtasks.output import listing, record
from c2wtasks.output.places import PACKAGES, Places
from c2wtasks.tasks import changed
from c2wtasks.telling.sizes import counted

_NOT_KNOWN = "which packages and files changed is not known here"


class Side(NamedTuple):
    """A bundle, now or on a night."""

    bundle: Bundle
    night: str

    def __str__(self) -> str:
        return f"{self.bundle}:{self.night}" if self.night else str(self.bundle)


class Diff(OurCommand):
    """Compares two bundles, or two catalogs."""

    name = "diff"
    doc_purpose = "tell what differs in two bundles, nights or catalogs"
    doc_usage = "BUNDLE[:NIGHT] BUNDLE[:NIGHT] | CATALOG.json CATALOG.json"
    doc_description = (
        "A NIGHT is a date, for the bundle as it was at the end of that day, or the time of a run as `history` shows "
        "it. No image is read for it. Exit status 0: done. 1: with --exit-code, they differ. 3: wrong command line."
    )
    cmd_options = (JSON, MARKDOWN, EXIT_CODE)
    looks_up = "not"

    def _execute(self, as_json: bool, markdown: bool, exit_code: bool) -> int:
        nights = Nights(self.graph.file.output)  # first: it says so where this dodo.py has no bundles
        if self.sel_default_tasks or len(self.sel_tasks) != 2:
            raise InvalidCommand(
                "diff takes two bundles (web@linux/amd64:2026-11-27 web@linux/amd64), or two catalogs"
            )
        words = self.sel_tasks
        if all(word.endswith(".json") for word in words):
            changes = _of_catalogs(nights, *map(_catalog, words))
            names = " -> ".join(words)
        else:
            sides = self._side(words[0]), self._side(words[1])
            change = self._of_sides(nights, *sides)
            names = f"{sides[0]} -> {sides[1]}"
            changes = [replace(change, bundle=names)] if change is not None else []
        if len(changes) > 1 or (changes and changes[0].bundle != names):
            title = f"{names}: {counted(len(changes), 'bundle')} changed"
        else:
            title = names if changes else f"{names}: no difference"
        form = "json" if as_json else "markdown" if markdown else ""
        return report(self, title, changes, form, full=len(changes) == 1, exit_code=exit_code)

    def _side(self, word: str) -> Side:
        """Raises InvalidCommand."""
        name, _, night = word.partition(":")
        found = chosen(self.graph_hooks, [name])
        if len(found) != 1:
            platforms = ", ".join(map(str, found)) or "none"
            raise InvalidCommand(f"'{one_line(name)}' is {counted(len(found), 'bundle')}: {platforms}; give one")
        return Side(found[0], night)

    def _of_sides(self, nights: Nights, old: Side, new: Side) -> Change | None:
        """What `new` has otherwise than `old`; None where that is nothing. Raises InvalidCommand."""
        since, later = self._since(nights, old), self._since(nights, new)
        change = self._of_bundles(old.bundle, new.bundle) if old.bundle != new.bundle else None
        for step in (change, inverse(later) if later is not None else None):
            if step is not None:
                since = step if since is None else compose(since, step)
        return since if since is not None and since.before != since.after else None

    def _since(self, nights: Nights, side: Side) -> Change | None:
        """What changed in a bundle since its night, if it has one. Raises InvalidCommand."""
        bundle, digest = str(side.bundle), record.digest(Places.of(self.graph.file.output, side.bundle).record)
        if not digest:
            raise InvalidCommand(f"{bundle} is not built")
        if not side.night:
            return None
        try:
            moment = nights.moment(side.night)
        except ValueError as error:
            raise InvalidCommand(one_line(str(error))) from error
        found = nights.since(moment, {bundle: digest}).get(bundle)
        horizon = nights.horizon()
        if found is not None and found.is_new:
            raise InvalidCommand(f"{bundle} was not built yet on {side.night}")
        if horizon is None or moment < horizon:
            raise InvalidCommand(f"what {bundle} was on {side.night} is no longer known")
        return found

    def _of_bundles(self, old: Bundle, new: Bundle) -> Change | None:
        """What one bundle has otherwise than another, as they stand."""
        both = [Places.of(self.graph.file.output, one) for one in (old, new)]
        texts = [safely.read(places.record, record.MAX_SIZE) for places in both]
        was, now = map(records.parse, texts)
        if was is None or now is None:
            raise InvalidCommand("one of them is no bundle of this version; run again")
        digests = records.digest(texts[0]), records.digest(texts[1])
        details, unknown = self._details(both, was, now)
        read = partial(changed.small, both[0].published), partial(changed.small, both[1].published)
        found = records.compare(str(new), digests, (was, now), read, details)
        return replace(found, unknown=(*found.unknown, *unknown))

    def _details(self, both: Sequence[Places], old: Made, new: Made) -> tuple[Details, tuple[str, ...]]:
        if PACKAGES not in old.outputs and PACKAGES not in new.outputs:
            return NO_DETAILS, ()
        try:
            old_tree, new_tree = (changed.standing_tree(places) for places in both)
            old_text, new_text = (safely.read(places.output(PACKAGES), record.MAX_SIZE) for places in both)
            return changed.between(self.graph.store, (old_tree, new_tree), (old_text, new_text), None), ()
        except (OSError, ValueError):
            return UNKNOWN, ("which packages and files differ is not known: run again, and verify it",)


def _of_catalogs(nights: Nights, old: dict[str, bytes], new: dict[str, bytes]) -> list[Change]:
    """What the second catalog's records have otherwise than the first's."""
    found: list[Change] = []
    for bundle in sorted(old.keys() | new.keys()):
        was, now = (records.parse(texts.get(bundle, b"")) for texts in (old, new))
        if now is None:
            found.append(records.gone(bundle, records.digest(old[bundle])))
        elif was is None:
            found.append(records.new(bundle, records.digest(new[bundle]), now))
        elif old[bundle] != new[bundle]:
            digests = records.digest(old[bundle]), records.digest(new[bundle])
            found.append(nights.between(bundle, *digests) or _by_records(bundle, digests, (was, now)))
    return found


def _by_records(bundle: str, digests: tuple[str, str], made: tuple[Made, Made]) -> Change:
    """As much as two records tell."""
    is_known = records.has_same_root(*made)
    found = records.compare(bundle, digests, made, (_not_here, _not_here), NO_DETAILS if is_known else UNKNOWN)
    return found if is_known else replace(found, unknown=(*found.unknown, _NOT_KNOWN))


def _not_here(name: str) -> bytes:
    raise FileNotFoundError(name)


def _catalog(path: str) -> dict[str, bytes]:
    """The texts of bundle.json that a catalog lists, by bundle.

    Raises InvalidCommand.
    """
    try:
        lines = listing.lines(safely.read(path, listing.MAX_SIZE))
    except OSError as error:
        raise InvalidCommand(f"{one_line(path)}: cannot be read: {os_reason(error)}") from error
    except ValueError as error:
        raise InvalidCommand(f"{one_line(path)}: is no catalog.json of this version") from error
    return {f"{one.name}@{one.platform}": record.encode(one.bundle) for one in lines if one.bundle is not None}
