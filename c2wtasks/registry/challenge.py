"""What a registry asks for in `WWW-Authenticate` (RFC 9110, 11.6.1). Pure, and in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MAX_HEADERS = 16
_MAX_HEADER = 16 << 10

# What repeats gives nothing back (`*+`), or could match in one way only: no text makes these try again and again.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PARAMETER = re.compile(rf'\s*+({_TOKEN})\s*+=\s*+(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*+(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*+({_TOKEN})(?:\s++|$|(?=,))")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]++=*+\s*+(?:,|$)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to sign in that a registry takes. `scheme` and the names of `parameters` are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_all(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of an answer's headers, as far as these can be read; no more than a registry could mean."""
    return [one for header in list(headers)[:_MAX_HEADERS] for one in parse(header)]


def parse(header: str) -> list[Challenge]:
    """The challenges of a header, as far as it can be read."""
    header = header[:_MAX_HEADER]
    found = []
    at = 0
    while scheme := _SCHEME.match(header, at):
        at = scheme.end()
        parameters = {}
        while parameter := _PARAMETER.match(header, at):
            name, quoted, plain = parameter.groups()
            parameters[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            at = parameter.end()
        if not parameters and (credentials := _TOKEN68.match(header, at)):  # as `Negotiate abc==` has
            at = credentials.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found
