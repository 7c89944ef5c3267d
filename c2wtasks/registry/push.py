"""The push side of a registry (OCI distribution-spec 1.1, `Push` and `Listing Referrers`): blobs, manifests, and what
is attached to them. What is there already is not sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urljoin

import msgspec

from c2wtasks.errors import UserError
from c2wtasks.oci.access import Endpoint
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_INDEX
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry.answers import digest_of
from c2wtasks.registry.asker import Asked
from c2wtasks.registry.client import Client
from c2wtasks.registry.errors import Broken, NotThere, RegistryError
from c2wtasks.registry.wire import Response

CHUNK = 16 << 20
"""Bytes that are sent in one request, and held in memory for it, unless the registry asks for more."""
_MAX_CHUNK = 256 << 20
_MAX_INDEX = 4 << 20  # bytes of a list of referrers
_MERGES = 8  # how often a list is written that others write, too
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_BYTES = "application/octet-stream"


T = TypeVar("T")


class Referrer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The descriptor of a manifest that has a subject, as the list of the subject's referrers has it."""

    media_type: str
    digest: str
    size: int
    artifact_type: str = ""
    annotations: dict[str, str] = {}


class _Listed(msgspec.Struct, frozen=True):
    """A list of referrers. What others have put in stays as it is, whatever fields that has."""

    manifests: tuple[dict[str, Any], ...] = ()


_LISTED = msgspec.json.Decoder(_Listed)


@dataclass(frozen=True, slots=True)
class Pushing:
    """What is written to one repository: to the registry itself, never to a mirror. Threads may share it."""

    client: Client
    repository: Repository

    @property
    def endpoint(self) -> Endpoint:
        """The registry's own."""
        return self.client.access.endpoints(self.repository)[-1]

    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has the blob.

        Raises RegistryError.
        """
        return self._patiently(digest.short, lambda endpoint: self._has(endpoint, f"blobs/{digest}", digest.short))

    def blob(self, digest: Digest, size: int, content: Callable[[], BinaryIO], *, of: str = "") -> bool:
        """Sees to it that the repository has a blob; says whether it was sent. `content` opens it, at its first byte;
        `of` is the path of a repository of this registry that may have it already (a cross-repository mount).

        Raises RegistryError, OSError.
        """
        if self.has_blob(digest):
            return False
        sending = _Sending(self, digest, size, of)
        with content() as stream:
            return self._patiently(digest.short, lambda _endpoint: sending.go_on(stream))

    def manifest(self, content: bytes, media_type: str, tag: str = "") -> bool:
        """Puts a manifest or index, by its digest or under a `tag`; says whether the registry keeps the list of
        referrers by itself, where the manifest has a subject.

        Raises RegistryError.
        """
        digest = Digest.of(content)
        reference = tag or str(digest)
        what = f"tag {tag!r}" if tag else digest.short

        def put(endpoint: Endpoint) -> bool:
            headers = {"Content-Type": media_type}
            response, asked = self.client.asker.ask(
                endpoint, "PUT", f"manifests/{quote(reference, safe=':')}", headers, what, content
            )
            self.client.asker.discard(response)
            _check_digest(response, asked, digest, what)
            return "OCI-Subject" in response.headers

        return self._patiently(what, put)

    def referrers(self, subject: Digest) -> tuple[Referrer, ...]:
        """What is attached to a manifest: from the registry's own list, or where it keeps none, from the tag that
        stands for it (`sha256-<hex>`). An artifactType there may be wrong: that of the manifest itself counts.

        Raises RegistryError.
        """
        what = f"referrers of {subject.short}"
        try:
            listed = self._list(f"referrers/{subject}", what)
        except NotThere:
            listed = self._listed_by_tag(subject)
        try:
            return msgspec.convert(listed, tuple[Referrer, ...])
        except msgspec.ValidationError as error:
            raise RegistryError(f"{self.repository}: {what}: the list is none of descriptors ({error})") from error

    def attach(self, subject: Digest, manifests: Sequence[tuple[bytes, str, Referrer]]) -> None:
        """Puts manifests that have `subject` as theirs: text, media type, and how the list is to show it. Where the
        registry keeps no list, the tag that stands for it is written, and read again: others may write it, too, and
        what they put in stays.

        Raises RegistryError.
        """
        unlisted = [shown for content, media_type, shown in manifests if not self.manifest(content, media_type)]
        for _ in range(_MERGES):
            listed = self._listed_by_tag(subject) if unlisted else ()
            known = {one.get("digest") for one in listed}
            missing = [one for one in unlisted if one.digest not in known]
            if not missing:
                return
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*listed, *missing]}
            self.manifest(msgspec.json.encode(index), OCI_INDEX, _tag_of(subject))
        raise RegistryError(
            f"{self.repository}: others write the list of what is attached to {subject.short} all the time",
            hint="let one publish at a time",
        )

    def _listed_by_tag(self, subject: Digest) -> tuple[dict[str, Any], ...]:
        try:
            return self._list(f"manifests/{_tag_of(subject)}", f"tag {_tag_of(subject)!r}")
        except NotThere:
            return ()

    def _list(self, path: str, what: str) -> tuple[dict[str, Any], ...]:
        def get(endpoint: Endpoint) -> bytes:
            response, asked = self.client.asker.ask(endpoint, "GET", path, {"Accept": OCI_INDEX}, what)
            return self.client.read_whole(response, asked, what, None, _MAX_INDEX)

        text = self._patiently(what, get)
        try:
            return _LISTED.decode(text).manifests
        except (msgspec.MsgspecError, RecursionError) as error:
            raise RegistryError(f"{self.repository}: {what}: it is no image index") from error

    def _has(self, endpoint: Endpoint, path: str, what: str) -> bool:
        response, asked = self.client.asker.answer(endpoint, "HEAD", path, {})
        self.client.asker.discard(response)
        if response.status in (200, 404):
            return bool(response.status == 200)
        raise self.client.asker.problem(endpoint, what, response, asked)

    def _patiently(self, what: str, ask: Callable[[Endpoint], T]) -> T:
        return self.client.patiently(self.endpoint, what, ask)


class _Sending:
    """A blob on its way: it goes on where it was when a connection broke, if the registry still knows of it."""

    def __init__(self, pushing: Pushing, digest: Digest, size: int, of: str) -> None:
        self.pushing = pushing
        self.asker = pushing.client.asker
        self.digest = digest
        self.size = size
        self.of = of
        self.upload = ""  # its URL
        self.chunk = CHUNK

    def go_on(self, stream: BinaryIO) -> bool:
        """Sends what is left of it; False where the registry had it in another repository.

        Raises Broken, RegistryError, OSError.
        """
        at = 0
        if self.upload:
            at = self._known()
            if not self.upload and self.pushing.has_blob(self.digest):
                return True  # the answer to the last request was lost
        if not self.upload and not self._begin():
            return False
        stream.seek(at)
        while self.size - at > self.chunk:
            piece = _exactly(stream, self.chunk)
            self._send("PATCH", self.upload, piece, {"Content-Range": f"{at}-{at + len(piece) - 1}"})
            at += len(piece)
        last = _exactly(stream, self.size - at)
        mark = "&" if "?" in self.upload else "?"
        headers = {"Content-Range": f"{at}-{self.size - 1}"} if at and last else {}
        response, asked = self._ask("PUT", f"{self.upload}{mark}digest={quote(str(self.digest))}", last, headers)
        self.asker.discard(response)
        _check_digest(response, asked, self.digest, self.digest.short)
        return True

    def _begin(self) -> bool:
        """Whether it has to be sent."""
        mount = f"?mount={quote(str(self.digest))}&from={quote(self.of)}" if self.of else ""
        response, asked = self._ask("POST", f"blobs/uploads/{mount}", b"", {})
        self.asker.discard(response)
        if response.status == 201:
            return False
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        if least.isascii() and least.isdigit():
            self.chunk = max(self.chunk, min(int(least[:12]), _MAX_CHUNK))
        self._goes_to(response, asked)
        return True

    def _known(self) -> int:
        """How many bytes the registry has of it; none where it forgot the upload, which then begins anew."""
        endpoint = self.pushing.endpoint
        response, asked = self.asker.answer(endpoint, "GET", self.upload, {})
        self.asker.discard(response)
        if response.status != 204:
            problem = self.asker.problem(endpoint, self.digest.short, response, asked)
            if isinstance(problem, Broken):
                raise problem
            self.upload = ""
            return 0
        found = _RANGE.fullmatch(response.headers.get("Range", ""))
        has = int(found[1]) + 1 if found is not None else 0
        if has > self.size or has == 1:  # "0-0" is what is said of nothing, too
            self.upload = ""
            return 0
        self._goes_to(response, asked)
        return has

    def _send(self, method: str, url: str, piece: bytes, headers: dict[str, str]) -> None:
        response, asked = self._ask(method, url, piece, headers)
        self.asker.discard(response)
        self._goes_to(response, asked)

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[Response, Asked]:
        kind = {"Content-Type": _BYTES, "Content-Length": str(len(body))}
        return self.asker.ask(self.pushing.endpoint, method, path, {**kind, **headers}, self.digest.short, body)

    def _goes_to(self, response: Response, asked: Asked) -> None:
        """Takes note of where the registry wants the rest."""
        location = response.headers.get("Location", "")
        try:
            self.upload = urljoin(asked.last, location) if location else self.upload
        except ValueError:
            self.upload = ""
        if not self.upload:
            raise RegistryError(f"{asked.label}: {self.digest.short}: the registry names no place to send it to")


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise UserError("a blob ended while it was sent: its file is shorter than it was")
    return content


def _check_digest(response: Response, asked: Asked, digest: Digest, what: str) -> None:
    said = digest_of(response)
    if said is not None and said.algorithm == digest.algorithm and said != digest:
        raise Broken(f"the registry has stored it as {said.short} ({asked})", once=True)


def _tag_of(subject: Digest) -> str:
    """The tag that stands for the list of a manifest's referrers."""
    return f"{subject.algorithm}-{subject.hex}"[:128]
