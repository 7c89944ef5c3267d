"""Settings laid over each other, and the bundles that come of them. No file is touched here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from c2wtasks.bundlefile.boot import PRESETS, Boot
from c2wtasks.bundlefile.check import Given, ImageEntry, Settings
from c2wtasks.bundlefile.forms import DEFAULT_FORM
from c2wtasks.bundlefile.model import Bundle, Form, Process
from c2wtasks.bundlefile.nodes import position_of
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.profile import DEFAULT_PROFILE, PROFILES
from c2wtasks.bundlefile.sections import FOR_IMAGES
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference

_BOOT = Boot()
_PROCESS = Process()


def inherited(settings: Settings) -> Settings:
    """What a file's settings give to its images: `defaults`, and what stands at its top for them."""
    found: Settings = dict(settings["defaults"].value) if "defaults" in settings else {}
    for key in FOR_IMAGES:
        if key in settings:
            found.setdefault(key, settings[key])
    return found


def merged(base: Settings, over: Settings) -> Settings:
    """`over` laid over `base`: key by key, also within `process`, its `env`, and `boot`.

    A preset in `over` takes the place of all that `base` says of `boot`.
    """
    if not base or not over:
        return over or base
    result = {**base, **over}
    for key, combined in (("process", _process_over), ("boot", _boot_over)):
        if key in base and key in over:
            result[key] = Given(combined(base[key].value, over[key].value), over[key].node)
    return result


def _process_over(base: Settings, over: Settings) -> Settings:
    result = {**base, **over}
    if "env" in base and "env" in over:
        result["env"] = Given({**base["env"].value, **over["env"].value}, over["env"].node)
    return result


def _boot_over(base: Settings, over: Settings) -> Settings:
    return over if "preset" in over else {**base, **over}


def bundles_of(
    images: Iterable[tuple[ImageEntry, Settings, str]], own: Platform, report: Problems
) -> tuple[Bundle, ...]:
    """The bundles of all images, sorted by name and platform.

    Each image comes with the defaults of its file, and that file's folder relative to the main file's.
    Reported: a name that two files use, an external bundle of a profile without, shared files that a VM writes to.
    """
    found: list[Bundle] = []
    first: dict[str, ImageEntry] = {}
    for image, defaults, folder in images:
        other = first.setdefault(image.name, image)
        if other.key.file != image.key.file:
            at = position_of(other.key)
            report.add(image.key, f"images.{image.name}", f"the name is also used at {at}", "choose another name")
        found += _bundles(image, merged(defaults, image.settings), folder, own, report)
    return tuple(sorted(found, key=lambda bundle: (bundle.name, bundle.platform)))


def _bundles(image: ImageEntry, settings: Settings, folder: str, own: Platform, report: Problems) -> list[Bundle]:
    profile = _value(settings, "profile", DEFAULT_PROFILE)
    boot_settings: Settings = _value(settings, "boot", {})
    boot = _boot(boot_settings)
    preset = boot_settings["preset"].value if "preset" in boot_settings else ""
    if boot.external_bundle and not PROFILES[profile].external_bundle:
        _reject_external(image, settings, profile, report)
    reference: Reference | None = _value(settings, "source", None)
    if reference is None:
        return []
    path = os.path.normpath(os.path.join(folder, reference.path)) if reference.type.is_path else reference.path
    forms = _value(settings, "rootfs", (Form(DEFAULT_FORM),))
    if boot.external_bundle:  # the VM gets its root from elsewhere
        forms = tuple(form for form in forms if form.type.is_external)
    share = _value(settings, "share", False)
    if share and (written_to := [form for form in forms if form.type.is_written_to]):
        _reject_sharing(image, settings, written_to[0], report)
    process = _process(_value(settings, "process", {}))
    same_owner = _value(settings, "same_owner", True)
    sbom = _value(settings, "sbom", ())
    of_image = path, profile, forms, boot, preset, process, same_owner, position_of(image.key), share, sbom
    return [Bundle(image.name, platform, reference, *of_image) for platform in _value(settings, "platforms", (own,))]


def _value(settings: Settings, key: str, default: Any) -> Any:
    given = settings.get(key)
    return default if given is None else given.value


def _boot(settings: Settings) -> Boot:
    if not settings:
        return _BOOT
    flags = dict(PRESETS[settings["preset"].value]) if "preset" in settings else {}
    flags.update((key, given.value) for key, given in settings.items() if key != "preset")
    return Boot(**flags)


def _process(settings: Settings) -> Process:
    if not settings:
        return _PROCESS
    values = {key: given.value for key, given in settings.items()}
    if "env" in values:
        values["env"] = tuple(values["env"].items())
    return Process(**values)


def _reject_external(image: ImageEntry, settings: Settings, profile: str, report: Problems) -> None:
    """Reports an external bundle that the profile does not have: at the image's own setting; at its name, if the
    setting comes from elsewhere."""
    node = settings["boot"].value["external_bundle"].node
    own = _value(image.settings, "boot", {})
    place = node if "external_bundle" in own else image.key
    where = "" if "external_bundle" in own else f" (set at {position_of(node)})"
    path = f"images.{image.name}.boot.external_bundle"
    report.add(
        place, path, f"profile {profile} cannot have an external bundle{where}", f"use profile {DEFAULT_PROFILE}"
    )


def _reject_sharing(image: ImageEntry, settings: Settings, form: Form, report: Problems) -> None:
    """Reports that a form is to share its files whose consumers write to them: at the image's own setting; at its
    name, if the setting comes from elsewhere."""
    node = settings["share"].node
    place, where = (node, "") if "share" in image.settings else (image.key, f" (set at {position_of(node)})")
    wrong = f"form {form.name}, which a VM writes to, cannot share its files{where}"
    report.add(place, f"images.{image.name}.share", wrong, "write share: false for this image")
