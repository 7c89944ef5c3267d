"""`spec:<bundle>`: image.json and spec.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from c2wtasks.bundlefile.model import Process
from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.disk import files
from c2wtasks.engine.checks import Inputs
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import SpecError, os_reason
from c2wtasks.layers.content import read_content
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import ImageConfig
from c2wtasks.output.places import IMAGE, SPEC
from c2wtasks.output.record import OUTPUT_VERSION
from c2wtasks.tasks import reuse
from c2wtasks.tasks.build import Build, Site, Task, in_private
from c2wtasks.vm import users
from c2wtasks.vm.imageconfig import with_overrides
from c2wtasks.vm.runtimespec import runtime_spec

if TYPE_CHECKING:
    from c2wtasks.tree.recorded import Recorded

_MAX_USER_FILE = 16 << 20


class SpecInputs(msgspec.Struct, frozen=True):
    """All that image.json and spec.json are made from, beside the tree, which has the image's users. `image_config`
    is the digest of the image config."""

    image_config: str
    process: Process
    profile: str
    output_version: int = OUTPUT_VERSION


def inputs(build: Build) -> SpecInputs:
    """What image.json and spec.json of a bundle are made of, beside the tree."""
    return SpecInputs(str(build.image.config_digest), build.bundle.process, build.bundle.profile)


@in_private
def make(site: Site, given: SpecInputs, image_config: bytes, parsed: ImageConfig) -> None:
    """Writes image.json and spec.json. `image_config` is the text that was `parsed`.

    Raises LayerError, SpecError, OutputError.
    """
    try:
        image_json = with_overrides(image_config, given.process)
        config = parsed if image_json == image_config else ImageConfig.parse(image_json)
    except ValueError as error:
        raise SpecError(f"image config {Digest.parse(given.image_config).short}: {error}") from error
    user = users.User()
    if config.user:
        user = reuse.user(site, config.user, lambda: _resolved(site, config.user))
    spec = runtime_spec(config, user, PROFILES[given.profile], terminal=given.process.terminal)
    files.write_if_changed(site.places.part(IMAGE), image_json)
    files.write_if_changed(site.places.part(SPEC), spec)


def _resolved(site: Site, user: str) -> users.User:
    """Who `user` is, by the files of the image. Raises LayerError, SpecError, OutputError."""
    from c2wtasks.tree import recorded

    tree, _ = site.tree()
    root = recorded.root_of(tree)
    passwd, group = (_user_file(site, root, user, path) for path in (b"etc/passwd", b"etc/group"))
    return users.resolve(user, passwd, group)


def _user_file(site: Site, root: Recorded, user: str, path: bytes) -> bytes | None:
    """The content of a file of the image, found as from inside it; None where there is none.

    Raises LayerError, SpecError, OutputError.
    """
    from c2wtasks.tree.lookup import lookup
    from c2wtasks.tree.model import FILE

    shown = f"user {user!r}: /{path.decode()}"
    hint = "build the image again with a proper one"
    try:
        found = lookup(root, path)
    except OSError as error:
        raise SpecError(f"{shown} cannot be reached in this image: {os_reason(error)}", hint=hint) from error
    if found is None:
        return None
    inode = found.node
    if inode.kind != FILE:
        raise SpecError(f"{shown} is not a regular file in this image", hint=hint)
    if inode.size > _MAX_USER_FILE:
        raise SpecError(f"{shown} is {inode.size} bytes, more than is read ({_MAX_USER_FILE})", hint=hint)
    if inode.content is None:
        return b""
    layer, offset, sparse = inode.content
    tar = site.tar(layer)
    try:
        return read_content(tar, offset, inode.size, sparse)
    except OSError as error:
        raise SpecError(f"{shown} cannot be read: {os_reason(error)}") from error


def task(build: Build) -> Task:
    """The task that writes image.json and spec.json of a bundle."""
    places, given = build.places, inputs(build)
    return {
        "name": str(build.bundle),
        "doc": f"writes image.json and spec.json of {build.bundle}",
        "actions": [(make, [build.site, given, build.image.config, build.image.parsed])],
        "meta": Meta(product="", brief=True),
        "file_dep": [places.tree],
        "targets": [places.part(IMAGE), places.part(SPEC)],
        "uptodate": [Inputs(given)],
    }
