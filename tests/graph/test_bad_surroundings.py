"""What is wrong around good images, end to end through `doit`: bundle.yaml, the command line, what lies in the way, and
rights."""

# ruff: noqa: E501 (the lines are data)

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.graph.broken import image
from tests.graph.catalogs import write_catalog
from tests.graph.outcomes import check_clean, states, temporary_files
from tests.support.running import Result, environment, run_doit

GOOD = "images: {good: 'oci:good'}\n"

# what is wrong, bundle.yaml, the lines
YAML: list[tuple[str, str, list[str]]] = [
    ("no YAML", "images: {a: [\n", ["bundle.yaml:2:1: not YAML: did not find expected node content"]),
    ("empty", "", ["bundle.yaml:1:1: the file is empty; name at least one image under 'images'"]),
    ("a list", "- oci:good\n", ["bundle.yaml:1:1: expected a mapping, found a list"]),
    ("a tab", "images:\n\tgood: oci:good\n", ["bundle.yaml:2:1: not YAML: found character that cannot start any token; indent with spaces, not tabs"]),
    ("unknown key", GOOD + "platform: [linux/amd64]\n", ["bundle.yaml:2:1: platform: unknown key; did you mean 'platforms'?"]),
    ("control characters in a key", GOOD + '"\\e[31m\\n": 1\n', ["bundle.yaml:2:1: \\x1b[31m\\n: unknown key; known here: profile, platforms, share, output, cache, name, cache_max_size, keep_runs, cache_trust, max_layer_size, workers, engine, registries, keep_blobs, remote_cache, lock, strict, defaults, include, images"]),
    ("key twice", GOOD + "profile: v0.3\nprofile: v0.8\n", ["bundle.yaml:3:1: profile: is given twice; first at bundle.yaml:2:1"]),
    ("wrong type", GOOD + "platforms: linux/amd64\n", ["bundle.yaml:2:12: platforms: expected a list of platforms, found the string 'linux/amd64'; write [linux/amd64]"]),
    ("platform twice", GOOD + "platforms: [linux/arm64, linux/aarch64]\n", ["bundle.yaml:2:26: platforms[1]: 'linux/aarch64' is given twice (it is linux/arm64)"]),
    ("name", "images: {'a=b': 'oci:good'}\n", ["bundle.yaml:1:10: images: 'a=b' is not a name for an image; use letters, digits, '.', '_' and '-', the first a letter or digit"]),
    ("unknown form", "images:\n  good:\n    source: oci:good\n    rootfs: [dir, isp]\n", ["bundle.yaml:4:19: images.good.rootfs[1]: unknown form 'isp'; did you mean 'iso'?"]),
    ("no such file to include", GOOD + "include: [teams/*.yaml]\n", ["bundle.yaml:2:11: include[0]: 'teams/*.yaml' matches no file"]),
    ("alias bomb", "x:\n- &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)), ["bundle.yaml:6:43: alias '*a3': aliases repeat more than 100000 nodes"]),
    ("several mistakes", "profil: v0.3\nimages: {good: 'oci:good', bad: }\noutput: .\n", [
        "bundle.yaml:1:1: profil: unknown key; did you mean 'profile'?",
        "bundle.yaml:2:33: images.bad: expected a source such as oci:DIR, or a mapping, found nothing (null)",
        "bundle.yaml:3:9: output: '.' holds the bundle file itself; name a folder of its own",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "lines"), [pytest.param(*row[1:], id=row[0]) for row in YAML])
def test_broken_bundle_file(tmp_path: Path, content: str, lines: list[str]) -> None:
    image(tmp_path / "good")
    write_catalog(tmp_path, {})
    (tmp_path / "bundle.yaml").write_text(content)
    before = sorted(os.listdir(tmp_path))
    run = run_doit(tmp_path)
    assert (run.exit, run.stdout) == (3, "")
    heading = [] if len(lines) == 1 else [f"{len(lines)} mistakes, nothing was done:"]
    assert run.stderr == "ERROR: " + "\n".join([*heading, *lines]) + "\n"
    check_clean(run)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good image, for commands that do nothing."""
    path = tmp_path_factory.mktemp("catalog")
    image(path / "good")
    write_catalog(path, {"good": "oci:good"})
    return path


WORDS = [
    ("god", "'god' is no task, bundle or target; did you mean good?"),
    ("good@linux/arm46", "'good@linux/arm46' is no task, bundle or target; did you mean good@linux/amd64 or tree:good@linux/amd64 or spec:good@linux/amd64?"),
    ("bundle:god@*", "'bundle:god@*' fits no task; did you mean bundle or bundle:good@linux/amd64?"),
    ("*zzz", "'*zzz' fits no task; 'doit list --all' shows all tasks"),
    ("\x1b[31mzzz", "'\\x1b[31mzzz' is no task, bundle or target; 'doit list --all' shows all tasks"),
    ("layer:" + "0" * 64, f"'layer:{'0' * 64}' is no task, bundle or target; 'doit list --all' shows all tasks"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "message"), WORDS)
def test_word_that_fits_nothing(catalog: Path, word: str, message: str) -> None:
    run = run_doit(catalog, "good", word)
    assert (run.exit, run.stdout) == (3, "")
    assert run.stderr == f"ERROR: {message}\n"
    assert not (catalog / "bundles").exists()


INIT, TREE, PACKAGES = (f"good/linux-amd64/{name}" for name in ("initconfig.json", "tree", "packages"))

# what is in the way, how it gets there, and the lines. The image `other` is well where the trouble is not its own.
IN_THE_WAY: list[tuple[str, Callable[[Path], object], list[str]]] = [
    ("the output is a file", lambda at: (at / "bundles").write_text(""), [
        *(f"{name}@linux/amd64: bundles/.parts/{name}/linux-amd64/initconfig.json: cannot be written (N bytes): bundles is not a folder"
          f" / bundles/.parts/{name}/linux-amd64/packages: cannot be written (N bytes): bundles is not a folder" for name in ("good", "other")),
        "bundles/catalog.json: cannot be written (N bytes): bundles is not a folder",
        "bundles/.history/NOW.json.gz: cannot be written (N bytes): bundles is not a folder",
    ]),
    ("the cache is a file", lambda at: (at / "cache").write_text(""), [
        "good@linux/amd64: cache/layers: layer {good} cannot be stored: cache is not a folder",
        "other@linux/amd64: cache/layers: layer {other} cannot be stored: cache is not a folder",
    ]),
    ("the image's folder is a file", lambda at: write_below(at, "bundles/good"), [
        "good@linux/amd64: bundles/good/linux-amd64: cannot be published: bundles/good is not a folder"
    ]),
    ("the folder of parts is a file", lambda at: write_below(at, "bundles/.parts/good"), [
        f"good@linux/amd64: bundles/.parts/{INIT}: cannot be written (N bytes): bundles/.parts/good is not a folder"
        f" / bundles/.parts/{PACKAGES}: cannot be written (N bytes): bundles/.parts/good is not a folder"
    ]),
    ("a part is a folder", lambda at: write_below(at, f"bundles/.parts/{TREE}/x"), [
        f"good@linux/amd64: bundles/.parts/{TREE}: cannot be written: Is a directory; move away the folder "
        "that lies there"
    ]),
    ("the catalog is a folder", lambda at: write_below(at, "bundles/catalog.json/x"), [
        "bundles/catalog.json: cannot be written (N bytes): Is a directory; move away the folder that lies there"
    ]),
]  # fmt: skip


def without_sizes(lines: str) -> list[str]:
    lines = re.sub(r"\d+T\d+\.\d+Z", "NOW", lines)
    return re.sub(r"\(\d+ bytes\)", "(N bytes)", lines).splitlines()


def write_below(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("")


@pytest.mark.parametrize(("put", "lines"), [pytest.param(*row[1:], id=row[0]) for row in IN_THE_WAY])
def test_something_in_the_way(tmp_path: Path, put: Callable[[Path], object], lines: list[str]) -> None:
    facts = {name: image(tmp_path / name, *layers).facts() for name, *layers in (("good",), ("other", {"x": "y"}))}
    write_catalog(tmp_path, {"good": "oci:good", "other": "oci:other"})
    put(tmp_path)
    want = [line.format(**{name: fact["layer"] for name, fact in facts.items()}) for line in lines]
    for run in (run_doit(tmp_path), run_doit(tmp_path, "-n", "2")):
        assert run.exit == 1
        assert without_sizes(run.stderr) == want
        check_clean(run)
        if not any(line.startswith("other") for line in want):
            assert (tmp_path / "bundles/other/linux-amd64/rootfs/x").read_text() == "y"
        assert temporary_files(tmp_path) == []


# What the builder may not read or write. Root may all, so it gives its rights away here.
RIGHTLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []

FORBIDDEN: list[tuple[str, str, int, list[str]]] = [
    ("index", "good/index.json", 0, ["good@linux/amd64: cannot read good/index.json: Permission denied"]),
    ("layout", "good", 0, ["good@linux/amd64: cannot read good/index.json: Permission denied"]),
    ("blob", "good/blobs/sha256/{hex}", 0, [
        "good@linux/amd64: layer {layer}: good/blobs/sha256/{hex} cannot be read: Permission denied"
    ]),
    ("cache", "cache", 0o555, ["good@linux/amd64: cache/layers: layer {layer} cannot be stored: Permission denied"]),
    ("output", "bundles", 0o555, [
        f"good@linux/amd64: bundles/.parts/{INIT}: cannot be written (N bytes): Permission denied"
        f" / bundles/.parts/{PACKAGES}: cannot be written (N bytes): Permission denied",
        "bundles/catalog.json: cannot be written (N bytes): Permission denied",
        "bundles/.history/NOW.json.gz: cannot be written (N bytes): Permission denied",
    ]),
]  # fmt: skip


@pytest.mark.skipif(bool(RIGHTLESS) and shutil.which("setpriv") is None, reason="needs setpriv (Debian: util-linux)")
@pytest.mark.parametrize(("place", "mode", "lines"), [pytest.param(*row[1:], id=row[0]) for row in FORBIDDEN])
def test_something_forbidden(tmp_path: Path, place: str, mode: int, lines: list[str]) -> None:
    facts = image(tmp_path / "good").facts()
    write_catalog(tmp_path, {"good": "oci:good"})
    path = tmp_path / place.format_map(facts)
    if not path.exists():
        path.mkdir()
    usual = path.stat().st_mode
    path.chmod(mode)
    try:
        done = subprocess.run(
            [*RIGHTLESS, sys.executable, "-m", "doit"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.chmod(usual)
    assert done.returncode == 1
    assert without_sizes(done.stderr) == [line.format_map(facts) for line in lines]
    check_clean(Result(done.returncode, done.stdout, done.stderr))
    assert run_doit(tmp_path).exit == 0
    assert states(tmp_path) == {"good": "built"}
