"""A remote cache, as a run uses it: what is asked, what is believed, and what becomes of it when it fails.

The index of the catalog is asked for once, before any process is forked; it tells nearly all hits. After the first
failure nothing is asked any more, by any process of the run: so a server that is gone costs one try.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

from c2wtasks.bundlefile.remote import RemoteCache
from c2wtasks.disk import safely
from c2wtasks.oci import signingkey
from c2wtasks.oci.access import Access
from c2wtasks.registry.limits import Limits
from c2wtasks.remote import claim as claims
from c2wtasks.remote import keyfile
from c2wtasks.remote.claim import Claim, Envelope, Kind, Output
from c2wtasks.remote.journal import Event, Journal, Product, hit
from c2wtasks.remote.knocking import nobody_at
from c2wtasks.remote.packed import keyed, unpack
from c2wtasks.remote.transport import INDEX, Blob, Name, RemoteFailure, Transport, opener
from c2wtasks.remote.trust import Trust, Verdict, trust_of
from c2wtasks.telling import progress

HASTY = Limits(connect=1, hello=1, answer=2, stall=1.5, window=2, rate=16 << 10, attempts=1, few_attempts=1)
"""How long a run waits for what it may as well make itself: a silent server costs 5 s at most."""
_MAX_PACKED = 256 << 20
_MAX_MISSES = 20
_WORTH_SECONDS = 0.5
_WORTH_RATE = 50e6  # bytes a second: what is made faster than that is made, not fetched
_PIECE = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote cache and how this catalog uses it: `scope` is that of what it writes, `indexes` are the names of the
    indexes that it reads, of which it writes the first."""

    cache: RemoteCache
    access: Access
    scope: str
    indexes: tuple[str, ...]

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that are read."""
        return frozenset((self.cache.scope, self.scope))

    def reached(self, limits: Limits) -> Transport:
        """The way to it."""
        return opener(self.cache.type.scheme)(self.cache.url, self.access, limits)

    def trust(self) -> Trust:
        """Whose claims count.

        Raises RemoteFailure: a key cannot be read, or the packages for it are not here.
        """
        keys = [keyfile.read(path, signingkey.public) for path in self.cache.trust]
        return trust_of(keys, self.scopes, self.cache.agree)


class Session:
    """A remote cache in use. Processes that are forked use it, too, each by connections of its own."""

    def __init__(self, remote: Remote, *, limits: Limits = HASTY, writes: bool = False, trouble: str = "") -> None:
        """`trouble` is why the cache has failed already, if it has: then it is not asked."""
        self.remote = remote
        self.journal = Journal()
        self.writes = writes
        self.wanted: frozenset[str] | None = None
        """The keys of the blobs whose tars this run needs anyway, where that is known."""
        self._limits = limits
        self._pid = 0
        self._transport: Transport | None = None
        self._listed: dict[tuple[Kind, str], list[Envelope]] = {}
        self._known: dict[tuple[Kind, str], Verdict] = {}
        self._misses = 0
        self.trust = Trust({}, frozenset())
        try:
            if nobody := trouble or nobody_at(remote.cache.url, remote.access, limits.connect):
                raise RemoteFailure(nobody)
            self.trust = remote.trust()
        except RemoteFailure as error:
            self.journal.switch_off(error.reason)
        for name in remote.indexes:
            self._list(self._tried(lambda to, name=name: to.get(Name(INDEX, name), _MAX_PACKED)))  # type: ignore[misc]

    def find(self, kind: Kind, key: str) -> Claim | None:
        """What is believed to come of the inputs that `key` stands for."""
        if (kind, key) not in self._known:
            verdict = self.trust.verdict(self._listed.get((kind, key), ()), kind, key)
            if verdict.claim is None and self._misses < _MAX_MISSES and not self.journal.is_off:
                found = list(self._asked(kind, key))
                self._misses = 0 if found else self._misses + 1
                if found:
                    verdict = self.trust.verdict([*self._listed.get((kind, key), ()), *found], kind, key)
            self._known[kind, key] = verdict
            for why in dict.fromkeys(verdict.refused):
                self.journal.note(Event("refused", why))
        return self._known[kind, key].claim if not self.journal.is_off else None

    def _asked(self, kind: Kind, key: str) -> Iterable[Envelope]:
        """The claims that are kept for a key, by those who are trusted."""
        for signer in self.trust.keys:
            name = Name(kind, key, signer)
            text = self._tried(lambda to, name=name: to.get(name, claims.MAX_ENVELOPE))  # type: ignore[misc]
            if text is not None:
                try:
                    yield claims.decode_envelope(text)
                except ValueError as error:
                    self.journal.note(Event("refused", str(error)))

    def took(self, claim: Claim) -> None:
        """Notes that the outputs of a claim are used."""
        self.journal.note(hit(claim, self._known[claim.kind, claim.key].envelopes))

    def content(self, output: Output) -> bytes | None:
        """An output, unpacked; None where it is not there, or not what it should be."""
        stored = output.content
        if stored is None:
            if output.size > _MAX_PACKED:
                return None
            pieces: list[bytes] = []
            if not self._brought(output, pieces.append):
                return None
            stored = b"".join(pieces)
        if not output.unpacked:
            return stored
        try:
            unpacked = unpack(stored, output.unpacked)
        except ValueError as error:
            self.journal.note(Event("wrong", f"{output.name}: {error}"))
            return None
        return unpacked

    def bring(self, output: Output, path: str) -> bool:
        """Puts an output that is not packed at `path`, where nothing is; says whether it is there now, whole.

        Raises OSError.
        """
        with open(safely.create(path), "wb") as stream:
            if output.content is not None:
                stream.write(output.content)
                return True
            if self._brought(output, stream.write):
                return True
        os.unlink(path)
        return False

    def _brought(self, output: Output, take: Callable[[bytes], object]) -> bool:
        """Has `take` take an output in pieces; says whether they were it."""
        blob = Blob(output.sha256, output.size)
        incoming = self._tried(lambda to: to.open(blob))
        if incoming is None:
            if not self.journal.is_off:
                self.journal.note(Event("gone", output.name))
            return False
        with closing(incoming):
            found, count = hashlib.sha256(), 0
            while piece := self._tried(lambda _: incoming.read(_PIECE)):
                count += len(piece)
                progress.advance(len(piece))
                found.update(piece)
                if count > output.size:
                    break
                take(piece)
        if self.journal.is_off:
            return False
        if (count, found.hexdigest()) != (output.size, output.sha256):
            self.journal.note(Event("wrong", f"{output.name}: its content is another"))
            return False
        return True

    def is_worth(self, seconds: float, size: int) -> bool:
        """Whether a result of so many bytes, that it took so many seconds to make, is to be kept."""
        return seconds >= _WORTH_SECONDS and size <= seconds * _WORTH_RATE

    def listed(self) -> Iterable[tuple[Kind, str]]:
        """The kinds and keys of what the indexes list."""
        return tuple(self._listed)

    def offer(self, kind: Kind, key: str, products: Iterable[Product], seconds: float) -> None:
        """Has a result that was made here written, in the background."""
        if self.writes and not self.journal.is_off:
            self.journal.note(Event("made", kind=kind, key=key, products=tuple(products), seconds=seconds))

    def _tried(self, ask: Callable[[Transport], T]) -> T | None:
        """What the cache answers; None where it fails, or has failed before."""
        if self.journal.is_off:
            return None
        try:
            return ask(self._reached())
        except RemoteFailure as error:
            self.journal.switch_off(error.reason)
            return None

    def _reached(self) -> Transport:
        if self._transport is None or self._pid != os.getpid():
            self._pid, self._transport = os.getpid(), self.remote.reached(self._limits)
        return self._transport

    def _list(self, packed: bytes | None) -> None:
        if packed is None:
            return
        try:
            envelopes = claims.decode_index(unpack(packed, claims.MAX_INDEX))
        except ValueError as error:
            self.journal.note(Event("refused", f"the index: {error}"))
            return
        for key, envelope in keyed(envelopes).items():
            self._listed.setdefault(key[:2], []).append(envelope)
