"""Whether there is room for what a run will write: better said at its beginning than by a disk that is full."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import takewhile

from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.output import record, standing
from c2wtasks.output.record import Record
from c2wtasks.sources.model import Layer
from c2wtasks.tasks import names
from c2wtasks.tasks.build import Build
from c2wtasks.telling.sizes import human

_GROWTH = 3  # how often a compressed layer fits into its tar, as a rule


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made of a bundle: the tars of these `layers`, those that are not in the store; and its root, in
    so many forms that are files, and as a folder or not."""

    build: Build
    layers: tuple[Layer, ...]
    files: int
    folder: bool


def jobs(builds: Iterable[Build], tasks: Set[str]) -> list[Job]:
    """What these tasks write that takes room, of the builds that have a root."""
    found: list[Job] = []
    for build in builds:
        bundle = build.bundle
        forms = [form for form in bundle.forms if {names.tree(bundle), names.rootfs(bundle, form.name)} & tasks]
        layers = tuple(one for one in build.image.layers if forms or names.layer(one.key) in tasks)
        if layers:
            files = len([form for form in forms if form in bundle.file_forms])
            found.append(Job(build, layers, files, bundle.folder_form in forms))
    return found


def warnings(jobs: Iterable[Job], store: Store, cache: str, output: str) -> Iterator[str]:
    """A line for each file system of `cache` and `output` that has less room than the jobs need."""
    tars, roots = to_write(jobs, store)
    needs: dict[int, list[tuple[str, int]]] = {}
    for folder, size in ((cache, tars), (output, roots)):
        if size:
            needs.setdefault(os.stat(_existing(folder)).st_dev, []).append((folder, size))
    for together in needs.values():
        needed = sum(size for _, size in together)
        disk = os.statvfs(_existing(together[0][0]))
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            where = " and ".join(folder for folder, _ in together)
            yield f"warning: about {human(needed)} are needed in {where}, {human(free)} are free"


def to_write(jobs: Iterable[Job], store: Store) -> tuple[int, int]:
    """About how many bytes the jobs write into the cache, and into the output."""
    tars: dict[Digest, int] = {}
    shared: dict[tuple[Digest, bool], int] = {}  # what roots that share their files have of layers, all together
    roots = 0
    for job in jobs:
        bundle, places = job.build.bundle, job.build.places
        published = record.read(places.record)
        sizes = _sizes(job.build, store, published)
        tars |= {layer.diff_id: sizes[layer.diff_id] for layer in job.layers if not store.holds(layer.diff_id)}
        if job.folder and bundle.share:
            from c2wtasks.output import pool  # only ever needed where roots share their files

            shared |= {(one, bundle.same_owner): 0 if pool.has(places.pool, one) else sizes[one] for one in sizes}
        roots += _of_roots(job, list(sizes.values()), published)
    return sum(tars.values()), roots + sum(shared.values())


def _of_roots(job: Job, sizes: Sequence[int], published: Record | None) -> int:
    """The bytes of a root in so many forms, of which the layers have these sizes; of the folder those alone that it
    does not share with the published one, on which it is founded as far as the layers are the same; none of one that
    shares its files with other roots."""
    whole, share = sum(sizes), job.build.bundle.share
    folder = job.folder and not share
    if published is None or published.rootfs is None:
        return whole * (job.files + folder)
    pairs = zip(job.build.image.layers, published.layers, strict=False)
    common = len(list(takewhile(lambda pair: str(pair[0].diff_id) == pair[1].diff_id, pairs)))
    if common == len(sizes) == len(published.layers):
        whole = published.rootfs.size
    shares = (
        common
        and published.options.get("same_owner") == job.build.bundle.same_owner
        and standing.is_noted(job.build.places, shares=False)
    )
    return whole * job.files + folder * (sum(sizes[common:]) if shares else whole)


def _sizes(build: Build, store: Store, published: Record | None) -> dict[Digest, int]:
    """The bytes of the tars of a bundle's layers, as they are known from earlier runs, or about."""
    recorded = {layer.diff_id: layer.tar_size for layer in published.layers} if published else {}
    return {layer.diff_id: _tar_size(layer, store, recorded.get(str(layer.diff_id))) for layer in build.image.layers}


def _tar_size(layer: Layer, store: Store, recorded: int | None) -> int:
    receipt = store.receipt(layer.digest) if layer.digest else None
    if receipt is not None:
        return receipt.tar_size
    if recorded is not None:
        return recorded
    # Docker's older archives, which name no digests, hold plain tars.
    is_plain = layer.digest is None or layer.digest == layer.diff_id
    return layer.place.size * (1 if is_plain else _GROWTH)


def _existing(folder: str) -> str:
    """The folder, or the next one above it that is there."""
    while not os.path.exists(folder):
        folder = os.path.dirname(folder) or "."
    return folder
