"""The bundles of a catalog, split into shards for several machines: each machine finds the same ones. Pure.

It goes by bundle.yaml and bundle.lock alone, so nothing is looked up to know whose a bundle is.

Bundles that share layers lie side by side where they are sorted by their layers, as images are chains: each begins
as those beside it do. A shard is a run of neighbours, so a layer is read twice only where it lies on both sides of a
cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from c2wtasks.bundlefile.lock import Entries
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.errors import UserError

MAX_COUNT = 10_000
DEFAULT_COUNT = 8
"""Of shards, where nobody says how many."""
_SHARD = re.compile(r"0*([1-9]\d{0,4})/0*([1-9]\d{0,4})")
_SMALL = 1 << 20  # bytes of blobs: what a bundle costs beside its layers and its root
_EXACT = 1 / 256  # how well the least work is found that the largest shard must have
_SLACK, _NEARLY = 1.03, 0.97  # of that: how much a shard may have if that saves reading layers twice


class ShardError(UserError):
    """What names a shard names none."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` shards: its number, the first is 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`3/8`.

        Raises ShardError.
        """
        found = _SHARD.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]) or int(found[2]) > MAX_COUNT:
            raise ShardError(
                f"{text!r} is no shard", hint=f"give a number and of how many, such as 3/8; at most {MAX_COUNT}"
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, bundles: Sequence[Bundle], entries: Entries) -> tuple[Bundle, ...]:
        """Its bundles, in their order."""
        return split(bundles, entries, self.count)[self.number - 1].bundles


@dataclass(frozen=True, slots=True)
class Share:
    """What falls to one shard. `read` are the bytes of the blobs of its layers, as far as the lock knows them."""

    bundles: tuple[Bundle, ...] = ()
    read: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    """A bundle, the one of this `number`; `layers` has the bytes of its blobs, by what tells them apart. `work` is
    what it costs beside reading these; whether they are `known`, by the lock."""

    number: int
    bundle: Bundle
    layers: dict[str, int]
    known: bool
    work: int


def split(bundles: Sequence[Bundle], entries: Entries, count: int) -> tuple[Share, ...]:
    """The shares of `count` shards: each bundle is in one of them; the last ones have none where bundles are few."""
    items = sorted(_items(bundles, entries), key=lambda item: (tuple(item.layers), item.number))
    too_little, enough = 0, sum(item.work + sum(item.layers.values()) for item in items)
    while enough - too_little > max(1, enough * _EXACT):
        middle = (too_little + enough) // 2
        if len(_cuts(items, middle, middle)) <= count:
            enough = middle
        else:
            too_little = middle
    cuts = _cuts(items, int(enough * _SLACK), enough)
    if len(cuts) > count:
        cuts = _cuts(items, enough, enough)
    shares = [_share(items[begin:end]) for begin, end in zip([0, *cuts], cuts, strict=False)]
    return (*shares, *[Share()] * (count - len(shares)))


def _items(bundles: Sequence[Bundle], entries: Entries) -> list[_Item]:
    """An image that the lock does not know counts as one layer, of the size that images have on average."""
    known = {str(bundle): entries[str(bundle)].layers for bundle in bundles if str(bundle) in entries}
    sizes = [sum(layer.size for layer in layers) for layers in known.values()]
    usual = sum(sizes) // len(sizes) if sizes else _SMALL
    items = []
    for number, bundle in enumerate(bundles):
        locked = known.get(str(bundle))
        if not bundle.forms:  # it has no root, so none of its layers is read
            layers = {}
        elif locked is None:
            layers = {bundle.source.text: usual}
        else:
            layers = {str(layer.digest or layer.diff_id): layer.size for layer in locked}
        items.append(_Item(number, bundle, layers, locked is not None, _SMALL + sum(layers.values())))
    return items


def _cuts(items: Sequence[_Item], most: int, usual: int) -> list[int]:
    """Where shards end that have at most the work `most`, or one bundle: after how many items.

    A shard that has nearly the work `usual` may end where the fewest bytes are read twice for that.
    """
    cuts: list[int] = []
    end = 0
    while end < len(items):
        begin, best, fewest = end, 0, 0
        work, here = 0, set[str]()
        while end < len(items):
            item = items[end]
            new = sum(size for key, size in item.layers.items() if key not in here)
            twice = sum(item.layers.values()) - new
            if work >= usual * _NEARLY and (not best or twice <= fewest):
                best, fewest = end, twice
            if end > begin and work + item.work + new > most:
                end = best or end
                break
            work += item.work + new
            here.update(item.layers)
            end += 1
        cuts.append(end)
    return cuts


def _share(items: Sequence[_Item]) -> Share:
    layers = {key: size for item in items if item.known for key, size in item.layers.items()}
    in_order = sorted(items, key=lambda item: item.number)
    return Share(tuple(item.bundle for item in in_order), sum(layers.values()))
