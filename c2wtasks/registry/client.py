"""The pull side of a registry (OCI distribution-spec 1.1): manifests and blobs, from mirrors or itself, tried again
where that may help."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeVar

from c2wtasks.notices import tell
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import DOCKER_SCHEMA1, INDEXES, MANIFESTS
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import credentials, limits
from c2wtasks.registry.answers import came, decoded, digest_of, is_json_object, is_odd, length_of, media_type, shown
from c2wtasks.registry.auth import Authority
from c2wtasks.registry.errors import Broken, NotThere, RegistryError
from c2wtasks.registry.hosts import Access, Endpoint, registry_of
from c2wtasks.registry.limits import Limits, retry_after
from c2wtasks.registry.patience import Patience
from c2wtasks.registry.wire import MAX_REDIRECTS, Body, Response, Wire, end, next_hop, split

T = TypeVar("T")

ACCEPTED = ", ".join((*MANIFESTS, *INDEXES, *DOCKER_SCHEMA1))
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_WORDS = {429: " (too many requests)"}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_REPOSITORY = re.compile("/v2/([^?#]+)/(?:manifests|blobs)/")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered: for which repository (as messages call it), by which URL, and which one answered
    at the end of redirects."""

    label: str
    first: str
    last: str
    authority: Authority | None

    @property
    def strayed(self) -> bool:
        """Whether another host answered than was asked."""
        return split(self.first) != split(self.last)

    def __str__(self) -> str:
        """For messages. A link to another host may be secret as a whole."""
        return shown(self.first) + (f", sent on to {'://'.join(split(self.last))}" if self.strayed else "")


class Client:
    """Reads from registries. Threads may share it."""

    def __init__(self, access: Access, waiting: Limits) -> None:
        self.access = access
        self.limits = waiting
        self._wire = Wire(access, waiting)
        self._lock = threading.Lock()
        self._authorities: dict[tuple[str, str, str], Authority] = {}
        self._given_up: set[str] = set()

    def tagged(
        self, repository: Repository, tag: str, limit: int, known: Callable[[Digest, int], bytes | None]
    ) -> tuple[Digest, bytes, str]:
        """The manifest or index that `tag` stands for now: its digest, its text of at most `limit` bytes, and the
        media type that the registry says it has, empty where the text is one that is `known` already.

        Raises RegistryError.
        """
        what = f"tag {tag!r}"
        told: dict[Endpoint, Digest | None] = {}

        def ask(endpoint: Endpoint) -> tuple[Digest, bytes, str]:
            if endpoint not in told:
                told[endpoint] = None  # where HEAD breaks, the next try is a GET
                told[endpoint] = self._told(endpoint, tag, what)
            digest = told[endpoint]
            if digest is not None and (content := known(digest, limit)) is not None:
                return digest, content, ""
            return self._by_tag(endpoint, tag, what, digest, limit)

        return self._from_any(repository, what, ask)

    def manifest(self, repository: Repository, digest: Digest, limit: int, tag: str = "") -> tuple[bytes, str]:
        """A manifest or index of at most `limit` bytes: its text, whose digest was checked, and the media type that
        the registry says it has. Where it is not known by its digest, it may be what `tag` stands for.

        Raises RegistryError.
        """
        what = digest.short

        def ask(endpoint: Endpoint) -> tuple[bytes, str]:
            try:
                response, asked = self._ask(endpoint, "GET", f"manifests/{digest}", {"Accept": ACCEPTED}, what)
            except NotThere as error:
                not_there = error
            else:
                return self._read_whole(response, asked, what, digest, limit), media_type(response)
            if tag:
                found, content, announced = self._by_tag(endpoint, tag, what, None, limit)
                if found == digest:
                    return content, announced
            raise not_there

        return self._from_any(repository, what, ask)

    def document(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """A small blob of at most `limit` bytes, whose digest was checked.

        Raises RegistryError.
        """

        def ask(endpoint: Endpoint) -> bytes:
            response, asked = self._ask(endpoint, "GET", f"blobs/{digest}", {}, digest.short)
            return self._read_whole(response, asked, digest.short, digest, limit)

        return self._from_any(repository, digest.short, ask)

    def blob(self, endpoint: Endpoint, digest: Digest, start: int, size: int) -> Body:
        """The bytes of a blob of `size` from `start` on, unchecked; there may come more, or fewer.

        Raises Broken, RegistryError.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        response, asked = self._ask(endpoint, "GET", f"blobs/{digest}", headers, digest.short)
        body = Body(response, self.limits)
        try:
            # Some label as gzip what merely is; then its length is right.
            if is_odd(response) and length_of(response) != (size - start if response.status == 206 else size):
                raise _other(digest.short, asked, response)
            if response.status == 206:
                _check_range(response, start, size)
            else:
                _skip(body, start)  # the registry knows no ranges
        except (Broken, RegistryError):
            end(response)
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

    def _told(self, endpoint: Endpoint, tag: str, what: str) -> Digest | None:
        """The digest that HEAD tells of a tag; None where it tells none: HEAD saves a GET, and need not be known.

        Raises Broken; RegistryError: credentials were refused, which GET would not change.
        """
        response, asked = self._answer(endpoint, "HEAD", f"manifests/{tag}", {"Accept": ACCEPTED})
        self._wire.discard(response)
        if response.status == 401 and asked.authority is not None and asked.authority.header() is not None:
            raise self._problem(endpoint, what, response, asked)
        return digest_of(response) if response.status == 200 else None

    def _by_tag(
        self, endpoint: Endpoint, tag: str, what: str, told: Digest | None, limit: int
    ) -> tuple[Digest, bytes, str]:
        """What GET of a tag gives, since there are registries that know no manifest by its digest: its digest, which
        HEAD may have `told`, its text, and the media type that it is said to have."""
        response, asked = self._ask(endpoint, "GET", f"manifests/{tag}", {"Accept": ACCEPTED}, what)
        digest = digest_of(response) or told
        content = self._read_whole(response, asked, what, digest, limit)
        return digest or Digest.of(content), content, media_type(response)

    def _read_whole(self, response: Response, asked: Asked, what: str, digest: Digest | None, limit: int) -> bytes:
        """A document: of `digest`, if that is known, and else at least a JSON object."""
        name = f"{asked.label}: {what}"
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
        if length_of(response) not in (None, size):
            raise Broken(f"{size} bytes came where {length_of(response)} were announced")
        raw = b"".join(chunks)
        for content in (raw, decoded(raw, response, limit)):
            if content is not None and _fits(content, digest):
                return content
        if digest is None or is_odd(response):
            raise _other(what, asked, response)
        raise Broken(
            f"what came has the digest {Digest.of(raw, digest.algorithm).short} ({came(response)}, {asked})",
            once=True,
            hint="the registry's copy is damaged, or something on the way changes it: have the image pushed again, "
            "or go past what is between",
        )

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

    def _ask(
        self, endpoint: Endpoint, method: str, path: str, headers: dict[str, str], what: str
    ) -> tuple[Response, Asked]:
        """One answer that is good: authorised, redirects followed. Raises Broken, RegistryError."""
        response, asked = self._answer(endpoint, method, path, headers)
        if response.status in (200, 206):
            self._given_up.discard(endpoint.address)
            return response, asked
        self._wire.discard(response)
        raise self._problem(endpoint, what, response, asked)

    def _answer(self, endpoint: Endpoint, method: str, path: str, headers: dict[str, str]) -> tuple[Response, Asked]:
        """The answer at the end of redirects. Each host on the way is asked as itself: with its challenge, and the
        credentials that are kept for it; with none where a redirect led from https to http."""
        first = url = f"{self._wire.base(endpoint.address)}{endpoint.api}/{endpoint.path}/{path}"
        encrypted = False
        for _ in range(MAX_REDIRECTS + 1):
            scheme, address = split(url)
            encrypted = encrypted or scheme == "https"
            authority = self._authority(endpoint, first, url) if scheme == "https" or not encrypted else None
            try:
                response = self._as_itself(authority, method, url, headers)
            except Broken as error:
                if split(url) != split(first):
                    error.reason = f"{address}, to which it sends on: {error.reason}"
                raise
            target = next_hop(response, url)
            if target is None:
                return response, Asked(label(endpoint), first, url, authority)
            self._wire.discard(response)
            url = target
        raise RegistryError(f"{split(first)[1]} redirects more than {MAX_REDIRECTS} times")

    def _as_itself(self, authority: Authority | None, method: str, url: str, headers: dict[str, str]) -> Response:
        """The answer of one host. It may ask for credentials at first, and once more where a token has expired."""
        for last in (False, False, True):
            sent = authority.header() if authority is not None else None
            own = {} if sent is None else {"Authorization": sent.reveal()}
            response = self._wire.ask(method, url, {**headers, **own})
            if last or authority is None or response.status != 401:
                break
            self._wire.discard(response)  # before more is asked: many may wait for a connection
            if not authority.renew(response, sent):
                break
        return response

    def _authority(self, endpoint: Endpoint, first: str, url: str) -> Authority:
        """What answers the challenges of the host of `url`, which is the endpoint's, as `first` is, or one that this
        sends on to."""
        scheme, address = split(url)
        registry, path = endpoint.registry, endpoint.path
        if address != split(first)[1]:
            registry = registry_of(address)
            path = found[1] if (found := _REPOSITORY.search(shown(url))) else path
        key = (scheme, address, path)
        with self._lock:
            if key not in self._authorities:
                self._authorities[key] = Authority(
                    self._wire,
                    self.limits,
                    f"{registry}/{path}",
                    registry,
                    scheme == "http",
                    f"repository:{path}:pull",
                    partial(credentials.find, registry, path),
                )
            return self._authorities[key]

    def _problem(self, endpoint: Endpoint, what: str, response: Response, asked: Asked) -> Exception:
        status = response.status
        authority = asked.authority
        is_known = authority is not None and (
            authority.header() is not None or "WWW-Authenticate" in response.headers
        )
        is_link = asked.strayed and status in (401, 403) and not is_known
        if status in _MAY_PASS or is_link:  # a link to another host may have expired, and the next be good
            return Broken(
                f"status {status}{_WORDS.get(status, '')}" + (f" ({asked})" if asked.strayed else ""),
                wait=retry_after(response.headers.get("Retry-After"), time.time()),
                once=is_link,
            )
        if status in (401, 403) and authority is not None:
            return authority.refusal(str(asked), response)
        name = f"{label(endpoint)}: {what}"
        if status == 404:
            return NotThere(f"{name}: the registry has no such image or blob ({came(response)}, {asked})")
        if status == 416:
            return RegistryError(f"{name} is shorter at the registry than the manifest says ({asked})")
        return RegistryError(f"{name}: the registry answers with an error ({came(response)}, {asked})")


def label(endpoint: Endpoint) -> str:
    """How messages call a repository at an endpoint."""
    return f"{endpoint.registry}/{endpoint.path}"


def _fits(content: bytes, digest: Digest | None) -> bool:
    """Whether it is what was asked for: of `digest`, or at least a JSON object."""
    return is_json_object(content) if digest is None else Digest.of(content, digest.algorithm) == digest


def _other(what: str, asked: Asked, response: Response) -> RegistryError:
    """The error where something else came than a manifest or blob."""
    encoding = response.headers.get("Content-Encoding", "")
    if encoding:
        hint = "something on the way compresses what it passes on: have it leave this alone, or go past it"
    else:
        hint = "see what answers there: the registry may be at another host or path, or behind a login page"
    came_as = f"({came(response)}, {asked})"
    return RegistryError(f"{asked.label}: {what}: what came is not what a registry gives {came_as}", hint=hint)


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
