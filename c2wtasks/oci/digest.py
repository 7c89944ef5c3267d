"""Content digests (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

_HEX_DIGITS = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """`algorithm:hex`, checked once by `parse`. Only sha256 and sha512, which the spec registers."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Raises ValueError, saying what is wrong with `text`."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a digest (algorithm:hex)")
        algorithm, digits = match.groups()
        wanted = _HEX_DIGITS.get(algorithm)
        if wanted is None:
            raise ValueError(f"digest algorithm {algorithm!r} is not supported (sha256 and sha512 are)")
        if len(digits) != wanted or digits.strip("0123456789abcdef"):
            raise ValueError(f"{text!r} is not {wanted} lower-case hex digits after {algorithm}:")
        return cls(algorithm, digits)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of `content`."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def hasher(self) -> _Hash:
        """A fresh hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    @property
    def short(self) -> str:
        """Enough to recognise it in a message: `sha256:` and 12 hex digits."""
        return f"{self.algorithm}:{self.hex[:12]}"

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"
