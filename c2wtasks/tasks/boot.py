"""`boot:<bundle>`: initconfig.json."""

from __future__ import annotations

import msgspec

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.disk import files
from c2wtasks.engine.checks import Inputs
from c2wtasks.engine.meta import Meta
from c2wtasks.output.places import INITCONFIG
from c2wtasks.output.record import OUTPUT_VERSION
from c2wtasks.tasks.build import Build, Site, Task, in_private
from c2wtasks.vm.bootconfig import boot_config


class BootInputs(msgspec.Struct, frozen=True):
    """All that initconfig.json is made from. `architecture` is the image config's."""

    architecture: str
    boot: Boot
    profile: str
    output_version: int = OUTPUT_VERSION


def inputs(build: Build) -> BootInputs:
    """What initconfig.json of a bundle is made of."""
    return BootInputs(build.image.parsed.architecture, build.bundle.boot, build.bundle.profile)


@in_private
def make(site: Site, given: BootInputs) -> None:
    """Writes initconfig.json. Raises OutputError."""
    text = boot_config(given.architecture, given.boot, PROFILES[given.profile])
    files.write_if_changed(site.places.part(INITCONFIG), text)


def task(build: Build) -> Task:
    """The task that writes initconfig.json of a bundle."""
    given = inputs(build)
    return {
        "name": str(build.bundle),
        "doc": f"writes initconfig.json of {build.bundle}",
        "actions": [(make, [build.site, given])],
        "meta": Meta(product="", brief=True),
        "targets": [build.places.part(INITCONFIG)],
        "uptodate": [Inputs(given)],
    }
