"""Nothing that is written or printed holds a credential: not in failures, and not at the highest verbosity."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.faults import Asked, Corrupt, Cut, Expire, Fault, FaultyProxy, Garbage, Status
from tests.support.hooking import SHORT_WAITS, WORKERS_AT_ONCE, hooked
from tests.support.registries import IDENTITY, PASSWORD, USER, Certificate, Storage, TokenServer, auth_file
from tests.support.running import environment

LOUD = WORKERS_AT_ONCE + "import logging\nlogging.basicConfig(level=0)\n" + SHORT_WAITS
PROXY_PASSWORD = "k9-geheim-Stellvertreter"


def forms(secret: str) -> list[bytes]:
    """How a secret might be written."""
    pairs = (secret, f"{USER}:{secret}", f"<token>:{secret}")
    return [secret.encode(), repr(secret).encode(), *(base64.b64encode(pair.encode()) for pair in pairs)]


@pytest.mark.parametrize("login", ["password", "identity token"])
def test_no_credential_is_written_or_printed(
    storage: Storage, certificate: Certificate, tmp_path: Path, login: str
) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    with (
        TokenServer(certificate) as tokens,
        storage.serve(tokens=tokens) as address,
        FaultyProxy(address) as proxy,
        storage.serve(htpasswd=True) as basic,
    ):
        proxied = f"docker://{proxy.address}/team"
        images = {
            "web": f"{proxied}/web:1",
            "big": f"{proxied}/big:1",
            "none": f"{proxied}/none:1",
            "basic": f"docker://{basic}/team/old:1",
            "far": "docker://registry.example/far",
        }
        write_catalog(catalog, images, keep_blobs=True, lock="all")
        auth = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        token = {"identitytoken": IDENTITY}
        env = auth_file(
            tmp_path,
            {proxy.address: token if login == "identity token" else auth, basic: auth, "registry.example": auth},
        )
        env |= {"HTTPS_PROXY": f"http://{USER}:{PROXY_PASSWORD}@127.0.0.1:1"}
        env |= hooked(tmp_path / "hooks", LOUD)
        faults: list[Fault] = [Cut(100), Expire(), Corrupt(50), Status(500), Garbage(), Status(403), Status(418)]

        def plan(asked: Asked) -> Fault:
            return faults.pop(0) if asked.is_blob and faults else None

        proxy.plan = plan
        told = b""
        for command in ("-v 2 -n 2", "-v 2", "why", "lock --check", "lock --update"):
            done = subprocess.run(
                [sys.executable, "-m", "doit", *command.split()],
                cwd=catalog,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            told += done.stdout + done.stderr
        sent = {asked.authorization.partition(" ")[2] for asked in proxy.asked if asked.authorization}
    assert not faults, told.decode()
    assert sent, "tokens were used"
    assert b"trying again" in told
    assert b"urllib3" in told, "it was loud"
    assert (catalog / "bundles/web/linux-amd64/bundle.json").exists(), told.decode()
    written = {path: path.read_bytes() for path in catalog.rglob("*") if path.is_file()}
    assert len(written) > 20
    secrets = [form for one in (PASSWORD, IDENTITY, PROXY_PASSWORD, *sent) for form in forms(one)]
    for name, content in {**written, "printed": told}.items():
        assert not [secret for secret in secrets if secret in content], f"{name} holds a secret"
    assert json.loads((catalog / "bundles/catalog.json").read_text())
