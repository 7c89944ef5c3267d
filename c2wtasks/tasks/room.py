"""Whether there is room for what a run will write: better said at its beginning than by a disk that is full."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.output import record
from c2wtasks.sizes import human
from c2wtasks.sources.model import Layer
from c2wtasks.tasks import names
from c2wtasks.tasks.build import Build

_GROWTH = 3  # how often a compressed layer fits into its tar, as a rule


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be made of a bundle: the tars of these `layers`, those that are not in the store; and its root, in
    so many forms."""

    build: Build
    layers: tuple[Layer, ...]
    roots: int


def jobs(builds: Iterable[Build], tasks: Set[str]) -> list[Job]:
    """What these tasks write that takes room, of the builds that have a root."""
    found: list[Job] = []
    for build in builds:
        bundle = build.bundle
        forms = [form for form in bundle.forms if names.rootfs(bundle, form.name) in tasks]
        roots = len(bundle.forms if names.tree(bundle) in tasks else forms)
        layers = tuple(one for one in build.image.layers if roots or names.layer(one.key) in tasks)
        if layers:
            found.append(Job(build, layers, roots))
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
    roots = 0
    for job in jobs:
        sizes, root_size = _sizes(job.build, store)
        tars |= {layer.diff_id: sizes[layer.diff_id] for layer in job.layers if not store.holds(layer.diff_id)}
        roots += root_size * job.roots
    return sum(tars.values()), roots


def _sizes(build: Build, store: Store) -> tuple[dict[Digest, int], int]:
    """The bytes of the tars of a bundle's layers, and of its root: as they are known from earlier runs, or about."""
    layers = build.image.layers
    published = record.read(build.places.record)
    recorded = {layer.diff_id: layer.tar_size for layer in published.layers} if published else {}
    sizes = {layer.diff_id: _tar_size(layer, store, recorded.get(str(layer.diff_id))) for layer in layers}
    if published is None or published.rootfs is None:
        return sizes, sum(sizes.values())
    same = [layer.diff_id for layer in published.layers] == [str(layer.diff_id) for layer in layers]
    return sizes, published.rootfs.size if same else sum(sizes.values())


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
