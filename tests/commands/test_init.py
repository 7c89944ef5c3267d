"""`doit init`: what it writes builds at once; what is there stays as it is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from c2wtasks.bundlefile.load import load
from tests.support.images import Layout
from tests.support.registries import Storage
from tests.support.running import Result, run_ours

PROGRAM = f"{os.path.basename(sys.executable)} -m c2wtasks"
PASSWD = {"etc/passwd": "root:x:0:0::/:/bin/sh\n"}


def c2wtasks(folder: Path, *args: str) -> Result:
    return run_ours(folder, *args)


def statuses(folder: Path) -> dict[str, str]:
    lines = json.loads((folder / "bundles/catalog.json").read_text())["bundles"]
    return {f"{line['name']}@{line['platform']}": line["status"] for line in lines}


def test_without_an_image_it_builds_at_once(tmp_path: Path) -> None:
    done = c2wtasks(tmp_path, "init", "mine")
    assert (done.exit, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"next: cd mine && {PROGRAM}"
    mine = tmp_path / "mine"
    assert c2wtasks(mine).exit == 0
    platforms = ("linux/amd64", "linux/arm64", "linux/riscv64")
    assert statuses(mine) == {f"hello@{platform}": "built" for platform in platforms}
    assert c2wtasks(mine, "plan").stdout == "nothing to do\n"


@pytest.mark.parametrize("dodo", [True, False], ids=["its dodo.py", "none"])
def test_its_dodo_and_none_are_one_graph(tmp_path: Path, dodo: bool) -> None:
    assert c2wtasks(tmp_path, "init").exit == 0
    assert c2wtasks(tmp_path).exit == 0
    if not dodo:
        (tmp_path / "dodo.py").unlink()
    assert c2wtasks(tmp_path, "why", "hello").exit == 0
    assert len(c2wtasks(tmp_path, "list", "--all", "-q").stdout.splitlines()) == 25
    with (tmp_path / "bundle.yaml").open("a") as stream:
        stream.write("  more: oci:images/hello\n")
    why = c2wtasks(tmp_path, "why")
    assert why.exit == 1
    assert "more@linux/arm64" in why.stdout
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if not dodo:
        assert c2wtasks(elsewhere, "-d", "..", "more@linux/arm64").exit == 0
        assert statuses(tmp_path)["more@linux/arm64"] == "built"


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/mine\n")
    done = c2wtasks(tmp_path, "init")
    assert (done.exit, done.stdout.splitlines()[1]) == (0, "left as it is: .gitignore")
    assert (tmp_path / ".gitignore").read_text() == "/mine\n"
    before = (tmp_path / "bundle.yaml").read_text()
    again = c2wtasks(tmp_path, "init")
    assert (again.exit, again.stdout) == (3, "")
    assert again.stderr == "ERROR: ./bundle.yaml is there already: name another folder\n"
    assert (tmp_path / "bundle.yaml").read_text() == before


@pytest.mark.parametrize("options_first", [True, False])
def test_from_a_layout(tmp_path: Path, options_first: bool) -> None:
    layout = Layout(tmp_path / "images")
    layout.image(PASSWD, tag="docker.io/library/web:1.0", cmd=["web"])
    layout.image({**PASSWD, "db": "x"}, tag="db", cmd=["db"], platform="linux/arm64")
    words = ["new", "--from-layout", "images"]
    done = c2wtasks(tmp_path, "init", *(words[1:] + words[:1] if options_first else words))
    assert (done.exit, done.stderr) == (0, "")
    new = tmp_path / "new"
    assert not (new / "images").exists()
    written = yaml.safe_load((new / "bundle.yaml").read_text())
    assert written["images"] == {
        "web-1.0": "oci:../images:docker.io/library/web:1.0",
        "db": {"source": "oci:../images:db", "platforms": ["linux/arm64"]},
    }
    assert c2wtasks(new).exit == 0
    assert statuses(new) == {"db@linux/arm64": "built", "web-1.0@linux/amd64": "built"}


def test_from_an_image_of_a_registry(tmp_path: Path) -> None:
    Layout(tmp_path / "images").image(PASSWD, tag="t", cmd=["web"], platform="linux/riscv64")
    storage = Storage(tmp_path / "storage")
    with storage.serve() as address:
        storage.push_to(address, tmp_path / "images", "team/web:t", tag="t")
        done = c2wtasks(tmp_path, "init", "--from-image", f"{address}/team/web:t", "new")
        assert (done.exit, done.stderr) == (0, "")
        assert c2wtasks(tmp_path / "new").exit == 0
        assert statuses(tmp_path / "new") == {"web@linux/riscv64": "built"}


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["--from-layout", "none"], 1, "none does not exist"),
        (["--from-image", "Not/A/Name"], 1, "--from-image: "),
        (["--from-image", "a", "--from-layout", "b"], 3, "ERROR: --from-layout and --from-image: give one of them"),
        (["a", "b"], 3, "ERROR: 'b': one folder at a time"),
    ],
)
def test_what_cannot_be(tmp_path: Path, words: list[str], status: int, line: str) -> None:
    done = c2wtasks(tmp_path, "init", *words)
    assert (done.exit, done.stdout) == (status, "")
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("folder", "tag", "line"),
    [
        ("images", "@web", "images: an image that bundle.yaml cannot name by its tag: '@web' is neither a digest "),
        ("a:b", "web", "a:b: bundle.yaml names no layout with a colon in its path; give it another name"),
    ],
)
def test_what_bundle_yaml_could_not_name(tmp_path: Path, folder: str, tag: str, line: str) -> None:
    layout = Layout(tmp_path / folder)
    layout.image(PASSWD, tag="db", cmd=["db"])
    layout.image(PASSWD, tag=tag, cmd=["web"])
    done = c2wtasks(tmp_path, "init", "--from-layout", folder, "new")
    assert (done.exit, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == [folder]


def test_an_empty_folder_says_how_to_begin(tmp_path: Path) -> None:
    done = c2wtasks(tmp_path)
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr == f"ERROR: no bundle.yaml here; to begin one, run: {PROGRAM} init\n"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("mine", "mine"),
        ("Web images", "Web-images"),
        (".hidden", "hidden"),
        ("2024", "2024"),
        ("1e3", "1e3"),
        ("true", "true"),
        ("null", "null"),
        ("été", "t"),
        ("...", "catalog"),
        ("a" * 100, "a" * 60),
    ],
)
def test_the_catalog_is_called_as_its_folder(folder: str, name: str, tmp_path: Path) -> None:
    """So it is the same one wherever a CI job checks it out, with only its cache kept."""
    assert c2wtasks(tmp_path, "init", folder).exit == 0
    assert load(str(tmp_path / folder / "bundle.yaml"), {}).name == name
    here = tmp_path / "here" / folder
    here.mkdir(parents=True)
    assert c2wtasks(here, "init").exit == 0
    assert load(str(here / "bundle.yaml"), {}).name == name


def test_the_bundle_file_loads_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert c2wtasks(tmp_path, "init").exit == 0
    monkeypatch.chdir(tmp_path)
    assert [bundle.name for bundle in load("bundle.yaml", {}).bundles] == ["hello"] * 3


def test_what_comes_next_can_be_typed(tmp_path: Path) -> None:
    """Whatever the folder is called."""
    done = c2wtasks(tmp_path, "init", "my #1 catalog")
    assert done.stdout.splitlines()[-1] == f"next: cd 'my #1 catalog' && {PROGRAM}"
