"""A bundle's packages as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/): a line a package. Pure."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from c2wtasks.packages.listed import Listed, Report, encoded, text
from c2wtasks.packages.sbom import TOOL, Subject, references, unowned

_IMAGE, _SYSTEM = "image", "operating-system"
_HASHES = {"sha256": "SHA-256", "sha512": "SHA-512"}


def write(subject: Subject, report: Report) -> bytes:
    """The document of a bundle. Its serial number follows from all else in it (UUIDv5)."""
    components = [*_system(report)]
    components += [
        _component(subject, one, reference)
        for one, reference in zip(report.packages, references(report.packages), strict=True)
    ]
    fields: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "",
        "version": 1,
        "metadata": {
            "timestamp": subject.created,
            "tools": {"components": [{"type": "application", "name": TOOL}]},
            "component": _image(subject, report),
        },
        "components": tuple(components),
        "dependencies": [{"ref": _IMAGE, "dependsOn": tuple(one["bom-ref"] for one in components)}],
        **({"compositions": [{"aggregate": "incomplete", "assemblies": [_IMAGE]}]} if report.notes else {}),
    }
    parts = {name: encoded(value) for name, value in fields.items()}
    known_by = hashlib.sha256(text(parts.items())).hexdigest()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"sha256:{known_by}")
    return text((parts | {"serialNumber": encoded(serial.urn)}).items())


def _image(subject: Subject, report: Report) -> dict[str, Any]:
    algorithm, _, value = subject.digest.partition(":")
    properties = [
        ("source", subject.source),
        ("config", subject.config),
        *(("layer", layer) for layer in subject.layers),
        ("unowned-files", str(unowned(report))),
        *(("note", note) for note in report.notes),
    ]
    return {
        "type": "container",
        "bom-ref": _IMAGE,
        "name": subject.bundle,
        "version": subject.digest,
        "hashes": [{"alg": _HASHES[algorithm], "content": value}],
        "properties": _properties(properties),
    }


def _system(report: Report) -> list[dict[str, Any]]:
    """The distribution, where the root names it."""
    name, version = report.distribution.get("id", ""), report.distribution.get("version", "")
    return [{"type": "operating-system", "bom-ref": _SYSTEM, **_versioned(name, version)}] if name else []


def _component(subject: Subject, package: Listed, reference: str) -> dict[str, Any]:
    properties = [
        ("type", package.kind),
        ("architecture", package.architecture),
        ("layer", subject.layer(package)),
        ("files", str(package.files)),
        ("path", package.path),
    ]
    return {
        "type": "library",
        "bom-ref": reference,
        **_versioned(package.name, package.version),
        "purl": package.purl,
        "properties": _properties(properties),
    }


def _versioned(name: str, version: str) -> dict[str, str]:
    return {"name": name, "version": version} if version else {"name": name}


def _properties(found: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Those that say something, under our name as the specification asks for."""
    return [{"name": f"{TOOL}:{name}", "value": value} for name, value in found if value]
