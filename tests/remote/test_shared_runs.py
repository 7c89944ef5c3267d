"""Machines that share a remote cache behind a real server: the second makes what the first has not; and runs whose
cache is gone, silent, or takes nothing are as runs without one, but for a line."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from c2wtasks.oci import signingkey
from c2wtasks.oci.digest import Digest
from c2wtasks.remote import documents
from tests.graph.catalogs import BASE, write_catalog
from tests.remote.test_transport import NGINX
from tests.support.faults import FaultyProxy, Stall, Status
from tests.support.images import Layout
from tests.support.registries import Storage
from tests.support.remotes import SERVERS, behind_faults, nginx, reached, served
from tests.support.running import Result, run_doit

NOISE = random.Random(6).randbytes(400_000).hex()
pytestmark = pytest.mark.skipif(not Path(NGINX).exists(), reason="needs nginx (Debian's nginx-light)")


@dataclass
class Machines:
    """A registry with an image, and machines that build it, each with nothing but bundle.yaml and bundle.lock."""

    folder: Path
    images: FaultyProxy
    url: str = ""

    def machine(self, name: str) -> Path:
        """A new machine."""
        folder = self.folder / name
        folder.mkdir()
        source = f"docker://{self.images.address}/team/web:1"
        cache = {"remote_cache": {"url": self.url, "trust": ["ci.pub"], "write": True}}
        write_catalog(folder, {"web": {"source": source, "sbom": ["spdx"]}}, **cache)
        shutil.copy(self.folder / "ci.pub", folder)
        for before in list(self.folder.glob("*/bundle.lock"))[:1]:
            shutil.copy(before, folder)
        return folder

    def run(self, folder: Path, *words: str, key: str = "ci.key", password: str = "") -> Result:
        """`doit WORDS`, by who has the key."""
        env = {"C2WTASKS_KEY_PASSWORD": password}
        if key:
            env["C2WTASKS_SIGNING_KEY"] = str(self.folder / key)
        self.images.asked.clear()
        return run_doit(folder, *words, env=env)

    def layers(self) -> int:
        """How many large blobs the last run has fetched."""
        return sum(asked.is_blob and asked.sent > 100_000 for asked in self.images.asked)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    folder = tmp_path_factory.mktemp("images")
    layout = Layout(folder / "web")
    layout.image(BASE, {"srv/": None, "srv/noise": NOISE}, cmd=["httpd"], user="app", tag="latest")
    storage = Storage(folder / "storage")
    storage.push(layout.folder, "team/web:1", tag="latest")
    with storage.serve() as address, FaultyProxy(address) as proxy:
        yield proxy


@pytest.fixture
def machines(tmp_path: Path, images: FaultyProxy) -> Machines:
    key = signingkey.new()
    (tmp_path / "ci.key").write_bytes(signingkey.encrypted(key, b""))
    (tmp_path / "ci.pub").write_bytes(signingkey.public_text(key.public_key()))
    return Machines(tmp_path, images)


def manifests(folder: Path) -> list[Digest]:
    """The digests of the documents that a machine has."""
    return [Digest.parse(f"sha256:{path.name}") for path in (folder / "cache/documents/sha256").iterdir()]


def outputs(folder: Path) -> dict[str, bytes]:
    bundle = folder / "bundles/web/linux-amd64"
    return {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_machine_takes_what_another_made(kind: str, machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with served(kind, tmp_path / "server") as machines.url:
        first = machines.machine("first")
        done = machines.run(first)
        assert (done.exit, done.stderr.count("remote cache")) == (0, 0), done.stderr
        assert machines.layers() == 1

        second = machines.machine("second")
        assert machines.run(second, "plan").exit == 0
        done = machines.run(second, "spec:*", key="")
        assert done.exit == 0, done.stderr
        assert machines.layers() == 0
        assert "4 results taken" in done.stderr  # two layers, the user, and the packages
        name = "spec.json"
        (spec,) = (second / "bundles/.parts").rglob(name)
        assert spec.read_bytes() == outputs(first)[name]

        done = machines.run(second, key="")  # a folder of real files takes the layers
        assert (done.exit, machines.layers()) == (0, 1)
        assert outputs(second) == outputs(first)
        assert machines.run(second, key="").stderr == ""


def test_what_images_are_is_known_without_their_registry(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    machines.url = f"file://{tmp_path}/shared"
    first = machines.machine("first")
    assert machines.run(first).exit == 0
    second = machines.machine("second")
    done = machines.run(second, "plan", key="")
    assert (done.exit, done.stderr, machines.images.asked) == (0, "", [])
    assert not (second / "cache").exists(), "who only looks writes nothing"
    done = machines.run(second, "spec:*", key="")
    assert (done.exit, machines.images.asked) == (0, []), done.stderr
    (spec,) = (second / "bundles/.parts").rglob("spec.json")
    assert spec.read_bytes() == outputs(first)["spec.json"]
    assert machines.run(second, "plan", key="").exit == 0

    (kept,) = (tmp_path / "shared/documents").iterdir()
    other = documents.documents_of(reached(machines.url), kept.name, manifests(second))
    documents.put_documents(reached(machines.url), kept.name, {one: text + b" " for one, text in other.items()})
    third = machines.machine("third")
    done = machines.run(third, "spec:*", key="")
    assert (done.exit, len(machines.images.asked) > 0) == (0, True), "they are not what their digests say"
    for content in (b"", b"no zstd", b"x" * 1000):
        kept.write_bytes(content)
        shutil.rmtree(third / "cache")
        assert machines.run(third, "spec:*", key="").exit == 0


def test_a_cache_that_is_gone_is_told_in_a_line(machines: Machines) -> None:
    machines.url = "http://127.0.0.1:1/cache"
    done = machines.run(machines.machine("one"))
    assert done.exit == 0
    (line,) = [line for line in done.stderr.splitlines() if "remote cache" in line]
    assert line.endswith(": cannot be reached: Connection refused; from then on all was made here")


FAULTS = {"silent": Stall(-1), "an error": Status(500), "no login": Status(403)}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", ["nginx", "registry"])
def test_a_cache_that_fails_is_told_in_a_line(kind: str, fault: str, machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    with served(kind, tmp_path / "server") as url, behind_faults(url) as (machines.url, proxy):
        proxy.plan = lambda _: FAULTS[fault]
        done = machines.run(machines.machine("one"), key="")
    assert done.exit == 0
    (line,) = [line for line in done.stderr.splitlines() if "remote cache" in line]
    assert line.endswith("; from then on all was made here")


def test_a_silent_cache_is_asked_once(machines: Machines, tmp_path: Path) -> None:
    """Though a machine with the lock asks it what the images are, before it begins."""
    with nginx(tmp_path / "server") as address, FaultyProxy(address) as proxy:
        machines.url = f"http://{proxy.address}/cache"
        assert machines.run(machines.machine("one"), key="").exit == 0
        proxy.plan = lambda _: Stall(-1)
        proxy.asked.clear()
        done = machines.run(machines.machine("two"), key="")
        assert (done.exit, len(proxy.asked)) == (0, 1)
    (line,) = [line for line in done.stderr.splitlines() if "remote cache" in line]
    assert line.endswith("; from then on all was made here")


def test_a_server_that_takes_nothing_is_told_in_a_line(machines: Machines, tmp_path: Path) -> None:
    with nginx(tmp_path / "server", dav=False) as address:
        machines.url = f"http://{address}/cache"
        done = machines.run(machines.machine("one"))
    assert done.exit == 0
    (line,) = [line for line in done.stderr.splitlines() if "remote cache" in line]
    assert line.endswith("not all was written (0 of 4 results): PUT is answered with status 405")


def test_a_key_that_cannot_be_used_is_told_in_a_line(machines: Machines, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    machines.url = f"file://{tmp_path}/shared"
    done = machines.run(machines.machine("one"), password="another")
    assert done.exit == 0
    assert "ci.key: the password is another, or the file is damaged" in done.stderr
    done = machines.run(machines.machine("two"), key="")  # as most have none, that is not told
    assert (done.exit, done.stderr) == (0, "")
    assert not list((tmp_path / "shared").iterdir())


def test_a_trusted_key_that_is_missing_is_told_in_a_line(machines: Machines, tmp_path: Path) -> None:
    machines.url = f"file://{tmp_path}"
    folder = machines.machine("one")
    (folder / "ci.pub").unlink()
    done = machines.run(folder, key="")
    assert done.exit == 0
    assert "ci.pub: cannot be read: No such file or directory; from then on all was made here" in done.stderr


def test_a_url_that_is_refused_is_told_in_a_line(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("ENDPOINT_URL", "https://u:geheim@h")):
        monkeypatch.setenv(f"AWS_{name}", value)
    machines.url = "s3://cache/x"
    done = machines.run(machines.machine("first"))
    why = "its setting gives a URL of h with credentials in it, which is refused"
    assert done.exit == 0
    assert f"remote cache s3://cache/x: {why}; from then on all was made here" in done.stderr
    assert "geheim" not in done.stderr


def test_offline_asks_nobody(machines: Machines) -> None:
    machines.url = "http://127.0.0.1:1/cache"
    folder = machines.machine("one")
    assert machines.run(folder).exit == 0
    shutil.rmtree(folder / "bundles")
    done = machines.run(folder, "--offline", key="")
    assert (done.exit, "remote cache" in done.stderr) == (0, False)


def test_a_scope_that_is_none_is_told(machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines.url = f"file://{tmp_path}"
    monkeypatch.setitem(os.environ, "C2WTASKS_REMOTE_SCOPE", "Not/One")
    done = machines.run(machines.machine("one"))
    assert done.exit == 0
    assert "C2WTASKS_REMOTE_SCOPE: 'Not/One' is not a scope" in done.stderr


def test_images_that_come_late_are_told_of_like_the_others(
    machines: Machines, tmp_path: Path, images: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their run begins to work before they are known, and then there are workers already."""
    (tmp_path / "shared").mkdir()
    machines.url = f"file://{tmp_path}/shared"
    assert machines.run(machines.machine("one")).exit == 0
    folder = machines.machine("two")
    catalog = json.loads((folder / "bundle.yaml").read_text())
    catalog["images"]["web"]["rootfs"] = ["tar"]  # so that it is plain which layers a run needs
    catalog["images"]["here"] = {"source": f"oci:{folder}/here"}
    write_catalog(folder, catalog["images"], remote_cache=catalog["remote_cache"])
    Layout(folder / "here").image(BASE, cmd=["x"])
    monkeypatch.setattr(images, "plan", lambda asked: time.sleep(0.8))
    done = machines.run(folder, "spec:*", key="")
    assert done.exit == 0, done.stderr
    assert "3 results taken" in done.stderr, done.stderr  # one of them in a worker
