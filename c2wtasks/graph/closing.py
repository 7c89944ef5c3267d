"""What the last lines of a run say of all bundles together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.errors import program, some_of
from c2wtasks.output import listing
from c2wtasks.output.places import FEED, FEEDS, PAGE, Places
from c2wtasks.output.record import Record
from c2wtasks.process.rights import LeftOut, builder
from c2wtasks.tasks import catalog
from c2wtasks.tasks.folder import Rights
from c2wtasks.telling.sizes import human

_NAMED = 5  # leftovers
_TOLD_ALONE = 20  # notes of one sort on bundles; of more there is one line


def totals(file: BundleFile) -> str:
    """`bundles/ 2.1 GB, 1.4 GB saved by sharing`, by what catalog.json lists; "" where it cannot be read."""
    try:
        found = listing.sizes(listing.lines(catalog.read(file) or b""))
    except ValueError:
        return ""
    shared = f", {human(found.shared)} saved by sharing" if found.shared else ""
    return f"{file.output}/ {human(found.size)}{shared}"


def note_on_leftovers(file: BundleFile, *, closely: bool) -> str:
    """Names the outputs that bundle.yaml no longer has; "" where there are none. It takes a tenth of a millisecond a
    bundle to look `closely`; otherwise only images are found of which nothing is left, not single platforms."""
    try:
        if not closely and not _other_names(file):
            return ""
        from c2wtasks.output.leftovers import Leftover, leftovers  # not needed where there is nothing to do

        places = [Places.of(file.output, bundle) for bundle in file.bundles]
        gone = [one.bundle for one in leftovers(file.output, places) if isinstance(one, Leftover)]
    except OSError:
        return ""
    if not gone:
        return ""
    what = f"{file.output} has what bundle.yaml no longer has ({some_of(gone, _NAMED)})"
    return f"note: {what}: {program()} prune removes it"


def _other_names(file: BundleFile) -> bool:
    """Whether the output has names that are no image's. Raises OSError."""
    known = {bundle.name for bundle in file.bundles} | {listing.CATALOG, PAGE, FEED, FEEDS}
    return any(name not in known and name[0] != "." for name in os.listdir(file.output))


def notes_on_replacing(in_place: Sequence[Places]) -> Iterator[str]:
    """Where the file system kept bundles from being replaced as they should be."""
    if in_place:
        yield (
            f"note: {some_of([places.published for places in in_place])}: replaced in place, not in one "
            "step, as the file system does not rename folders that lie in a lower layer of an overlay"
        )


def notes_on_folders(rights: Mapping[str, Rights], published: Mapping[str, Record], built: Set[str]) -> Iterator[str]:
    """What the folders of roots lack."""
    known = {bundle: one.left_out for bundle, one in rights.items()}
    known |= {bundle: one.rootfs.left_out for bundle, one in published.items() if one.rootfs}
    lacking = {bundle: left_out for bundle, left_out in sorted(known.items()) if left_out and bundle in built}
    more = "" if builder().complete else ", and a run with more rights makes it anew"
    if len(lacking) > (_TOLD_ALONE if published else 1):
        lacking = {f"{len(lacking)} bundles ({some_of(list(lacking))})": sum(lacking.values(), LeftOut())}
    for bundle, left_out in lacking.items():
        yield f"note: {bundle}: the folder of the root lacks {left_out}; bundle.json says so{more}"


def notes_of_published(published: Mapping[str, Record]) -> Iterator[str]:
    """What the records of the bundles that were published now have to tell."""
    notes = sorted((bundle, note) for bundle, one in published.items() for note in one.notes)
    if len(notes) <= _TOLD_ALONE:
        yield from (f"note: {bundle}: {note}" for bundle, note in notes)
    else:
        bundles = list(dict.fromkeys(bundle for bundle, _ in notes))
        yield f"note: {len(bundles)} bundles have notes in their bundle.json: {some_of(bundles)}"
