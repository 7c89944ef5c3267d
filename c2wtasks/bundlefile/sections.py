"""The mappings of `bundle.yaml`, with the settings that each may have: by the table of settings."""

from __future__ import annotations

from dataclasses import dataclass

from c2wtasks.bundlefile.setting import Only, Setting
from c2wtasks.bundlefile.settings import IMAGE_PATH, REGISTRY_PATH, REMOTE_PATH, SETTINGS


@dataclass(frozen=True, slots=True)
class Section:
    """The keys that a mapping may have; what to say of some that it may not have; what to do about missing ones."""

    settings: dict[str, Setting]
    refused: dict[str, str]
    required: dict[str, str]


def _section(path: str, without: Only = "", reason: str = "") -> Section:
    rows = [row for row in SETTINGS if row.parent == path]
    kept = {row.key: row for row in rows if not without or row.only != without}
    gone = {row.key: reason for row in rows if row.key not in kept}
    required = {row.key: row.required for row in kept.values() if row.required}
    return Section(kept, gone, required)


MAIN = _section("")
INCLUDED = _section("", "main", "only the main file may set this")
ENGINE = _section("engine")
REGISTRY = _section(REGISTRY_PATH)
REMOTE = _section(REMOTE_PATH)
IMAGE = _section(IMAGE_PATH)
FOR_IMAGES = tuple(key for key in MAIN.settings if key in IMAGE.settings)
"""What may stand at the top of a file for all its images, or in `defaults`."""
DEFAULTS = _section(IMAGE_PATH, "image", "only a single image may set this")
PROCESS = _section(f"{IMAGE_PATH}.process")
BOOT = _section(f"{IMAGE_PATH}.boot")
