"""The linters, as tests, so that one command checks all; and what the README promises of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import FunctionType

import grimp
import pytest

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

MODULE, CLASS, FUNCTION = 350, 200, 60  # lines, at the most


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", "c2wtasks"],
        ["lint-imports"],  # imports go only downwards in the list of docs/architecture.md; so there are no cycles
    ],
    ids=lambda command: " ".join(command),
)
def test_linter(command: list[str]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_test_file_has_a_name_of_its_own() -> None:
    """pytest cannot collect two of one name, where their folders are no packages."""
    names = [path.name for path in (PROJECT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_there_are_few_rooms() -> None:
    """What can be held in one head: 13 floors, 25 rooms."""
    layers = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert len(layers) <= 13
    assert sum(len(layer.split("|")) for layer in layers) <= 25


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Nor those of one room, where it is done late or for types alone."""
    graph = grimp.build_graph("c2wtasks", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError, which names them


def lengths() -> Iterator[tuple[str, int, int]]:
    """(its name, its lines, how many it may have) of each module, class and function."""
    for path in sorted((PROJECT / "c2wtasks").rglob("*.py")):
        name, text = str(path.relative_to(PROJECT)), path.read_text()
        yield name, len(text.splitlines()), MODULE
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                most = CLASS if isinstance(node, ast.ClassDef) else FUNCTION
                yield f"{name} {node.name}", (node.end_lineno or 0) - node.lineno + 1, most


def test_modules_classes_and_functions_are_small() -> None:
    long = {name: lines for name, lines, most in lengths() if lines > most}
    assert long == {}, f"lines, where {MODULE}, {CLASS} and {FUNCTION} are the most"


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """(its name in the module, it) of each public class, function and method."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def is_documented_in_a_base_class(module: str, name: str) -> bool:
    owner, _, method = name.rpartition(".")
    if not owner:
        return False
    inherited = (vars(base).get(method) for base in attrgetter(owner)(import_module(module)).__mro__[1:])
    return any(isinstance(one, (FunctionType, property)) and one.__doc__ for one in inherited)


def test_what_is_public_has_a_docstring() -> None:
    missing = []
    for path in sorted((PROJECT / "c2wtasks").rglob("*.py")):
        module = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for name, node in public(ast.parse(path.read_text()).body):
            if not ast.get_docstring(node) and not is_documented_in_a_base_class(module, name):
                missing.append(f"{module}: {name}")
    assert missing == []


def test_types_of_texts_are_looked_into_when_modules_are_loaded() -> None:
    """msgspec does it with the first text of a type, and crashes the process where two threads do so at once."""
    for path in (PROJECT / "c2wtasks").rglob("*.py"):
        for found in re.findall(r"\.decode\([^\n]*\btype=.*", path.read_text()):
            raise AssertionError(f"{path}: {found}: make a Decoder of the module")


def test_the_readme_begins_with_its_two_commands() -> None:
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```$", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert all(block.count("\n") == 1 for block in blocks[:2])
    assert blocks[0].endswith(".venv/bin/doit\n")
    assert blocks[1] == "bash tests/run\n"


def test_the_graph_fits_on_a_screen() -> None:
    assert len((PROJECT / "dodo.py").read_text().splitlines()) < 60
