"""What lies in the place of a file of credentials or certificates, which may be a user's while root reads it, is
neither waited for nor read without end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c2wtasks.errors import UserError
from c2wtasks.registry import credentials, tls

_TOO_LONG_S = 60
KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    def hangs(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(_TOO_LONG_S)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["named", "usual"])
def test_credentials(tmp_path: Path, kind: str, place: str) -> None:
    file = tmp_path / ".docker/config.json"
    file.parent.mkdir()
    KINDS[kind](file)
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    if place == "named":
        environ["REGISTRY_AUTH_FILE"] = str(file)
    with pytest.raises(credentials.NoLogin, match=f"{file}: cannot be read"):
        credentials.find("example.com", "a", environ)


@pytest.mark.parametrize("kind", [*KINDS, "huge"])
@pytest.mark.parametrize("name", ["ca.crt", "client.cert", "client.key", "named"])
def test_certificates(tmp_path: Path, kind: str, name: str) -> None:
    folder = tmp_path / ".config/docker/certs.d/example.com"
    folder.mkdir(parents=True)
    file = folder / name
    if name == "client.key":
        (folder / "client.cert").write_text("")
    elif name == "client.cert":
        (folder / "client.key").write_text("")
    if kind == "huge":
        file.touch()
        os.truncate(file, 1 << 40)
    else:
        KINDS[kind](file)
    environ = {"HOME": str(tmp_path)} | ({"SSL_CERT_FILE": str(file)} if name == "named" else {})
    with pytest.raises(UserError, match=f"{file}: cannot be read"):
        tls.context("example.com", environ)
