"""The upkeep of a catalog's cache: what its bundles need of it, what may go, and keeping it to a size."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from c2wtasks.bundlefile.lock import Entries
from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.catalog import record
from c2wtasks.catalog.places import Places
from c2wtasks.errors import os_reason
from c2wtasks.layers import sweep
from c2wtasks.layers.store import Store
from c2wtasks.layers.sweep import Item, Needed, Sweep
from c2wtasks.oci.digest import Digest
from c2wtasks.sizes import human
from c2wtasks.sources.memo import Memo
from c2wtasks.steps import Work


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes of a cache. `shared`: others may need what this catalog does not."""

    plan: Sweep
    shared: bool


def decide(
    file: BundleFile,
    works: Iterable[Work],
    locked: Entries,
    present: Iterable[Item],
    max_size: int | None,
    now_ns: int,
) -> Decision:
    """What goes of what is `present` in the cache of `file`, where it may take `max_size` bytes; `locked` is what
    bundle.lock says."""
    own_memo = Memo.of(file.cache).path
    shared = sweep.is_shared(present, own_memo, outside=not _is_inside(file.cache), now_ns=now_ns)
    needed = _needed(file, works, locked)
    return Decision(
        sweep.plan(present, needed, shared=shared, own_memo=own_memo, now_ns=now_ns, max_size=max_size), shared
    )


def keep_to_size(limit: int, file: BundleFile, works: Iterable[Work], locked: Entries, store: Store) -> Iterator[str]:
    """Makes a cache of more than `limit` bytes smaller, and gives lines: what was freed, if anything was, and what
    could not be removed.

    No run of this catalog may be at work. What no bundle needs goes only then, too: while there is room it costs
    nobody anything, and finding it takes reading every bundle's record.

    Raises OutputError.
    """
    present = list(sweep.items(file.cache))
    if sum(item.size for item in present) <= limit:
        return
    planned = decide(file, works, locked, present, limit, time.time_ns()).plan
    freed, failed = sweep.remove(planned.removals)
    kept = planned.kept + sum(removal.item.size for removal in planned.removals if removal.item.path in failed)
    if freed:
        over = f", {human(kept - limit)} too many: no more tars can go" if kept > limit else ""
        yield f"{file.cache}: freed {human(freed)}, to keep to cache_max_size; {human(kept)} stay{over}"
    if failed:
        path, error = next(iter(failed.items()))
        more = f", nor can {len(failed) - 1} more" if len(failed) > 1 else ""
        yield f"{path}: cannot be removed: {os_reason(error)}{more}"
    store.recover()


def needs(work: Work | None, places: Places) -> tuple[set[Digest], set[Digest]]:
    """The layers (diffIDs, and digests of blobs) that a bundle is made from, or was when it was published."""
    pairs = [(layer.diff_id, layer.digest) for layer in work.image.layers] if work and work.has_rootfs else []
    published = record.read(places.record)
    if published is not None and all(layer.tar_size is not None for layer in published.layers):
        try:
            pairs += [
                (Digest.parse(layer.diff_id), Digest.parse(layer.digest) if layer.digest else None)
                for layer in published.layers
            ]
        except ValueError:  # an edited record: verify says so
            pass
    return {diff_id for diff_id, _ in pairs}, {digest for _, digest in pairs if digest is not None}


def _is_inside(cache: str) -> bool:
    """Whether the cache lies in the folder of bundle.yaml."""
    here, there = os.path.realpath("."), os.path.realpath(cache)
    return os.path.commonpath([here, there]) == here


def _needed(file: BundleFile, works: Iterable[Work], locked: Entries) -> Needed:
    """What the images of all bundles have, what bundle.lock says that they have, and what the last good one of each
    was made from: a source that cannot be read today may be there again tomorrow."""
    known = {str(work.bundle): work for work in works}
    pairs = [needs(known.get(str(bundle)), Places.of(file.output, bundle)) for bundle in file.bundles]
    documents = [(work.image.manifest_digest, work.image.config_digest) for work in known.values()]
    documents += [(entry.manifest, entry.config) for entry in locked.values()]
    layers = [
        layer
        for bundle in file.bundles
        if bundle.forms and (entry := locked.get(str(bundle))) is not None
        for layer in entry.layers
    ]
    return Needed(
        frozenset((*(one for diff_ids, _ in pairs for one in diff_ids), *(layer.diff_id for layer in layers))),
        frozenset(
            (
                *(one for _, digests in pairs for one in digests),
                *(layer.digest for layer in layers if layer.digest is not None),
            )
        ),
        frozenset(one for pair in documents for one in pair if one is not None),
    )
