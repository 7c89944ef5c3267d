"""Whatever the text, loading ends well or with BundleFileError; never in another way."""

from __future__ import annotations

import os
import tempfile

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from c2wtasks.bundlefile import nodes
from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.problems import BundleFileError
from c2wtasks.bundlefile.settings import SETTINGS

WORDS = [row.key for row in SETTINGS] + [
    *(
        "oci:a",
        "docker://x",
        "linux/arm64",
        "linux/amd64/v1",
        "/a",
        "~",
        "true",
        "yes",
        "017",
        "1_0",
        "0x1",
        "",
        "''",
    ),
    *(
        "&a",
        "*a",
        "<<",
        "!!str",
        "!x",
        "dir",
        "iso",
        "js",
        "*.yaml",
        "**",
        "b.yaml",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "?",
        "|",
    ),
    *("\\0", '"\\0"', '"\\ud800"', "\x85", "\u2028", "\ufeff", "%YAML 1.1", "---", "...", "\t", "#", "-", "'", '"'),
]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS), st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=3), st.integers()), inner, max_size=5),
    ),
    max_leaves=30,
)
SOUP = st.lists(
    st.one_of(st.sampled_from(WORDS), st.sampled_from([" ", "\n", ": ", "\n  ", ", ", "- "])), max_size=40
)
TEXTS = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    SOUP.map(lambda words: "".join(words).encode()),
    VALUES.map(lambda value: yaml.safe_dump({"images": value, "defaults": value, "include": value}).encode()),
    st.dictionaries(st.sampled_from([row.key for row in SETTINGS]), VALUES).map(lambda v: yaml.safe_dump(v).encode()),
    st.dictionaries(st.sampled_from([row.key for row in SETTINGS]), VALUES).map(
        lambda value: yaml.safe_dump({"images": {"a": value}, "defaults": value}).encode()
    ),
)


def load_or_refuse(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("bundle.yaml", "b.yaml"):
            with open(os.path.join(folder, name), "wb") as stream:
                stream.write(content)
        try:
            load(os.path.join(folder, "bundle.yaml"), {})
        except BundleFileError as error:
            assert error.problems
            assert all(line.isprintable() and len(line) <= 2000 for line in error.lines)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
@example(b"\xc2\x85*")
def test_never_anything_else(content):
    load_or_refuse(content)


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_nor_with_the_python_parser(content):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "_LOADER", yaml.SafeLoader)
        load_or_refuse(content)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_both_parsers_tell_the_same(value):
    content = yaml.safe_dump({"images": {"a": value}, "defaults": value}).encode()
    told = []
    for loader in (yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
            patch.setattr(nodes, "_LOADER", loader)
            patch.chdir(folder)
            with open("bundle.yaml", "wb") as stream:
                stream.write(content)
            try:
                told.append(str(load("bundle.yaml", {})))
            except BundleFileError as error:
                told.append("\n".join(line.split(": ", 1)[1] for line in error.lines))
    assert told[0] == told[1]
