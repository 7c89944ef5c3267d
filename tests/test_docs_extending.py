"""docs/extending.md works: its blocks, put into a copy of the project as the page says, give a form, a transport, a
profile, a boot setting and a command, touch no more files than it says, and build a catalog."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from c2wtasks.telling.sizes import human
from tests.support.running import environment

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NEW = re.compile(r"A new file, `(?P<path>\S+)`:")
INTO = re.compile(r'In `(?P<path>\S+)`, after the line (?:that begins with "(?P<start>.*)"|`(?P<line>.*)`):')

# The files of code and of pages that each section may touch.
FILES = {"A form": (2, 1), "A transport": (2, 1), "A profile": (1, 1), "A boot setting": (2, 1), "A command": (1, 1)}


@dataclass
class Copy:
    """A copy of the project, `folder`; `touched` are the files that each section of the page made or changed."""

    folder: Path
    touched: dict[str, set[str]] = field(default_factory=dict)

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """What `python WORDS` prints, with the copy's modules. Fails where it fails."""
        return self.run_program(sys.executable, *words, cwd=cwd)

    def run_program(self, *words: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            words,
            cwd=cwd or self.folder,
            env=environment({"PYTHONPATH": str(self.folder)}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def apply(self, section: str) -> None:
        before = self._contents()
        for block in BLOCK.finditer(section_of(section)):
            self._put(block["before"], block["kind"], block["text"])
        after = self._contents()
        self.touched[section] = {name for name in after if after[name] != before.get(name)}

    def _put(self, before: str, kind: str, text: str) -> None:
        if kind == "sh":
            for line in text.splitlines():
                assert line.startswith("python "), line
                self.run(*line.split()[1:])
        elif new := NEW.fullmatch(before):
            assert not (self.folder / new["path"]).exists()
            (self.folder / new["path"]).write_text(text)
        else:
            into = INTO.fullmatch(before)
            assert into, f"of no known form: {before}"
            path = self.folder / into["path"]
            lines = path.read_text().splitlines(keepends=True)
            at = [
                number
                for number, line in enumerate(lines)
                if (line.startswith(into["start"]) if into["start"] else line == f"{into['line']}\n")
            ]
            assert len(at) == 1, f"{before} There are {len(at)}"
            path.write_text("".join([*lines[: at[0] + 1], text, *lines[at[0] + 1 :]]))

    def _contents(self) -> dict[str, bytes]:
        paths = [path for room in ("c2wtasks", "docs") for path in (self.folder / room).rglob("*.*")]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths if path.suffix != ".pyc"}


def section_of(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The project with all that the page adds to it."""
    made = Copy(tmp_path_factory.mktemp("copy"))
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("needs git, and the files of the project in it")
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).exists():
            (made.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, made.folder / name, follow_symlinks=False)
    for heading in FILES:
        made.apply(heading)
    return made


def test_all_blocks_are_of_a_known_section() -> None:
    of_sections = sum(len(BLOCK.findall(section_of(heading))) for heading in (*FILES, "All of it at work"))
    assert len(BLOCK.findall(TEXT)) == of_sections


@pytest.mark.parametrize("section", FILES)
def test_no_more_files_are_touched_than_the_page_says(copy: Copy, section: str) -> None:
    touched = copy.touched[section]
    code = {name for name in touched if name.startswith("c2wtasks/")}
    assert (len(code), len(touched - code)) == FILES[section], sorted(touched)


def test_a_catalog_is_built_with_all_of_them(copy: Copy, tmp_path: Path) -> None:
    (block,) = BLOCK.finditer(section_of("All of it at work"))
    (tmp_path / "bundle.yaml").write_text("platforms: [linux/arm/v7]\n" + block["text"])
    shutil.copy(PROJECT / "dodo.py", tmp_path)
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        for name, content in {"bin/sh": b"#!", "a#b": b""}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), 12, 0o755
            tar.addfile(member, io.BytesIO(content))
    where = copy.run("-c", "import c2wtasks; print(c2wtasks.__file__)", cwd=tmp_path)
    assert where.startswith(str(copy.folder))
    copy.run("-m", "c2wtasks", cwd=tmp_path)
    bundle = tmp_path / "bundles/exported/linux-arm-v7"
    assert (bundle / "rootfs/bin/sh").read_bytes() == b"#!"
    assert (bundle / "rootfs.mtree").read_text().splitlines()[1:] == [
        ". type=dir mode=0755 uid=0 gid=0 time=0.000000000",
        "./a\\043b type=file mode=0755 uid=0 gid=0 size=0 time=12.000000000",
        "./bin type=dir mode=0755 uid=0 gid=0 time=0.000000000",
        "./bin/sh type=file mode=0755 uid=0 gid=0 size=2 time=12.000000000",
    ]
    assert json.loads((bundle / "spec.json").read_text())["ociVersion"] == "1.2.0"
    assert "--log" in json.loads((bundle / "initconfig.json").read_text())["cmd"][0]
    assert json.loads((bundle / "bundle.json").read_text())["options"]["boot"]["runc_log"] == "/run/runc.log"
    size = (tmp_path / "root.tar").stat().st_size
    assert copy.run("-m", "c2wtasks", "sizes", cwd=tmp_path) == f"exported@linux/arm/v7: {human(size)}\n"
    before = (tmp_path / "bundles/catalog.json").stat()
    copy.run("-m", "c2wtasks", cwd=tmp_path)  # an image that is remembered
    assert os.path.samestat((tmp_path / "bundles/catalog.json").stat(), before)


def test_the_tables_are_still_tied(copy: Copy, tmp_path: Path) -> None:
    tests = [
        f"tests/{name}.py" for name in ("rootfs/test_form_table", "sources/test_transports", "bundlefile/test_page")
    ]
    copy.run("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/t", *tests)


def test_imports_and_types_are_as_they_should_be(copy: Copy) -> None:
    cache = PROJECT / ".mypy_cache"
    if cache.exists():
        shutil.copytree(cache, copy.folder / ".mypy_cache")
    for line in ("mypy c2wtasks", "lint-imports", "ruff check c2wtasks", "ruff format --check c2wtasks"):
        tool, *words = line.split()
        copy.run_program(str(Path(sys.executable).parent / tool), *words)
