"""What bundle.yaml says of the remote cache: `remote_cache`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from c2wtasks.bundlefile.nodes import Node
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.values import Kind, folder, list_of, string
from c2wtasks.bundlefile.wording import did_you_mean, is_number, shown
from c2wtasks.oci.imagename import is_host, is_path

SCOPE_PATTERN = "[a-z0-9][a-z0-9._-]{0,63}"
"""Of a scope's name."""
_BUCKET = re.compile("[a-z0-9][a-z0-9.-]{1,62}")
_PREFIX = re.compile("[A-Za-z0-9._/-]*")
_FOLDERS = re.compile(r"[A-Za-z0-9._~%/+:@=-]*")


@dataclass(frozen=True, slots=True)
class RemoteType:
    """A way in which a remote cache is reached: how its URL begins, how that is written, whether a host is asked."""

    scheme: str
    syntax: str
    asks: bool = True


_ROWS = (
    RemoteType("oci", "oci://HOST/REPOSITORY"),
    RemoteType("s3", "s3://BUCKET/PREFIX"),
    RemoteType("https", "https://HOST/PATH"),
    RemoteType("http", "http://HOST/PATH"),
    RemoteType("file", "file:///FOLDER", asks=False),
)
REMOTES = {row.scheme: row for row in _ROWS}


@dataclass(frozen=True, slots=True)
class RemoteCache:
    """A remote cache: where it is; whether results are written to it; the files of the public keys whose claims
    count, how many of them must agree, and on results of which scope."""

    url: str
    trust: tuple[str, ...]
    write: bool = False
    agree: int = 1
    scope: str = "main"

    @property
    def type(self) -> RemoteType:
        """What is true of all that are reached like this."""
        return REMOTES[self.url.partition(":")[0]]


def wrong_with(url: str) -> str:
    """What is wrong with the URL of a remote cache; "" if nothing is."""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in REMOTES:
        return f"is not one of {', '.join(row.syntax for row in _ROWS)}"
    host, _, path = rest.partition("/")
    if scheme == "file":
        return "" if not host and path.strip("/") else "names no folder: write file:///FOLDER"
    if "@" in host:
        return "holds a name or a password: give them to the environment"
    if scheme == "s3":
        return "" if _BUCKET.fullmatch(host) and _PREFIX.fullmatch(path) else "names no bucket"
    if scheme == "oci":
        return "" if is_host(host) and is_path(path) else "names no repository of a registry"
    return "" if is_host(host) and _FOLDERS.fullmatch(path) else "is no URL of a folder"


def _url(report: Problems, node: Node, path: str) -> str | None:
    text = string(report, node, path, URL.expects)
    if text is None:
        return None
    if wrong := wrong_with(text):
        scheme = text.partition(":")[0]
        report.add(node, path, f"{shown(text)} {wrong}", None if scheme in REMOTES else did_you_mean(scheme, REMOTES))
        return None
    return text.rstrip("/")


def _scope(report: Problems, node: Node, path: str) -> str | None:
    text = string(report, node, path, SCOPE.expects, "put it in quotes" if is_number(node) else None)
    if text is not None and not is_scope(text):
        report.add(node, path, f"{shown(text)} is not a scope", "use a-z, 0-9, '.', '_' and '-', at most 64")
        return None
    return text


def is_scope(text: str) -> bool:
    """Whether a text can be the name of a scope."""
    return re.fullmatch(SCOPE_PATTERN, text) is not None


def _key(report: Problems, node: Node, path: str) -> str | None:
    found = folder(report, node, path)
    if found is not None and found.endswith(".key"):
        report.add(node, path, f"{shown(found)} is a private key, by its name", f"name {found[:-4]}.pub")
        return None
    return found


URL = Kind("the URL of a remote cache", _url)
SCOPE = Kind("a scope's name", _scope)
KEYS = list_of(_key, "a list of files", "[keys/ci.pub]", unique=True)
