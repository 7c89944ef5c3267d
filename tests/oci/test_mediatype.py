"""A manifest's kind follows from its text."""

from __future__ import annotations

import json

import pytest

from c2wtasks.oci.image import DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, OCI_INDEX, OCI_MANIFEST
from c2wtasks.oci.mediatype import media_type_of


def document(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


@pytest.mark.parametrize(
    ("content", "announced", "want"),
    [
        (document(mediaType=DOCKER_MANIFEST, config={}), DOCKER_MANIFEST, DOCKER_MANIFEST),
        (document(mediaType=DOCKER_LIST, manifests=[]), "", DOCKER_LIST),
        (document(config={}, layers=[]), OCI_MANIFEST, OCI_MANIFEST),
        (document(layers=[]), "text/plain", OCI_MANIFEST),
        (document(layers=[]), DOCKER_MANIFEST, DOCKER_MANIFEST),
        (document(manifests=[]), DOCKER_LIST, DOCKER_LIST),
        (document(mediaType=OCI_MANIFEST, config={}), DOCKER_MANIFEST, OCI_MANIFEST),
        (document(manifests=[]), "application/json", OCI_INDEX),
        (document(mediaType="x/y"), "", "x/y"),
        (b'{"schemaVersion": 1, "fsLayers": []}', DOCKER_SCHEMA1[1], DOCKER_SCHEMA1[0]),
    ],
)
def test_kind(content: bytes, announced: str, want: str) -> None:
    assert media_type_of(content, announced) == want


@pytest.mark.parametrize(
    ("content", "announced", "message"),
    [
        (document(manifests=[], layers=[]), "", "both manifests and layers"),
        (document(manifests=[], CONFIG={}), "", "both manifests and layers"),
        (document(mediaType=OCI_INDEX, config={}), "", "content is of another kind"),
        (document(mediaType=OCI_MANIFEST, manifests=[]), "", "content is of another kind"),
        (document(mediaType=OCI_MANIFEST, config={}), OCI_INDEX, "the registry says"),
        (document(manifests=[]), DOCKER_MANIFEST, "the registry says .*, its content is that of an index"),
        (document(config={}), OCI_INDEX, "the registry says .*, its content is that of a manifest"),
        (b"{}", "", "neither an index nor a manifest"),
        (b"null", "", "neither an index nor a manifest"),
    ],
)
def test_refused(content: bytes, announced: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        media_type_of(content, announced)
