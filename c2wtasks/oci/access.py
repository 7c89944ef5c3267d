"""Which hosts a registry's content comes from, and whether they may be spoken to without encryption. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from c2wtasks.oci.host import Host
from c2wtasks.oci.imagename import DOCKER_HUB, Repository

# What the name stands for is a web page; the registry answers here.
_ANSWERS = {DOCKER_HUB: "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask for a repository: at `address` (host, perhaps with a port), by the name `path`.

    `registry` is the name that credentials are kept under; `api` is the path below which the registry answers.
    """

    registry: str
    address: str
    path: str
    is_mirror: bool
    api: str = "/v2"


@dataclass(frozen=True, slots=True)
class Access:
    """How registries may be reached: all that a place of a layer has to carry. It holds no credentials.

    `hosts` are (name, what is said of it). With `offline` nothing is reached at all. `kept` is the folder where
    compressed blobs are kept, empty where they are not. Without being `patient` one asks once, and waits little; for
    the rest it is the same access.
    """

    hosts: tuple[tuple[str, Host], ...] = ()
    offline: bool = False
    kept: str = ""
    patient: bool = field(default=True, compare=False)

    def endpoints(self, repository: Repository) -> tuple[Endpoint, ...]:
        """Where to ask, one after another: the mirrors, then the registry itself."""
        registry = repository.registry
        found = []
        for mirror in self._said_of(registry).mirrors:
            address, *parts = mirror.split("/")
            above = parts.index("v2") + 1 if "v2" in parts else 0
            path = "/".join((*parts[above:], repository.path))
            api = "/".join(("", *parts[:above])) or "/v2"
            found.append(Endpoint(address, answers_at(address), path, True, api))
        return (*found, Endpoint(registry, answers_at(registry), repository.path, False))

    def _said_of(self, name: str) -> Host:
        return next((host for known, host in self.hosts if normal(known) == normal(name)), Host())

    def may_be_plain(self, address: str) -> bool:
        """Whether `address` (host, perhaps with a port) may be spoken to without encryption."""
        return is_this_machine(address) or self._said_of(address).insecure


def is_this_machine(address: str) -> bool:
    """Whether the host of an address is this machine itself."""
    own = ip_of(address)
    return _host(address) == "localhost" or (own is not None and own.is_loopback)


def ip_of(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that an address (host, perhaps with a port) is; None where it is a name."""
    try:
        return ipaddress.ip_address(_host(address).strip("[]"))
    except ValueError:
        return None


def normal(address: str) -> str:
    """One name for one host: in lower case, and without the port that `https` has anyway."""
    return address.lower().removesuffix(":443")


def names_of(address: str) -> tuple[str, ...]:
    """The names under which something is kept for what is asked at `address`: as written, the normal one, with the
    port, and what docker calls it."""
    plain = normal(address)
    own = (plain, f"{plain}:443") if _host(plain) == plain else (plain,)
    return tuple(dict.fromkeys((address, *own, *(name for name, answers in _ANSWERS.items() if answers == plain))))


def answers_at(registry: str) -> str:
    """The address at which a registry answers."""
    return _ANSWERS.get(normal(registry), registry)


def registry_of(address: str) -> str:
    """The registry that answers at `address`, as docker calls it."""
    return next((name for name, answers in _ANSWERS.items() if answers == normal(address)), address)


def _host(address: str) -> str:
    return address[: address.index("]") + 1] if address.startswith("[") else address.partition(":")[0]
