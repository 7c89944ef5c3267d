"""Content digests (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

_HEX_DIGITS = {"sha256": 64, "sha512": 128}
_SYNTAX = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`algorithm:hex`, checked once by `parse`. Only sha256 and sha512, which the spec registers, but for what
    `parse_any` gives."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest that is written as `text`. Raises ValueError, saying what is wrong with it."""
        digest = cls.parse_any(text)
        if not digest.is_known:
            raise ValueError(digest.why_unknown)
        return digest

    @classmethod
    def parse_any(cls, text: str) -> Digest:
        """The digest that is written as `text`, which may be of an algorithm that is not known to us: for what lists
        such digests without using them.

        Raises ValueError.
        """
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a digest (algorithm:hex)")
        algorithm, digits = match.groups()
        wanted = _HEX_DIGITS.get(algorithm)
        if wanted is not None and (len(digits) != wanted or digits.strip("0123456789abcdef")):
            raise ValueError(f"{text!r} is not {wanted} lower-case hex digits after {algorithm}:")
        return cls(algorithm, digits)

    @property
    def is_known(self) -> bool:
        """Whether the digest's algorithm is known to us."""
        return self.algorithm in _HEX_DIGITS

    @property
    def why_unknown(self) -> str:
        """What to say of a digest whose algorithm is not known to us."""
        return f"digest algorithm {self.algorithm!r} is not supported (sha256 and sha512 are)"

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of `content`."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def hasher(self) -> _Hash:
        """A fresh hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """The digest for messages, enough to recognise it: `sha256:` and 12 hex digits."""
        return f"{self.algorithm}:{self.hex[:12]}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
