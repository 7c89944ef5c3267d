"""What bundle.yaml may hold, for editors: a JSON Schema (2020-12), from the table of settings.

`python -m c2wtasks.bundlefile.schema FILE` writes it. It refuses nothing that a run would take. Only a run finds what
is wrong in the YAML itself (`017`, a key given twice), in other files, or between two settings.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from c2wtasks.bundlefile.check import MAX_NAME, RESERVED
from c2wtasks.bundlefile.engine import ADDRESS, PATTERN
from c2wtasks.bundlefile.forms import FORMS, FormType
from c2wtasks.bundlefile.remote import KEYS, REMOTES, SCOPE, SCOPE_PATTERN, URL
from c2wtasks.bundlefile.rootfs import ROOTFS
from c2wtasks.bundlefile.sbom import SBOM, SBOMS
from c2wtasks.bundlefile.sections import (
    BOOT,
    DEFAULTS,
    ENGINE,
    FOR_IMAGES,
    IMAGE,
    MAIN,
    PROCESS,
    REGISTRY,
    REMOTE,
    Section,
)
from c2wtasks.bundlefile.setting import Setting
from c2wtasks.bundlefile.values import (
    ABSOLUTE,
    ARCHITECTURE_ALIASES,
    ARCHITECTURES,
    ARGUMENTS,
    BOOLEAN,
    COUNT,
    FOLDER,
    MIRRORS,
    NAME,
    PATTERNS,
    PLATFORMS,
    SIZE,
    SOURCE,
    USER,
    VARIABLES,
    Kind,
)
from c2wtasks.oci.transport import TRANSPORTS

Schema = dict[str, Any]

NAME_OF_FILE = "bundle.schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CONTROLS = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
_HOST = r"(?:[A-Za-z0-9_.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_WORD: Schema = {"type": ["string", "number", "boolean"]}  # what goes to a process, as it is written


def _text(pattern: str = "") -> Schema:
    """A string that is not empty and fits on a line; `pattern` is for its beginning."""
    return {"type": "string", "pattern": f"^{pattern}[^{_CONTROLS}]*$" if pattern else f"^[^{_CONTROLS}]+$"}


def _whole(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def _list(item: Schema, *, unique: bool = False) -> Schema:
    return {"type": "array", "minItems": 1, "items": item} | ({"uniqueItems": True} if unique else {})


def _in_any_case(words: tuple[str, ...]) -> str:
    return "|".join("".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in word) for word in words)


def _source() -> Schema:
    paths = "|".join(name for name, row in TRANSPORTS.items() if row.is_path)
    others = "|".join(name for name, row in TRANSPORTS.items() if not row.is_path)
    return _text(f"(?:(?:{paths}):[^:{_CONTROLS}]|(?:{others})://[^/{_CONTROLS}])")


_LINUX = _in_any_case(("linux",))
_MACHINE = _in_any_case((*ARCHITECTURES, *ARCHITECTURE_ALIASES))
_PLATFORM = _whole(f"{_LINUX}/(?:{_MACHINE})(?:/[A-Za-z0-9_-]+)?")
_SCHEMAS: dict[Kind, Schema] = {
    ABSOLUTE: _text("/"),
    ADDRESS: _whole(PATTERN),
    ARGUMENTS: {
        **_list(_WORD),
        "prefixItems": [{"anyOf": [{"type": "string", "minLength": 1}, {"type": ["number", "boolean"]}]}],
    },
    BOOLEAN: {"type": "boolean"},
    COUNT: {"type": "integer", "minimum": 1, "maximum": 9999},
    FOLDER: _text(f"[^~{_CONTROLS}]"),
    KEYS: _list(_text(rf"(?!.*\.key$)[^~{_CONTROLS}]"), unique=True),
    MIRRORS: _list(_whole(f"{_HOST}(?:/[a-z0-9][a-z0-9._/-]*)?"), unique=True),
    NAME: _text(),
    PATTERNS: _list(_text(r"(?!.*\*\*)[^" + _CONTROLS + "]")),
    PLATFORMS: _list(_PLATFORM, unique=True),
    SBOM: {"type": "array", "items": {"enum": list(SBOMS)}, "uniqueItems": True},
    SCOPE: _whole(SCOPE_PATTERN),
    SIZE: {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": r"^\s*[0-9]{1,15}(\.[0-9]{1,15})?\s*[KMGTkmgt]?([iI]?[bB])?\s*$"},
        ]
    },
    SOURCE: _source(),
    URL: _text(f"(?:{'|'.join(REMOTES)})://"),
    USER: {"anyOf": [{"type": "integer", "minimum": 0}, _text()]},
    VARIABLES: {
        "type": "object",
        "propertyNames": {"pattern": r"^[^=\u0000]+$"},
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
}


def schema() -> Schema:
    """The schema of a main file; those that it includes may have less."""
    whole = _section(MAIN)
    both = [{"required": [key], "properties": {"defaults": {"required": [key]}}} for key in FOR_IMAGES]
    return {
        "$schema": _DIALECT,
        "title": "bundle.yaml",
        **whole,
        "anyOf": [{"required": ["images"]}, {"required": ["include"]}],
        "not": {"anyOf": [{**one, "required": [*one["required"], "defaults"]} for one in both]},
    }


def _section(section: Section) -> Schema:
    found: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _setting(row) for key, row in section.settings.items()},
    }
    return found | ({"required": list(section.required)} if section.required else {})


def _setting(row: Setting) -> Schema:
    return {"description": f"{row.help} Default: {row.default}. Example: {row.key}: {row.example}"} | _value(row)


def _value(row: Setting) -> Schema:
    if row.kind is ROOTFS:
        return _list({"anyOf": [{"enum": list(FORMS)}, *map(_form, FORMS.values())]}, unique=True)
    if row.kind in _SCHEMAS or row.kind.words:
        return _of(row.kind)
    sections = {"defaults": DEFAULTS, "engine": ENGINE, "process": PROCESS, "boot": BOOT, "remote_cache": REMOTE}
    if row.key in sections:
        return _section(sections[row.key])
    if row.key == "registries":
        return {"type": "object", "propertyNames": _whole(_HOST), "additionalProperties": _section(REGISTRY)}
    assert row.key == "images", row.path
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            "maxLength": MAX_NAME,
            "not": {"enum": list(RESERVED)},
        },
        "additionalProperties": {"anyOf": [_SCHEMAS[SOURCE], _section(IMAGE)]},
    }


def _form(row: FormType) -> Schema:
    options = {name: _of(kind) for name, kind in row.options.items()}
    return {
        "type": "object",
        "required": ["form"],
        "additionalProperties": False,
        "properties": {"form": {"const": row.kind}, **options},
    }


def _of(kind: Kind) -> Schema:
    return {"enum": list(kind.words)} if kind.words else _SCHEMAS[kind]


def text() -> str:
    """The schema as a file has it."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as stream:
        stream.write(text())
