"""What kind of document a registry's manifest is, by its own text: the same on every day and from every mirror."""

from __future__ import annotations

from c2wtasks.oci import godecode
from c2wtasks.oci.godecode import as_integer
from c2wtasks.oci.image import DOCKER_SCHEMA1, INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST

_KNOWN = (*MANIFESTS, *INDEXES, *DOCKER_SCHEMA1)


def media_type_of(content: bytes, announced: str = "") -> str:
    """The media type that the document `content` states, or that its form shows. What the registry `announced` must
    not be another of those known here.

    Raises ValueError: it is neither, or might be read as several (as in CVE-2021-41190).
    """
    fields = godecode.load_object(content)
    names = {godecode.fold(name) for name, _ in fields}
    lists, describes = "manifests" in names, bool(names & {"config", "layers"})
    if fields.get("schemaVersion", as_integer, 0) == 1:
        found = DOCKER_SCHEMA1[0]
    elif lists and describes:
        raise ValueError("it has both manifests and layers, so it is neither an index nor a manifest")
    else:
        found = fields.string("mediaType") or (OCI_INDEX if lists else OCI_MANIFEST if describes else "")
        if not found:
            raise ValueError("it is neither an index nor a manifest")
        if (found in INDEXES and describes) or (found in MANIFESTS and lists):
            raise ValueError(f"its media type is {found}, its content is of another kind")
    if announced in _KNOWN and announced != found and not {announced, found} <= set(DOCKER_SCHEMA1):
        raise ValueError(f"the registry says it is {announced}, its content says {found}")
    return found
