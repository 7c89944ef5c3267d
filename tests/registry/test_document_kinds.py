"""What a registry's documents say of themselves, and which image of an index is taken: as of local layouts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.errors import SourceError
from tests.graph.catalogs import write_catalog
from tests.registry.pulling import Pulling
from tests.support.images import DOCKER, OCI, Layout, to_json
from tests.support.registries import Server
from tests.support.running import run_doit

TREE = {"etc/": None, "etc/motd": "hi\n"}
DOCKER_MANIFEST, DOCKER_LIST = (f"{DOCKER}.distribution.{kind}.v2+json" for kind in ("manifest", "manifest.list"))
OCI_MANIFEST, OCI_INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"


class Answers(BaseHTTPRequestHandler):
    """Serves the blobs of a layout, all of them manifests too; `announced` maps digests to Content-Types."""

    layout: Layout
    announced: dict[str, str]
    tag = ""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        digest = name if ":" in name else self.tag
        body = b"{}" if self.path == "/v2/" else self.layout.blob(digest).read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.announced.get(digest, OCI_MANIFEST))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Registry:
    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder)
        self.handler = type("Handler", (Answers,), {"layout": self.layout, "announced": {}})
        self.server = Server(self.handler)
        self.source = f"docker://{self.server.address}/web"

    def serve(self, descriptor: dict[str, Any], media_type: str = "") -> str:
        """Gives the descriptor's document the tag that is asked for; its Content-Type, where that is not its own."""
        self.handler.tag = descriptor["digest"]
        self.handler.announced[descriptor["digest"]] = media_type or descriptor["mediaType"]
        return self.source


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path / "layout")
    with made.server:
        yield made


@pytest.fixture
def pulling(tmp_path: Path) -> Pulling:
    return Pulling(tmp_path / "cache")


def refusal(pulling: Pulling, source: str, platform: str = "linux/amd64") -> str:
    with pytest.raises(SourceError) as caught:
        pulling.resolve(source, platform)
    return str(caught.value)


@pytest.mark.parametrize(
    "announced",
    [DOCKER_MANIFEST, OCI_MANIFEST, "application/json", "application/octet-stream", DOCKER_LIST, OCI_INDEX],
)
def test_a_manifest_without_a_media_type_is_what_it_is_served_as(registry, pulling, announced):
    source = registry.serve(registry.layout.image(TREE, docker=True, manifest={"mediaType": None}), announced)
    if announced in (DOCKER_LIST, OCI_INDEX):
        said = f"the registry says it is {announced}, its content is that of a manifest"
        assert said in refusal(pulling, source)
    else:
        for _ in range(2):  # fetched, and then kept
            assert pulling.resolve(source).layers


@pytest.mark.parametrize("announced", [DOCKER_LIST, OCI_INDEX, "application/json", DOCKER_MANIFEST])
def test_an_index_without_a_media_type_is_what_it_is_served_as(registry, pulling, announced):
    one = registry.layout.image(TREE, docker=True, manifest={"mediaType": None}, described=True)
    source = registry.serve(registry.layout.put(to_json({"schemaVersion": 2, "manifests": [one]}), ""), announced)
    if announced == DOCKER_MANIFEST:
        assert "its content is that of an index" in refusal(pulling, source)
    else:
        for _ in range(2):
            assert pulling.resolve(source).layers


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/json", "text/html", ""])
def test_configs_of_old_images(registry, pulling, kind):
    source = registry.serve(registry.layout.image(TREE, docker=True, config_type=kind or None))
    if not kind:
        document = json.loads(registry.layout.blob(registry.handler.tag).read_bytes())
        document["config"]["mediaType"] = ""
        source = registry.serve(registry.layout.put(to_json(document), DOCKER_MANIFEST))
    assert pulling.resolve(source).layers


def test_an_index_of_odd_entries(registry, pulling):
    layout = registry.layout
    needy = layout.image(TREE, described=True, cmd=["needy"])
    needy["platform"]["os.features"] = ["erofs"]
    bare = layout.image(TREE, platform="linux", described="linux/riscv64", cmd=["bare"])
    wrong = layout.image(TREE, described="linux/arm64", cmd=["wrong"])
    plain = layout.image(TREE, described=True, cmd=["plain"])
    other = layout.put(b"<sbom/>", "application/xml", platform={"os": "linux", "architecture": "amd64"})
    source = registry.serve(layout.index(other, needy, bare, wrong, plain))
    assert pulling.resolve(source).parsed.cmd == ("plain",)
    found = pulling.resolve(source, "linux/riscv64")
    assert (found.parsed.cmd, found.parsed.architecture) == (("bare",), "riscv64")
    line = refusal(pulling, source, "linux/arm64")
    assert f"manifest {wrong['digest'][:19]} is for linux/arm64 by the index that lists it" in line
    assert line.endswith(f"{registry.source}@{wrong['digest']} for linux/amd64")
    assert pulling.resolve(f"{registry.source}@{wrong['digest']}").parsed.cmd == ("wrong",)


def test_index_and_config_disagree_and_nothing_else_is_there(registry, pulling):
    wrong = registry.layout.image(TREE, described="linux/arm64")
    source = registry.serve(registry.layout.index(wrong))
    for platform in ("linux/amd64", "linux/arm64"):
        line = refusal(pulling, source, platform)
        assert "is for linux/arm64 by the index that lists it, for linux/amd64 by its own config" in line


@pytest.mark.parametrize("fields", [{"manifests": []}, {"mediaType": OCI_INDEX}])
def test_two_readings_of_a_listed_manifest(registry, pulling, fields):
    one = registry.layout.image(TREE, manifest=fields, described=True)
    source = registry.serve(registry.layout.index(one))
    assert any(
        said in refusal(pulling, source)
        for said in ("neither an index nor a manifest", "can be read in two ways", "content is of another kind")
    )


def test_no_architecture_but_in_the_index_with_a_lock(registry, tmp_path):
    """The lock pins a manifest whose config says nothing of the platform that the index said."""
    layout = registry.layout
    bare = layout.image(TREE, platform="linux", described="linux/arm64", cmd=["bare"])
    source = registry.serve(layout.index(bare))
    folder = tmp_path / "catalog"
    folder.mkdir()
    write_catalog(folder, {"web": source}, platforms=["linux/arm64"])
    first = run_doit(folder)
    assert (first.exit, "web@linux/arm64" in (folder / "bundle.lock").read_text()) == (0, True), first.stderr
    boot = (folder / "bundles/web/linux-arm64/initconfig.json").read_bytes()
    assert b"arm64" in boot
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / "bundles")
    again = run_doit(folder)
    assert again.exit == 0, again.stderr
    assert (folder / "bundles/web/linux-arm64/initconfig.json").read_bytes() == boot
