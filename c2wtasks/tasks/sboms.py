"""The SBOMs of a bundle: what packages.json says, in formats of others. Nothing of them is kept between runs, as they
follow from packages.json and the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from c2wtasks.bundlefile.sbom import SBOMS
from c2wtasks.disk import safely
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig
from c2wtasks.output import outputs, record
from c2wtasks.output.places import IMAGE, PACKAGES, Places
from c2wtasks.output.record import LayerFacts, layer_facts
from c2wtasks.tasks.build import Build

if TYPE_CHECKING:
    from c2wtasks.packages.sbom import Subject

_ANEW = "run again, and verify it"


def of_build(build: Build, packages: bytes) -> dict[str, bytes]:
    """The SBOMs that a bundle is to have, by their names in it; `packages` is the text of its packages.json.

    Raises OutputError: that is none.
    """
    if not build.bundle.sbom:
        return {}
    from c2wtasks.packages.sbom import Subject

    image = build.image
    subject = Subject(
        str(build.bundle),
        build.bundle.source.text,
        str(image.manifest_digest) if image.manifest_digest else "",
        str(image.config_digest),
        _digests(layer_facts(image, [None] * len(image.layers))),
        build.default_mtime_ns,
    )
    return {SBOMS[kind].file: _text(kind, subject, packages, build.places.packages) for kind in build.bundle.sbom}


def of_published(places: Places, kind: str) -> bytes:
    """The SBOM in a format of SBOMS of a published bundle, whether it has it as a file or not.

    Raises OutputError: it is not published, has no root, or its files are not as its record says.
    """
    from c2wtasks.packages.sbom import Subject

    made = record.read(places.record)
    if made is None:
        raise OutputError(f"{places.record}: is no bundle of this version of c2wtasks", hint="build it first")
    if PACKAGES not in made.outputs:
        raise OutputError(f"{places.published}: has no root, and so no packages")
    packages, image = (_content(places.output(name), made.outputs.get(name)) for name in (PACKAGES, IMAGE))
    try:
        created_ns = ImageConfig.parse(image).created_ns
        for digest in filter(None, (made.manifest_digest, made.config_digest)):
            Digest.parse(digest)
    except ValueError as error:
        raise OutputError(f"{places.published}: {error}", hint=_ANEW) from error
    subject = Subject(
        f"{made.name}@{made.platform}",
        made.source,
        made.manifest_digest or "",
        made.config_digest,
        _digests(made.layers),
        created_ns,
    )
    return _text(kind, subject, packages, places.output(PACKAGES))


def _content(path: str, recorded: outputs.Output | None) -> bytes:
    """Raises OutputError: it is not as it is recorded."""
    try:
        content = safely.read(path, record.MAX_SIZE)
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {os_reason(error)}", hint=_ANEW) from error
    if outputs.of_bytes(content) != recorded:
        raise OutputError(f"{path}: is not as bundle.json says", hint=_ANEW)
    return content


def _digests(layers: tuple[LayerFacts, ...]) -> tuple[str, ...]:
    return tuple(layer.digest or layer.diff_id for layer in layers)


def _text(kind: str, subject: Subject, packages: bytes, path: str) -> bytes:
    """The SBOM of a bundle with these `packages`, which lie at a path. Raises OutputError."""
    from c2wtasks.packages import listed, sbom

    try:
        report = listed.decode(packages)
    except ValueError as error:
        raise OutputError(f"{path}: {error}", hint=_ANEW) from error
    if any(one.layer is not None and not 0 <= one.layer < len(subject.layers) for one in report.packages):
        raise OutputError(f"{path}: it names a layer that {subject.bundle} does not have", hint=_ANEW)
    return sbom.writer_of(kind)(subject, report)
