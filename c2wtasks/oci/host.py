"""What bundle.yaml says of a registry's host. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Host:
    """What bundle.yaml says of a host. `mirrors` are `host[:port][/path]`, asked first, in that order.

    A mirror's path is put before the repository's name, unless it has a part `v2`: then it is the path of the URL, as
    in containerd's hosts.toml, and the API lies where that part ends.
    """

    insecure: bool = False
    mirrors: tuple[str, ...] = ()
