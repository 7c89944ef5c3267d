"""A claim counts where a trusted key signed it for just these inputs and this scope, and often enough; else it is
as if it were not there."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c2wtasks.oci import signingkey
from c2wtasks.remote import claim as claims
from c2wtasks.remote.claim import Claim, Envelope, Output, Signature, key_of
from c2wtasks.remote.trust import Trust, key_id, signed, trust_of


def inline(name: str, content: bytes) -> Output:
    """A small output, which the claim holds itself."""
    return Output(name, hashlib.sha256(content).hexdigest(), len(content), 0, content)


KEYS = [signingkey.new() for _ in range(3)]
STRANGER = signingkey.new()
PUBLIC = [signingkey.public_text(key.public_key()) for key in KEYS]
KEY = key_of("user", {"tree": "1", "user": "www"})
GOOD = Claim("user", KEY, (inline("user.json", b'{"uid":1}'),), "main", "0.1.0", 1_700_000_000, 0.5)
LIE = msgspec.structs.replace(GOOD, outputs=(inline("user.json", b'{"uid":0}'),))


def trust(count: int = 3, agree: int = 1, scopes: Sequence[str] = ("main",)) -> Trust:
    return trust_of(map(signingkey.public, PUBLIC[:count]), scopes, agree)


def verdict(*envelopes: Envelope, by: Trust | None = None) -> tuple[Claim | None, tuple[str, ...]]:
    found = (by or trust()).verdict(envelopes, "user", KEY)
    return found.claim, found.refused


def test_what_a_trusted_key_signed_is_believed() -> None:
    envelope = claims.decode_envelope(claims.encode(signed(GOOD, KEYS[0])))
    assert verdict(envelope) == (GOOD, ())


def other(**fields: object) -> Envelope:
    return signed(msgspec.structs.replace(GOOD, **fields), KEYS[0])


def tampered() -> Envelope:
    good = signed(GOOD, KEYS[0])
    return msgspec.structs.replace(good, payload=good.payload.replace(b"main", b"mine"))


def renamed() -> Envelope:
    """Signed by a stranger, who says that it was a trusted key."""
    sig = signed(GOOD, STRANGER).signatures[0].sig
    return msgspec.structs.replace(signed(GOOD, STRANGER), signatures=(Signature(key_id(KEYS[0].public_key()), sig),))


ROWS = {
    "forged by a stranger": (signed(GOOD, STRANGER), "'trust' names no key"),
    "signed by another than it says": (renamed(), "the signature is not that of the key"),
    "changed after it was signed": (tampered(), "the signature is not that of the key"),
    "replayed for other inputs": (other(key="0" * 64), "it is of other inputs"),
    "swapped with another kind": (other(kind="form"), "it is of other inputs"),
    "of another scope": (other(scope="pr-7"), "it is of the scope 'pr-7'"),
    "of another type": (
        msgspec.structs.replace(signed(GOOD, KEYS[0]), payload_type="text/plain"),
        "the signature is not that of the key",
    ),
    "with a content that is not its own": (
        other(outputs=(msgspec.structs.replace(GOOD.outputs[0], content=b"{}"),)),
        "is not what it says of it",
    ),
    "with a name that leads out": (other(outputs=(Output("../up", "0" * 64, 1),)), "it cannot be read"),
    "with a name twice": (other(outputs=GOOD.outputs * 2), "names an output twice"),
    "without outputs": (other(outputs=()), "it cannot be read"),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_is_not_as_it_should_be_is_not_believed(row: str) -> None:
    envelope, why = ROWS[row]
    claim, refused = verdict(envelope)
    assert claim is None
    assert why in refused[0]
    assert verdict(envelope, signed(GOOD, KEYS[1]))[0] == GOOD  # and hinders nobody


def test_a_revoked_key_is_believed_no_more() -> None:
    envelope = signed(GOOD, KEYS[2])
    assert verdict(envelope)[0] == GOOD
    assert verdict(envelope, by=trust(2))[0] is None


@pytest.mark.parametrize(
    ("said", "agree", "believed"),
    [
        ((GOOD, GOOD, LIE), 2, GOOD),
        ((GOOD, LIE, None), 2, None),
        ((GOOD, None, None), 2, None),
        ((GOOD, GOOD, GOOD), 3, GOOD),
        ((GOOD, GOOD, LIE), 3, None),
        ((GOOD, GOOD, LIE), 1, None),  # they contradict each other
    ],
    ids=["a liar of three", "one against one", "one alone", "all", "not all", "a contradiction"],
)
def test_so_many_keys_must_say_the_same(said: Sequence[Claim | None], agree: int, believed: Claim | None) -> None:
    envelopes = [signed(one, key) for one, key in zip(said, KEYS, strict=True) if one is not None]
    assert verdict(*envelopes, by=trust(3, agree))[0] == believed
    random.Random(1).shuffle(envelopes)
    assert verdict(*envelopes, by=trust(3, agree))[0] == believed


def test_one_key_counts_once() -> None:
    again = msgspec.structs.replace(GOOD, made=GOOD.made + 1)
    assert verdict(signed(GOOD, KEYS[0]), signed(again, KEYS[0]), by=trust(3, 2))[0] is None


@given(st.lists(st.tuples(st.integers(0, 699), st.integers(1, 255)), min_size=1, max_size=3), st.integers(1, 2000))
def test_texts_with_other_bytes_are_refused_or_the_same(changes: list[tuple[int, int]], length: int) -> None:
    text = bytearray(claims.encode(signed(GOOD, KEYS[0])))
    for at, bits in changes:
        text[at % len(text)] ^= bits
    try:
        envelope = claims.decode_envelope(bytes(text[:length]))
    except ValueError:
        return
    assert verdict(envelope)[0] in (None, GOOD)


@pytest.mark.parametrize("text", [b"", b"{}", b"[" * 100_000, b'{"format":2,"claims":[]}', b'{"format":1}', b"\xff"])
def test_an_index_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="it cannot be read"):
        claims.decode_index(text)


def test_an_index_has_the_claims() -> None:
    envelopes = tuple(signed(GOOD, key) for key in KEYS)
    assert claims.decode_index(claims.encode_index(envelopes)) == envelopes


def test_a_key_stands_for_its_inputs_and_their_kind() -> None:
    assert key_of("user", {"a": 1, "b": 2}) == key_of("user", {"b": 2, "a": 1})
    assert len({key_of("user", {"a": 1}), key_of("form", {"a": 1}), key_of("user", {"a": "1"})}) == 3


def test_trust_is_in_keys_alone() -> None:
    assert replace(trust(), scopes=frozenset()).verdict([signed(GOOD, KEYS[0])], "user", KEY).claim is None
