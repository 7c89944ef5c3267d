"""What an answer says of itself, and how messages call it. Pure."""

from __future__ import annotations

import re
import zlib

import urllib3

from c2wtasks.oci.digest import Digest

Response = urllib3.BaseHTTPResponse

_MAX_SHOWN = 300  # characters of a URL, in messages
_LENGTH = re.compile("[0-9]{1,18}")


def came(response: Response) -> str:
    """What an answer is, for messages: its status, its kind where that is not what registries give, its encoding."""
    kind, encoding = (response.headers.get(name, "")[:60] for name in ("Content-Type", "Content-Encoding"))
    words = [f"status {response.status}"]
    if kind and "json" not in kind and kind != "application/octet-stream":
        words.append(kind.partition(";")[0])
    if encoding and encoding != "identity":
        words.append(f"Content-Encoding: {encoding}")
    return ", ".join(words)


def shown(url: str) -> str:
    """A URL for messages: without what may be secret in it."""
    plain = url.partition("?")[0].partition("#")[0]
    return plain if len(plain) <= _MAX_SHOWN else f"{plain[:_MAX_SHOWN]}..."


def digest_of(response: Response) -> Digest | None:
    """The digest that an answer says its content has."""
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except ValueError:
        return None


def media_type(response: Response) -> str:
    """The media type that an answer says its content has."""
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def is_json_object(content: bytes) -> bool:
    """Whether content begins as manifests and configs do, and pages and what is compressed do not."""
    return content.lstrip()[:1] == b"{"


def decoded(content: bytes, response: Response, limit: int) -> bytes | None:
    """The content of an answer that was compressed on the way (RFC 9110, 8.4), at most `limit` bytes; None where none
    was."""
    if response.headers.get("Content-Encoding", "").strip().lower() not in ("gzip", "x-gzip"):
        return None
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, limit)
    except zlib.error:
        return None


def is_odd(response: Response) -> bool:
    """Whether an answer is not of the kind that registries give: a page, or what was compressed on the way."""
    return media_type(response) == "text/html" or response.headers.get("Content-Encoding", "identity") != "identity"


def length_of(response: Response) -> int | None:
    """The length that an answer announces, if it can be one."""
    announced = response.headers.get("Content-Length", "")
    return int(announced) if _LENGTH.fullmatch(announced) else None
