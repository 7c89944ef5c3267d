"""Whose claims are believed, and what makes ours. It needs the package cryptography (the extra `sign`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from c2wtasks.oci import signingkey
from c2wtasks.remote.claim import PAYLOAD_TYPE, Claim, Envelope, Kind, Signature, decode_claim, encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey


def key_id(key: EllipticCurvePublicKey) -> str:
    """The id of a key in claims: the SHA-256 of its PKIX form, in hex."""
    return hashlib.sha256(signingkey.spki(key)).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The claim that is believed, if there is one, with its envelopes; and why others are not."""

    claim: Claim | None
    envelopes: tuple[Envelope, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word counts: that of these keys, by id, on results of these `scopes`; and so many of them must say the
    same."""

    keys: Mapping[str, EllipticCurvePublicKey]
    scopes: frozenset[str]
    agree: int = 1

    def verdict(self, envelopes: Iterable[Envelope], kind: Kind, key: str) -> Verdict:
        """What is to be believed of the result of this kind and key. Where those who are trusted say different
        things, and each is said often enough, nothing is."""
        refused: list[str] = []
        said: dict[object, dict[str, tuple[Claim, Envelope]]] = {}
        for envelope in envelopes:
            try:
                claim = self._believed(envelope, kind, key)
            except ValueError as error:
                refused.append(str(error))
            else:
                said.setdefault(claim.says, {})[envelope.signatures[0].keyid] = (claim, envelope)
        enough = [by for by in said.values() if len(by) >= self.agree]
        if len(enough) > 1:
            refused.append("keys that are trusted contradict each other")
        elif said and not enough:
            refused.append(f"fewer than {self.agree} keys say the same")
        if len(enough) != 1:
            return Verdict(None, (), tuple(refused))
        found = list(enough[0].values())
        return Verdict(found[0][0], tuple(envelope for _, envelope in found), tuple(refused))

    def _believed(self, envelope: Envelope, kind: Kind, key: str) -> Claim:
        """Raises ValueError."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256

        signature = envelope.signatures[0]
        by = self.keys.get(signature.keyid)
        if by is None:
            raise ValueError(f"'trust' names no key {signature.keyid[:12]}")
        try:
            by.verify(signature.sig, envelope.signed, ECDSA(SHA256()))
        except InvalidSignature:
            raise ValueError(f"the signature is not that of the key {signature.keyid[:12]}") from None
        claim = decode_claim(envelope)
        if (claim.kind, claim.key) != (kind, key):
            raise ValueError("it is of other inputs")
        if claim.scope not in self.scopes:
            raise ValueError(f"it is of the scope {claim.scope!r}")
        return claim


def signed(claim: Claim, key: EllipticCurvePrivateKey) -> Envelope:
    """The claim in an envelope, signed."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    keyid = key_id(key.public_key())
    unsigned = Envelope(PAYLOAD_TYPE, encode(claim), (Signature(keyid, b""),))
    return Envelope(PAYLOAD_TYPE, unsigned.payload, (Signature(keyid, key.sign(unsigned.signed, ECDSA(SHA256()))),))


def trust_of(keys: Iterable[EllipticCurvePublicKey], scopes: Iterable[str], agree: int) -> Trust:
    """Trust in these keys."""
    return Trust({key_id(key): key for key in keys}, frozenset(scopes), agree)
