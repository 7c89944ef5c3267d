"""The table of the transports: the ways in which bundle.yaml may say where an image is.

How one is read, its module in `c2wtasks/sources/` says, which has the transport's name (`sources.transports`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from c2wtasks.oci.choice import path_alone, path_and_tag
from c2wtasks.oci.imagename import ImageName


@dataclass(frozen=True, slots=True)
class Transport:
    """One transport. A source begins with its `name` and a colon, and looks like `syntax`.

    `parse` takes what follows the colon apart, into the path and the tag of a `Reference`; it may raise ValueError.
    `is_path`: the path is that of a file or folder, and the tag a `Choice`. Any other path begins with the host that
    is asked for the image. `is_locked`: bundle.lock always says which image was taken.

    Of a path, `what` is what should be there: a folder (`may_be_folder`), a tar (`may_be_archive`), or either.
    `needs` is the file that is in it, "" where there is none to tell it by. `unpacked` is the transport of what a tar
    of it holds, if that is another; `also` those that may read the same path, and find there what this one does not.
    """

    name: str
    syntax: str
    parse: Callable[[str], tuple[str, str]] = path_and_tag
    is_path: bool = True
    is_locked: bool = False
    what: str = ""
    may_be_folder: bool = True
    may_be_archive: bool = True
    needs: str = ""
    unpacked: str = ""
    also: tuple[str, ...] = ()


def _image_name(text: str) -> tuple[str, str]:
    if not text.startswith("//") or text == "//":
        raise ValueError(f"'docker:{text}' names no image ({TRANSPORTS['docker'].syntax})")
    name = ImageName.parse(text[2:])
    return str(name.repository), name.tag


_ROWS = (
    Transport(
        "oci",
        "oci:DIR[:TAG]",
        what="an image layout",
        may_be_archive=False,
        needs="index.json",
        also=("docker-archive",),
    ),
    Transport(
        "oci-archive",
        "oci-archive:FILE[:TAG]",
        what="a tar of an image layout",
        may_be_folder=False,
        needs="index.json",
        unpacked="oci",
        also=("docker-archive",),
    ),
    Transport(
        "docker-archive",
        "docker-archive:FILE-or-DIR[:REPOSITORY:TAG]",
        what="a docker archive",
        needs="manifest.json",
        # What `docker save` writes can be read as both, which need not list the same images; and a folder that has a
        # manifest.json may be docker's or skopeo's.
        also=("oci-archive", "oci", "dir"),
    ),
    Transport(
        "dir",
        "dir:DIR",
        parse=path_alone,
        what="a folder written by skopeo",
        may_be_archive=False,
        needs="manifest.json",
        also=("docker-archive",),
    ),
    Transport(
        "docker", "docker://[HOST/]REPOSITORY[:TAG][@DIGEST]", parse=_image_name, is_path=False, is_locked=True
    ),
)
TRANSPORTS = {row.name: row for row in _ROWS}
