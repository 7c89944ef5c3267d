"""What a run writes to a remote cache, in a process beside it: the results that it made, then the catalog's index."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

import zstandard

from c2wtasks.disk import safely
from c2wtasks.oci import signingkey
from c2wtasks.oci.digest import Digest
from c2wtasks.registry.limits import Limits
from c2wtasks.remote import claim as claims
from c2wtasks.remote import keyfile
from c2wtasks.remote.claim import MAX_INLINE, Claim, Envelope, Output
from c2wtasks.remote.documents import documents_of, put_documents
from c2wtasks.remote.journal import Event, Journal, Product
from c2wtasks.remote.packed import index_of, keyed, put_index
from c2wtasks.remote.session import Remote
from c2wtasks.remote.transport import INDEX, Blob, Name, RemoteFailure, Transport
from c2wtasks.remote.trust import key_id, signed
from c2wtasks.sources.reading import MAX_MANIFEST

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SIGNING_KEY = "C2WTASKS_SIGNING_KEY"
"""The variable with the file of the private key that signs what is written; without it nothing is."""
PASSWORD = "C2WTASKS_KEY_PASSWORD"
LONGEST = 30.0
"""Seconds that the end of a run waits for what is still being written."""
PATIENT = Limits(connect=5, answer=30, stall=15, attempts=3)
"""How long one waits for whom nobody waits."""
_MAX_WAITING = 10_000
_PAUSE = 0.1
_GRACE = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def may_sign() -> bool:
    """Whether there is a key that signs what is written."""
    return bool(os.environ.get(SIGNING_KEY))


class Uploading:
    """The process that writes. To be made while this process has one thread."""

    def __init__(self, remote: Remote, journal: Journal) -> None:
        """Raises OSError: there are no more processes to be had."""
        from c2wtasks.process.forking import forked

        self._journal = journal
        self._pid, self._socket = forked(lambda parent: _Writer(remote, journal).run(parent))

    def finish(self, within: float = LONGEST, documents: Iterable[Product] = ()) -> None:
        """Waits until all is written, or so many seconds, or until a signal asks us to end; then ends the process.
        `documents` are those of the catalog's images, by digest: of each that is here, its file."""
        self._journal.note(Event("end", seconds=within, products=tuple(documents)))
        until = time.monotonic() + within + _GRACE
        with _noticed() as asked:
            while not asked and time.monotonic() < until:
                if os.waitpid(self._pid, os.WNOHANG)[0]:
                    self._socket.close()
                    return
                time.sleep(0.01)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._socket.close()
        self._journal.note(Event("lost", "it takes too long, and the run has ended" if not asked else "interrupted"))


@contextmanager
def _noticed() -> Iterator[list[int]]:
    """Signals that ask us to end are put into a list while the block runs."""
    asked: list[int] = []
    before = {number: signal.signal(number, lambda number, _: asked.append(number)) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Writer:
    """What the process does."""

    def __init__(self, remote: Remote, journal: Journal) -> None:
        self._remote = remote
        self._journal = journal
        self._waiting: deque[Event] = deque()
        self._listed: list[Envelope] = []
        self._documents: tuple[Product, ...] = ()
        self._until: float | None = None
        self._at = 0
        self._key: EllipticCurvePrivateKey | None = None
        self._transport: Transport | None = None

    def run(self, parent: socket.socket) -> None:
        """Writes what there is until the run ends."""
        try:
            while self._go_on(parent):
                pass
            if self._listed:
                self._write_index()
                self._write_documents()
        except RemoteFailure as error:
            self._journal.note(Event("lost", error.reason, len(self._waiting) + 1))

    def _go_on(self, parent: socket.socket) -> bool:
        events, self._at = self._journal.since(self._at)
        for event in events:
            if event.what == "made" and len(self._waiting) < _MAX_WAITING:
                self._waiting.append(event)
            elif event.what == "hit":
                self._listed += event.envelopes
            elif event.what == "end":
                self._until = time.monotonic() + event.seconds
                self._documents = event.products
        if self._until is not None and (not self._waiting or time.monotonic() > self._until):
            if self._waiting:
                raise RemoteFailure("it takes too long, and the run has ended")
            return False
        if self._waiting:
            self._write(self._waiting[0])
            self._waiting.popleft()
            return True
        gone, _, _ = select.select([parent], [], [], _PAUSE)
        return not gone

    def _write(self, made: Event) -> None:
        """Writes a result: its outputs, then the claim. Raises RemoteFailure."""
        to, key = self._reached(), self._signs()
        outputs, blobs = [], []
        for product in made.products:
            try:
                output, content = _stored(product)
            except OSError:  # it was made anew since, or removed
                return
            with content:
                outputs.append(output)
                if output.content is None:
                    blob = Blob(output.sha256, output.size)
                    blobs.append(blob)
                    if not to.has(blob):
                        to.send(blob, content)
        claim = Claim(
            made.kind,
            made.key,
            tuple(outputs),
            self._remote.scope,
            version("c2wtasks"),
            int(time.time()),
            round(made.seconds, 3),
        )
        envelope = signed(claim, key)
        to.put(Name(claim.kind, claim.key, key_id(key.public_key())), claims.encode(envelope), blobs)
        self._listed.append(envelope)
        self._journal.note(Event("written", size=sum(blob.size for blob in blobs)))

    def _write_index(self) -> None:
        """Adds to the catalog's index what the run used and made. Raises RemoteFailure."""
        to, name = self._reached(), Name(INDEX, self._remote.indexes[0])
        before = index_of(to, name)
        now = {**before, **keyed(self._listed)}
        if now.keys() != before.keys():
            put_index(to, name, list(now.values())[-claims.MAX_CLAIMS :])

    def _write_documents(self) -> None:
        """Brings the catalog's documents up to date. Raises RemoteFailure."""
        here: dict[Digest, bytes] = {}
        for one in self._documents:
            digest = Digest.parse(one.name)
            try:
                content = safely.read(one.path, MAX_MANIFEST)
            except OSError:  # it is of no registry, or was not needed
                continue
            if Digest.of(content, digest.algorithm) == digest:
                here[digest] = content
        to, catalog = self._reached(), self._remote.indexes[0]
        before = documents_of(to, catalog, [Digest.parse(one.name) for one in self._documents])
        if here.keys() - before.keys():
            put_documents(to, catalog, before | here)

    def _signs(self) -> EllipticCurvePrivateKey:
        if self._key is None:
            password = os.fsencode(os.environ.get(PASSWORD, ""))
            self._key = keyfile.read(os.environ[SIGNING_KEY], lambda text: signingkey.decrypted(text, password))
        return self._key

    def _reached(self) -> Transport:
        if self._transport is None:
            self._transport = self._remote.reached(PATIENT)
        return self._transport


def _stored(product: Product) -> tuple[Output, BufferedReader | BytesIO]:
    """What is to be said of a product, and what is to be kept of it. Raises OSError."""
    stream: BufferedReader | BytesIO = (
        BytesIO(product.content) if product.content is not None else _opened(product.path)
    )
    unpacked = 0
    if product.packed:
        with stream:
            plain = stream.read()
        unpacked, stream = len(plain), BytesIO(zstandard.ZstdCompressor().compress(plain))
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0)
    content = stream.read() if size <= MAX_INLINE else None
    stream.seek(0)
    return Output(product.name, digest, size, unpacked, content), stream


def _opened(path: str) -> BufferedReader:
    return open(safely.open_file(path), "rb")
