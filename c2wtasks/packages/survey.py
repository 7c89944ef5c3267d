"""All that is found in the folders of a root, as far as packages go.

Catalogs have many roots that differ in a few folders. So what was found in a root is kept a while, and of another one
over some of the same layers only those folders are looked at which the layers above these may have changed, in one or
the other. What comes of it is what a look at all folders would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from c2wtasks.errors import os_reason
from c2wtasks.packages import folders, modules, owned
from c2wtasks.packages.folders import Known
from c2wtasks.packages.modules import Listed, Modules
from c2wtasks.packages.owned import Counts, Listing
from c2wtasks.packages.reading import MAX_ALL, Reading

_MAX_KEPT = 1 << 16
"""Folders of all that is kept."""
_FEW = 200
"""Folders that are looked at sooner than it is found out which of them have changed."""


class Survey(NamedTuple):
    """What was found in a root. `refused` says why files that databases list are not counted."""

    modules: Modules
    listed: Listed
    counts: Counts
    refused: str = ""


class _Kept(NamedTuple):
    """A survey of a root of the layers `diff_ids`, which has so many folders."""

    diff_ids: Sequence[str]
    folders: Known
    size: int
    survey: Survey


_kept: tuple[_Kept, ...] = ()
"""The latest last."""


def survey(reading: Reading, listings: Sequence[Listing]) -> Survey:
    """What is found in a root, of which databases list the files `listings`.

    Raises LayerError, OutputError.
    """
    before = _nearest(reading.layers.diff_ids, listings)
    return (before and _since(reading.anew(), listings, before)) or _anew(reading.anew(), listings)


def _anew(reading: Reading, listings: Sequence[Listing]) -> Survey:
    """What is found by a look at all folders. Raises LayerError, OutputError."""
    changed = folders.changes(reading.root, None, 0)
    found = modules.find(reading, changed, modules.NONE)
    listed = modules.listed(reading, found)
    listings = [*listings, listed.listing]
    refused = ""
    try:
        counts = owned.count(reading.root, changed.folders, listings, found.npm)
    except OSError as error:
        refused = os_reason(error)
        listings = [Listing([()] * len(one.counts)) for one in listings]
        counts = owned.count(reading.root, changed.folders, listings, found.npm)
    made = Survey(found, listed, counts, refused)
    size = len(changed.folders)
    if not refused and found.size <= MAX_ALL and _FEW <= size <= _MAX_KEPT:
        _keep(_Kept(tuple(reading.layers.diff_ids), folders.known(changed.folders), size, made))
    return made


def _since(reading: Reading, listings: Sequence[Listing], before: _Kept) -> Survey | None:
    """What is found by a look at the folders that are not as `before`; None where that does not tell, or where they
    are many, so that it is better to keep what a look at all gives.

    Raises LayerError, OutputError.
    """
    changed = folders.changes(reading.root, before.folders, _shared(reading.layers.diff_ids, before))
    if 4 * len(changed.folders) > before.size:
        return None
    found = modules.find(reading, changed, before.survey.modules)
    if found.size > MAX_ALL:
        return None
    listed = modules.listed(reading, found)
    try:
        counts = owned.recount(reading.root, changed, [*listings, listed.listing], found.npm, before.survey.counts)
    except OSError:
        return None
    return Survey(found, listed, counts) if counts is not None else None


def _shared(diff_ids: Sequence[str], one: _Kept) -> int:
    """How many layers a survey has in common with others, from the lowest on."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(diff_ids, one.diff_ids, strict=False)))


def _nearest(diff_ids: Sequence[str], listings: Sequence[Listing]) -> _Kept | None:
    """What is kept of a root that has the most layers in common, and the same databases; the latest of several."""
    best, most = None, 0
    for one in reversed(_kept):
        shared = _shared(diff_ids, one)
        if shared > most and [*map(id, listings)] == [*map(id, one.survey.counts.listings[: len(listings)])]:
            best, most = one, shared
    if best is not None:
        _keep(best)
    return best


def _keep(made: _Kept) -> None:
    """Keeps a survey, as the latest; of those that make too many folders, the latest ones."""
    global _kept
    kept, left = [made], _MAX_KEPT - made.size
    for one in reversed(_kept):
        left -= one.size
        if left < 0:
            break
        if one is not made:
            kept.append(one)
    _kept = tuple(reversed(kept))
