"""What kind of document a registry's manifest is, by its own text: the same on every day and from every mirror."""

from __future__ import annotations

from c2wtasks.oci import godecode
from c2wtasks.oci.godecode import as_integer
from c2wtasks.oci.image import DOCKER_SCHEMA1, INDEXES, MANIFESTS

_KINDS = (MANIFESTS, INDEXES, DOCKER_SCHEMA1)


def media_type_of(content: bytes, announced: str = "") -> str:
    """The media type of the document `content`: what it states; where it states none, what the registry `announced`,
    if the document's fields are of that kind; else OCI's type for such fields. What was announced must not be of
    another kind.

    Raises ValueError: it is neither, or might be read as several (as in CVE-2021-41190).
    """
    fields = godecode.load_object(content)
    names = {godecode.fold(name) for name, _ in fields}
    lists, describes = "manifests" in names, bool(names & {"config", "layers"})
    said = fields.string("mediaType")
    if fields.get("schemaVersion", as_integer, 0) == 1:
        found = DOCKER_SCHEMA1[0]
    elif lists and describes:
        raise ValueError("it has both manifests and layers, so it is neither an index nor a manifest")
    else:
        kind = INDEXES if lists else MANIFESTS if describes else ()
        found = said or (announced if announced in kind else "".join(kind[:1]))
        if not found:
            raise ValueError("it is neither an index nor a manifest")
        if kind and _kind(found) and _kind(found) != kind:
            raise ValueError(f"its media type is {found}, its content is of another kind")
    if _kind(announced) and _kind(announced) != _kind(found):
        content_is = f"says {found}" if said else f"is that of {'an index' if lists else 'a manifest'}"
        raise ValueError(f"the registry says it is {announced}, its content {content_is}")
    return found


def _kind(media_type: str) -> tuple[str, ...]:
    """The media types of the same kind of document; none where that is not known here."""
    return next((kind for kind in _KINDS if media_type in kind), ())
