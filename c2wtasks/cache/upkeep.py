"""The upkeep of a catalog's cache: what its bundles need of it, what may go, and keeping it to a size."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from c2wtasks.bundlefile.lock import Entries
from c2wtasks.bundlefile.model import Bundle, BundleFile
from c2wtasks.cache import sweep
from c2wtasks.cache.sweep import Item, Needed, Sweep
from c2wtasks.errors import os_reason
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.output import record
from c2wtasks.output.places import Places
from c2wtasks.sources.model import Image
from c2wtasks.telling.sizes import human


@dataclass(frozen=True, slots=True)
class Decision:
    """What goes of a cache, as it was at `now_ns`. `shared`: others may need what this catalog does not."""

    plan: Sweep
    shared: bool
    now_ns: int


@dataclass(frozen=True, slots=True)
class CacheUser:
    """What of a catalog counts for its cache. `images` maps bundles, by name and platform, to their images, where
    these can be read; `locked` is what bundle.lock says, and `identity` tells the catalog from others."""

    file: BundleFile
    images: Mapping[str, Image]
    locked: Entries
    identity: str


def decide(catalog: CacheUser, max_size: int | None) -> Decision:
    """What goes of the catalog's cache, where that may take `max_size` bytes.

    Raises OutputError.
    """
    return _decide(catalog, list(sweep.items(catalog.file.cache, now_ns := time.time_ns())), max_size, now_ns)


def _decide(catalog: CacheUser, present: Iterable[Item], max_size: int | None, now_ns: int) -> Decision:
    outside = not _is_inside(catalog.file.cache)
    shared = sweep.is_shared(present, catalog.identity, outside=outside, now_ns=now_ns)
    planned = sweep.plan(
        present, _needed(catalog), shared=shared, own=catalog.identity, now_ns=now_ns, max_size=max_size
    )
    return Decision(planned, shared, now_ns)


def keep_to_size(limit: int, catalog: CacheUser, store: Store) -> Iterator[str]:
    """Makes a cache of more than `limit` bytes smaller, and gives lines: what was freed, how much it is still too
    large, and what could not be removed.

    No run of this catalog may be at work. What no bundle needs goes only then, too: while there is room it costs
    nobody anything, and finding it takes reading every bundle's record.

    Raises OutputError.
    """
    cache, now_ns = catalog.file.cache, time.time_ns()
    present = list(sweep.items(cache, now_ns))
    if sum(item.size for item in present) <= limit:
        return
    planned = _decide(catalog, present, limit, now_ns).plan
    freed, failed = sweep.remove(planned, cache, now_ns)
    kept = planned.kept + sum(removal.item.size for removal in planned.removals if removal.item.path in failed)
    too_many = f"{human(kept - limit)} too many: {why_no_more(planned)}" if kept > limit and not failed else ""
    if freed:
        yield f"{cache}: freed {human(freed)}, to keep to cache_max_size; {human(kept)} stay" + (
            f", {too_many}" if too_many else ""
        )
    elif too_many:
        yield f"{cache}: nothing can go, to keep to cache_max_size; {human(kept)} stay, {too_many}"
    if failed:
        path, error = next(iter(failed.items()))
        more = f", nor can {len(failed) - 1} more" if len(failed) > 1 else ""
        yield f"{path}: cannot be removed: {os_reason(error)}{more}"
    store.recover()


def why_no_more(planned: Sweep) -> str:
    """Why nothing more goes of a cache that is still too large."""
    if planned.recent:
        return f"the cache is shared, and of what was used in the last hour ({human(planned.recent)}) nothing goes"
    return "no more tars can go"


def needs(bundle: Bundle, image: Image | None, output: str) -> tuple[set[Digest], set[Digest]]:
    """The layers (diffIDs, and digests of blobs) that a bundle is made from, or was when it was published."""
    pairs = [(layer.diff_id, layer.digest) for layer in image.layers] if image and bundle.forms else []
    published = record.read(Places.of(output, bundle).record)
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


def _needed(catalog: CacheUser) -> Needed:
    """What the images of all bundles have, what bundle.lock says that they have, and what the last good one of each
    was made from: a source that cannot be read today may be there again tomorrow."""
    file, locked = catalog.file, catalog.locked
    pairs = [needs(bundle, catalog.images.get(str(bundle)), file.output) for bundle in file.bundles]
    documents = [(image.manifest_digest, image.config_digest) for image in catalog.images.values()]
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
