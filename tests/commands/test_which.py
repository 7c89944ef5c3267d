"""`doit which`: the bundles that hold a package or a file, with the layer that brought it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.graph.catalogs import write_catalog
from tests.support.images import Layout
from tests.support.running import run_doit
from tests.support.tars import Symlink, Tree


def installed(**versions: str) -> str:
    return "".join(f"P:{name}\nV:{version}\nA:x86_64\n\n" for name, version in versions.items())


DATABASE = "lib/apk/db/installed"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("which")
    base: Tree = {DATABASE: installed(musl="1.2.9-r0"), "usr/bin/sh": "sh", "bin": Symlink("usr/bin")}
    Layout(folder / "old").image(base, cmd=["sh"])
    Layout(folder / "new").image(
        base, {DATABASE: installed(musl="1.2.10-r0", zlib="1.3-r1"), "srv/x": "x"}, cmd=["sh"]
    )
    write_catalog(
        folder,
        {"old": {"source": "oci:old"}, "new": {"source": "oci:new", "rootfs": ["tar"]}, "not": {"source": "oci:not"}},
    )
    run_doit(folder)
    return folder


CASES = {
    "musl": ["new musl 1.2.10-r0 1", "old musl 1.2.9-r0 0"],
    "musl<1.2.10": ["old musl 1.2.9-r0 0"],
    "musl>1.2.9-r0": ["new musl 1.2.10-r0 1"],
    "musl@1.2.9-r0": ["old musl 1.2.9-r0 0"],
    "musl>1.3": [],
    "zlib": ["new zlib 1.3-r1 1"],
    "mus": [],
    "/bin/sh": ["new /bin/sh  0", "old /bin/sh  0"],
    "/srv/x": ["new /srv/x  1"],
    "/srv/x/y": [],
    "/srv/x\udcff": [],
    "mus\udcff": [],
    "/../../bin/sh": ["new /../../bin/sh  0", "old /../../bin/sh  0"],
}


@pytest.mark.parametrize("asked", CASES)
def test_which(built: Path, asked: str) -> None:
    run = run_doit(built, "which", "--json", asked)
    found = json.loads(run.stdout)["bundles"]
    shown = [
        f"{one['bundle'].partition('@')[0]} {one['found']['name']} "
        f"{one['found'].get('version', '')} {one['found']['layer']}"
        for one in found
    ]
    assert sorted(shown) == CASES[asked]
    assert run.exit == (0 if found else 1)
    for one in found:
        record = json.loads(
            (built / f"bundles/{one['bundle'].replace('@', '/').replace('x/a', 'x-a')}/bundle.json").read_text()
        )
        assert one["digest"] == record["layers"][one["found"]["layer"]]["diffID"]


def test_lines(built: Path) -> None:
    digest = json.loads((built / "bundles/old/linux-amd64/bundle.json").read_text())["layers"][0]["diffID"][7:19]
    assert (
        run_doit(built, "which", "musl<1.2.10").stdout
        == f"old@linux/amd64  musl 1.2.9-r0  apk  layer 0 ({digest})  oci:old\n"
    )


@pytest.mark.parametrize("words", [[], ["a", "b"], ["a<b<c"], ["<1"]])
def test_what_it_does_not_understand(built: Path, words: list[str]) -> None:
    run = run_doit(built, "which", *words)
    assert (run.exit, run.stdout) == (3, "")
    assert "which takes one package" in run.stderr


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    Layout(tmp_path / "odd").image({"srv/\udcff": "x"}, cmd=["sh"])
    write_catalog(tmp_path, {"odd": {"source": "oci:odd"}})
    run_doit(tmp_path)
    (found,) = json.loads(run_doit(tmp_path, "which", "--json", "/srv/\udcff").stdout)["bundles"]
    assert found["found"]["path"] == "/srv/\\xff"
