"""The pages are true: what they name exists, and what exists is named.

What a page names is found by its look: `doit verify --repair`, `--json`, `C2WTASKS_CACHE`, `bundle.json`,
`c2wtasks/rootfs/`, `workers: 4`, [a link](page.md#heading). Names of other programs are listed below, so that a new
one is a decision.
"""

from __future__ import annotations

import ast
import re
import shlex
import signal
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from doit.cmd_base import DodoTaskLoader
from doit.doit_cmd import DoitMain

from c2wtasks.bundlefile.settings import SETTINGS
from c2wtasks.commands.base import NOT_ASKED
from c2wtasks.engine.build import DONE, FAILED
from c2wtasks.engine.run import Run

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "c2wtasks"
TESTS = PROJECT / "tests"
PAGES = sorted([*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *PROJECT.glob("[a-z]*/README.md")])
PAGES.append(TESTS / "reference/README.md")
PAGES.remove(PROJECT / "docs/help.md")  # which the program writes
COMMANDS_PAGE = PROJECT / "docs/commands.md"
MAP = TESTS / "README.md"

WRONG = 3  # what doit exits with where the command line or the dodo is wrong
STATUSES = {DONE, FAILED, WRONG, NOT_ASKED, *(128 + one for one in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))}
CANNOT_COMPARE = 77  # of examples/build.py

OTHERS_OPTIONS = {
    *("--build-arg", "--target-arch", "--target-stage", "--to-js", "--assets", "--cpus"),  # c2w, docker
    "--log",  # runc
    "--key",  # cosign
    *("--create", "--extract", "--file", "--directory", "--format", "--xattrs", "--xattrs-include"),  # tar
    *("--numeric-owner", "--same-permissions", "--anchored"),  # tar
    *("--password-stdin", "--username", "--use", "--long"),  # skopeo, docker buildx, zstd
    *("--check", "--delete", "--exclude", "--link-dest", "--numeric-ids", "--quiet"),  # rsync, aws, sha256sum
    *("--checksum", "--size-only"),  # the same
    *("--extract", "--image", "--no-dereference", "--override-arch"),  # dpkg-deb, umoci, diff, skopeo
}
OTHERS_FILES = {"config.json", "auth.json", "daemon.json", "index.json", "manifest.json"}
OTHERS_FILES |= {"hosts.toml", "image-index.md", "imageconfig.json"}
OTHERS_KEYS = {"form", "mode", "note", "warning", "folder"}
KEYS_OF_OTHERS = {"features"}
MADE = {".doit.db.lock", "form-NAME.json"}  # by names that the code puts together
FILE_ENDINGS = (".json", ".tar", ".cpio", ".iso", ".ext4", ".squashfs", ".erofs")


def ids(page: Path) -> str:
    return str(page.relative_to(PROJECT))


def each_page() -> Any:
    return pytest.mark.parametrize("page", PAGES, ids=ids)


@cache
def text_of(page: Path) -> str:
    return page.read_text()


def code_of(page: Path) -> Iterator[str]:
    """What stands in backticks, and the lines of blocks."""
    text = text_of(page)
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (line.strip() for line in re.findall(r"^    .*", text, re.MULTILINE))
    yield from (" ".join(one.split()) for one in re.findall(r"`([^`]+)`", text))


@cache
def sources() -> str:
    """All code, and what sets it up."""
    paths = [*PACKAGE.rglob("*.py"), PROJECT / "pyproject.toml", *PROJECT.glob("examples/*.py")]
    return "\n".join(path.read_text() for path in paths)


# Commands and options.


@cache
def options() -> dict[str, frozenset[str]]:
    """Each command with its options, as they are written: `--json`, `-n`."""
    known = DoitMain().get_cmds()
    found = {}
    for name in known:
        command = known.get_plugin(name)(
            task_loader=DodoTaskLoader(), config={}, bin_name="doit", cmds=known, opt_vals={}
        )
        words = {f"-{one.short}" for one in command.cmdparser.options if one.short}
        words |= {f"--{long}" for one in command.cmdparser.options for long in (one.long, one.inverse) if long}
        found[name] = frozenset(words | (set(Run.switches) if name == "run" else set()))
    return found


@cache
def images() -> frozenset[str]:
    """The names of images in bundle.yaml and in the samples of pages."""
    texts = [(PROJECT / "bundle.yaml").read_text(), *map(text_of, PAGES)]
    return frozenset(name for text in texts for name in re.findall(r"^  ([\w-]+):(?: |$)", text, re.MULTILINE))


def doit_lines(page: Path) -> Iterator[list[str]]:
    for line in code_of(page):
        line = line.removeprefix("$ ")
        for found in re.findall(r"(?:^|[ /])(?:doit|c2wtasks)((?: [^#|>;]*)?)", line):
            if line.startswith(("doit", "c2wtasks", "C2W", "SSL", "REG", ".venv/bin/doit")) or "doit --" in line:
                yield shlex.split(found.split("   ")[0])


@each_page()
def test_commands_that_are_named_exist(page: Path) -> None:
    for words in doit_lines(page):
        command, rest = (words[0], words[1:]) if words and words[0] in options() else ("run", words)
        for word in rest:
            if word.startswith("-"):
                assert word.partition("=")[0] in options()[command] | {"--version"}, f"doit {' '.join(words)}"
        if rest and command == "run" and re.fullmatch("[a-z-]+", rest[0]) and not rest[0].startswith("-"):
            assert rest[0] in images(), f"doit {' '.join(words)}: no such command"


@each_page()
def test_options_that_are_named_exist(page: Path) -> None:
    scripts = "\n".join(path.read_text() for path in [*PROJECT.glob("bench/*.py"), *TESTS.glob("soak/*.py")])
    known = frozenset().union(*options().values()) | OTHERS_OPTIONS
    for line in code_of(page):
        for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", line):
            if line.startswith(("python", "bench/", "git", "mount", "pip", ".venv/bin/pip")):
                assert word in scripts + sources() or line.startswith((".venv", "python3 -m", "mount", "pip")), line
            elif not line.startswith(("mke2fs", "c2w", "docker", "skopeo")):
                assert word in known, f"{word} in `{line}`"


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text_of(COMMANDS_PAGE), re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def words_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", " ".join(re.findall("`([^`]+)`", text))))


@pytest.mark.parametrize("command", sorted(options()))
def test_each_command_and_option_is_on_its_page(command: str) -> None:
    of_all = words_in(section("Options of all commands"))
    text = text_of(COMMANDS_PAGE)
    row = re.search(rf"^\| `{command}` \|(.*)", text, re.MULTILINE)
    other = re.search(r"doit's other commands .*?\n\n", text, re.DOTALL)
    assert other
    named = row[1] if row else re.search(rf"`{command}`(?: \((.*?)\))?", other[0], re.DOTALL)
    assert named, "no word of it"
    here = words_in(named if isinstance(named, str) else named[1] or "")
    if command == "run":
        here = words_in(section("Options of `run`"))
    assert options()[command] - of_all == here - (of_all - options()[command])


@each_page()
def test_exit_statuses_that_are_named_exist(page: Path) -> None:
    text = " ".join(text_of(page).split())
    for said in re.findall(
        r"(?:[Ee]xit(?:s|ed)?(?: status(?:es)?)?|with status)(?: of `\w+`)?:?(?: with| is)? (\d+)", text
    ):
        assert int(said) in STATUSES | {CANNOT_COMPARE}, said


def test_each_exit_status_is_on_its_page() -> None:
    first_cells = re.findall(r"^\| ([\d, ]+) \|(.*)", section("Exit status"), re.MULTILINE)
    named = {
        int(number)
        for cell, rest in first_cells
        for number in re.findall(r"\d+", cell + "".join(re.findall(r"\(\d+:", rest)))
    }
    assert named == STATUSES


# Variables, files, settings.


@each_page()
def test_variables_that_are_named_exist(page: Path) -> None:
    named = {name for code in code_of(page) for name in re.findall(r"\bC2WTASKS_\w+", code)}
    assert sorted(name for name in named if name not in sources()) == []


@each_page()
def test_files_that_are_named_exist(page: Path) -> None:
    ours = {path.name for folder in (".", "bench", "examples") for path in (PROJECT / folder).iterdir()}
    ours |= {path.name for folder in (PACKAGE, TESTS, PROJECT / "docs") for path in folder.rglob("*")}
    new = set(re.findall(r"^A new file, `(.*)`:$", text_of(page), re.MULTILINE))  # test_docs_extending makes them
    ours |= {path.rpartition("/")[2] for path in new}
    for name in re.findall(
        r"(?<![\w/*.{-])((?:[\w.-]+/)*[\w.-]+\.(?:json|html|lock|py|md|toml))\b(?!\w)", text_of(page)
    ):
        last = name.rpartition("/")[2]
        in_code = re.search(rf'["/]{re.escape(last)}"', sources()) or last in MADE
        assert last in ours | OTHERS_FILES or in_code, name
    for code in code_of(page):
        for path in re.findall(
            r"^(?:python3? |bash |sh )?((?:c2wtasks|tests|docs|bench|examples|\.ci)/[\w./-]*)", code
        ):
            assert (PROJECT / path).exists() or path in new, path
        for module in re.findall(rf"^(?:c2wtasks\.)?((?:{'|'.join(packages())})\.[a-z_]+)$", code):
            is_other = any(row.path.endswith(module) for row in SETTINGS) or module.endswith(FILE_ENDINGS)
            assert is_other or (PACKAGE / f"{module.replace('.', '/')}.py").exists(), module
        for module in re.findall(r"-m (tests\.[\w.]+|c2wtasks\.[\w.]+)", code):
            assert (PROJECT / f"{module.replace('.', '/')}.py").exists(), module


@each_page()
def test_settings_that_are_named_exist(page: Path) -> None:
    families = set(re.findall(r"^def task_(\w+)", (PROJECT / "dodo.py").read_text(), re.MULTILINE))
    transports = {"oci", "oci-archive", "docker-archive", "dir", "docker", "http", "https", "socks5", "socks4"}
    form_options = {"tree", "size", "journal", "compression", "level", "sparse"}
    known = {row.key for row in SETTINGS} | families | transports | form_options | OTHERS_KEYS
    for code in code_of(page):
        found = re.match(r"([a-z][a-z_0-9]*):(?: |$)", code)
        if found and "\n" not in code and f"`{code}`" in text_of(page):
            assert found[1] in known, code


@each_page()
def test_keys_of_json_that_are_named_exist(page: Path) -> None:
    keys = {key for code in code_of(page) for key in re.findall(r'"([a-z]\w*)":', code)} - KEYS_OF_OTHERS
    snake = {key: re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), key) for key in keys}
    assert [key for key in keys if not re.search(rf"\b({key}|{snake[key]})\b", sources())] == []


# Links, and what is in a tree.


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return frozenset(map(slug, re.findall(r"^#+ (.*)", text, re.MULTILINE)))


@each_page()
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@cache
def packages() -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))


def layout() -> Iterator[tuple[str, str]]:
    """The paths of the layout tree of docs/architecture.md; each as its folder, and its name."""
    block = re.search(
        r"^## Layout\n.*?\n((?:    [^\n]*\n)+)", text_of(PROJECT / "docs/architecture.md"), re.MULTILINE | re.DOTALL
    )
    assert block
    folder = ""
    for line in block[1].splitlines():
        indent, names = re.fullmatch(r"( +)((?:[\w.]+/? )*[\w.]+/?)(?:  .*)?", line).groups()
        if len(indent) == 4:
            folder = ""
        yield from ((folder, name) for name in names.split())
        if len(indent) == 4:
            folder = names


def test_the_layout_is_the_trees() -> None:
    named = list(layout())
    assert [folder + name for folder, name in named if not (PROJECT / folder / name).exists()] == []
    of_code = {name.strip("/") for folder, name in named if folder == "c2wtasks/"}
    modules = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert sorted((modules | set(packages())) - of_code) == []


def floors() -> list[list[str]]:
    """The floors of the contract of imports, from the highest on."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (one["layers"] for one in contracts if one["type"] == "layers")
    return [[name.strip().removeprefix("c2wtasks.") for name in floor.split("|")] for floor in found]


@pytest.mark.parametrize("package", packages())
def test_each_package_says_what_it_is_for(package: str) -> None:
    """What for; that it may import the floor below it; and where its tests are."""
    said = ast.get_docstring(ast.parse((PACKAGE / package / "__init__.py").read_text())) or ""
    what, _, rest = said.partition("\n\n")
    imports, tests = rest.split("\n")
    assert len(what) > 40
    (below,) = (lower for floor, lower in pairwise(floors()) if package in floor)
    named = ", ".join(f"`{name}`" for name in below)
    assert imports.removesuffix(" and what lies below.").strip(".") == f"May import {named}"
    folders = re.findall(r"(tests[\w/]*)", tests.removeprefix("Tests:"))
    assert folders
    assert [folder for folder in folders if not (PROJECT / folder).is_dir()] == []
    assert [name for name in re.findall(r"test_\w+", tests) if not list(TESTS.rglob(f"{name}.py"))] == []


def test_the_layout_is_the_order_of_imports() -> None:
    order = {name: at for at, floor in enumerate(floors()) for name in floor}
    listed = [name.strip("/").removesuffix(".py") for folder, name in layout() if folder == "c2wtasks/"]
    at = [order[name] for name in listed if name in packages()]
    assert at == sorted(at)


# The map of tests.


def mirrored(path: Path) -> bool:
    """Whether the module or package that a test file is named after is there, in the folder of that name."""
    place = PACKAGE / path.parent.relative_to(TESTS) / path.stem.removeprefix("test_")
    return place.is_dir() or place.with_suffix(".py").exists()


def test_each_test_is_in_the_map_or_mirrors_a_module() -> None:
    there = {path.stem: path for path in TESTS.rglob("test_*.py")}
    named = set(re.findall(r"`(test_\w+)`", text_of(MAP)))
    assert sorted(named - there.keys()) == []
    assert sorted(name for name in there.keys() - named if not mirrored(there[name])) == []


def named_for_modules() -> dict[str, list[Path]]:
    """The second table: each module's path below `c2wtasks`, without its ending, with its test files."""
    (rows,) = re.findall(r"^\| modules \| tests \|\n\| --- \| --- \|\n((?:\|.*\n)+)", text_of(MAP), re.MULTILINE)
    there = {path.stem: path for path in TESTS.rglob("test_*.py")}
    found: dict[str, list[Path]] = {}
    for row in rows.splitlines():
        modules, names = (re.findall(r"`([\w/]+)`", cell) for cell in row.strip("|").split("|"))
        assert names, row
        assert not found.keys() & set(modules), row
        found |= {module: [there[name] for name in names] for module in modules}
    return found


def test_each_module_has_its_tests_at_the_mirrored_path_or_in_the_table() -> None:
    modules = {str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py")}
    modules = {name for name in modules if not name.endswith(("__init__", "__main__"))}
    mirrors = {name for name in modules if (TESTS / name).with_name(f"test_{name.rpartition('/')[2]}.py").exists()}
    assert sorted(modules - mirrors) == sorted(named_for_modules())


def test_what_is_run_by_hand_is_in_the_map() -> None:
    by_hand = [path for folder in ("soak", "real") for path in (TESTS / folder).glob("*.py")]
    by_hand = [path for path in by_hand if path.name != "__init__.py"]
    assert len(by_hand) > 5
    for path in by_hand:
        assert f"tests.soak.{path.stem}" in text_of(MAP) or f"tests/real/{path.name}" in text_of(MAP), path


def test_helpers_of_the_map_are_there() -> None:
    (said,) = re.findall(r"^- Helpers.*?\n\n", text_of(MAP), re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(\w+)`", said)) - {"doit"}
    assert named == {path.stem for path in (TESTS / "support").glob("*.py")} - {"__init__"}


# How pages are written.


@each_page()
def test_lines_can_be_read(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_the_glossary_is_short() -> None:
    (rows,) = re.findall(
        r"^## Glossary\n.*?\n\| --- \| --- \|\n(.*?)\n\n", text_of(PROJECT / "docs/architecture.md"), re.M | re.S
    )
    words = [row.split("|")[1].strip() for row in rows.splitlines()]
    assert 20 <= len(words) == len(set(words)) <= 30
