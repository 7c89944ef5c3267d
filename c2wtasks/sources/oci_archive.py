"""`oci-archive:`, a tar of an image layout."""

from __future__ import annotations

from c2wtasks.sources.content import ContentImages
from c2wtasks.sources.oci import Layout
from c2wtasks.sources.opening import open_files


def open_source(path: str) -> ContentImages:
    """The images of the layout in the tar `path`. Raises SourceError."""
    return ContentImages(Layout(open_files("oci-archive", path), "oci-archive"))
