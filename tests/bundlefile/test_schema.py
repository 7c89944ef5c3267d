"""The schema for editors says of a file what the loader says, as far as a schema can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from c2wtasks.bundlefile import nodes
from c2wtasks.bundlefile.entries import entries
from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.nodes import Mapping, Node, Scalar
from c2wtasks.bundlefile.problems import BundleFileError, Problems
from c2wtasks.bundlefile.schema import schema
from c2wtasks.bundlefile.wording import meaning
from tests.bundlefile import test_broken, test_expand

PROJECT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(schema())
IMAGE = "platforms: [linux/amd64]\nimages: {a: {source: 'oci:a', %s}}\n"

# What only the loader can tell, by what it says of it.
BEYOND_A_SCHEMA = {
    "what YAML is": r"not YAML|second YAML document|tag '|alias|nested deeper|is given twice|\.<<: expected a",
    "how it is written": r"may be read as different numbers|expected a size|found the number 0",
    "the same in two words": r"\(it is |are the same folder|is also set at",
    "other files, and folders": r"matches no file|holds the bundle file|inside|cannot be read",
    "a registry's names": r"names no (?:image|path)|is not (?:a host|a tag|the name)|lower case|looks like",
    "where a remote cache is": r"names no (?:folder|bucket|repository)|holds a name or a password",
    "a line end after a name, to Python": r"'a\\n' is not a name for an image",
    "what chooses an image": r"digest|position|names no known transport",
    "settings that go together": r"there is no compression|has the levels|cannot (?:share|have an ext)",
    "characters that nothing can hold": r"no process can be given|control character|cannot be the name",
}
TOLD_BY_THE_LOADER = re.compile("|".join(BEYOND_A_SCHEMA.values()))


def value_of(node: Node) -> Any:
    """What an editor makes of YAML 1.2, with merge keys."""
    if isinstance(node, Scalar):
        match meaning(node):
            case "null":
                return None
            case "boolean":
                return node.text.lower() == "true"
            case "number":
                return yaml.safe_load(node.text.replace("0o", "0"))
            case _:
                return node.text
    if isinstance(node, Mapping):
        return {key.text: value_of(value) for key, value in entries(Problems(), node, "")}
    return [value_of(item) for item in node.items]


def is_taken(text: str) -> bool:
    root = nodes.parse(text.removeprefix("\ufeff"), "bundle.yaml", Problems())
    return root is not None and VALIDATOR.is_valid(value_of(root))


def parameters(test: Any, at: int = 0) -> list[str]:
    (mark,) = (one for one in test.pytestmark if one.name == "parametrize")
    return [row if isinstance(row, str) else row[at] for row in mark.args[1]]


def good() -> list[str]:
    texts = [IMAGE % f"boot: {written}" for written in parameters(test_expand.test_boot)]
    texts += [IMAGE % f"process: {written}" for written in parameters(test_expand.test_process)]
    texts += [f"images: {{a: '{written}'}}\n" for written in parameters(test_expand.test_path)]
    for test in (test_expand.test_sizes, test_expand.test_folders, test_expand.test_workers):
        texts += [f"images: {{a: 'oci:a'}}\n{text}" for text in parameters(test)]
    texts += parameters(test_expand.test_ways_to_write_it) + parameters(test_expand.test_sbom)
    page = (PROJECT / "docs/bundle-yaml.md").read_text()
    texts += re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return [*texts, (PROJECT / "bundle.yaml").read_text()]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("text", good())
def test_what_is_good_is_taken(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    try:
        load("bundle.yaml", {})
    except BundleFileError as error:  # of a sample that includes others, or is included
        assert all(re.search("matches no file|only the main|is the output", line) for line in error.lines), (
            error.lines
        )
    assert is_taken(text)


@pytest.mark.parametrize(("text", "lines"), [pytest.param(*row[1:], id=row[0]) for row in test_broken.ONE_FILE])
def test_what_is_broken_is_refused(text: str, lines: list[str]) -> None:
    if is_taken(text):
        assert [line for line in lines if not TOLD_BY_THE_LOADER.search(line)] == []


def test_most_mistakes_are_found() -> None:
    found = [row[0] for row in test_broken.ONE_FILE if not is_taken(row[1])]
    assert len(found) > 0.7 * len(test_broken.ONE_FILE)
