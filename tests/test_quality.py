"""The linters, as tests, so that one command checks all; and what the README promises of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def test_types_of_texts_are_looked_into_when_modules_are_loaded() -> None:
    """msgspec does it with the first text of a type, and crashes the process where two threads do so at once."""
    for path in (PROJECT / "c2wtasks").rglob("*.py"):
        for found in re.findall(r"\.decode\([^\n]*\btype=.*", path.read_text()):
            raise AssertionError(f"{path}: {found}: make a Decoder of the module")


def test_the_readme_begins_with_its_two_commands() -> None:
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```$", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    assert all(block.count("\n") == 1 for block in blocks)
    assert blocks[1] == "bash tests/run\n"


def test_the_graph_fits_on_a_screen() -> None:
    assert len((PROJECT / "dodo.py").read_text().splitlines()) < 60
