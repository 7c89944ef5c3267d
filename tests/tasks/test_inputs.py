"""What can change the bytes of a task is named in its inputs: what makes gets these and the site alone."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.forms import FORMS, INITCONFIG
from c2wtasks.bundlefile.model import Bundle, Form, Process
from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.graph import Graph
from c2wtasks.tasks import boot, bundle, folder, form, spec, tree
from c2wtasks.tasks.build import Build, Site
from c2wtasks.vm.bootconfig import boot_config
from tests.graph.catalogs import small_catalog, write_catalog
from tests.support.running import run_doit

FILES = [kind for kind, row in FORMS.items() if not row.folder]
# beside the site and the inputs
CONTENT = {"spec": "image_config, parsed", "tree": "copied", "form": "bundle, form, root"}
TOLD_BY = {INITCONFIG: {"boot"}}  # settings that change the bytes of one of the bundle's other files
NO_SETTINGS = {"name", "platform", "position", "path"}  # who and where the bundle is: a task's name tells them apart


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Build]:
    """The bundles of a catalog, built, with all forms."""
    images = small_catalog(tmp_path)
    for image in images.values():
        image["rootfs"] = ["dir", *FILES]
    write_catalog(tmp_path, images)
    assert run_doit(tmp_path).exit == 0
    monkeypatch.chdir(tmp_path)
    return Graph.load().builds


@pytest.mark.parametrize("family", [tree, folder, form, spec, boot], ids=lambda one: one.__name__.rpartition(".")[2])
def test_what_makes_gets_the_site_and_the_inputs(family: ModuleType) -> None:
    first, second, *more = inspect.signature(family.make).parameters.values()
    assert first.annotation == "Site"
    assert second.name.strip("_") == "given"
    assert ", ".join(one.name for one in more) == CONTENT.get(family.__name__.rpartition(".")[2], "")
    assert not {"bundle", "image"} & {one.name for one in dataclasses.fields(Site)}


class Watched:
    """A bundle that notes what of it is asked for."""

    def __init__(self, of: Bundle) -> None:
        self.of = of
        self.asked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.asked.add(name)
        return getattr(self.of, name)

    def __str__(self) -> str:
        return str(self.of)


@pytest.mark.parametrize("kind", FILES)
def test_a_form_is_made_of_the_settings_that_its_row_names(builds: list[Build], kind: str) -> None:
    build, made = builds[0], Form(kind)
    watched = Watched(build.bundle)
    form.make(build.site, form.inputs(build, made), watched, made, tree.inputs(build))  # type: ignore[arg-type]
    told = {setting for name in FORMS[kind].json_files({}) for setting in TOLD_BY.get(name, ())}
    assert watched.asked <= {"name", "platform", *FORMS[kind].settings, *told}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("setting", [one.name for one in dataclasses.fields(Boot)])
def test_the_file_of_boot_settings_tells_each_of_them(setting: str, profile: str) -> None:
    value = getattr(Boot(), setting)
    changed = Boot(**{setting: not value if isinstance(value, bool) else "/elsewhere"})
    assert boot_config("arm64", changed, PROFILES[profile]) != boot_config("arm64", Boot(), PROFILES[profile])


OTHERS: dict[str, object] = {
    "source": None,  # another one below
    "profile": "v0.3",
    "forms": (Form("tar"),),
    "boot": Boot(debug=True),
    "preset": "js",
    "process": Process(terminal=False),
    "same_owner": False,
    "share": True,
    "sbom": ("spdx",),
}


def test_each_setting_of_a_bundle_is_one_that_is_changed_here() -> None:
    assert {one.name for one in dataclasses.fields(Bundle)} - NO_SETTINGS == set(OTHERS)


@pytest.mark.parametrize("setting", OTHERS)
def test_a_bundle_whose_record_would_say_something_else_is_stale(builds: list[Build], setting: str) -> None:
    build, other = builds[0], builds[1]
    value = other.bundle.source if setting == "source" else OTHERS[setting]
    assert getattr(build.bundle, setting) != value
    changed = dataclasses.replace(build, bundle=dataclasses.replace(build.bundle, **{setting: value}))
    texts = [bundle.record_of(one, None, {}, {}) for one in (build, changed)]
    assert (texts[0] != texts[1]) == (bundle.inputs(build) != bundle.inputs(changed))
    assert (setting in ("preset", "share")) == (texts[0] == texts[1])  # a preset is what it sets
