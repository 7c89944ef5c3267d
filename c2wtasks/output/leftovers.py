"""What lies in the output folder of bundles that bundle.yaml no longer has, told from what is none of ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from c2wtasks.disk import files, safely
from c2wtasks.oci.platform import Platform
from c2wtasks.output import record
from c2wtasks.output.listing import CATALOG
from c2wtasks.output.places import FEED, FEEDS, HISTORY, PAGE, PARTS, POOL, Places
from c2wtasks.tree import treefile


@dataclass(frozen=True, slots=True)
class Leftover:
    """A bundle (`name@platform`) that is no longer wanted. Of `places`, those in `paths` are there; `published` tells
    its published folder from others."""

    bundle: str
    places: Places
    paths: tuple[str, ...]
    published: safely.Identity | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """Something in the output folder that nothing shows to be ours."""

    path: str
    why: str


def leftovers(output: str, wanted: Collection[Places]) -> Iterator[Leftover | Foreign]:
    """All in the folder `output` that is of none of the bundles whose places are `wanted`.

    A published folder is ours if its bundle.json says that it belongs there; what is kept in private goes with it,
    and without it if it holds a tree.
    """
    published = {places.published for places in wanted}
    parts = {places.parts for places in wanted}
    gone: set[str] = set()
    for name in sorted(files.names(output)):  # it may be a link: the user's own, to another disk
        if name in (CATALOG, PAGE, FEED, FEEDS, PARTS, HISTORY):
            continue
        folder = f"{output}/{name}"
        if not safely.is_folder(folder):
            yield Foreign(folder, "not a folder of ours")
            continue
        for inner in _names(folder):
            if inner == PARTS:  # of one that is about to be published
                continue
            places = Places(f"{folder}/{inner}", f"{output}/{PARTS}/{name}/{inner}")
            if places.published in published:
                continue
            recorded = _recorded_bundle(places, name, inner)
            if recorded is None:
                yield Foreign(places.published, "no bundle.json of ours that belongs there")
                parts.add(places.parts)
                continue
            gone.add(places.parts)
            there = tuple(path for path in (places.published, places.parts) if safely.exists(path))
            yield Leftover(recorded[0], places, there, recorded[1])
        if not _names(folder) and not _names(f"{output}/{PARTS}/{name}"):  # else its bundle was being removed
            yield Foreign(folder, "an empty folder")
    yield from _private(output, parts | gone)


def _private(output: str, known: Collection[str]) -> Iterator[Leftover | Foreign]:
    """What is left in the private folder without anything published."""
    base = f"{output}/{PARTS}"
    for name in _names(base):
        if name == POOL:
            continue
        for inner in _names(f"{base}/{name}"):
            places = Places(f"{output}/{name}/{inner}", f"{base}/{name}/{inner}")
            if places.parts in known:
                continue
            if _is_tree(places.tree):
                yield Leftover(f"{name}@{inner}", places, (places.parts,))
            else:
                yield Foreign(places.parts, "no tree of ours in it")


def _names(folder: str) -> list[str]:
    try:
        return sorted(files.names(folder)) if safely.is_folder(folder) else []
    except OSError:
        return []


def _recorded_bundle(places: Places, name: str, folder: str) -> tuple[str, safely.Identity] | None:
    """The bundle that the record in a published folder names, if that is its place; and which folder that is."""
    if not safely.is_folder(places.published):
        return None
    try:
        identity = safely.identity(places.published)
        have = record.named(safely.read(places.record, record.MAX_SIZE))
        if have is None or have.name != name or Platform.parse(have.platform).folder != folder:
            return None
    except (OSError, ValueError):
        return None
    return f"{have.name}@{have.platform}", identity


def _is_tree(path: str) -> bool:
    try:
        with open(safely.open_file(path), "rb") as stream:
            return stream.read(len(treefile.MAGIC)) == treefile.MAGIC
    except OSError:
        return False
