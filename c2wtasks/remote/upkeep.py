"""What may go from a remote cache: claims that were made long ago, and blobs that no claim names any more."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from c2wtasks.remote import claim as claims
from c2wtasks.remote.claim import Claim
from c2wtasks.remote.packed import index_of, put_index
from c2wtasks.remote.transport import INDEX, Kept, RemoteFailure, Transport

DAY = 86400.0
_YOUNG = 2 * DAY  # a blob whose claim may still be on its way


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes, and how many claims stay. Of the indexes those claims go whose keys are not in `known`."""

    remove: tuple[Kept, ...]
    stay: int
    known: frozenset[tuple[str, str, str]]
    indexes: tuple[Kept, ...]


def plan(there: Iterable[tuple[Kept, Claim | None]], days: float, now: float) -> Plan:
    """What goes of what is there, each claim with what it says: claims that are older than so many days, or none at
    all; then blobs that no other claim names, unless they are younger than two days. Pure."""
    remove, blobs, indexes = [], [], []
    named: set[str] = set()
    known: set[tuple[str, str, str]] = set()
    for kept, claim in there:
        if kept.name is None:
            blobs.append(kept)
        elif kept.name.kind == INDEX:
            indexes.append(kept)
        elif not kept.name.signer:  # a catalog's documents, which whoever builds it keeps up to date
            continue
        elif claim is None or now - claim.made > days * DAY:
            remove.append(kept)
        else:
            named.update(output.sha256 for output in claim.outputs)
            known.add((claim.kind, claim.key, kept.name.signer[:16]))
    unused = [blob for blob in blobs if blob.sha256 not in named and blob.age > _YOUNG]
    return Plan((*remove, *unused), len(known), frozenset(known), tuple(indexes))


def there(to: Transport) -> Iterator[tuple[Kept, Claim | None]]:
    """What is there, each claim with what it says.

    Raises RemoteFailure: the cache fails, or cannot tell.
    """
    found = to.kept()
    if found is None:
        raise RemoteFailure("it cannot tell what it has: remove what is old on the server itself")
    for kept in found:
        claim = None
        if kept.name is not None and kept.name.signer:
            text = to.get(kept.name, claims.MAX_ENVELOPE)
            try:
                claim = claims.decode_claim(claims.decode_envelope(text or b""))
            except ValueError:
                pass
        yield kept, claim


def carry_out(to: Transport, found: Plan) -> None:
    """Removes what goes: first from the indexes, then the claims, then the blobs. Raises RemoteFailure."""
    for kept in found.indexes:
        assert kept.name is not None
        before = index_of(to, kept.name)
        now = [one for (kind, key, signer), one in before.items() if (kind, key, signer[:16]) in found.known]
        if len(now) != len(before) or not before:
            put_index(to, kept.name, now)
    for kept in found.remove:
        to.remove(kept)


def collect(to: Transport, days: float) -> Plan:
    """What goes, by what is there now. Raises RemoteFailure."""
    return plan(there(to), days, time.time())
