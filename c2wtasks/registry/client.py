"""The pull side of a registry (OCI distribution-spec 1.1): manifests and blobs, from mirrors or itself, tried again
where that may help."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from c2wtasks.oci.access import Access, Endpoint
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import DOCKER_SCHEMA1, INDEXES, MANIFESTS
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import limits
from c2wtasks.registry.answers import came, decoded, digest_of, is_json_object, is_odd, length_of, media_type
from c2wtasks.registry.asker import Asked, Asker, other
from c2wtasks.registry.errors import Broken, NotThere, RegistryError
from c2wtasks.registry.limits import Limits
from c2wtasks.registry.wire import Body, Response, end
from c2wtasks.telling.notices import tell

T = TypeVar("T")

ACCEPTED = ", ".join((*MANIFESTS, *INDEXES, *DOCKER_SCHEMA1))
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


class Client:
    """Reads from registries. Threads may share it."""

    def __init__(self, access: Access, waiting: Limits) -> None:
        self.access = access
        self.limits = waiting
        self.asker = Asker(access, waiting)

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
                response, asked = self.asker.ask(endpoint, "GET", f"manifests/{digest}", {"Accept": ACCEPTED}, what)
            except NotThere as error:
                not_there = error
            else:
                return self.read_whole(response, asked, what, digest, limit), media_type(response)
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
            response, asked = self.asker.ask(endpoint, "GET", f"blobs/{digest}", {}, digest.short)
            return self.read_whole(response, asked, digest.short, digest, limit)

        return self._from_any(repository, digest.short, ask)

    def blob(self, endpoint: Endpoint, digest: Digest, start: int, size: int) -> Body:
        """The bytes of a blob of `size` from `start` on, unchecked; there may come more, or fewer.

        Raises Broken, RegistryError.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        response, asked = self.asker.ask(endpoint, "GET", f"blobs/{digest}", headers, digest.short)
        body = Body(response, self.limits)
        try:
            # Some label as gzip what merely is; then its length is right.
            if is_odd(response) and length_of(response) != (size - start if response.status == 206 else size):
                raise other(digest.short, asked, response)
            if response.status == 206:
                _check_range(response, start, size)
            else:
                _skip(body, start)  # the registry knows no ranges
        except (Broken, RegistryError):
            end(response)
            raise
        return body

    def _told(self, endpoint: Endpoint, tag: str, what: str) -> Digest | None:
        """The digest that HEAD tells of a tag; None where it tells none: HEAD saves a GET, and need not be known.

        Raises Broken; RegistryError: credentials were refused, which GET would not change.
        """
        response, asked = self.asker.answer(endpoint, "HEAD", f"manifests/{tag}", {"Accept": ACCEPTED})
        self.asker.discard(response)
        if response.status == 401 and asked.authority is not None and asked.authority.header() is not None:
            raise self.asker.problem(endpoint, what, response, asked)
        return digest_of(response) if response.status == 200 else None

    def _by_tag(
        self, endpoint: Endpoint, tag: str, what: str, told: Digest | None, limit: int
    ) -> tuple[Digest, bytes, str]:
        """What GET of a tag gives, since there are registries that know no manifest by its digest: its digest, which
        HEAD may have `told`, its text, and the media type that it is said to have."""
        response, asked = self.asker.ask(endpoint, "GET", f"manifests/{tag}", {"Accept": ACCEPTED}, what)
        digest = digest_of(response) or told
        content = self.read_whole(response, asked, what, digest, limit)
        return digest or Digest.of(content), content, media_type(response)

    def read_whole(self, response: Response, asked: Asked, what: str, digest: Digest | None, limit: int) -> bytes:
        """The document in an answer, of at most `limit` bytes: of `digest`, if that is known, and else at least a
        JSON object. Raises Broken, RegistryError."""
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
        except (Broken, RegistryError):
            end(response)  # who waited for what is left of it might wait long
            raise
        self.asker.discard(response)
        if length_of(response) not in (None, size):
            raise Broken(f"{size} bytes came where {length_of(response)} were announced")
        raw = b"".join(chunks)
        for content in (raw, decoded(raw, response, limit)):
            if content is not None and _fits(content, digest):
                return content
        if digest is None or is_odd(response):
            raise other(what, asked, response)
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
                return self.patiently(mirror, what, ask)
            except RegistryError as error:
                if self.access.offline:
                    raise
                tell(f"mirror {error}; asking the next")
        return self.patiently(own, what, ask)

    def patiently(self, endpoint: Endpoint, what: str, ask: Callable[[Endpoint], T]) -> T:
        """What `ask` gives of the endpoint, tried again where that may help. `what` is for messages.

        Raises RegistryError.
        """
        patience = self.asker.patience(endpoint, what)
        while True:
            try:
                return ask(endpoint)
            except Broken as error:
                patience.after(error)


def _fits(content: bytes, digest: Digest | None) -> bool:
    """Whether content is what was asked for: of `digest`, or at least a JSON object."""
    return is_json_object(content) if digest is None else Digest.of(content, digest.algorithm) == digest


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


def client(access: Access) -> Client:
    """This process's client for registries that are reached like this."""
    return _client(access, access.patient)


@lru_cache(8)
def _client(access: Access, patient: bool) -> Client:
    return Client(access, limits.DEFAULT if patient else limits.BRIEF)


# A process that is forked has others' connections, and must not go on with them.
os.register_at_fork(after_in_child=_client.cache_clear)
