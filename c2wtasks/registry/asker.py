"""One answer of a registry: authorised, at the end of redirects; and what is said of one that is not good."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from functools import partial

from c2wtasks.oci.access import Access, Endpoint, registry_of
from c2wtasks.registry import credentials
from c2wtasks.registry.answers import came, shown
from c2wtasks.registry.auth import Authority
from c2wtasks.registry.errors import Broken, NotThere, RegistryError
from c2wtasks.registry.limits import Limits, retry_after
from c2wtasks.registry.patience import Patience
from c2wtasks.registry.wire import MAX_REDIRECTS, Response, Wire, next_hop, split

_READING = ("GET", "HEAD")
_READ, _WRITTEN = (200, 206), (200, 201, 202, 204)  # how what was asked for is said to be done
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_WORDS = {429: " (too many requests)"}
_REPOSITORY = re.compile("/v2/([^?#]+)/(?:manifests|blobs)/")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered: for which repository (as messages call it), by which URL, and which one answered
    at the end of redirects; whether it was to write something."""

    label: str
    first: str
    last: str
    authority: Authority | None
    writes: bool = False

    @property
    def strayed(self) -> bool:
        """Whether another host answered than was asked."""
        return split(self.first) != split(self.last)

    def __str__(self) -> str:
        """The request, for messages. A link to another host may be secret as a whole."""
        return shown(self.first) + (f", sent on to {'://'.join(split(self.last))}" if self.strayed else "")


class Asker:
    """Asks one endpoint for something: authorised, along redirects. Threads may share it."""

    def __init__(self, access: Access, waiting: Limits) -> None:
        self.limits = waiting
        self._wire = Wire(access, waiting)
        self._lock = threading.Lock()
        self._authorities: dict[tuple[str, str, str], Authority] = {}
        self._given_up: set[str] = set()

    def ask(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        headers: dict[str, str],
        what: str,
        body: bytes | None = None,
    ) -> tuple[Response, Asked]:
        """An answer that is good: authorised, redirects followed. `what` is for messages; the others as in `answer`.

        Raises Broken, RegistryError.
        """
        response, asked = self.answer(endpoint, method, path, headers, body)
        if response.status in (_WRITTEN if asked.writes else _READ):
            self._given_up.discard(endpoint.address)
            return response, asked
        self._wire.discard(response)
        raise self.problem(endpoint, what, response, asked)

    def answer(
        self, endpoint: Endpoint, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[Response, Asked]:
        """The answer at the end of redirects. `path` is one of the repository's, or a whole URL that it has given for
        an upload. Each host on the way is asked as itself: with its challenge, and the credentials that are kept for
        it; with none where a redirect led from https to http."""
        is_url = "://" in path
        first = url = path if is_url else f"{self._wire.base(endpoint.address)}{endpoint.api}/{endpoint.path}/{path}"
        encrypted = False
        for _ in range(MAX_REDIRECTS + 1):
            scheme, address = split(url)
            encrypted = encrypted or scheme == "https"
            authority = self._authority(endpoint, first, url) if scheme == "https" or not encrypted else None
            try:
                response = self._as_itself(authority, method, url, headers, body)
            except Broken as error:
                if split(url) != split(first):
                    error.reason = f"{address}, to which it sends on: {error.reason}"
                raise
            target = next_hop(response, url)
            if target is None:
                return response, Asked(label(endpoint), first, url, authority, method not in _READING)
            self._wire.discard(response)
            url = target
        raise RegistryError(f"{split(first)[1]} redirects more than {MAX_REDIRECTS} times")

    def discard(self, response: Response) -> None:
        """Gives the connection back, where no more is read of the answer."""
        self._wire.discard(response)

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

    def problem(self, endpoint: Endpoint, what: str, response: Response, asked: Asked) -> Exception:
        """The error for an answer that is not good: Broken, RegistryError, or NotThere."""
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
            return authority.refusal(str(asked), response, writes=asked.writes)
        name = f"{label(endpoint)}: {what}"
        if status == 404:
            plain = "--tls-verify=false " if asked.first.startswith("http:") else ""
            hint = f"see which tags there are: skopeo list-tags {plain}docker://{label(endpoint)}"
            missing = f"{name}: the registry has no such image or blob ({came(response)}, {asked})"
            return NotThere(missing, hint=hint if what.startswith("tag ") and not endpoint.is_mirror else None)
        if status == 416:
            return RegistryError(f"{name} is shorter at the registry than the manifest says ({asked})")
        return RegistryError(f"{name}: the registry answers with an error ({came(response)}, {asked})")

    def _as_itself(
        self, authority: Authority | None, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> Response:
        """The answer of one host. It may ask for credentials at first, and once more where a token has expired."""
        for last in (False, False, True):
            sent = authority.header() if authority is not None else None
            own = {} if sent is None else {"Authorization": sent.reveal()}
            response = self._wire.ask(method, url, {**headers, **own}, body)
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


def label(endpoint: Endpoint) -> str:
    """How messages call a repository at an endpoint."""
    return f"{endpoint.registry}/{endpoint.path}"


def other(what: str, asked: Asked, response: Response) -> RegistryError:
    """The error where something else came than a manifest or blob."""
    encoding = response.headers.get("Content-Encoding", "")
    if encoding:
        hint = "something on the way compresses what it passes on: have it leave this alone, or go past it"
    else:
        hint = "see what answers there: the registry may be at another host or path, or behind a login page"
    came_as = f"({came(response)}, {asked})"
    return RegistryError(f"{asked.label}: {what}: what came is not what a registry gives {came_as}", hint=hint)
