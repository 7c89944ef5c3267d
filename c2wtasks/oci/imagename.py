"""Names of images in registries, as docker reads them (distribution/reference: grammar and normal form)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from c2wtasks.oci.digest import Digest

DOCKER_HUB = "docker.io"

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 255


def is_host(text: str) -> bool:
    """Whether `text` can be the host of a registry: `host`, `host:port`, `[::1]:5000`."""
    return _HOST.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Whether `text` can be a repository's path: lower-case parts with `/` between them."""
    return _PATH.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """Where a registry keeps the versions of an image: `docker.io` and `library/busybox`."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


@dataclass(frozen=True, slots=True)
class ImageName:
    """A repository, and which image of it. With a digest, the tag (which may then be empty) is a comment."""

    repository: Repository
    tag: str
    digest: Digest | None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """The name that is written as `text`: `busybox` is `docker.io/library/busybox:latest`.

        Raises ValueError, saying what is wrong with `text`.
        """
        name, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:  # that colon was before a port
            head, tag = name, ""
        elif not _TAG.fullmatch(tag):
            raise ValueError(f"{text!r}: {tag!r} is not a tag (letters, digits, '_', '.' and '-', at most 128)")
        if _HEX.fullmatch(head):
            raise ValueError(f"{text!r} looks like the id of an image; write its name, or NAME@sha256:{head[:12]}...")
        registry, path = _split(head)
        if not is_host(registry):
            raise ValueError(f"{text!r}: {registry!r} is not a host, with or without a port")
        if not is_path(path):
            why = "must be in lower case" if is_path(path.lower()) else "is not the name of a repository"
            raise ValueError(f"{text!r}: {path!r} {why}")
        if len(registry) + 1 + len(path) > _MAX_NAME:
            raise ValueError(f"{text!r}: the name is longer than {_MAX_NAME} characters")
        return cls(Repository(registry, path), tag or ("" if digest else "latest"), digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def _split(name: str) -> tuple[str, str]:
    """Registry and path. What is before the first `/` is a host only where it looks like one."""
    first, slash, rest = name.partition("/")
    if not slash or (not set(first) & set(".:") and first != "localhost" and first == first.lower()):
        first, rest = DOCKER_HUB, name
    if first == f"index.{DOCKER_HUB}":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def full_name(tag: str) -> str:
    """One spelling for all that docker takes of an image's name: `docker.io/library/web` is `web:latest`."""
    name = tag
    for prefix in ("index.docker.io/", "docker.io/"):
        name = name.removeprefix(prefix)
    name = name.removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
