"""What `engine:` may hold: who builds the catalog's shards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from c2wtasks.bundlefile.nodes import Node
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.values import Kind, string
from c2wtasks.bundlefile.wording import shown

_HOST = r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]"
_OWN = r"localhost|127\.[0-9]+\.[0-9]+\.[0-9]+|\[::1\]"
_PORT = "[0-9]{1,5}"
PATTERN = rf"(?:tls://(?:{_HOST})|tcp://(?:{_OWN})):{_PORT}"
"""Of an address."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A Dask cluster: its scheduler's address, "" where there is none; and how many shards the catalog has, 0 where
    that is not said."""

    dask: str = ""
    shards: int = 0


def address(report: Problems, node: Node, path: str) -> str | None:
    """The address of a scheduler. Whoever can talk to one can run anything on its workers, so beyond this machine it
    is TLS."""
    text = string(report, node, path, ADDRESS.expects)
    if text is None:
        return None
    if re.fullmatch(PATTERN, text):
        return text
    if re.fullmatch(rf"tcp://(?:{_HOST}):{_PORT}", text):
        why = "all who reach it could run programs there"
        report.add(node, path, f"{shown(text)} is another machine, without TLS: {why}", f"write tls{text[3:]}")
    else:
        report.add(node, path, f"{shown(text)} is no address of a scheduler", "write e.g. tls://HOST:8786")
    return None


ADDRESS = Kind("the address of a scheduler", address)
