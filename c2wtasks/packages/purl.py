"""Package URLs (https://github.com/package-url/purl-spec): one text for a package, whoever distributes it."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from c2wtasks.packages.distribution import Distribution
from c2wtasks.packages.model import Package

_OF_DISTRIBUTIONS = {"deb": "debian", "apk": "alpine", "rpm": ""}
"""Kinds that belong to a distribution, with the one that is meant where none is named."""

_PLAIN = re.compile("[A-Za-z0-9_.~:-]*")  # as most are


@lru_cache(1 << 14)
def purl(kind: str, package: Package, distribution: Distribution) -> str:
    """The URL of a package of this kind, in a root of this distribution."""
    version, name = package.version, package.name
    qualifiers: dict[str, str] = {}
    space = ""
    if kind in _OF_DISTRIBUTIONS:
        space = distribution.id or _OF_DISTRIBUTIONS[kind]
        if package.architecture:
            qualifiers["arch"] = package.architecture
        if distribution.id:
            qualifiers["distro"] = "-".join(filter(None, distribution))
        if kind == "rpm":
            epoch, colon, rest = version.partition(":")
            if colon:
                qualifiers["epoch"], version = epoch, rest
        else:
            name = name.lower()
    elif kind == "pypi":
        name = name.lower().replace("_", "-")
    elif kind == "npm" and name.startswith("@"):
        space, _, name = name.partition("/")
    path = "/".join(_quoted(part) for part in (kind, space, name) if part)
    more = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()))
    return f"pkg:{path}@{_quoted(version)}" + (f"?{more}" if more else "")


def _quoted(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(text, safe=":")
