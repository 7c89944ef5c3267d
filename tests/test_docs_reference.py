"""The reference is whole: every help text, exit status and environment variable, and a list of all pages."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
COMMANDS = (DOCS / "commands.md").read_text()
HELP = (DOCS / "help.md").read_text()

# Variables that are read for us, by what the module names that has them read.
READ_BY_OTHERS = {
    "HTTPS_PROXY": ("registry/proxies", "getproxies_environment"),
    "HTTP_PROXY": ("registry/proxies", "getproxies_environment"),
    "NO_PROXY": ("registry/proxies", "proxy_bypass_environment"),
    "TMPDIR": ("audit/auditor", "tempfile.TemporaryDirectory"),
    "DOIT_FILE": ("commands/program", "doit"),
    "DOIT_SEEK_FILE": ("commands/program", "doit"),
}


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


# Variables.


def is_environment(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "environ") or (
        isinstance(node, ast.Name) and node.id == "environ"
    )


def names_of_variables(tree: ast.AST) -> Iterator[ast.expr]:
    """What a module takes from the environment: the expressions of the variables' names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_environment(node.func.value):
            if node.func.attr in ("get", "pop", "setdefault"):
                yield node.args[0]
        elif isinstance(node, ast.Call) and len(node.args) == 2 and is_environment(node.args[0]):
            yield node.args[1]  # a function that takes the environment and a name
        elif isinstance(node, ast.Subscript) and is_environment(node.value):
            yield node.slice
        elif isinstance(node, ast.Compare) and is_environment(node.comparators[0]):
            yield node.left


def variables_of(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    constants = {
        name.id: value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name, value in zip(
            target.elts if isinstance(target, ast.Tuple) else [target],
            node.value.elts if isinstance(node.value, ast.Tuple) else [node.value],
            strict=False,
        )
        if isinstance(name, ast.Name) and isinstance(value, ast.Constant)
    }
    parameters = {one.arg for node in ast.walk(tree) if isinstance(node, ast.arguments) for one in node.args}
    for name in names_of_variables(tree):
        if isinstance(name, ast.Name) and name.id in constants:
            yield constants[name.id]
        elif isinstance(name, ast.Constant):
            yield name.value
        elif isinstance(name, ast.Attribute) or (isinstance(name, ast.Name) and name.id in parameters):
            continue  # who calls names it, and is looked at there
        else:
            raise AssertionError(f"{path}:{name.lineno}: which variable is that?")


def test_each_variable_is_in_the_table_and_each_in_the_table_is_read() -> None:
    package = PROJECT / "c2wtasks"
    read = {name for path in package.rglob("*.py") for name in variables_of(path)}
    assert len(read) > 12
    rows = re.findall(r"^\| (`[A-Z].*?) \|", section("Environment"), re.MULTILINE)
    named = [name for row in rows for name in re.findall("`([A-Z_0-9]+)`", row)]
    assert len(named) == len(set(named)), "each stands in one row"
    assert sorted(named) == sorted(read | READ_BY_OTHERS.keys())
    for module, word in READ_BY_OTHERS.values():
        assert word in (package / f"{module}.py").read_text()


# Exit statuses, and the help texts.


def test_the_help_texts_are_as_the_program_says() -> None:
    made = runpy.run_path(str(DOCS / "help.py"))["page"]()
    assert made == HELP, "run: python docs/help.py docs/help.md"


def test_the_help_texts_and_the_table_have_the_same_exit_statuses() -> None:
    rows = dict(re.findall(r"^\| (\d) \| (.*) \|$", section("Exit status"), re.MULTILINE))
    told = 0
    for command, text in re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", HELP, re.MULTILINE | re.DOTALL):
        said = " ".join(text.split()).partition("Exit status ")[2]
        for status in re.findall(r"(?:^|\. )(\d)(?:: |\.)", said):
            told += 1
            if status in "14":
                assert f"`{command}" in rows[status], f"{command}: {status}"
    assert told > 20


def test_exit_statuses_are_told_in_one_place() -> None:
    """All that each command ends with; other pages name single ones, where that is what they are about."""
    for page in DOCS.glob("*.md"):
        if page.name != "help.md":
            text = " ".join(page.read_text().split())
            assert re.findall(r"Exit status (?:of `\w+`: )?\d: ", text) == [], page.name


# The list of all pages.


def test_each_page_is_in_the_list_once() -> None:
    text = (DOCS / "README.md").read_text()
    linked = [target for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if target != "commands.md"]
    linked += ["commands.md"] if "(commands.md)" in text else []
    linked = [target for target in linked if target != "architecture.md"] + ["architecture.md"]
    assert sorted(linked) == sorted(
        str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if path.name != "README.md"
    )


@pytest.mark.parametrize("kind", ["Tutorial", "How to ...", "Reference", "Explanation"])
def test_the_list_has_the_four_kinds(kind: str) -> None:
    assert f"\n## {kind}\n\n- [" in (DOCS / "README.md").read_text()
