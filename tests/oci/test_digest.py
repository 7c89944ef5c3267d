"""Digests: which texts are one, and what they are of."""

from __future__ import annotations

import pytest

from c2wtasks.oci.digest import Digest

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", [f"sha256:{HEX}", f"sha512:{HEX}{HEX}"])
def test_parse(text):
    digest = Digest.parse(text)
    assert str(digest) == text
    assert digest.short == f"{digest.algorithm}:0123456789ab"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a digest"),
        ("sha256", "is not a digest"),
        ("sha256:", "is not a digest"),
        (f":{HEX}", "is not a digest"),
        (f"SHA256:{HEX}", "is not a digest"),
        (f"sha256:{HEX}\n", "is not a digest"),
        (f"sha256:../{HEX}", "is not a digest"),
        (f"sha256:{HEX[1:]}", "is not 64 lower-case hex digits"),
        (f"sha256:{HEX.upper()}", "is not 64 lower-case hex digits"),
        (f"sha256:{HEX[1:]}g", "is not 64 lower-case hex digits"),
        (f"sha256:{HEX[1:]}\u0661", "is not a digest"),
        (f"sha512:{HEX}", "is not 128 lower-case hex digits"),
        (f"md5:{HEX}", "digest algorithm 'md5' is not supported"),
        (f"sha384+b64:{HEX}", "digest algorithm .* is not supported"),
    ],
)
def test_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        Digest.parse(text)


def test_of():
    digest = Digest.of(b"")
    assert str(digest) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest.hasher().hexdigest() == digest.hex
    assert Digest.parse(str(Digest.of(b"", "sha512"))).hasher().digest_size == 64
