"""`doit shard`: how the bundles are split over several machines."""

from __future__ import annotations

import msgspec
from doit.exceptions import InvalidCommand

from c2wtasks.bundlefile import shards
from c2wtasks.commands.base import FINE, OurCommand
from c2wtasks.commands.options import JSON
from c2wtasks.process import runoptions
from c2wtasks.telling.sizes import human

_OF = {
    "name": "of",
    "long": "of",
    "type": int,
    "default": 0,
    "help": "on how many machines",
}


class ShardLine(msgspec.Struct, frozen=True):
    """A shard that has any bundles: what `C2WTASKS_SHARD` is to be for it, how many bundles, and the bytes of the
    blobs that it reads, as far as bundle.lock knows them."""

    shard: str
    bundles: int
    bytes: int


class Matrix(msgspec.Struct, frozen=True):
    """What --json prints: as GitHub's `strategy.matrix` takes it."""

    include: tuple[ShardLine, ...]


class Shard(OurCommand):
    """Says what falls to each of N machines, by bundle.yaml and bundle.lock alone."""

    name = "shard"
    doc_purpose = "say how the bundles are split over several machines"
    doc_usage = "--of N"
    doc_description = (
        f"A machine on which the variable {runoptions.SHARD} is K/N builds the K-th of N shards; all find the same "
        "ones, as they go by bundle.yaml and bundle.lock. `merge` joins what they have built. Exit status 0: "
        "done. 3: wrong command line."
    )
    cmd_options = (_OF, JSON)
    of_all_shards = True
    looks_up = "not"

    def _execute(self, of: int, as_json: bool) -> int:
        graph = self.graph
        self.no_words("the number of machines is given as --of N")
        if not 1 <= of <= shards.MAX_COUNT:
            raise InvalidCommand(f"give the number of machines, from 1 to {shards.MAX_COUNT}: --of 8")
        shares = shards.split(graph.file.bundles, graph.lock.entries, of)
        lines = [
            ShardLine(str(shards.Shard(number, of)), len(share.bundles), share.read)
            for number, share in enumerate(shares, start=1)
            if share.bundles
        ]
        if as_json:
            self.show_json(Matrix(tuple(lines)))
        else:
            self.show(map(_text, lines))
        return FINE


def _text(line: ShardLine) -> str:
    size = f"  {human(line.bytes):>9} to read" if line.bytes else ""
    return f"{line.shard}  {line.bundles:6} bundle{'s' * (line.bundles != 1):1}{size}".rstrip()
