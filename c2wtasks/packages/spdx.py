"""A bundle's packages as SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/), in JSON: a line a package. Pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import quote

from c2wtasks.packages.listed import Listed, Report, encoded, text
from c2wtasks.packages.sbom import TOOL, Subject, references, unowned

_NAMESPACE = "https://spdx.org/spdxdocs"  # for those who have no site of their own (section 6.5)
_DOCUMENT, _IMAGE, _SYSTEM = "SPDXRef-DOCUMENT", "SPDXRef-Image", "SPDXRef-OperatingSystem"
_CHECKSUMS = {"sha256": "SHA256", "sha512": "SHA512"}
_OF_SYSTEM = "OPERATING_SYSTEM"  # so in JSON, as its schema has it; elsewhere with a hyphen
_INCOMPLETE = "Packages that are not listed may be there:"


def write(subject: Subject, report: Report) -> bytes:
    """The document of a bundle. Its namespace follows from all else in it."""
    packages = [_image(subject, report), *_system(report)]
    packages += [
        _package(subject, one, reference)
        for one, reference in zip(report.packages, references(report.packages), strict=True)
    ]
    fields: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": subject.bundle,
        "documentNamespace": "",
        "creationInfo": {"created": subject.created, "creators": [f"Tool: {TOOL}"]},
        **({"comment": "\n".join((_INCOMPLETE, *report.notes))} if report.notes else {}),
        "packages": tuple(packages),
        "relationships": (
            _related(_DOCUMENT, "DESCRIBES", _IMAGE),
            *(_related(_IMAGE, "CONTAINS", one["SPDXID"]) for one in packages[1:]),
        ),
    }
    parts = {name: encoded(value) for name, value in fields.items()}
    known_by = hashlib.sha256(text(parts.items())).hexdigest()
    name = quote(re.sub("[/@]", "-", subject.bundle), safe="")
    return text((parts | {"documentNamespace": encoded(f"{_NAMESPACE}/{name}-{known_by}")}).items())


def _image(subject: Subject, report: Report) -> dict[str, Any]:
    algorithm, _, value = subject.digest.partition(":")
    return {
        "SPDXID": _IMAGE,
        "name": subject.bundle,
        "versionInfo": subject.digest,
        **_unanalyzed(f"image {subject.source}, of layers {', '.join(subject.layers)}"),
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": _CHECKSUMS[algorithm], "checksumValue": value}],
        "comment": f"{unowned(report)} files belong to no package",
    }


def _system(report: Report) -> list[dict[str, Any]]:
    """The distribution, where the root names it."""
    name, version = report.distribution.get("id", ""), report.distribution.get("version", "")
    if not name:
        return []
    return [{"SPDXID": _SYSTEM, **_versioned(name, version), **_unanalyzed(), "primaryPackagePurpose": _OF_SYSTEM}]


def _package(subject: Subject, package: Listed, reference: str) -> dict[str, Any]:
    known_by = hashlib.sha256(reference.encode()).hexdigest()[:32]
    layer = subject.layer(package)
    where = f"layer {layer}" if layer else "a layer that is not known"
    at = f", at {package.path}" if package.path else ""
    return {
        "SPDXID": f"SPDXRef-{package.kind}-{known_by}",
        **_versioned(package.name, package.version),
        **_unanalyzed(f"{package.files} files, brought by {where}{at}"),
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.purl}
        ],
    }


def _versioned(name: str, version: str) -> dict[str, str]:
    return {"name": name, "versionInfo": version} if version else {"name": name}


def _unanalyzed(source: str = "") -> dict[str, Any]:
    """What is the same of all packages: where to get one is not known, and its files are not listed."""
    found: dict[str, Any] = {"downloadLocation": "NOASSERTION", "filesAnalyzed": False}
    return found | ({"sourceInfo": source} if source else {})


def _related(one: str, how: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}
