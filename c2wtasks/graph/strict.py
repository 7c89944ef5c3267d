"""`--strict` and `strict: true`: what a run would only note of a bundle fails it."""

from __future__ import annotations

from collections.abc import Iterable

from c2wtasks.errors import OutputError, UserError, some_of
from c2wtasks.output import record
from c2wtasks.output.places import NEW, RECORD, Places
from c2wtasks.output.staged import staging

_HINT = "give it the rights, the settings or the form that it needs, or leave strict out"


def refusal(places: Places) -> UserError | None:
    """Why a staged bundle is not to be published; None where there is nothing to note of it."""
    noted = _noted(f"{staging(places)}/{NEW}/{RECORD}")
    return OutputError(f"not published, as this run is strict: {noted}", hint=_HINT) if noted else None


def check_published(bundles: Iterable[tuple[str, Places]]) -> None:
    """Raises OutputError where there is something to note of some of the bundles, which stand."""
    noted = [bundle for bundle, places in bundles if _noted(places.record)]
    if noted:
        raise OutputError(f"this run is strict, and bundle.json notes something of {some_of(noted)}", hint=_HINT)


def _noted(path: str) -> str:
    """What the record at `path` notes; "" where that is nothing."""
    said = record.read(path)
    if said is None:
        return ""
    lacks = [f"the folder of the root lacks {said.rootfs.left_out}"] if said.rootfs and said.rootfs.left_out else []
    return "; ".join([*lacks, *said.notes])
