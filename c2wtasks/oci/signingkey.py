"""Keys that sign what is published: ECDSA on P-256, in the PEM forms of cosign (its `pkg/cosign/keys.go` and
`github.com/secure-systems-lab/go-securesystemslib/encrypted`), so that cosign takes ours and we take cosign's. Pure.

A private key is PKCS #8, encrypted by NaCl's secretbox with a key that scrypt makes of a password, which may be
empty. It needs the packages of the extra `sign`, which are imported when a key is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

MAX_SIZE = 64 << 10
"""Of a key's text, in bytes."""
PUBLIC = "PUBLIC KEY"
_PRIVATE = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")  # cosign 2 writes the first
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----\s*", re.ASCII)
_SALT, _NONCE, _KEY = 32, 24, 32  # bytes
_N, _R, _P = 65536, 8, 1
_MOST = {"N": 1 << 20, "r": 16, "p": 4}  # what a key of others may ask of us: some 2 GB
_WIDTH = 64


class KeyProblem(ValueError):
    """A text is no key that can be used, or its password is another. Says why."""


class MissingPackages(ImportError):
    """The packages that keys need are not installed."""


class _Kdf(msgspec.Struct):
    name: str
    params: dict[str, int]
    salt: str


class _Cipher(msgspec.Struct):
    name: str
    nonce: str


class _Encrypted(msgspec.Struct):
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: str


_ENCRYPTED = msgspec.json.Decoder(_Encrypted)


def new() -> EllipticCurvePrivateKey:
    """A new key.

    Raises MissingPackages.
    """
    ec, _, _ = _packages()
    key: EllipticCurvePrivateKey = ec.generate_private_key(ec.SECP256R1())
    return key


def encrypted(key: EllipticCurvePrivateKey, password: bytes) -> bytes:
    """The text of a private key, encrypted with the password.

    Raises MissingPackages.
    """
    _, serialization, secretbox = _packages()
    content = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    kdf = _Kdf("scrypt", {"N": _N, "r": _R, "p": _P}, base64.b64encode(salt).decode())
    sealed = secretbox.crypto_secretbox(content, nonce, _derived(password, salt, kdf.params))
    box = _Encrypted(
        kdf, _Cipher("nacl/secretbox", base64.b64encode(nonce).decode()), base64.b64encode(sealed).decode()
    )
    return _pem(_PRIVATE[0], msgspec.json.encode(box))


def decrypted(text: bytes, password: bytes) -> EllipticCurvePrivateKey:
    """The private key that `encrypted`, or cosign, has written.

    Raises KeyProblem, MissingPackages.
    """
    ec, serialization, secretbox = _packages()
    kind, content = _read(text)
    if kind not in _PRIVATE:
        raise KeyProblem(f"it is no private key of cosign's form ({kind.lower()})")
    try:
        box = _ENCRYPTED.decode(content)
        salt, nonce, sealed = map(_bytes, (box.kdf.salt, box.cipher.nonce, box.ciphertext))
    except (ValueError, RecursionError) as error:
        raise KeyProblem("it cannot be read") from error
    if (box.kdf.name, box.cipher.name) != ("scrypt", "nacl/secretbox") or len(nonce) != _NONCE:
        raise KeyProblem("it is encrypted in another way than by scrypt and nacl/secretbox")
    if any(not 0 < box.kdf.params.get(name, 0) <= most for name, most in _MOST.items()):
        raise KeyProblem("its parameters of scrypt are beyond all that is usual")
    derived = _derived(password, salt, box.kdf.params)
    try:
        plain = secretbox.crypto_secretbox_open(sealed, nonce, derived)
    except Exception as error:
        raise KeyProblem("the password is another, or the file is damaged") from error
    key = serialization.load_der_private_key(plain, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyProblem("it is no ECDSA key")
    found: EllipticCurvePrivateKey = key
    return found


def public_text(key: EllipticCurvePublicKey) -> bytes:
    """The text of a public key: PKIX, as `openssl pkey` and cosign read it.

    Raises MissingPackages.
    """
    return _pem(PUBLIC, spki(key))


def public(text: bytes) -> EllipticCurvePublicKey:
    """The public key that a text holds.

    Raises KeyProblem, MissingPackages.
    """
    ec, serialization, _ = _packages()
    kind, content = _read(text)
    if kind != PUBLIC:
        raise KeyProblem(f"it is no public key ({kind.lower()})")
    try:
        key = serialization.load_der_public_key(content)
    except Exception as error:
        raise KeyProblem("it cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyProblem("it is no ECDSA key")
    found: EllipticCurvePublicKey = key
    return found


def is_public(text: bytes) -> bool:
    """Whether a text claims to be a public key."""
    return f"-----BEGIN {PUBLIC}-----".encode() in text


def key_id(key: EllipticCurvePublicKey) -> str:
    """What names a key: the SHA-256 of its PKIX form, in base64, as cosign's `hint` has it.

    Raises MissingPackages.
    """
    return base64.b64encode(hashlib.sha256(spki(key)).digest()).decode()


def spki(key: EllipticCurvePublicKey) -> bytes:
    """The PKIX form of a public key (SubjectPublicKeyInfo), in DER.

    Raises MissingPackages.
    """
    _, serialization, _ = _packages()
    content: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return content


def _derived(password: bytes, salt: bytes, params: dict[str, int]) -> bytes:
    n, r, p = (params[name] for name in ("N", "r", "p"))
    try:
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=(n + p + 2) * r * 128 * 2, dklen=_KEY)
    except (ValueError, OverflowError, MemoryError) as error:
        raise KeyProblem("its parameters of scrypt cannot be used") from error


def _pem(kind: str, content: bytes) -> bytes:
    text = base64.b64encode(content).decode()
    lines = [text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""]).encode()


def _read(text: bytes) -> tuple[str, bytes]:
    found = _PEM.fullmatch(text.decode("ascii", "replace").strip())
    if found is None:
        raise KeyProblem("it is no key in PEM form")
    try:
        return found[1], _bytes("".join(found[2].split()))
    except ValueError as error:
        raise KeyProblem("it cannot be read") from error


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _packages() -> tuple[Any, Any, Any]:
    try:
        import nacl.bindings
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise MissingPackages(error.name) from error
    return ec, serialization, nacl.bindings
