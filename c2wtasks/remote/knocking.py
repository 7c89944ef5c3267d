"""Whether anybody is there at all: one connection to a remote cache, before what would speak with it is loaded. So a
server that is gone costs next to nothing."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from c2wtasks.errors import os_reason
from c2wtasks.oci.access import Access, answers_at, is_this_machine

_PORTS = {"http": 80, "https": 443, "oci": 443}


def nobody_at(url: str, access: Access, seconds: float) -> str:
    """Why no connection to the remote cache at `url` stands within so many seconds; "" where one does, and where that
    cannot be told so simply."""
    address = _address(url, access)
    if address is None:
        return ""
    try:
        socket.create_connection(address, seconds).close()
    except socket.gaierror:
        return "its name is not known"
    except TimeoutError:
        return f"no connection within {seconds:g} s"
    except OSError as error:
        return f"cannot be reached: {os_reason(error)}"
    except ValueError:  # no host has such a name: whoever is to open it says so
        return ""
    return ""


def _address(url: str, access: Access) -> tuple[str, int] | None:
    """The host and the port that are asked; None where there is no host, or it is not known which one is asked."""
    scheme = url.partition(":")[0]
    if scheme == "s3":
        url = os.environ.get("AWS_ENDPOINT_URL", "")  # Amazon's own do not go
        scheme = url.partition(":")[0]
    if scheme not in _PORTS:
        return None
    try:
        named = urlsplit(url)
        host, port = named.hostname, named.port
        if scheme == "oci":
            answering = answers_at(named.netloc)
            if port is None and access.may_be_plain(answering):  # it may be that of http
                return None
            host = urlsplit(f"//{answering}").hostname
    except ValueError:  # whoever is to open it says so
        return None
    if "@" in named.netloc:  # and so of this
        return None
    if not host or (_has_proxy() and not is_this_machine(named.netloc)):
        return None
    return host, port or _PORTS[scheme]


def _has_proxy() -> bool:
    """Whether the environment names a proxy for anything. (What `urllib` would tell of it takes long to load.)"""
    return any(
        value and name.lower().endswith("_proxy") and name.lower() != "no_proxy" for name, value in os.environ.items()
    )
