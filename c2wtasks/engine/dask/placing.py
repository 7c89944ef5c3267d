"""Which worker builds which shard. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def placed(sizes: Mapping[str, int], has: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """The worker for each shard; `sizes` are their bytes, by shard, and `has` the shards that each worker has built
    before, with when.

    A shard stays where it was built last, as long as no worker gets more than its share of them; the others go, the
    largest first, to whoever has the least to do.
    """
    most = -(-len(sizes) // len(has))
    found: dict[str, str] = {}
    count = dict.fromkeys(has, 0)
    work = dict.fromkeys(has, 0)

    def give(shard: str, worker: str) -> None:
        found[shard] = worker
        count[worker] += 1
        work[worker] += sizes[shard]

    for shard in sizes:
        known = [worker for worker in sorted(has) if shard in has[worker] and count[worker] < most]
        if known:
            give(shard, max(known, key=lambda worker: has[worker][shard]))
    for shard in sorted(sizes.keys() - found.keys(), key=lambda shard: (-sizes[shard], shard)):
        give(shard, min(sorted(has), key=lambda worker: (work[worker], count[worker])))
    return found
