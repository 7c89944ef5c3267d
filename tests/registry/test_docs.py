"""Every command of docs/registries.md is run, and every sample loads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from c2wtasks.bundlefile.load import load
from tests.graph.catalogs import DODO
from tests.support.registries import Certificate, Storage, login

PAGE = Path(__file__).parents[2] / "docs" / "registries.md"
NAME = "registry.example"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_samples_load(tmp_path: Path) -> None:
    for text in blocks("yaml"):
        (tmp_path / "bundle.yaml").write_text(text)
        assert load(str(tmp_path / "bundle.yaml"), {}).bundles


def test_every_command_works(storage: Storage, certificate: Certificate, tmp_path: Path) -> None:
    with storage.serve(htpasswd=True, certificate=certificate) as address:
        catalog = tmp_path / "catalog"
        catalog.mkdir()
        (catalog / "dodo.py").write_text(DODO.read_text())
        (catalog / "bundle.yaml").write_text(blocks("yaml")[0].replace(NAME, address))
        (catalog / "our-ca.pem").write_bytes(certificate.ca.read_bytes())
        bin_folder = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environ = {"HOME": str(tmp_path / "home"), "PATH": bin_folder, "SSL_CERT_FILE": "our-ca.pem"}
        environ |= login(tmp_path, address)
        for text in blocks("sh"):
            script = text.replace(NAME, address).replace("skopeo copy", "skopeo --insecure-policy copy")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=catalog,
                env=environ | {"PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        assert (catalog / "elsewhere/bundles/web/linux-amd64/rootfs/etc/motd").read_text() == "hi\n"
        (catalog / "bundle.yaml").write_text("{platforms: [linux/amd64], images: {web: 'dir:web'}}")
        done = subprocess.run(
            [sys.executable, "-m", "doit"], cwd=catalog, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
