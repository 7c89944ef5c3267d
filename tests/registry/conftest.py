"""Images in registries, and what pulling them gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c2wtasks.registry import client as clients
from tests.registry.pulling import BIG, FAST, Pulling
from tests.support.images import Layer, Layout, tar
from tests.support.registries import Certificate, Storage
from tests.support.shops import Shop


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """`web:1` is an index of amd64 (gzip, zstd, uncompressed), arm64, and attestations; `old:1` is of schema 2;
    `one:1` is a single manifest; `big:1` has a layer of 900 kB that does not compress."""
    folder = tmp_path_factory.mktemp("registries")
    layout = Layout(folder / "web")
    layers = [
        Layer(tar({"etc/": None, "etc/motd": "hi\n"}), "gzip"),
        Layer(tar({"srv/": None, "srv/a": "a" * 5000}), "zstd"),
        Layer(tar({"srv/b": "b"}), "none"),
    ]
    amd = layout.image(*layers, described=True, listed=False, cmd=["web"])
    arm = layout.image({"only": "arm"}, platform="linux/arm64", described=True, listed=False)
    attestation = layout.image(
        {"in-toto": "x"},
        platform="unknown/unknown",
        described=True,
        listed=False,
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
    )
    layout.index(amd, arm, attestation, tag="1")
    old = Layout(folder / "old")
    old.index(
        old.image({"x": "amd"}, docker=True, described=True, listed=False),
        old.image({"x": "arm"}, docker=True, described=True, listed=False, platform="linux/arm/v7"),
        docker=True,
        tag="1",
    )
    one = Layout(folder / "one")
    one.image({"one": "1"}, tag="1")
    big = Layout(folder / "big")
    big.image({"big": BIG}, {"small": "s"}, tag="1")
    made = Storage(folder / "storage")
    with made.serve() as address:
        for name in ("web", "old", "one", "big"):
            made.push_to(address, folder / name, f"team/{name}:1")
    return made


@pytest.fixture(scope="session")
def registry(storage: Storage) -> Iterator[str]:
    """The address of one that asks for no credentials."""
    with storage.serve() as address:
        yield address


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.make(tmp_path_factory.mktemp("tls") / "made")


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No credentials but those a test gives, short waits, and clients that remember nothing of other tests."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("c2wtasks.registry.limits.DEFAULT", FAST)
    clients._client.cache_clear()
    yield
    clients._client.cache_clear()


@pytest.fixture
def pulling(tmp_path: Path) -> Pulling:
    return Pulling(tmp_path / "cache")


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Sets variables."""

    def use(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout of the image `1`, a single manifest with one layer."""
    layout = Layout(tmp_path_factory.mktemp("shop") / "one")
    layout.image({"one": "1"}, tag="1")
    return layout.folder


@pytest.fixture
def shop(one: Path) -> Iterator[Shop]:
    with Shop(one) as made:
        yield made
