"""What is misspelt is answered in at most two lines, with what was meant; and that is what was meant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import run_doit, run_ours

# What was typed; what was meant.
OPTIONS = [
    ("why --jsn", "--json"),
    ("why web --jsno", "--json"),
    ("plan --josn", "--json"),
    ("verify --repiar", "--repair"),
    ("verify --procss=2", "--process"),
    ("gc --dryrun", "--dry-run"),
    ("gc --dry-rum", "--dry-run"),
    ("gc --max-sise 20G", "--max-size"),
    ("prune --dry_run", "--dry-run"),
    ("prune --jason", "--json"),
    ("doctor --jsonn", "--json"),
    ("lock --updte", "--update"),
    ("lock --chek", "--check"),
    ("clean --forgt web", "--forget"),
    ("clean web --dry-rnu", "--dry-run"),
    ("list --stauts", "--status"),
    ("list --quite", "--quiet"),
    ("list --templat x", None),  # what begins an option is that option
    ("run --lockd", "--locked"),
    ("--ofline", "--offline"),
    ("run --strct", "--strict"),
    ("web --lokced", "--locked"),
    ("run --no-contiune", "--no-continue"),
    ("run --reportr json", "--reporter"),
    ("forget --folow-sub", "--follow-sub"),
]
COMMANDS = [
    ("verfy", "verify"),
    ("pln", "plan"),
    ("prnue", "prune"),
    ("docter", "doctor"),
    ("claen", "clean"),
    ("lsit", "list"),
    ("forgt", "forget"),
]
NAMES = [
    ("wbe", "web"),
    ("othr", "other"),
    ("why wbe", "web"),
    ("plan othre", "other"),
    ("web@linux/amd46", "web@linux/amd64"),
    ("verify web@linux/adm64", "web@linux/amd64"),
    ("history wbe", "web"),
]
SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"platforms": ["linux/amd46"]}, "linux/amd64"),
    ({"platforms": ["linux/arm46"]}, "linux/arm64"),
    ({"defaults": {"boot": {"preset": "wasi-wizr"}}}, "wasi-wizer"),
    ({"defaults": {"boot": {"preset": "wasi-natve"}}}, "wasi-native"),
    ({"defaults": {"rootfs": ["squashf"]}}, "squashfs"),
    ({"profil": "v0.8"}, "profile"),
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    small_catalog(folder)
    return folder


def test_there_are_forty() -> None:
    assert len(OPTIONS) + len(COMMANDS) + len(NAMES) + len(SETTINGS) >= 40


@pytest.mark.parametrize(("typed", "meant"), OPTIONS)
def test_options(catalog: Path, typed: str, meant: str | None) -> None:
    done = run_doit(catalog, *typed.split())
    if meant is None:
        assert done.exit == 0
        return
    assert (done.exit, done.stdout) == (3, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("ERROR: ")
    assert "<" not in error, "no reprs"
    assert hint == f"did you mean {meant}?"
    (wrong,) = re.findall(r"option (\S+) not recognized", error)
    check_taken(catalog, typed, wrong, meant)


def check_taken(catalog: Path, typed: str, wrong: str, meant: str) -> None:
    """That the command line is right with what was meant in the place of what is wrong."""
    assert typed.split().count(wrong) == 1 or f"{wrong}=" in typed, (typed, wrong)
    done = run_doit(catalog, *typed.replace(wrong, meant).split())
    asks = "give --yes, or names" in done.stderr  # clean, where another test has built something
    assert done.exit in (0, 1) or asks, done
    assert "did you mean" not in done.stderr


@pytest.mark.parametrize(("typed", "meant"), COMMANDS + NAMES)
def test_commands_and_names(catalog: Path, typed: str, meant: str) -> None:
    done = run_doit(catalog, *typed.split())
    assert (done.exit, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert re.search(rf"; did you mean {re.escape(meant)}(?: or |\?)", line), line
    (wrong,) = re.findall(r"'(\S+)'", line)
    check_taken(catalog, typed, wrong, meant)


@pytest.mark.parametrize("typed", ["-n2 why", "web verify", "--strict list --json", "--db-file other.db gc"])
def test_a_command_that_comes_late(catalog: Path, typed: str) -> None:
    done = run_doit(catalog, *typed.replace(" --json", "").split())
    assert (done.exit, done.stdout) == (3, "")
    (command,) = re.findall(
        r"ERROR: '(\w+)' is a command, which comes first: (?:doit|python\S* -m doit) \1\n", done.stderr
    )
    assert command in typed


@pytest.mark.parametrize(
    "words", [[""], ["why", ""], ["clean", "--yes", ""], ["web", ""], ["changes", "--since", ""]]
)
def test_an_empty_word(catalog: Path, words: list[str]) -> None:
    """As a shell gives it for a variable that is not set."""
    done = run_ours(catalog, *words)
    assert (done.exit, done.stdout) == (3, "")
    assert done.stderr.startswith("ERROR: a word of the command line is empty")


@pytest.mark.parametrize(("setting", "meant"), SETTINGS)
def test_settings(tmp_path: Path, setting: dict[str, Any], meant: str) -> None:
    """And with the word that was meant in its place the file loads."""
    small_catalog(tmp_path)
    write_catalog(tmp_path, {"web": "oci:web"}, **setting)
    done = run_doit(tmp_path, "plan")
    (line,) = done.stderr.splitlines()
    assert (done.exit, f"did you mean '{meant}'?" in line) == (3, True), line
    text = (tmp_path / "bundle.yaml").read_text()
    (wrong,) = re.findall(r"'([^']+)'|: (profil): unknown", line.partition("; did you")[0])[:1]
    (tmp_path / "bundle.yaml").write_text(text.replace(json.dumps(wrong[0] or wrong[1]), json.dumps(meant)))
    again = run_doit(tmp_path, "plan")
    assert (again.exit, again.stderr) == (0, "")


def test_an_option_that_is_near_none(catalog: Path) -> None:
    done = run_doit(catalog, "why", "--frobnicate")
    assert done.exit == 3
    assert done.stderr.splitlines()[0].endswith("why: option --frobnicate not recognized")
    assert done.stderr.splitlines()[1].startswith("its options: ")


@pytest.mark.parametrize("typed", ["run -n x", "verify --process=many"])
def test_a_number_that_is_none(catalog: Path, typed: str) -> None:
    done = run_doit(catalog, *typed.split())
    assert (done.exit, len(done.stderr.splitlines())) == (3, 1)
    assert "expected a number" in done.stderr
