"""The table of the forms, the modules that make them and the page on them name the same ones."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest

from c2wtasks import rootfs
from c2wtasks.bundlefile.forms import DEFAULT_FORM, FORMS, JSON_FILES, FormType
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.rootfs.forms import Maker, maker_of

PAGE = (Path(__file__).parents[2] / "docs" / "forms.md").read_text()
ROWS = pytest.mark.parametrize("row", FORMS.values(), ids=FORMS.keys())


def test_each_form_that_is_a_file_has_a_module_that_makes_it_and_each_such_module_a_row() -> None:
    modules = {found.name for found in pkgutil.iter_modules(rootfs.__path__)}
    makers = {name for name in modules if hasattr(importlib.import_module(f"c2wtasks.rootfs.{name}"), "MAKER")}
    assert makers == {kind for kind, row in FORMS.items() if not row.folder}
    assert all(isinstance(maker_of(kind), Maker) for kind in makers)


@ROWS
def test_the_page_has_a_row_for_each_form_with_its_options(row: FormType) -> None:
    lines = re.findall(rf"^\| `{re.escape(row.kind)}` \| .*$", PAGE, re.MULTILINE)
    assert lines, f"docs/forms.md: the first table lacks `{row.kind}`"
    assert [option for option in row.options if not re.search(rf"\b{option}\b", lines[0])] == []


@ROWS
def test_the_page_says_what_each_form_holds(row: FormType) -> None:
    table = PAGE.partition("## What a form holds")[2]
    assert re.search(rf"^\|[^|]*`{re.escape(row.kind)}`[^|]*\|", table, re.MULTILINE), row.kind


@ROWS
def test_a_row_fits_the_rest(row: FormType) -> None:
    assert set(row.defaults) <= set(row.options)
    assert not row.tells_apart or row.tells_apart in row.options
    assert set(row.copies.values()) <= set(JSON_FILES)
    assert set(row.json_files({})) <= set(JSON_FILES)
    assert set(row.settings) <= {field.name for field in fields(Bundle)}
    assert bool(row.tool) == bool(row.package)
    if row.folder:  # nothing else is read of one
        told = {name: getattr(row, name) for name in ("folder", "copies", "is_external", "is_written_to")}
        assert FormType(row.kind, **told) == row


def test_one_form_alone_is_what_a_bundle_has_by_itself() -> None:
    assert FORMS[DEFAULT_FORM].folder == "rootfs"
    assert not FORMS[DEFAULT_FORM].copies
    others = [row for row in FORMS.values() if row.folder and row.kind != DEFAULT_FORM]
    assert all(row.copies for row in others), "by these a bundle's record tells where its root lies"
