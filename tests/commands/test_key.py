"""Keys: ours are cosign's, and cosign's are ours; what is none is told in a line."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from c2wtasks.oci import signingkey
from c2wtasks.oci.signingkey import KeyProblem
from tests.support.running import Result, environment, run_ours, run_python

PASSWORD = {"C2WTASKS_KEY_PASSWORD": "secret"}
COSIGN = Path(sys.prefix) / "newer/usr/bin/cosign"
needs_cosign = pytest.mark.skipif(not COSIGN.exists(), reason="needs cosign, of Debian 13 (tests/run unpacks it)")


def key(folder: Path, *words: str, password: str | None = "secret") -> Result:
    env = {} if password is None else {"C2WTASKS_KEY_PASSWORD": password}
    return run_ours(folder, "key", *words, env=env)


def run(folder: Path, *words: object) -> bytes:
    env = environment({"COSIGN_PASSWORD": "secret"})
    return subprocess.run(list(map(str, words)), cwd=folder, env=env, check=True, capture_output=True).stdout


@pytest.mark.parametrize("password", ["secret", "", "pässwörd"])
def test_a_pair(tmp_path: Path, password: str) -> None:
    done = key(tmp_path, "new", "keys/ci", password=password)
    assert (done.exit, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == ["keys/ci.key", "keys/ci.pub"]
    private, public = tmp_path / "keys/ci.key", tmp_path / "keys/ci.pub"
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)
    shown = key(tmp_path, "show", "keys/ci.key", password=password).stdout
    assert shown == key(tmp_path, "show", "keys/ci.pub", password=None).stdout
    assert shown.startswith(public.read_text())
    assert shown.splitlines()[-1].startswith("id ")


def test_openssl_reads_the_public_key(tmp_path: Path) -> None:
    key(tmp_path, "new")
    assert b"NIST CURVE: P-256" in run(
        tmp_path, "openssl", "pkey", "-pubin", "-in", "c2wtasks.pub", "-text", "-noout"
    )
    spki = run(tmp_path, "openssl", "pkey", "-pubin", "-in", "c2wtasks.pub", "-outform", "DER")
    wanted = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    assert key(tmp_path, "show", "c2wtasks.pub").stdout.splitlines()[-1] == f"id {wanted}"


@needs_cosign
def test_cosign_signs_with_ours(tmp_path: Path) -> None:
    key(tmp_path, "new")
    (tmp_path / "blob").write_text("hello")
    words = ["--yes", "--tlog-upload=false", "--key", "c2wtasks.key", "blob"]
    (tmp_path / "signature").write_bytes(run(tmp_path, COSIGN, "sign-blob", *words))
    check = ["verify-blob", "--insecure-ignore-tlog", "--key", "c2wtasks.pub", "--signature", "signature", "blob"]
    run(tmp_path, COSIGN, *check)


@needs_cosign
def test_cosigns_keys_are_taken(tmp_path: Path) -> None:
    run(tmp_path, COSIGN, "generate-key-pair")
    shown = key(tmp_path, "show", "cosign.key")
    assert (shown.exit, shown.stderr) == (0, "")
    assert shown.stdout == key(tmp_path, "show", "cosign.pub").stdout
    assert shown.stdout.startswith((tmp_path / "cosign.pub").read_text())


def test_nothing_is_written_over(tmp_path: Path) -> None:
    key(tmp_path, "new")
    before = (tmp_path / "c2wtasks.key").read_bytes()
    for name in ("c2wtasks.key", "c2wtasks.pub"):
        again = key(tmp_path, "new")
        assert (again.exit, again.stderr) == (1, f"{name}: is there already; give another name: key new NAME\n")
        assert (tmp_path / "c2wtasks.key").exists() == (name == "c2wtasks.key")
        if name == "c2wtasks.key":
            assert (tmp_path / "c2wtasks.key").read_bytes() == before
            (tmp_path / "c2wtasks.key").unlink()


def test_a_password_that_is_not_given(tmp_path: Path) -> None:
    done = key(tmp_path, "new", password=None)
    assert done.exit == 1
    assert done.stderr.startswith("the key has a password, which is not given; set C2WTASKS_KEY_PASSWORD")
    assert list(tmp_path.iterdir()) == []


WORDS: dict[str, list[str]] = {
    "nothing": [],
    "a wrong word": ["shw", "a"],
    "two names": ["new", "a", "b"],
    "no file": ["show"],
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_wrong_words(tmp_path: Path, words: list[str]) -> None:
    done = key(tmp_path, *words)
    assert done.exit == 3
    assert done.stderr.endswith("write: key new [NAME], or: key show FILE\n")


def test_without_the_packages(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/nacl.py").write_text("")
    done = run_python(
        tmp_path, "-m", "c2wtasks", "key", "new", env=PASSWORD | {"PYTHONPATH": str(tmp_path / "hidden")}
    )
    assert done.exit == 1
    assert done.stderr == "keys need the packages cryptography and PyNaCl; run: pip install 'c2wtasks[sign]'\n"


def box(**changes: object) -> bytes:
    """The text of a private key with other contents."""
    made = signingkey.encrypted(signingkey.new(), b"secret")
    content = json.loads(base64.b64decode("".join(made.decode().splitlines()[1:-1])))
    for path, value in changes.items():
        *above, last = path.split("__")
        inside = content
        for name in above:
            inside = inside[name]
        inside[last] = value
    return pem(json.dumps(content).encode())


def pem(content: bytes, kind: str = "ENCRYPTED SIGSTORE PRIVATE KEY") -> bytes:
    return f"-----BEGIN {kind}-----\n{base64.b64encode(content).decode()}\n-----END {kind}-----\n".encode()


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is no key in PEM form"),
    "no PEM": (b"\xff\x00", "it is no key in PEM form"),
    "no base64": (b"-----BEGIN X-----\nabc\n-----END X-----", "it cannot be read"),
    "plain": (pem(b"x", "PRIVATE KEY"), "it is no private key of cosign's form (private key)"),
    "no JSON": (pem(b"x"), "it cannot be read"),
    "deep": (pem(b"[" * 40_000), "it cannot be read"),
    "another cipher": (box(cipher__name="aes"), "it is encrypted in another way than by scrypt and nacl/secretbox"),
    "a short nonce": (box(cipher__nonce="AAAA"), "it is encrypted in another way than by scrypt and nacl/secretbox"),
    "damaged": (box(ciphertext="AAAA"), "the password is another, or the file is damaged"),
    "much memory": (
        box(kdf__params={"N": 1 << 40, "r": 8, "p": 1}),
        "its parameters of scrypt are beyond all that is",
    ),
    "none": (box(kdf__params={}), "its parameters of scrypt are beyond all that is usual"),
    "no power of two": (box(kdf__params={"N": 3, "r": 8, "p": 1}), "its parameters of scrypt cannot be used"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_what_is_no_private_key(text: bytes, said: str) -> None:
    with pytest.raises(KeyProblem) as problem:
        signingkey.decrypted(text, b"secret")
    assert str(problem.value).startswith(said)


def test_another_password(tmp_path: Path) -> None:
    key(tmp_path, "new")
    done = key(tmp_path, "show", "c2wtasks.key", password="another")
    assert (done.exit, done.stderr) == (1, "c2wtasks.key: the password is another, or the file is damaged\n")


def test_files_that_are_no_keys(tmp_path: Path) -> None:
    rsa = run(tmp_path, "openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    (tmp_path / "rsa.key").write_bytes(rsa)
    run(tmp_path, "openssl", "pkey", "-in", "rsa.key", "-pubout", "-out", "rsa.pub")
    assert key(tmp_path, "show", "rsa.pub").stderr == "rsa.pub: it is no ECDSA key\n"
    (tmp_path / "link").symlink_to("rsa.pub")
    assert key(tmp_path, "show", "link").exit == 1
    assert key(tmp_path, "show", "none").stderr == "none: cannot be read: No such file or directory\n"
    (tmp_path / "long").write_bytes(b"x" * (signingkey.MAX_SIZE + 1))
    assert "it is longer than" in key(tmp_path, "show", "long").stderr
