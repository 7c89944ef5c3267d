"""SBOMs as files of bundles, and as `doit sbom` prints them: the same bytes, for who asks for them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.bundlefile.sbom import SBOMS
from tests.graph.catalogs import write_catalog
from tests.packages.test_sbom import read_cyclonedx, read_spdx
from tests.support.images import Layout
from tests.support.running import executed, run_doit
from tests.support.tars import Tree

AT = "bundles/web/linux-amd64"
BUNDLE = "bundle:web@linux/amd64"
FILES = {row.file for row in SBOMS.values()}
BOTH = list(SBOMS)
BASE: Tree = {
    "lib/apk/db/installed": "P:musl\nV:1.2-r0\nA:x86_64\n\nP:a\nV:1\nA:x86_64\nF:bin\nR:a\n\n",
    "bin/a": "a",
    "etc/os-release": "ID=alpine\nVERSION_ID=3.20.1\n",
}


def catalog(folder: Path, sbom: list[str] | None = None, **settings: Any) -> None:
    more = {} if sbom is None else {"sbom": sbom}
    write_catalog(folder, {"web": {"source": "oci:web", **more, **settings}})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / AT).iterdir() if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Layout(tmp_path / "web").image(BASE, {"srv/x": "x"}, cmd=["sh"])
    catalog(tmp_path)
    return tmp_path


def test_they_come_and_go_with_the_setting(folder: Path) -> None:
    """A bundle that has none is what it always was, and is so again."""
    assert run_doit(folder).exit == 0
    before = contents(folder)
    assert not FILES & before.keys()
    assert b"sbom" not in before["bundle.json"]
    catalog(folder, BOTH)
    assert 'web@linux/amd64: option sbom: unset -> ["spdx","cyclonedx"]\n' in run_doit(folder, "why").stdout
    assert executed(folder) == {BUNDLE, "catalog"}
    then = contents(folder)
    assert then.keys() == before.keys() | FILES
    assert {name for name in before if then[name] != before[name]} == {"bundle.json", "SHA256SUMS"}
    record = json.loads(then["bundle.json"])
    assert record["options"]["sbom"] == BOTH
    for name in FILES:
        digest = hashlib.sha256(then[name]).hexdigest()
        assert record["outputs"][name]["sha256"] == digest
        assert f"{digest}  {name}\n" in then["SHA256SUMS"].decode()
    assert executed(folder) == set()
    assert run_doit(folder, "verify").exit == 0
    catalog(folder, BOTH[::-1])  # in another order it is the same
    assert executed(folder) == set()
    catalog(folder, ["spdx"])
    assert executed(folder) == {BUNDLE, "catalog"}
    assert contents(folder).keys() == before.keys() | {"sbom.spdx.json"}
    catalog(folder, [])
    assert executed(folder) == {BUNDLE, "catalog"}
    assert contents(folder) == before


def test_they_are_valid_and_tell_of_the_image(folder: Path) -> None:
    catalog(folder, BOTH)
    assert run_doit(folder).exit == 0
    record = json.loads((folder / AT / "bundle.json").read_text())
    spdx = read_spdx((folder / AT / "sbom.spdx.json").read_bytes())
    image, system, *packages = spdx["packages"]
    assert (image["name"], image["versionInfo"]) == ("web@linux/amd64", record["manifestDigest"])
    assert (system["name"], system["versionInfo"]) == ("alpine", "3.20.1")
    assert [(one["name"], one["versionInfo"]) for one in packages] == [("musl", "1.2-r0"), ("a", "1")]
    assert packages[1]["sourceInfo"] == f"1 files, brought by layer {record['layers'][0]['digest']}"
    assert image["comment"] == "3 files belong to no package"
    cyclonedx = read_cyclonedx((folder / AT / "sbom.cdx.json").read_bytes())
    assert spdx["creationInfo"]["created"] == cyclonedx["metadata"]["timestamp"] == "2024-01-02T03:04:05Z"


@pytest.mark.parametrize("kind", SBOMS)
@pytest.mark.parametrize("process", [{}, {"args": ["other"], "env": {"A": "é"}}])
def test_what_is_printed_is_the_file(folder: Path, kind: str, process: dict[str, Any]) -> None:
    """Also where bundle.yaml asks for none, or the config is not the image's own."""
    catalog(folder, BOTH, process=process)
    assert run_doit(folder).exit == 0
    text = (folder / AT / SBOMS[kind].file).read_text()
    assert run_doit(folder, "sbom", "web", "--format", kind)[:2] == (0, text)
    catalog(folder, process=process)
    assert run_doit(folder).exit == 0
    assert run_doit(folder, "sbom", f"--format={kind}", "web@linux/amd64")[:2] == (0, text)


def test_the_same_bytes_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    catalog(folder, BOTH, rootfs=["tar"])
    assert run_doit(folder).exit == 0
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(folder / "web", other / "web")
    catalog(other, BOTH, rootfs=["tar"])
    assert run_doit(other, env={"TZ": "Asia/Kathmandu", "LC_ALL": "C"}).exit == 0
    assert contents(other) == contents(folder)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("change", ["edited", "removed"])
def test_one_that_was_changed_is_found_and_mended(folder: Path, name: str, change: str) -> None:
    catalog(folder, BOTH)
    assert run_doit(folder).exit == 0
    before = contents(folder)
    path = folder / AT / name
    if change == "edited":
        path.write_text("{}")
    else:
        path.unlink()
    found = run_doit(folder, "verify")
    assert found.exit == 1 and name in found.stdout
    assert run_doit(folder, "verify", "--repair").exit == 0
    assert contents(folder) == before
    assert executed(folder) == set()


def test_what_is_forgotten_proves_itself(folder: Path) -> None:
    catalog(folder, BOTH)
    assert run_doit(folder).exit == 0
    (folder / ".doit.db").unlink()
    assert executed(folder) == {"catalog"}
    (folder / AT / "sbom.cdx.json").write_text("{}")
    (folder / ".doit.db").unlink()
    assert BUNDLE in executed(folder)
    assert run_doit(folder, "verify").exit == 0


def test_a_bundle_without_a_root_has_none(folder: Path) -> None:
    catalog(folder, BOTH, boot={"external_bundle": True})
    assert run_doit(folder).exit == 0
    assert not FILES & contents(folder).keys()
    run = run_doit(folder, "sbom", "web")
    assert run[:2] == (1, "") and f"{AT}: has no root, and so no packages" in run.stderr
    assert run_doit(folder, "verify").exit == 0


def test_what_is_not_as_it_was_published_is_not_told_of(folder: Path) -> None:
    run = run_doit(folder, "sbom", "web")
    assert run[:2] == (1, "") and f"{AT}/bundle.json: is no bundle of this version" in run.stderr
    assert run_doit(folder).exit == 0
    record = (folder / AT / "bundle.json").read_text()
    packages = (folder / AT / "packages.json").read_bytes()
    other = packages.replace(b'"layer":0', b'"layer":9')
    (folder / AT / "packages.json").write_bytes(other)
    run = run_doit(folder, "sbom", "web")
    assert run[:2] == (1, "") and f"{AT}/packages.json: is not as bundle.json says" in run.stderr
    (folder / AT / "packages.json").write_bytes(packages)
    assert run_doit(folder, "sbom", "web").exit == 0
    (folder / AT / "bundle.json").write_text(record.replace('"configDigest": "sha256:', '"configDigest": "md5:'))
    run = run_doit(folder, "sbom", "web")
    assert run[:2] == (1, "") and f"{AT}: digest algorithm 'md5' is not supported" in run.stderr


@pytest.mark.parametrize("text", [b"", b"[]", b'{"version": 1}', b"[" * 100_000, b"\xff"])
def test_a_forged_bundle_is_refused(folder: Path, text: bytes) -> None:
    """One whose record names what is there, though no run has written it."""
    from c2wtasks.output import outputs

    assert run_doit(folder).exit == 0
    record = json.loads((folder / AT / "bundle.json").read_text())
    packages = (folder / AT / "packages.json").read_bytes()
    for forged in (text, packages.replace(b'"layer":0', b'"layer":9'), packages.replace(b'"layer":0', b'"layer":-9')):
        (folder / AT / "packages.json").write_bytes(forged)
        made = outputs.of_bytes(forged)
        record["outputs"]["packages.json"] = {"size": made.size, "sha256": made.sha256, "xxh3": made.xxh3}
        (folder / AT / "bundle.json").write_text(json.dumps(record))
        run = run_doit(folder, "sbom", "web")
        assert run[:2] == (1, "") and "Traceback" not in run.stderr
        assert run.stderr.count("\n") == 1 and f"{AT}/packages.json: " in run.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "sbom takes one bundle"),
        (["web", "other"], "sbom takes one bundle; these are web@linux/amd64, other@linux/amd64"),
        (["wbe"], "wbe"),
        (["web", "--format", "sdpx"], "--format 'sdpx': no such format; did you mean spdx?"),
        (["web", "--format", "syft"], "--format 'syft': no such format; known: spdx, cyclonedx"),
    ],
)
def test_what_it_does_not_understand(folder: Path, words: list[str], said: str) -> None:
    write_catalog(folder, {"web": {"source": "oci:web"}, "other": {"source": "oci:web"}})
    run = run_doit(folder, "sbom", *words)
    assert run[:2] == (3, "") and said in run.stderr
