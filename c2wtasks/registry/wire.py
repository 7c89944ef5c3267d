"""One HTTP request and its answer: connections, TLS, proxies, time limits. Nothing is tried twice here."""

from __future__ import annotations

import ipaddress
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout, make_headers, parse_url

from c2wtasks.errors import os_reason
from c2wtasks.registry import tls
from c2wtasks.registry.errors import Broken, RegistryError
from c2wtasks.registry.hosts import Access, ip_of, is_this_machine
from c2wtasks.registry.limits import Limits

Response = urllib3.BaseHTTPResponse

_USER_AGENT = "c2wtasks"
_DRAINED = 64 << 10  # an answer that is not wanted is read to its end up to here, to keep its connection


class Wire:
    """The connections of this process, which are used again. Threads may share it."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._plain: dict[str, bool] = {}  # of addresses that may be: whether they are
        self._pools = _pools(limits.answer)

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> Response:
        """The answer, whatever its status; its body is to be read, redirects are not followed.

        Raises Broken; RegistryError: a certificate is not trusted, or the run is offline.
        """
        scheme, address = split(url)
        if self._access.offline:
            raise RegistryError(f"{address} would be asked, but this run is offline", hint="run without --offline")
        if scheme == "http" and not self._access.may_be_plain(address):
            raise RegistryError(
                f"{address} is to be asked without encryption, which is refused",
                hint=f"where that is meant, write registries: {{'{address}': {{insecure: true}}}} in bundle.yaml",
            )
        manager = self._manager(scheme, address)
        try:
            return manager.request(
                method,
                url,
                headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers},
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=self._limits.connect, read=self._limits.stall),
            )
        except (exceptions.HTTPError, OSError) as error:
            raise self._explained(address, error) from None  # the cause's text may hold the whole URL

    def base(self, address: str) -> str:
        """How the URLs of `address` begin: with `https`; with `http` only where that may be and no TLS is spoken.

        Raises Broken, RegistryError.
        """
        if not self._access.may_be_plain(address):
            return f"https://{address}"
        plain = self._plain.get(address)
        if plain is None:
            try:
                self.discard(self.ask("GET", f"https://{address}/v2/", {}))
                plain = False
            except _NoTls:
                plain = True
            self._plain[address] = plain
        return f"{'http' if plain else 'https'}://{address}"

    def discard(self, response: Response) -> None:
        """Has done with an answer; its connection is kept where little is left of it."""
        try:
            left = response.length_remaining
            if left is not None and left <= _DRAINED:
                response.drain_conn()
                return
        except (exceptions.HTTPError, OSError):
            pass
        response.close()

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
        proxy = proxy_for(scheme, address)
        manager: urllib3.PoolManager
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            try:
                login = parse_url(proxy).auth
                headers = make_headers(proxy_basic_auth=login) if login else {}
                manager = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
            except (exceptions.HTTPError, ValueError):  # its text may hold a password
                raise RegistryError("the proxy that the environment names has no proper URL") from None
        manager.pool_classes_by_scheme = self._pools
        return manager

    def _explained(self, address: str, error: Exception) -> Broken | RegistryError:
        if isinstance(error, exceptions.ProxyError):
            inner = error.original_error
            return Broken(f"the proxy for {address}: {_reason(inner, self._limits)}")
        cause = error.args[0] if isinstance(error, exceptions.SSLError) and error.args else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            return RegistryError(
                f"{address}: its certificate is not trusted: {cause.verify_message}",
                hint="give your own CA's file in SSL_CERT_FILE, or put it into certs.d (docs/registries.md)",
            )
        if isinstance(cause, ssl.SSLError):
            if cause.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
                return _NoTls(f"{address} does not speak TLS")
            return Broken(f"TLS with {address} failed ({cause.reason or 'no reason given'})")
        if isinstance(error, exceptions.NewConnectionError) and ":" not in address.rpartition("]")[2]:
            return _NoTls(_reason(error, self._limits))  # there may be something at the other scheme's port
        return Broken(_reason(error, self._limits))


class _NoTls(Broken):
    """There is nothing that speaks TLS."""


def joined(url: str, target: str) -> str:
    """Where a redirect from `url` leads. Raises RegistryError."""
    try:
        return urljoin(url, target)
    except ValueError:
        raise RegistryError("a registry gave a URL that cannot be read") from None


def split(url: str) -> tuple[str, str]:
    """Scheme and address (host, with the port where one is given) of an absolute URL.

    Raises RegistryError.
    """
    try:
        parsed = parse_url(url)
    except exceptions.HTTPError:
        raise RegistryError("a registry gave a URL that cannot be read") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise RegistryError("a registry gave a URL that is not of http or https")
    if parsed.auth is not None:
        raise RegistryError(f"a registry gave a URL of {parsed.host} with credentials in it, which is refused")
    return parsed.scheme, parsed.host if parsed.port is None else f"{parsed.host}:{parsed.port}"


def proxy_for(scheme: str, address: str) -> str | None:
    """The proxy that the environment names for `address`; this machine is always asked itself."""
    proxies = urllib.request.getproxies_environment()
    if is_this_machine(address) or _bypasses(address, proxies):
        return None
    proxy: str | None = proxies.get(scheme)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _bypasses(address: str, proxies: dict[str, str]) -> bool:
    """Whether NO_PROXY names `address`: as Python has it, or an address by its network, `10.0.0.0/8`."""
    if urllib.request.proxy_bypass_environment(address, proxies):  # type: ignore[attr-defined]
        return True
    own = ip_of(address)
    for word in proxies.get("no", "").split(","):
        try:
            if own is not None and own in ipaddress.ip_network(word.strip(), strict=False):
                return True
        except ValueError:
            pass
    return False


def _reason(error: BaseException, limits: Limits) -> str:
    """In a few words, none of them from a URL."""
    match error:
        case exceptions.NameResolutionError():
            return "its name is not known"
        case exceptions.ReadTimeoutError() | TimeoutError():
            return f"no data for {limits.stall:g} s"
        case exceptions.NewConnectionError():
            cause = error.__cause__ or error.__context__
            return f"cannot be reached: {os_reason(cause) if isinstance(cause, OSError) else 'no connection'}"
        case exceptions.ConnectTimeoutError():  # that before is one, too
            return f"no connection within {limits.connect:g} s"
        case exceptions.IncompleteRead():
            return "the connection ended too early"
        case exceptions.ProtocolError():
            return "the connection was broken"
        case OSError():
            return os_reason(error)
    return "the answer is not HTTP"


def _pools(answer_within: float) -> dict[str, type[HTTPConnectionPool]]:
    """Pools of connections that are cut where an answer's headers are not here in time: a socket's own time limit
    begins anew with each byte."""

    class Plain(HTTPConnection):
        def getresponse(self) -> Any:
            with _Cut(self.sock, answer_within):
                return super().getresponse()

    class Encrypted(HTTPSConnection):
        def getresponse(self) -> Any:
            with _Cut(self.sock, answer_within):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


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
        except (exceptions.HTTPError, OSError) as error:
            raise Broken(_reason(error, self._limits)) from None
        self._waited += time.monotonic() - began
        self._came += len(chunk)
        if self._waited > self._limits.window:
            if self._came < self._limits.rate * self._limits.window:
                raise Broken(f"only {self._came} bytes in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        return chunk
