"""The reference page says what the table of settings says, and its samples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.load import load
from c2wtasks.bundlefile.model import Bundle, Process
from c2wtasks.bundlefile.page import renewed
from c2wtasks.bundlefile.setting import Setting
from c2wtasks.bundlefile.settings import SETTINGS
from c2wtasks.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "bundle-yaml.md"
IMAGES = {"a": "oci:a"}


def test_the_tables_are_those_of_the_settings():
    page = PAGE.read_text()
    assert page == renewed(page), f"run: python -m c2wtasks.bundlefile.page {PAGE}"


def test_every_setting_is_on_the_page():
    page = PAGE.read_text()
    assert [row.path for row in SETTINGS if f"\n| `{row.key}` | {row.kind.expects} | " not in page] == []


def test_a_page_without_markers_is_refused():
    with pytest.raises(UserError, match="lacks <!-- begin: file -->"):
        renewed("# bundle.yaml\n")


def test_the_samples_load(catalog):
    main, included = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    catalog({"bundle.yaml": main, "teams/db/bundle.yaml": included})
    loaded = load("bundle.yaml", {})
    assert [str(bundle) for bundle in loaded.bundles] == [
        "hello@linux/amd64",
        "store@linux/arm64",
        "web@linux/amd64",
        "web@linux/arm/v7",
        "web@linux/arm64",
    ]
    store, web = loaded.bundles[1], loaded.bundles[2]
    assert store.path == "teams/db/images/store"
    assert store.boot == Boot(debug_init=True, binfmt=False)
    assert web.process == Process(
        args=("httpd", "-f", "-p", "8080"), env=(("LANG", "de_DE.UTF-8"), ("DEBUG", None)), user="www-data"
    )


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.path)
def test_every_example_loads(row: Setting, catalog):
    *parents, key = row.path.replace("NAME", "b").split(".")
    lines = [f"{'  ' * level}{name}:" for level, name in enumerate(parents)]
    lines.append(f"{'  ' * len(parents)}{key}: {row.example}")
    if row.path.startswith("images.NAME.") and key != "source":
        lines.insert(2, "    source: oci:b")
    if row.parent == "remote_cache":  # which has some that must be there
        siblings = {"url": "file:///c", "trust": "[a.pub, b.pub]"}
        lines += [f"  {name}: {value}" for name, value in siblings.items() if name != key]
    if not row.path.startswith("images"):
        lines.append("images: {b: 'oci:b'}")
    catalog({"bundle.yaml": "\n".join(lines), "teams/c/bundle.yaml": "images: {c: 'oci:c'}"})
    assert load("bundle.yaml", {}).bundles


@pytest.mark.parametrize(
    "row", [row for row in SETTINGS if row.parent.endswith((".boot", "NAME"))], ids=lambda r: r.path
)
def test_defaults_that_can_be_written_are_the_models(row: Setting, catalog):
    if " " in row.default or row.default == "none":
        return
    catalog({"bundle.yaml": yaml.safe_dump({"platforms": ["linux/amd64"], "images": IMAGES})})
    (plain,) = load("bundle.yaml", {}).bundles
    image = {"source": "oci:a"}
    setting = yaml.safe_load(row.default)
    image |= {"boot": {row.key: setting}} if row.parent.endswith(".boot") else {row.key: setting}
    catalog({"bundle.yaml": yaml.safe_dump({"platforms": ["linux/amd64"], "images": {"a": image}})})
    (written,) = load("bundle.yaml", {}).bundles
    assert isinstance(written, Bundle)
    assert (written.boot, written.forms, written.same_owner) == (plain.boot, plain.forms, plain.same_owner)
