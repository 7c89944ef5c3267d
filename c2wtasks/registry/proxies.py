"""The proxies that the environment names: HTTPS_PROXY, HTTP_PROXY, NO_PROXY."""

from __future__ import annotations

import ipaddress
import sys
import urllib.request
from typing import Any

import urllib3
from urllib3 import exceptions
from urllib3.util import make_headers, parse_url

from c2wtasks.oci.access import ip_of, is_this_machine
from c2wtasks.registry import tls
from c2wtasks.registry.errors import RegistryError

# As Go has it: the proxy looks the names up.
_SOCKS = {"socks5": "socks5h", "socks5h": "socks5h", "socks4": "socks4a", "socks4a": "socks4a"}


def manager(scheme: str, address: str, options: dict[str, Any]) -> urllib3.PoolManager:
    """The manager of connections to `address`: through a proxy, where the environment names one for it. `options` are
    those of urllib3's managers.

    Raises RegistryError: the proxy cannot be used.
    """
    proxy = proxy_for(scheme, address)
    if not proxy:
        return urllib3.PoolManager(**options)
    variable = f"{scheme}_proxy".upper()
    kind, _, rest = proxy.partition("://")
    try:
        parsed = parse_url(proxy)
        if kind in _SOCKS:
            return _through_socks(f"{_SOCKS[kind]}://{rest}", variable, options)
        if kind not in ("http", "https"):
            raise RegistryError(
                f"{address}: {variable} names a proxy of the kind {kind[:20]!r}, which is not known",
                hint=f"there are: http, https, {', '.join(_SOCKS)}",
            )
        headers = make_headers(proxy_basic_auth=parsed.auth) if parsed.auth else {}
        if kind == "https" and parsed.host:
            options = {**options, "proxy_ssl_context": tls.context(parsed.netloc or parsed.host)}
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
    except (exceptions.HTTPError, ValueError):  # its text may hold a password
        raise RegistryError(
            f"{address}: the proxy that {variable} names has no proper URL",
            hint=f"write it as http://HOST:PORT, or name {address} in NO_PROXY",
        ) from None


def _through_socks(proxy: str, variable: str, options: dict[str, Any]) -> urllib3.PoolManager:
    try:
        from urllib3.contrib.socks import SOCKSProxyManager
    except ImportError:
        raise RegistryError(
            f"{variable} names a SOCKS proxy, and PySocks, which speaks with these, is not installed",
            hint=f"install it: {sys.executable} -m pip install PySocks",
        ) from None
    return SOCKSProxyManager(proxy, **options)


def proxy_for(scheme: str, address: str) -> str | None:
    """The proxy that the environment names for `address`; this machine is always asked itself."""
    proxies = urllib.request.getproxies_environment()
    if is_this_machine(address) or _bypasses(address, proxies):
        return None
    proxy: str | None = proxies.get(scheme)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _bypasses(address: str, proxies: dict[str, str]) -> bool:
    """Whether NO_PROXY names `address`: as Python reads it, or by the network that an IP address is of."""
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
