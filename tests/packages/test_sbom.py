"""SBOMs of any packages are what the validators of their formats take, name all of them, and are always the same."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from hypothesis import given, settings
from hypothesis import strategies as st
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from c2wtasks.bundlefile.sbom import SBOMS
from c2wtasks.packages import cyclonedx, sbom, spdx
from c2wtasks.packages.listed import VERSION, Listed, Report, Unowned, decode, encode
from c2wtasks.packages.sbom import Subject

DIGEST = "sha256:" + "ab" * 32
SUBJECT = Subject("web@linux/arm/v7", "docker://registry.example/team/web:1", DIGEST, DIGEST, (DIGEST, DIGEST), 0)
_CYCLONEDX = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)


def read_spdx(text: bytes) -> dict[str, Any]:
    """The document, which spdx-tools takes."""
    found: dict[str, Any] = json.loads(text)
    messages = validate_full_spdx_document(JsonLikeDictParser().parse(found), "SPDX-2.3")
    assert not messages, messages[0]
    return found


def read_cyclonedx(text: bytes) -> dict[str, Any]:
    """The document, which the schema of CycloneDX takes."""
    assert _CYCLONEDX.validate_str(text.decode()) is None
    found: dict[str, Any] = json.loads(text)
    names = [one["bom-ref"] for one in (found["metadata"]["component"], *found["components"])]
    assert len(set(names)) == len(names)
    assert found["dependencies"] == [{"ref": "image", "dependsOn": names[1:]}]
    return found


def report_of(*packages: Listed, **more: Any) -> Report:
    whole: dict[str, Any] = {"distribution": {}, "databases": (), "notes": (), "unowned": ()}
    return Report(version=VERSION, packages=packages, **{**whole, **more})


BASH = Listed("deb", "bash", "5.2-2+b1", "pkg:deb/debian/bash@5.2-2%2Bb1?arch=arm64&distro=debian-12", 0, 70, "arm64")
LODASH = Listed("npm", "lodash", "4.17.21", "pkg:npm/lodash@4.17.21", 1, 1054, path="/a/node_modules/lodash")
AGAIN = Listed("npm", "lodash", "4.17.21", "pkg:npm/lodash@4.17.21", None, 1054, path="/b/node_modules/lodash")
REPORT = report_of(
    BASH,
    LODASH,
    AGAIN,
    distribution={"id": "debian", "version": "12"},
    notes=("/var/lib/rpm/Packages: it is a Berkeley DB",),
    unowned=(Unowned("/srv", 3), Unowned("/etc", 4)),
)


def test_spdx() -> None:
    found = read_spdx(spdx.write(SUBJECT, REPORT))
    image, system, *packages = found["packages"]
    assert (image["name"], image["versionInfo"], image["comment"]) == (
        "web@linux/arm/v7",
        DIGEST,
        "7 files belong to no package",
    )
    assert SUBJECT.source in image["sourceInfo"] and image["checksums"] == [
        {"algorithm": "SHA256", "checksumValue": "ab" * 32}
    ]
    assert (system["name"], system["versionInfo"]) == ("debian", "12")
    assert [(one["name"], one["versionInfo"], one["externalRefs"][0]["referenceLocator"]) for one in packages] == [
        (one.name, one.version, one.purl) for one in REPORT.packages
    ]
    assert [one["sourceInfo"] for one in packages] == [
        f"70 files, brought by layer {DIGEST}",
        f"1054 files, brought by layer {DIGEST}, at /a/node_modules/lodash",
        "1054 files, brought by a layer that is not known, at /b/node_modules/lodash",
    ]
    assert [tuple(one.values()) for one in found["relationships"]] == [
        ("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image"),
        *(("SPDXRef-Image", "CONTAINS", one["SPDXID"]) for one in (system, *packages)),
    ]
    assert found["creationInfo"]["created"] == "1970-01-01T00:00:00Z"
    assert found["comment"].endswith("\n/var/lib/rpm/Packages: it is a Berkeley DB")
    assert found["documentNamespace"].startswith("https://spdx.org/spdxdocs/web-linux-arm-v7-")


def test_cyclonedx() -> None:
    found = read_cyclonedx(cyclonedx.write(SUBJECT, REPORT))
    system, *packages = found["components"]
    assert (system["type"], system["name"], system["version"]) == ("operating-system", "debian", "12")
    assert [(one["name"], one["version"], one["purl"]) for one in packages] == [
        (one.name, one.version, one.purl) for one in REPORT.packages
    ]
    assert [
        {one["name"].removeprefix("c2wtasks:"): one["value"] for one in each["properties"]} for each in packages
    ] == [
        {"type": "deb", "architecture": "arm64", "layer": DIGEST, "files": "70"},
        {"type": "npm", "layer": DIGEST, "files": "1054", "path": "/a/node_modules/lodash"},
        {"type": "npm", "files": "1054", "path": "/b/node_modules/lodash"},
    ]
    image = found["metadata"]["component"]
    said = [(one["name"].removeprefix("c2wtasks:"), one["value"]) for one in image["properties"]]
    assert said == [
        ("source", SUBJECT.source),
        ("config", DIGEST),
        ("layer", DIGEST),
        ("layer", DIGEST),
        ("unowned-files", "7"),
        ("note", REPORT.notes[0]),
    ]
    assert found["compositions"] == [{"aggregate": "incomplete", "assemblies": ["image"]}]
    assert found["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    assert uuid.UUID(found["serialNumber"]).version == 5


def test_nothing_is_known() -> None:
    """No package, no distribution, no manifest, and a digest of another kind."""
    subject = SUBJECT._replace(manifest="", config="sha512:" + "0" * 128, layers=(), created_ns=2**63 - 1)
    for read, write in ((read_spdx, spdx.write), (read_cyclonedx, cyclonedx.write)):
        text = write(subject, report_of())
        assert b"2262-04-11T23:47:16Z" in text and b"incomplete" not in text
        read(text)


@pytest.mark.parametrize("kind", SBOMS)
def test_another_document_has_another_name(kind: str) -> None:
    """Whatever differs; and nothing else does."""

    def name(subject: Subject, report: Report) -> str:
        found = json.loads(sbom.writer_of(kind)(subject, report))
        return str(found.get("documentNamespace") or found["serialNumber"]).rpartition("-")[2]

    subjects = [SUBJECT, SUBJECT._replace(created_ns=10**9), SUBJECT._replace(source="oci:x")]
    reports = [REPORT, report_of(BASH), report_of(BASH, AGAIN), report_of(AGAIN, BASH)]
    names = [name(subject, report) for subject in subjects for report in reports]
    assert len(set(names)) == len(names)
    assert names == [name(subject, report) for subject in subjects for report in reports]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
purls = st.one_of(
    st.sampled_from(["pkg:npm/a@1", "pkg:npm/a@1#2", "pkg:npm/a@1#1", "pkg:deb/debian/a@1?arch=all"]),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9).map("pkg:npm/{}@1".format),
)
listed = st.builds(
    Listed,
    kind=st.sampled_from(["deb", "apk", "rpm", "pypi", "npm"]),
    name=names,
    version=texts,
    purl=purls,
    layer=st.sampled_from([None, 0, 1]),
    files=st.integers(0, 1 << 40),
    architecture=texts,
    path=texts,
)
reports = st.builds(
    Report,
    version=st.just(VERSION),
    distribution=st.one_of(st.just({}), st.fixed_dictionaries({"id": names, "version": texts})),
    databases=st.just(()),
    notes=st.lists(texts, max_size=2).map(tuple),
    packages=st.lists(listed, max_size=8).map(tuple),
    unowned=st.lists(st.builds(Unowned, texts, st.integers(0, 99)), max_size=2).map(tuple),
)


@settings(deadline=None, max_examples=60)
@given(reports)
def test_any_packages(report: Report) -> None:
    for read, write in ((read_spdx, spdx.write), (read_cyclonedx, cyclonedx.write)):
        text = write(SUBJECT, report)
        assert write(SUBJECT, decode(encode(report))) == text
        found = read(text)
        whole = found.get("packages") or [found["metadata"]["component"], *found["components"]]
        assert [one["name"] for one in whole[len(whole) - len(report.packages) :]] == [
            one.name for one in report.packages
        ]


def test_the_validators_see_what_is_wrong() -> None:
    wrong = json.loads(spdx.write(SUBJECT, REPORT))
    wrong["packages"][2]["SPDXID"] = wrong["packages"][3]["SPDXID"]
    with pytest.raises(AssertionError):
        read_spdx(json.dumps(wrong).encode())
    with pytest.raises(AssertionError):
        read_cyclonedx(cyclonedx.write(SUBJECT, REPORT).replace(b'"library"', b'"book"'))
