"""What is pushed to a real registry is there, as skopeo and we read it; broken connections cost what they lost."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.errors import UserError
from c2wtasks.oci.access import Access
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from c2wtasks.oci.imagename import Repository
from c2wtasks.registry import push
from c2wtasks.registry.client import Client
from c2wtasks.registry.errors import RegistryError
from c2wtasks.registry.push import Pushing, Referrer
from tests.registry.pulling import FAST
from tests.support.faults import Asked, Fault, FaultyProxy, Lost, Status
from tests.support.images import tar
from tests.support.registries import PASSWORD, USER, Certificate, Storage, TokenServer

LARGE = random.Random(5).randbytes(5_000_000)
CHUNK = 1_000_000


@pytest.fixture
def own(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "own")


@pytest.fixture
def address(own: Storage) -> Iterator[str]:
    with own.serve() as address:
        yield address


def at(address: str, path: str = "team/pushed") -> Pushing:
    return Pushing(Client(Access(), FAST), Repository(address, path))


def send(to: Pushing, content: bytes, *, of: str = "") -> bool:
    return to.blob(Digest.of(content), len(content), lambda: io.BytesIO(content), of=of)


def stored(own: Storage, content: bytes) -> bytes:
    """What the registry's storage has under the digest of `content`."""
    digest = hashlib.sha256(content).hexdigest()
    return (own.folder / f"docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data").read_bytes()


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def image(to: Pushing, content: str, **more: Any) -> bytes:
    """Pushes what an image is made of, and gives its manifest."""
    layer = tar({"file": content})
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    for blob in (layer, config):
        send(to, blob)
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, OCI_CONFIG),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
            **more,
        }
    ).encode()


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "a byte", "large"])
def test_a_blob_is_sent_once(own: Storage, address: str, content: bytes) -> None:
    assert send(at(address), content)
    assert stored(own, content) == content
    assert at(address).has_blob(Digest.of(content))
    assert not send(at(address), content)


def test_a_large_blob_goes_in_chunks(own: Storage, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "CHUNK", CHUNK)
    with FaultyProxy(address) as proxy:
        assert send(at(proxy.address), LARGE)
    assert stored(own, LARGE) == LARGE
    assert [asked.method for asked in proxy.asked if asked.method != "GET"] == [
        *("HEAD", "POST", "PATCH", "PATCH", "PATCH", "PATCH", "PUT")
    ]


def test_what_another_repository_has_is_mounted(address: str) -> None:
    assert send(at(address, "team/base"), LARGE)
    assert not send(at(address), LARGE, of="team/base")
    assert at(address).has_blob(Digest.of(LARGE))
    assert send(at(address), b"not there", of="team/base")


def test_skopeo_reads_what_was_pushed(tmp_path: Path, address: str) -> None:
    to = at(address)
    manifest = image(to, "hello")
    to.manifest(manifest, OCI_MANIFEST, "1")
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                descriptor(manifest, OCI_MANIFEST) | {"platform": {"os": "linux", "architecture": "amd64"}}
            ],
        }
    ).encode()
    to.manifest(index, OCI_INDEX, "latest")
    for tag in ("1", "latest"):
        name = f"docker://{address}/team/pushed:{tag}"
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", name, f"dir:{tmp_path / tag}"],
            check=True,
            capture_output=True,
        )
        assert json.loads((tmp_path / tag / "manifest.json").read_text()) == json.loads(manifest)
    again, announced = to.client.manifest(to.repository, Digest.of(manifest), 1 << 20)
    assert (again, announced) == (manifest, OCI_MANIFEST)


ORAS = Path(sys.prefix) / "newer/usr/bin/oras"


@pytest.mark.skipif(not ORAS.exists(), reason="needs oras, of Debian 13 (tests/run unpacks it)")
def test_oras_reads_what_was_pushed(tmp_path: Path, address: str) -> None:
    """An artifact of two files, and what is attached to it."""
    to = at(address)
    files = {"rootfs.ext4": LARGE, "spec.json": b"{}"}
    send(to, b"{}")
    layers = []
    for name, content in files.items():
        send(to, content)
        layers.append(
            descriptor(content, "application/x") | {"annotations": {"org.opencontainers.image.title": name}}
        )
    empty = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
    artifact = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/a", "config": empty}
    text = json.dumps(artifact | {"layers": layers}).encode()
    to.manifest(text, OCI_MANIFEST, "1")
    name = f"{address}/team/pushed:1"
    subprocess.run([ORAS, "pull", "--plain-http", "-o", tmp_path / "got", name], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == files
    to.attach(Digest.of(text), [attached(to, text, "application/sbom")])
    words = [ORAS, "discover", "--plain-http", "--format", "json", name]
    listed = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)["manifests"]
    assert [one["artifactType"] for one in listed] == ["application/sbom"]


def on(method: str, *faults: Fault) -> Any:
    left = list(faults)

    def plan(asked: Asked) -> Fault:
        return left.pop(0) if asked.method == method and left else None

    return plan


FAULTS: dict[str, tuple[str, tuple[Fault, ...], int]] = {
    "a chunk's answer is lost": ("PATCH", (None, Lost()), 6),
    "a chunk is refused": ("PATCH", (None, None, Status(503)), 5),
    "the last answer is lost": ("PUT", (Lost(),), 4),
    "the beginning is refused": ("POST", (Status(500), Status(429, {"Retry-After": "0"})), 4),
    "many": ("PATCH", (Lost(), Status(502), Lost(), None, Status(503)), 8),
}


@pytest.mark.parametrize(("method", "faults", "chunks"), FAULTS.values(), ids=FAULTS)
def test_a_broken_connection_costs_little(
    own: Storage,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    faults: tuple[Fault, ...],
    chunks: int,
) -> None:
    """docker-registry goes on with an upload only from a state that it told: where that was lost, all is sent again.
    Five chunks are sent as four and a last one."""
    monkeypatch.setattr(push, "CHUNK", CHUNK)
    with FaultyProxy(address) as proxy:
        proxy.plan = on(method, *faults)
        send(at(proxy.address), LARGE)
        sent = [asked for asked in proxy.asked if asked.method == "PATCH"]
    assert stored(own, LARGE) == LARGE
    assert len(sent) == chunks


def test_a_registry_that_forgets_the_upload_gets_all_again(
    own: Storage, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "CHUNK", CHUNK)
    left = [True]

    def plan(asked: Asked) -> Fault:
        if asked.method == "PATCH" and len([one for one in proxy.asked if one.method == "PATCH"]) == 3:
            return Status(503)
        if asked.method == "GET" and "uploads" in asked.path and left:
            left.clear()
            return Status(404)
        return None

    with FaultyProxy(address) as proxy:
        proxy.plan = plan
        assert send(at(proxy.address), LARGE)
    assert stored(own, LARGE) == LARGE
    assert len([one for one in proxy.asked if one.method == "POST"]) == 2


def test_a_registry_that_refuses_for_good(address: str) -> None:
    with FaultyProxy(address) as proxy:
        proxy.plan = lambda asked: Status(507) if asked.method == "POST" else None
        with pytest.raises(RegistryError, match=r"team/pushed: sha256:\w{12}: the registry answers with an error"):
            send(at(proxy.address), b"x")


def test_content_that_is_not_what_its_digest_says(address: str) -> None:
    with pytest.raises(RegistryError, match="the registry answers with an error"):
        at(address).blob(Digest.of(b"one"), 3, lambda: io.BytesIO(b"two"))
    with pytest.raises(UserError, match="its file is shorter than it was"):
        at(address).blob(Digest.of(b"one"), 3, lambda: io.BytesIO(b"on"))
    assert not at(address).has_blob(Digest.of(b"one"))


def test_by_a_login(own: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "auth.json"
    with own.serve(htpasswd=True) as address:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(file))  # not before: docker-registry, too, reads REGISTRY_*
        with pytest.raises(RegistryError) as refused:
            send(at(address), b"x")
        assert refused.value.message.startswith(f"{address}/team/pushed: the registry lets only users")
        words = ["skopeo", "login", "--tls-verify=false", "--authfile", file, "-u", USER, "-p", PASSWORD, address]
        subprocess.run(words, check=True, capture_output=True)
        assert send(at(address), b"x")
        assert send(at(address), LARGE)
    assert stored(own, LARGE) == LARGE


def test_by_a_token(own: Storage, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry says which rights it wants: those to write, when something is written."""
    with TokenServer(certificate, anonymous=True) as tokens, own.serve(tokens=tokens) as address:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "none.json"))
        assert send(at(address), b"x")
        assert tokens.given > 0
    assert stored(own, b"x") == b"x"


def test_who_may_not_write_is_told_so(own: Storage, tmp_path: Path) -> None:
    with FaultyProxy("127.0.0.1:1") as proxy:
        proxy.plan = lambda asked: Status(404) if asked.method == "HEAD" else Status(403)
        with pytest.raises(RegistryError) as refused:
            send(at(proxy.address), b"x")
    assert refused.value.message.startswith(f"{proxy.address}/team/pushed: the registry lets only users write this (")


# What is attached.


def attached(to: Pushing, subject: bytes, kind: str) -> tuple[bytes, str, Referrer]:
    content = image(to, kind, subject=descriptor(subject, OCI_MANIFEST), artifactType=kind)
    digest = str(Digest.of(content))
    return content, OCI_MANIFEST, Referrer(OCI_MANIFEST, digest, len(content), artifact_type=kind)


def test_what_is_attached_is_listed(address: str) -> None:
    to = at(address)
    subject = image(to, "subject")
    to.manifest(subject, OCI_MANIFEST, "1")
    assert to.referrers(Digest.of(subject)) == ()
    first = [attached(to, subject, kind) for kind in ("application/a", "application/b")]
    to.attach(Digest.of(subject), first)
    assert to.referrers(Digest.of(subject)) == tuple(one for _, _, one in first)
    second = attached(to, subject, "application/c")
    to.attach(Digest.of(subject), [second, first[0]])
    assert to.referrers(Digest.of(subject)) == (*(one for _, _, one in first), second[2])


def test_what_others_attach_meanwhile_stays(address: str) -> None:
    """Their list is written between our reading and our writing: ours is read again, and merged with theirs."""
    to = at(address)
    subject = image(to, "subject")
    to.manifest(subject, OCI_MANIFEST, "1")
    digest = Digest.of(subject)
    ours, theirs = attached(to, subject, "application/ours"), attached(to, subject, "application/theirs")
    foreign = {"mediaType": OCI_MANIFEST, "digest": theirs[2].digest, "size": theirs[2].size, "data": "eA=="}
    left = [True]

    def plan(asked: Asked) -> Fault:
        written = asked.method == "PUT" and asked.path.endswith(f"sha256-{digest.hex}")
        if not written and asked.path.endswith(f"sha256-{digest.hex}") and len(proxy.asked) > 1 and left:
            puts = [one for one in proxy.asked if one.method == "PUT" and one.path.endswith(digest.hex)]
            if puts:  # ours was written, and now they overwrite it
                left.clear()
                text = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [foreign]}).encode()
                to.manifest(text, OCI_INDEX, f"sha256-{digest.hex}")
        return None

    to.manifest(theirs[0], OCI_MANIFEST)
    with FaultyProxy(address) as proxy:
        proxy.plan = plan
        at(proxy.address).attach(digest, [ours])
    assert not left
    listed, _ = to.client.tagged(to.repository, f"sha256-{digest.hex}", 1 << 20, lambda _digest, _limit: None)[1:]
    assert [one["digest"] for one in json.loads(listed)["manifests"]] == [theirs[2].digest, ours[2].digest]
    assert json.loads(listed)["manifests"][0]["data"] == "eA=="


BAD_LISTS = [b"[]", b'{"manifests": 5}', b'{"manifests": [5]}', b'{"manifests": [{"digest": 5}]}', b"[" * 100_000]


@pytest.mark.parametrize("text", BAD_LISTS, ids=range(len(BAD_LISTS)))
def test_a_list_that_is_none(address: str, text: bytes) -> None:
    to = at(address)
    digest = Digest.of(b"subject")
    with FaultyProxy(address) as proxy:
        proxy.texts[f"/v2/team/pushed/referrers/{digest}"] = text
        with pytest.raises(RegistryError):
            at(proxy.address).referrers(digest)
    assert to.referrers(digest) == ()
