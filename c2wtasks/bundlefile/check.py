"""Checks the nodes of one file against the table of settings.

Whatever fits is taken, whatever does not is reported and left out, so that one pass finds every mistake.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from c2wtasks.bundlefile.entries import entries
from c2wtasks.bundlefile.nodes import Mapping, Node, Scalar, Sequence, position_of
from c2wtasks.bundlefile.problems import Problems
from c2wtasks.bundlefile.remote import RemoteCache
from c2wtasks.bundlefile.sections import (
    BOOT,
    DEFAULTS,
    ENGINE,
    FOR_IMAGES,
    IMAGE,
    INCLUDED,
    MAIN,
    PROCESS,
    REGISTRY,
    REMOTE,
    Section,
)
from c2wtasks.bundlefile.setting import Setting
from c2wtasks.bundlefile.settings import REMOTE_PATH
from c2wtasks.bundlefile.values import source, variable
from c2wtasks.bundlefile.wording import described, did_you_mean, is_null, shown
from c2wtasks.oci.host import Host
from c2wtasks.oci.imagename import is_host

MAX_NAME = 200  # a name is that of a folder, and gets additions on the way

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME_RULE = "use letters, digits, '.', '_' and '-', the first a letter or digit"
RESERVED = ("catalog.json", "catalog.html", "feed.atom", "feeds")  # they stand beside the images' folders
_VARIABLE = re.compile("[^=\x00\ud800-\udfff]+")


class Given(NamedTuple):
    """A value that a file gives, and where."""

    value: Any
    node: Node


# Key -> what was given for it. `process` and `boot` hold such a dict again.
Settings = dict[str, Given]


class ImageEntry(NamedTuple):
    """One image as its file has it; `source` is absent where it has a mistake."""

    name: str
    key: Scalar
    settings: Settings


def check_file(report: Problems, root: Node, *, main: bool) -> Settings:
    """The settings of a whole file; `images` is a tuple of ImageEntry, `defaults` the Settings of that section."""
    if is_null(root):
        report.add(root, "", "the file is empty", "name at least one image under 'images'")
        return {}
    settings = _settings(report, root, "", MAIN if main else INCLUDED)
    if isinstance(root, Mapping):
        given = {key.text for key, _ in entries(Problems(), root, "")}
        if given.isdisjoint(("images", "include")):
            report.add(root, "images", "is missing", "name at least one image")
    _reject_double_default(report, settings)
    return settings


def _settings(report: Problems, node: Node, path: str, section: Section, key_of: Scalar | None = None) -> Settings:
    """The settings that the mapping `node` gives; empty if it is none. What is missing is reported at `key_of`."""
    found: Settings = {}
    missing = section.required.copy()
    prefix = f"{path}." if path else ""
    known = section.settings
    for key, value in entries(report, node, path):
        name = key.text
        row = known.get(name)
        if row is None:
            _unknown(report, key, prefix + name, section)
            continue
        missing.pop(name, None)
        result = _value(report, value, prefix + name, row)
        if result is not None:
            found.setdefault(name, Given(result, value))
    for name, remedy in missing.items():
        report.add(key_of or node, prefix + name, "is missing", remedy)
    return found


def _value(report: Problems, node: Node, path: str, row: Setting) -> Any:
    if row.kind.parse is not None:
        return row.kind.parse(report, node, path)
    match row.key:
        case "images":
            return _images(report, node)
        case "engine":
            return _settings(report, node, path, ENGINE)
        case "registries":
            return _registries(report, node)
        case "remote_cache":
            return _remote_cache(report, node)
        case "defaults":
            return _settings(report, node, path, DEFAULTS)
        case "process":
            return _settings(report, node, path, PROCESS)
        case "boot":
            return _settings(report, node, path, BOOT)
    assert row.key == "env", row.path
    return _variables(report, node, path)


def _unknown(report: Problems, key: Scalar, path: str, section: Section) -> None:
    name = key.text
    if name in section.refused:
        report.add(key, path, section.refused[name])
        return
    hint = did_you_mean(name, section.settings)
    if inside := _inside(name, section):
        nested = "".join(f"{{{inner}: " for inner in inside)[1:] + f"{{{name}: ...}}" + "}" * (len(inside) - 1)
        hint = f"write it as {nested}"
    report.add(key, path, "unknown key", hint or f"known here: {', '.join(section.settings)}")


def _inside(name: str, section: Section) -> tuple[str, ...]:
    """The keys below which a setting may be written, of which the first may stand in `section`; none where it is no
    setting."""
    for inner, below in (("boot", BOOT), ("process", PROCESS), ("defaults", DEFAULTS)):
        if inner in section.settings:
            if name in below.settings:
                return (inner,)
            if further := _inside(name, below):
                return (inner, *further)
    return ()


def _reject_double_default(report: Problems, settings: Settings) -> None:
    """What is for all images may stand at the top or in `defaults`: one file may not use both places."""
    inner: Settings = settings["defaults"].value if "defaults" in settings else {}
    for key in FOR_IMAGES:
        if key in settings and key in inner:
            first = position_of(settings[key].node)
            report.add(inner[key].node, f"defaults.{key}", f"'{key}' is also set at {first}", "keep one of them")


def _images(report: Problems, node: Node) -> tuple[ImageEntry, ...] | None:
    found = entries(report, node, "images", empty="name at least one image")
    return tuple(_image(report, key, value) for key, value in found)


def _image(report: Problems, key: Scalar, node: Node) -> ImageEntry:
    name = key.text
    if not _NAME.fullmatch(name):
        report.add(key, "images", f"{shown(name)} is not a name for an image", _NAME_RULE)
    elif name in RESERVED:
        report.add(key, "images", f"'{name}' is the name of a file of the catalog", "choose another name")
    elif len(name) > MAX_NAME:
        report.add(key, "images", f"the name {shown(name)} is longer than {MAX_NAME} characters")
    path = f"images.{name}"
    if isinstance(node, Mapping):
        return ImageEntry(name, key, _settings(report, node, path, IMAGE, key))
    if isinstance(node, Sequence) or is_null(node):
        report.add(node, path, f"expected a source such as oci:DIR, or a mapping, found {described(node)}")
        return ImageEntry(name, key, {})
    reference = source(report, node, path)
    return ImageEntry(name, key, {} if reference is None else {"source": Given(reference, node)})


def _registries(report: Problems, node: Node) -> tuple[tuple[str, Host], ...]:
    """What is said of each host, sorted."""
    found: dict[str, Host] = {}
    for key, value in entries(report, node, "registries"):
        name = key.text
        path = f"registries.{name}"
        settings = _settings(report, value, path, REGISTRY)
        if not is_host(name):
            host = name.partition("://")[2].rstrip("/")
            hint = f"write {host}" if is_host(host) else None
            report.add(key, "registries", f"{shown(name)} is not a host, with or without a port", hint)
        else:
            found.setdefault(name, Host(**{option: given.value for option, given in settings.items()}))
    return tuple(sorted(found.items()))


def _remote_cache(report: Problems, node: Node) -> RemoteCache | None:
    given = _settings(report, node, REMOTE_PATH, REMOTE)
    if not {"url", "trust"} <= given.keys():
        return None
    found = RemoteCache(**{name: one.value for name, one in given.items()})
    keys = given["trust"].node
    named = len(keys.items) if isinstance(keys, Sequence) else 0  # those that are mistakes, too
    if found.agree > named:
        few = f"{found.agree} keys are to agree, and 'trust' names {named}"
        report.add(given["agree"].node, f"{REMOTE_PATH}.agree", few, "name more, or ask for fewer")
        return None
    return found


def _variables(report: Problems, node: Node, path: str) -> dict[str, str | None]:
    """Name -> value, None to remove the variable; in the order written."""
    found: dict[str, str | None] = {}
    for key, value in entries(report, node, path):
        name = key.text
        if not _VARIABLE.fullmatch(name):
            report.add(key, path, f"{shown(name)} cannot be the name of a variable")
        elif is_null(value):
            found.setdefault(name, None)
        elif (text := variable(report, value, f"{path}.{name}")) is not None:
            found.setdefault(name, text)
    return found
