"""One HTTP request and its answer: connections, TLS, proxies, time limits. Nothing is tried twice here."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import urljoin

import urllib3
from urllib3 import exceptions
from urllib3.util import Timeout, parse_url

from c2wtasks.errors import os_reason
from c2wtasks.oci.access import Access
from c2wtasks.process.runoptions import OFFLINE
from c2wtasks.registry import proxies, silence, tls
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.limits import Limits

Response = urllib3.BaseHTTPResponse

_USER_AGENT = "c2wtasks"
_DRAINED = 64 << 10  # an answer that is not wanted is read to its end up to here, to keep its connection
MAX_REDIRECTS = 5
_PORTS = {"http": ":80", "https": ":443"}
_REDIRECTS = (301, 302, 303, 307, 308)
# What urllib3, and what it stands on, raises for what a server or a URL is like.
_FAILURES = (exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
_WRONG_CERTIFICATES = {  # by OpenSSL's numbers
    9: "look at this machine's clock",
    10: "have it renewed, and look at this machine's clock",
    62: "ask by a name that the certificate has, or have one made with this name",
    64: "ask by a name that the certificate has, or have one made with this address",
}
_NO_TLS = "it does not speak TLS"
_OWN_CA = "give your own CA's file in SSL_CERT_FILE, or put it into certs.d (docs/registries.md)"


class Wire:
    """The connections of this process, which are used again. Threads may share it."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._plain: dict[str, bool] = {}  # of addresses that may be: whether they are

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: str | bytes | BinaryIO | None = None,
        *,
        connect: float | None = None,
    ) -> Response:
        """The answer, whatever its status; its body is to be read, redirects are not followed. `connect`: within how
        many seconds a connection must stand.

        Raises Broken; RegistryError: a certificate is not trusted, or the run is offline.
        """
        scheme, address = split(url)
        if self._access.offline:
            raise RegistryError(
                f"{address} would be asked, but this run is offline",
                hint=f"run without --offline, and without {OFFLINE}",
            )
        if scheme == "http" and not self._access.may_be_plain(address):
            raise RegistryError(
                f"{address} is to be asked without encryption, which is refused",
                hint=_insecure(address),
            )
        if (silent := silence.lasts(address)) > self._limits.gone:
            raise Broken(f"no answer for {silent:.1f} s")
        manager = self._manager(scheme, address)
        began = time.monotonic()
        try:
            response = manager.request(
                method,
                url,
                headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers},
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=self._timeout(address, connect or self._limits.connect),
            )
        except _FAILURES as error:  # the cause's text may hold the whole URL
            waited = min(time.monotonic() - began, self._limits.stall)  # the rest was for a connection to be free
            explained = _explained(address, error, waited, self._access.may_be_plain(address))
            if isinstance(explained, Broken):
                silence.failed(address, began)
                explained.silent = address
            raise explained from None
        silence.answered(address)
        return response

    def _timeout(self, address: str, connect: float) -> Timeout:
        limits = self._limits
        if silence.lasts(address) > limits.silence:
            return Timeout(connect=min(limits.hello, connect), read=min(2 * limits.hello, limits.stall))
        return Timeout(connect=connect, read=limits.stall)

    def base(self, address: str) -> str:
        """How the URLs of `address` begin: with `https`; with `http` only where that may be and no TLS is spoken.

        Raises Broken, RegistryError.
        """
        if not self._access.may_be_plain(address):
            return f"https://{address}"
        if address not in self._plain:
            self._plain[address] = self._is_plain(address)
        return f"{'http' if self._plain[address] else 'https'}://{address}"

    def _is_plain(self, address: str) -> bool:
        """Whether a host that fails at TLS, in whatever way, answers to plain http."""
        try:
            self._greet("https", address)
            return False
        except Broken as error:
            failure = error
        try:
            if self._greet("http", address) != 400:  # which servers that speak TLS alone say
                return True
        except Broken as error:
            if failure.reason == _NO_TLS:
                failure = error
        raise failure

    def _greet(self, scheme: str, address: str) -> int:
        response = self.ask("GET", f"{scheme}://{address}/v2/", {}, connect=self._limits.hello)
        self.discard(response)
        return response.status

    def discard(self, response: Response) -> None:
        """Gives an answer up; its connection is kept where little is left of it."""
        try:
            left = response.length_remaining
            if left is not None and left <= _DRAINED:
                response.drain_conn()
                return
        except _FAILURES:
            pass
        end(response)

    def _manager(self, scheme: str, address: str) -> urllib3.PoolManager:
        with self._lock:
            if (scheme, address) not in self._managers:
                self._managers[scheme, address] = self._new_manager(scheme, address)
            return self._managers[scheme, address]

    def _new_manager(self, scheme: str, address: str) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": self._limits.per_host,
            "block": True,
            "ssl_context": tls.context(address),
        }
        manager = proxies.manager(scheme, address, options)
        manager.pool_classes_by_scheme = {
            name: _in_time(pool, self._limits.answer) for name, pool in manager.pool_classes_by_scheme.items()
        }
        return manager


def end(response: Response) -> None:
    """Ends an answer's connection, whatever is left of it. Closed alone, it would keep its place among those that a
    host may have."""
    response.close()
    response.release_conn()


def _explained(address: str, error: Exception, waited: float, may_be_plain: bool) -> Broken | RegistryError:
    if isinstance(error, exceptions.ProxyError):
        reason = _reason(error.original_error, waited)
        return Broken(
            f"the proxy for {address}: {reason}",
            once="Tunnel connection failed: 4" in reason,
            hint=f"mend what HTTPS_PROXY names, or name {address} in NO_PROXY",
        )
    cause = error.args[0] if isinstance(error, exceptions.SSLError) and error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RegistryError(
            f"{address}: its certificate is not trusted: {cause.verify_message}",
            hint=_WRONG_CERTIFICATES.get(cause.verify_code, _OWN_CA),
        )
    if isinstance(cause, ssl.SSLError):
        if cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
            return Broken(_NO_TLS) if may_be_plain else Broken(_NO_TLS, once=True, hint=_insecure(address))
        return Broken(f"TLS failed ({cause.reason or 'no reason given'})", once="ALERT" in (cause.reason or ""))
    if isinstance(error, exceptions.NameResolutionError):
        return Broken(
            "its name is not known", once=True, hint=f"see whether {address} is the right name, or run again later"
        )
    return Broken(_reason(error, waited))


def _insecure(address: str) -> str:
    return f"where plain http is meant, write registries: {{'{address}': {{insecure: true}}}} in bundle.yaml"


def next_hop(response: Response, url: str) -> str | None:
    """Where an answer of `url` sends on to; None where it does not. Raises RegistryError."""
    target = response.headers.get("Location")
    if response.status not in _REDIRECTS or not target:
        return None
    giver = split(url)[1]
    try:
        target = urljoin(url, target)
    except ValueError:
        raise RegistryError(f"{giver} gives a URL that cannot be read") from None
    split(target, giver)
    return target


def split(url: str, giver: str = "a registry") -> tuple[str, str]:
    """Scheme and address (host, with the port where it is not the scheme's own) of an absolute URL.

    Raises RegistryError, saying who gave it.
    """
    try:
        parsed = parse_url(url)
    except exceptions.HTTPError:
        raise RegistryError(f"{giver} gives a URL that cannot be read") from None
    if parsed.scheme not in _PORTS or not parsed.host:
        raise RegistryError(f"{giver} gives a URL that is not of http or https")
    if parsed.auth is not None:
        raise RegistryError(f"{giver} gives a URL of {parsed.host} with credentials in it, which is refused")
    address = parsed.host if parsed.port is None else f"{parsed.host}:{parsed.port}"
    return parsed.scheme, address.removesuffix(_PORTS[parsed.scheme])


def _reason(error: BaseException, waited: float) -> str:
    """Why a request failed, after `waited` seconds: in a few words, none of them from a URL."""
    match error:
        case exceptions.NameResolutionError():
            return "its name is not known"
        case exceptions.ReadTimeoutError() | TimeoutError():
            return f"no data for {round(waited, 1):g} s"
        case exceptions.NewConnectionError():
            cause = error.__cause__ or error.__context__
            return f"cannot be reached: {os_reason(cause) if isinstance(cause, OSError) else 'no connection'}"
        case exceptions.ConnectTimeoutError():  # that before is one, too
            return f"no connection within {round(waited, 1):g} s"
        case exceptions.IncompleteRead():
            return "the connection ended too early"
        case exceptions.ProtocolError():
            return "the connection was broken"
        case OSError():
            return os_reason(error)
    return "the answer is not HTTP"


def _in_time(pool: Any, answer_within: float) -> Any:
    """A kind of pool whose connections are cut where an answer's headers are not here in time: a socket's own time
    limit begins anew with each byte."""

    class Timed(pool.ConnectionCls):  # type: ignore[misc]
        def getresponse(self) -> Any:
            with _Cut(self.sock, answer_within):
                return super().getresponse()

    return type(pool.__name__, (pool,), {"ConnectionCls": Timed})


class _Cut:
    """Ends a socket's reading and writing after some time, if the block still runs."""

    def __init__(self, sock: Any, after: float) -> None:
        self._timer = threading.Timer(after, self._cut, (sock,))
        self._timer.daemon = True

    @staticmethod
    def _cut(sock: Any) -> None:
        try:
            sock.shutdown(2)
        except OSError:
            pass

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


class Body:
    """Reads an answer's body as it comes, and gives up where it comes too slowly."""

    def __init__(self, response: Response, limits: Limits) -> None:
        self.response = response
        self._limits = limits
        self._waited = 0.0
        self._came = 0

    def read(self, count: int) -> bytes:
        """What is here, `count` bytes at most; nothing at the body's end. Raises Broken."""
        began = time.monotonic()
        try:
            chunk: bytes = self.response.read1(count, decode_content=False)
        except _FAILURES as error:
            raise Broken(_reason(error, time.monotonic() - began)) from None
        self._waited += time.monotonic() - began
        self._came += len(chunk)
        if self._waited > self._limits.window:
            if self._came < self._limits.rate * self._limits.window:
                raise Broken(f"only {self._came} bytes in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        return chunk
