"""The pull side of a registry (OCI distribution-spec 1.1): manifests and blobs, from mirrors or itself, tried again
where that may help."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from c2wtasks.errors import printable
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import DOCKER_SCHEMA1, INDEXES, MANIFESTS
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import credentials, limits
from c2wtasks.registry.auth import Authority, refused
from c2wtasks.registry.credentials import Secret
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.hosts import Access, Endpoint
from c2wtasks.registry.limits import Limits, retry_after
from c2wtasks.registry.wire import Body, Response, Wire, joined, split

T = TypeVar("T")

ACCEPTED = ", ".join((*MANIFESTS, *INDEXES, *DOCKER_SCHEMA1))
_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def tell(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


class Client:
    """Reads from registries. Threads may share it."""

    def __init__(self, access: Access, waiting: Limits) -> None:
        self.access = access
        self.limits = waiting
        self._wire = Wire(access, waiting)
        self._lock = threading.Lock()
        self._authorities: dict[tuple[str, str], Authority] = {}
        self._given_up: set[str] = set()

    def digest_of(self, repository: Repository, tag: str) -> Digest | None:
        """The digest that `tag` has now; None where the registry does not tell it beforehand.

        Raises RegistryError.
        """

        def ask(endpoint: Endpoint) -> Digest | None:
            response = self._ask(endpoint, "HEAD", f"manifests/{tag}", {"Accept": ACCEPTED}, f"tag {tag!r}")
            self._wire.discard(response)
            try:
                return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
            except ValueError:
                return None

        return self._from_any(repository, f"tag {tag!r}", ask)

    def manifest(self, repository: Repository, reference: str | Digest, limit: int) -> tuple[bytes, str]:
        """A manifest or index by tag or digest, of at most `limit` bytes: its text, and the media type that the
        registry says it has. Where `reference` is a digest, the text is of that digest.

        Raises RegistryError.
        """
        short = reference.short if isinstance(reference, Digest) else f"tag {reference!r}"

        def ask(endpoint: Endpoint) -> tuple[bytes, str]:
            headers = {"Accept": ACCEPTED}
            response = self._ask(endpoint, "GET", f"manifests/{reference}", headers, short)
            text = self._read_whole(response, f"{label(endpoint)}: {short}", reference, limit)
            return text, response.headers.get("Content-Type", "").partition(";")[0].strip()

        return self._from_any(repository, short, ask)

    def document(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """A small blob of at most `limit` bytes, whose digest was checked.

        Raises RegistryError.
        """

        def ask(endpoint: Endpoint) -> bytes:
            response = self._ask(endpoint, "GET", f"blobs/{digest}", {}, digest.short)
            return self._read_whole(response, f"{label(endpoint)}: {digest.short}", digest, limit)

        return self._from_any(repository, digest.short, ask)

    def blob(self, endpoint: Endpoint, digest: Digest, start: int, size: int) -> Body:
        """The bytes of a blob of `size` from `start` on, unchecked; there may come more, or fewer.

        Raises Broken, RegistryError.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._ask(endpoint, "GET", f"blobs/{digest}", headers, digest.short)
        body = Body(response, self.limits)
        try:
            if response.status == 206:
                _check_range(response, start, size)
            else:
                _skip(body, start)  # the registry knows no ranges
        except Broken:
            response.close()
            raise
        return body

    def patience(self, endpoint: Endpoint, what: str) -> Patience:
        """How often to try to get `what`. A host that does not answer costs the many things it has only once."""
        waiting = self.limits
        few = endpoint.is_mirror or endpoint.address in self._given_up
        return Patience(
            waiting,
            f"{label(endpoint)}: {what}",
            waiting.few_attempts if few else waiting.attempts,
            lambda: self._given_up.add(endpoint.address),
        )

    def discard(self, response: Response) -> None:
        self._wire.discard(response)

    def _read_whole(self, response: Response, name: str, reference: str | Digest, limit: int) -> bytes:
        body = Body(response, self.limits)
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := body.read(limit + 1 - size):
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise RegistryError(f"{name} is larger than the {limit} bytes that are read of such a document")
        finally:
            self._wire.discard(response)
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != size:
            raise Broken(f"{size} bytes came where {length[:20]} were announced")
        content = b"".join(chunks)
        if isinstance(reference, Digest) and (have := Digest.of(content, reference.algorithm)) != reference:
            raise Broken(f"what came has the digest {have.short}")
        return content

    def _from_any(self, repository: Repository, what: str, ask: Callable[[Endpoint], T]) -> T:
        """What the first endpoint gives that gives it. Mirrors that fail are passed over."""
        *mirrors, own = self.access.endpoints(repository)
        for mirror in mirrors:
            try:
                return self._patiently(mirror, what, ask)
            except RegistryError as error:
                if self.access.offline:
                    raise
                tell(f"mirror {error}; asking the next")
        return self._patiently(own, what, ask)

    def _patiently(self, endpoint: Endpoint, what: str, ask: Callable[[Endpoint], T]) -> T:
        patience = self.patience(endpoint, what)
        while True:
            try:
                return ask(endpoint)
            except Broken as error:
                patience.after(error)

    def _ask(self, endpoint: Endpoint, method: str, path: str, headers: dict[str, str], what: str) -> Response:
        """One answer that is good: authorised, redirects followed. Raises Broken, RegistryError."""
        url = f"{self._wire.base(endpoint.address)}/v2/{endpoint.path}/{path}"
        authority = self._authority(endpoint)
        for last in (False, False, True):  # a first challenge, and one more for a token that has expired
            sent = authority.header()
            response, strayed = self._follow(method, url, headers, sent)
            if response.status != 401 or strayed:
                break
            self._wire.discard(response)
            if last:
                raise refused(label(endpoint), sent is not None)
            authority.renew(response, sent)
        if response.status in (200, 206):
            self._given_up.discard(endpoint.address)
            return response
        self._wire.discard(response)
        raise self._problem(endpoint, what, response, strayed)

    def _authority(self, endpoint: Endpoint) -> Authority:
        key = (endpoint.address, endpoint.path)
        with self._lock:
            if key not in self._authorities:
                self._authorities[key] = Authority(
                    self._wire,
                    self.limits,
                    label(endpoint),
                    f"repository:{endpoint.path}:pull",
                    lambda: credentials.find(endpoint.registry, endpoint.path),
                )
            return self._authorities[key]

    def _follow(
        self, method: str, url: str, headers: dict[str, str], authorization: Secret | None
    ) -> tuple[Response, bool]:
        """The answer at the end of redirects, and whether another host gave it: that gets no credentials."""
        origin = split(url)
        for _ in range(_MAX_REDIRECTS + 1):
            strayed = split(url) != origin
            own = {} if authorization is None or strayed else {"Authorization": authorization.reveal()}
            response = self._wire.ask(method, url, {**headers, **own})
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response, strayed
            self._wire.discard(response)
            url = joined(url, target)
        raise RegistryError(f"{origin[1]} redirects more than {_MAX_REDIRECTS} times")

    def _problem(self, endpoint: Endpoint, what: str, response: Response, strayed: bool) -> Exception:
        status = response.status
        if status in _MAY_PASS or (strayed and status in (401, 403)):  # the other host's link may have expired
            return Broken(
                f"status {status}" + (" (too many requests)" if status == 429 else ""),
                wait=retry_after(response.headers.get("Retry-After"), time.time()),
            )
        name = f"{label(endpoint)}: {what}"
        if status == 404:
            return RegistryError(f"{name}: the registry has no such image or blob (status 404)")
        if status in (401, 403):
            return refused(label(endpoint), self._authority(endpoint).header() is not None)
        if status == 416:
            return RegistryError(f"{name} is shorter at the registry than the manifest says")
        return RegistryError(f"{name}: the registry answers with status {status}")


def label(endpoint: Endpoint) -> str:
    """How messages call a repository at an endpoint."""
    return f"{endpoint.registry}/{endpoint.path}"


class Patience:
    """How often something is tried again: `attempts` times in all, then `give_up` is called."""

    def __init__(self, waiting: Limits, name: str, attempts: int, give_up: Callable[[], None]) -> None:
        self._limits = waiting
        self._name = name
        self._failures = 0
        self._left = attempts - 1
        self._give_up = give_up
        self._came = 0

    def came(self, count: int) -> None:
        """Bytes have come: with many, one more try is worth it."""
        self._came += count
        while self._came >= self._limits.earns:
            self._came -= self._limits.earns
            self._left += 1
            self._failures = 0

    def after(self, error: Broken) -> None:
        """Waits before the next try, and says so. Raises RegistryError where there is none."""
        wait = error.wait or 0.0
        if wait > self._limits.longest_wait:
            raise RegistryError(f"{self._name}: {error.reason}; it asks to wait {wait:.0f} s", hint="run again later")
        if self._left == 0:
            self._give_up()
            raise RegistryError(f"{self._name}: {error.reason}, the last of several tries", hint="run again later")
        self._left -= 1
        self._failures += 1
        pause = wait or self._limits.pause(self._failures)
        tell(f"{self._name}: {error.reason}; trying again in {pause:.1f} s")
        time.sleep(pause)


def _check_range(response: Response, start: int, size: int) -> None:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != start:
        raise Broken("it sent another part than was asked for")
    if found[3] != "*" and int(found[3]) != size:
        raise Broken(f"it has {found[3][:20]} bytes of it, the manifest says {size}")


def _skip(body: Body, count: int) -> None:
    while count:
        chunk = body.read(min(count, 1 << 20))
        if not chunk:
            raise Broken("the connection ended too early")
        count -= len(chunk)


@lru_cache(8)
def client(access: Access) -> Client:
    """This process's client for registries that are reached like this."""
    return Client(access, limits.DEFAULT)


# A process that is forked has others' connections, and must not go on with them.
os.register_at_fork(after_in_child=client.cache_clear)
