"""Pulling from real registries: every way to log in, every kind of image."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
from pathlib import Path

import pytest

from c2wtasks.errors import SourceError, UserError
from c2wtasks.oci.access import Access
from c2wtasks.oci.host import Host
from c2wtasks.registry import client as clients
from tests.registry.pulling import BIG, Environ, Pulling
from tests.support.faults import Cut, FaultyProxy, Status
from tests.support.images import tar
from tests.support.registries import (
    IDENTITY,
    Certificate,
    HttpsProxy,
    Storage,
    TokenServer,
    auth_file,
    free_address,
    login,
)

WEB = [
    tar({"etc/": None, "etc/motd": "hi\n"}),
    tar({"srv/": None, "srv/a": "a" * 5000}),
    tar({"srv/b": "b"}),
]


def refusal(pulling: Pulling, source: str, platform: str = "linux/amd64") -> str:
    with pytest.raises(UserError) as caught:
        pulling.pull(source, platform)
    assert not [name for name in pulling.stored() if name.endswith(".tar")]
    return str(caught.value)


def test_gzip_zstd_and_uncompressed(registry: str, pulling: Pulling) -> None:
    assert pulling.pull(f"docker://{registry}/team/web:1") == WEB
    assert pulling.pull(f"docker://{registry}/team/web:1", "linux/arm64") == [tar({"only": "arm"})]


def test_schema_2(registry: str, pulling: Pulling) -> None:
    assert pulling.pull(f"docker://{registry}/team/old:1") == [tar({"x": "amd"})]
    assert pulling.pull(f"docker://{registry}/team/old:1", "linux/arm/v7") == [tar({"x": "arm"})]


def test_a_single_manifest(registry: str, pulling: Pulling) -> None:
    assert pulling.pull(f"docker://{registry}/team/one:1") == [tar({"one": "1"})]
    assert refusal(Pulling(pulling.folder / "x"), f"docker://{registry}/team/one:1", "linux/arm64") == (
        f"{registry}/team/one:1: the image is for linux/amd64, linux/arm64 was asked for; ask for linux/amd64"
    )


def test_by_digest(registry: str, pulling: Pulling) -> None:
    image = pulling.resolve(f"docker://{registry}/team/web:1")
    assert pulling.pull(f"docker://{registry}/team/web@{image.manifest_digest}") == WEB
    assert pulling.pull(f"docker://{registry}/team/web:gone@{image.manifest_digest}") == WEB


def test_an_absent_platform_fails_before_any_layer(registry: str, pulling: Pulling) -> None:
    with FaultyProxy(registry) as proxy:
        assert refusal(pulling, f"docker://{proxy.address}/team/web:1", "linux/s390x") == (
            f"{proxy.address}/team/web:1: no image for linux/s390x; there are: linux/amd64, linux/arm64; "
            "ask for one of these"
        )
        assert [asked.method for asked in proxy.asked if asked.path != "/v2/"] == ["HEAD", "GET"]


def test_only_what_is_needed_is_fetched_and_once(registry: str, pulling: Pulling) -> None:
    with FaultyProxy(registry) as proxy:
        source = f"docker://{proxy.address}/team/web:1"
        pulling.pull(source)
        requests = [(asked.method, asked.path) for asked in proxy.asked]
        assert len(requests) == len(set(requests)), "HEAD and GET by tag, GET by digest, a config, three layers"
        assert len(proxy.blobs) == 4
        proxy.asked.clear()
        pulling.pull(source)
        assert [asked.method for asked in proxy.asked] == ["HEAD"]


def test_not_there(registry: str, pulling: Pulling) -> None:
    line = refusal(pulling, f"docker://{registry}/team/web:2")
    assert line == (
        f"{registry}/team/web: tag '2': the registry has no such image or blob "
        f"(status 404, http://{registry}/v2/team/web/manifests/2); see which tags there are: "
        f"skopeo list-tags --tls-verify=false docker://{registry}/team/web"
    )
    listed = subprocess.run(line.rpartition("are: ")[2].split(), capture_output=True, check=True)
    assert json.loads(listed.stdout)["Tags"] == ["1"]
    with free_address() as address:
        line = refusal(pulling, f"docker://{address}/a")
    assert line == (
        f"{address}/a: tag 'latest': cannot be reached: Connection refused, the last of several tries; "
        "run again later"
    )


def test_htpasswd(storage: Storage, pulling: Pulling, tmp_path: Path, environ: Environ) -> None:
    with storage.serve(htpasswd=True) as address:
        source = f"docker://{address}/team/web:1"
        assert "lets only users read this" in refusal(pulling, source)
        environ(login(tmp_path, address, password="wrong"))
        pulling = Pulling(tmp_path / "second", Access(kept="x"))
        assert "refuses the credentials" in refusal(pulling, source)
        environ(login(tmp_path, address))
        assert Pulling(tmp_path / "third", Access(kept=str(tmp_path / "kept"))).pull(source) == WEB


@pytest.mark.parametrize("way", ["system", "containers", "docker"])
def test_tls(
    storage: Storage, certificate: Certificate, pulling: Pulling, tmp_path: Path, environ: Environ, way: str
) -> None:
    with storage.serve(certificate=certificate, htpasswd=True) as address:
        environ(login(tmp_path, address))
        source = f"docker://{address}/team/web:1"
        line = refusal(pulling, source)
        assert f"{address}: its certificate is not trusted: " in line
        assert "SSL_CERT_FILE" in line
        if way == "system":
            environ({"SSL_CERT_FILE": str(certificate.ca)})
        else:
            folder = tmp_path / f"home/.config/{way}/certs.d" / address
            folder.mkdir(parents=True)
            (folder / "ours.crt").write_bytes(certificate.ca.read_bytes())
        access = Access(((address, Host(insecure=True)),))
        assert Pulling(tmp_path / "second", access).pull(source) == WEB


def test_insecure_does_not_mean_unverified(storage: Storage, certificate: Certificate, tmp_path: Path) -> None:
    with storage.serve(certificate=certificate) as address:
        access = Access(((address, Host(insecure=True)),))
        assert "certificate is not trusted" in refusal(
            Pulling(tmp_path / "c", access), f"docker://{address}/team/web:1"
        )


def test_a_bad_ca_file_is_named(registry: str, pulling: Pulling, tmp_path: Path, environ: Environ) -> None:
    environ({"SSL_CERT_FILE": f"{tmp_path}/none.pem"})
    assert (
        refusal(pulling, f"docker://{registry}/team/web:1")
        == f"{tmp_path}/none.pem: cannot be read: No such file or directory"
    )


def test_plain_http_only_where_it_may_be(registry: str, tmp_path: Path, environ: Environ) -> None:
    environ({"NO_PROXY": "", "HTTPS_PROXY": f"http://{registry}"})
    name = f"registry.example:{registry.rpartition(':')[2]}"
    line = refusal(Pulling(tmp_path / "c"), f"docker://{name}/team/web:1")
    assert line.startswith(f"{name}/team/web: tag '1': the proxy for {name}: ")


def test_through_a_proxy(storage: Storage, certificate: Certificate, tmp_path: Path, environ: Environ) -> None:
    with storage.serve(certificate=certificate) as address, HttpsProxy(address) as proxy:
        environ({"SSL_CERT_FILE": str(certificate.ca), "HTTPS_PROXY": f"http://user:geheim@{proxy.address}"})
        source = "docker://registry.example/team/web:1"
        assert Pulling(tmp_path / "c").pull(source) == WEB
        login = base64.b64encode(b"user:geheim").decode()
        assert set(proxy.asked) == {("registry.example:443", f"Basic {login}")}
        proxy.asked.clear()
        assert Pulling(tmp_path / "d").pull(f"docker://{address}/team/web:1") == WEB
        assert proxy.asked == [], "this machine is asked itself"
        environ({"NO_PROXY": "other.example,.example"})
        clients._client.cache_clear()
        line = refusal(Pulling(tmp_path / "e"), source)
        assert "its name is not known" in line or "cannot be reached" in line
        assert proxy.asked == []


def test_plain_http_through_a_proxy(registry: str, tmp_path: Path, environ: Environ) -> None:
    """A proxy for plain HTTP gets the whole URL; docker-registry answers to that, so it stands for one."""
    environ({"NO_PROXY": "", "HTTP_PROXY": f"http://{registry}", "HTTPS_PROXY": f"http://{registry}"})
    access = Access((("registry.example:81", Host(insecure=True)),))
    assert Pulling(tmp_path / "c", access).pull("docker://registry.example:81/team/web:1") == WEB, "without CONNECT"


def test_tokens(
    storage: Storage, certificate: Certificate, pulling: Pulling, tmp_path: Path, environ: Environ
) -> None:
    with TokenServer(certificate) as tokens, storage.serve(tokens=tokens) as address:
        source = f"docker://{address}/team/web:1"
        line = refusal(pulling, source)
        assert "lets only users read this, or there is no such image" in line
        environ(login(tmp_path, address))
        tokens.asked.clear()
        pulling = Pulling(tmp_path / "second", Access(kept=str(tmp_path / "kept")))
        assert pulling.pull(source) == WEB
        assert tokens.asked == ["GET with password"], "one token serves for all"


def test_identity_token(
    storage: Storage, certificate: Certificate, tmp_path: Path, pulling: Pulling, environ: Environ
) -> None:
    with TokenServer(certificate) as tokens, storage.serve(tokens=tokens) as address:
        environ(auth_file(tmp_path, {address: {"identitytoken": IDENTITY}}))
        assert pulling.pull(f"docker://{address}/team/web:1") == WEB
        assert tokens.asked == ["POST refresh_token"]


def test_anonymous_tokens(storage: Storage, certificate: Certificate, pulling: Pulling) -> None:
    with TokenServer(certificate, anonymous=True) as tokens, storage.serve(tokens=tokens) as address:
        assert pulling.pull(f"docker://{address}/team/web:1") == WEB
        assert tokens.asked == ["GET"]


def test_mirrors_first(registry: str, tmp_path: Path) -> None:
    with free_address() as dead, FaultyProxy(registry) as proxy, FaultyProxy(registry) as own:
        access = Access(((own.address, Host(mirrors=(dead, f"{proxy.address}/team"))),))
        pulling = Pulling(tmp_path / "c", access)
        assert pulling.pull(f"docker://{own.address}/web:1") == WEB
        assert own.asked == []
        access = Access(((own.address, Host(mirrors=(proxy.address,))),))
        pulling = Pulling(tmp_path / "d", access)
        image = pulling.resolve(f"docker://{own.address}/team/big:1")
        sent = []

        def broken_after_a_part(asked: object) -> object:
            sent.append(asked)
            return Cut(300_000) if len(sent) == 1 else Status(503)

        proxy.plan = broken_after_a_part  # type: ignore[assignment]
        pulling.store.ensure([image.layers[0]])
        assert own.blobs[-1].range == "bytes=300000-", "the registry gives what the mirror did not"
        assert Path(pulling.store.tar(image.layers[0].diff_id)).read_bytes() == tar({"big": BIG})


def test_offline(registry: str, tmp_path: Path) -> None:
    source = f"docker://{registry}/team/web:1"
    line = refusal(Pulling(tmp_path / "c", Access(offline=True)), source)
    assert (
        line
        == f"{registry} would be asked, but this run is offline; run without --offline, and without C2WTASKS_OFFLINE"
    )


def test_kept_blobs(registry: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with FaultyProxy(registry) as proxy:
        access = Access(kept=str(kept))
        source = f"docker://{proxy.address}/team/web:1"
        assert Pulling(tmp_path / "c", access).pull(source) == WEB
        names = sorted(path.name for path in kept.rglob("*") if path.is_file())
        assert len(names) == 3
        proxy.asked.clear()
        assert Pulling(tmp_path / "d", access).pull(source) == WEB
        assert len(proxy.blobs) == 1, "the config alone"
        damaged = kept / "sha256" / names[0]
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
        assert Pulling(tmp_path / "e", access).pull(source) == WEB
        assert len(proxy.blobs) == 3, "a damaged copy is fetched again"
        assert Pulling(tmp_path / "f", access).pull(source) == WEB
        assert len(proxy.blobs) == 4, "and kept anew"


def test_places_hold_no_credentials_and_can_be_sent(storage: Storage, tmp_path: Path, environ: Environ) -> None:
    with storage.serve(htpasswd=True) as address:
        environ(login(tmp_path, address))
        image = Pulling(tmp_path / "c").resolve(f"docker://{address}/team/web:1")
        sent = pickle.dumps(image)
        assert b"geheim" not in sent
        assert pickle.loads(sent) == image


def test_credentials_are_those_of_the_registry(storage: Storage, tmp_path: Path, environ: Environ) -> None:
    with storage.serve(htpasswd=True) as address:
        environ(login(tmp_path, "other.example"))
        with pytest.raises(SourceError, match="log in first"):
            Pulling(tmp_path / "c").resolve(f"docker://{address}/team/web:1")
