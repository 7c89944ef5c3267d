"""What the last lines of a run say of all bundles together."""

from __future__ import annotations

import os

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.disk import safely
from c2wtasks.errors import some_of
from c2wtasks.output import listing
from c2wtasks.output.leftovers import Leftover, leftovers
from c2wtasks.output.places import Places
from c2wtasks.sizes import human
from c2wtasks.tasks import catalog

_NAMED = 5  # leftovers


def totals(file: BundleFile) -> str:
    """`bundles/ 2.1 GB, 1.4 GB saved by sharing`, by what catalog.json lists; "" where it cannot be read."""
    try:
        found = listing.sizes(safely.read(catalog.path_of(file), listing.MAX_SIZE))
    except (OSError, ValueError):
        return ""
    shared = f", {human(found.shared)} saved by sharing" if found.shared else ""
    return f"{file.output}/ {human(found.size)}{shared}"


def note_on_leftovers(file: BundleFile, *, closely: bool) -> str:
    """Names the outputs that bundle.yaml no longer has; "" where there are none. It takes a tenth of a millisecond a
    bundle to look `closely`; otherwise only images are found of which nothing is left, not single platforms."""
    try:
        if not closely and not _other_names(file):
            return ""
        places = [Places.of(file.output, bundle) for bundle in file.bundles]
        gone = [one.bundle for one in leftovers(file.output, places) if isinstance(one, Leftover)]
    except OSError:
        return ""
    if not gone:
        return ""
    return f"note: {file.output} has what bundle.yaml no longer has ({some_of(gone, _NAMED)}): doit prune removes it"


def _other_names(file: BundleFile) -> bool:
    """Whether the output has names that are no image's. Raises OSError."""
    known = {bundle.name for bundle in file.bundles} | {listing.CATALOG}
    return any(name not in known and name[0] != "." for name in os.listdir(file.output))
