"""The table of the transports, the modules that read them and the page on them name the same ones."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import fields
from pathlib import Path

import pytest

from c2wtasks import sources
from c2wtasks.errors import SourceError
from c2wtasks.oci.access import Access
from c2wtasks.oci.reference import Reference
from c2wtasks.oci.transport import TRANSPORTS, Transport
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.transports import open_path, open_remote, place_type

PAGE = (Path(__file__).parents[2] / "docs" / "bundle-yaml.md").read_text()
ROWS = pytest.mark.parametrize("row", TRANSPORTS.values(), ids=TRANSPORTS.keys())


def test_each_transport_has_a_module_that_reads_it_and_each_such_module_a_row() -> None:
    modules = {found.name for found in pkgutil.iter_modules(sources.__path__)}
    names = {name for name in modules if hasattr(importlib.import_module(f"c2wtasks.sources.{name}"), "open_source")}
    assert names == {name.replace("-", "_") for name in TRANSPORTS}


@ROWS
def test_a_row_fits_the_rest(row: Transport) -> None:
    assert row.syntax.startswith(f"{row.name}:")
    assert f"`{row.syntax}`" in PAGE
    assert {*row.also, row.unpacked or row.name} <= TRANSPORTS.keys()
    assert bool(row.what) == row.is_path
    assert row.is_path or row.is_locked, "what lies elsewhere may change at any time"


@ROWS
def test_a_source_is_opened_by_its_module(row: Transport, tmp_path: Path) -> None:
    if row.is_path:
        with pytest.raises(SourceError, match=r"does not exist"):
            open_path(row.name, f"{tmp_path}/x")
        return
    remote = open_remote(Reference.parse(f"{row.name}://host.example/a"), Access(), Documents(""))
    assert str(remote.name) == "host.example/a:latest"


@ROWS
def test_the_places_of_layers_can_be_told(row: Transport) -> None:
    place = place_type(row.name)
    assert "size" in {field.name for field in fields(place)}  # type: ignore[arg-type]
