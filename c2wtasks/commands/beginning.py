"""What `doit init` writes into bundle.yaml: the images that are there, and their platforms."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from c2wtasks.bundlefile.wording import item_of, value_of
from c2wtasks.errors import SourceError
from c2wtasks.oci.access import Access
from c2wtasks.oci.choice import Choice
from c2wtasks.oci.image import REF_NAME
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.fitting import NotFound
from c2wtasks.sources.oci import Layout
from c2wtasks.sources.opening import open_files
from c2wtasks.sources.resolve import Resolver

# The platforms that an image may be for, in the order in which it is asked for; the machine's own comes before them.
_PLATFORMS = [Platform("linux", one) for one in ("amd64", "arm64", "riscv64", "386", "ppc64le", "s390x")]
_PLATFORMS.insert(3, Platform("linux", "arm", "v7"))
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 60  # characters of a name that we make


@dataclass(frozen=True, slots=True)
class Found:
    """An image: its name and source in bundle.yaml, and the platforms that it is there for."""

    name: str
    source: str
    platforms: tuple[Platform, ...]

    def at(self, path: str) -> Found:
        """The image, where its layout lies at `path`."""
        return replace(self, source=f"oci:{path}")


def in_layout(path: str, seen_from: str) -> list[Found]:
    """The images of the image layout `path`, by their tags. Their sources name the layout as seen from the folder
    `seen_from`; as it is, where that is empty.

    Raises SourceError: it is no layout, bundle.yaml cannot name one of its images, or one is for no platform.
    """
    entries = Layout(open_files("oci", path), "oci").index().manifests
    tags = list(dict.fromkeys(entry.annotations.get(REF_NAME, "") for entry in entries))
    place = path if not seen_from or os.path.isabs(path) else os.path.relpath(path, seen_from)
    if seen_from and ":" in place:
        wrong = "bundle.yaml names no layout with a colon in its path"
        raise SourceError(f"{path}: {wrong}", hint="give it another name")
    found: list[Found] = []
    for tag in tags if len(tags) > 1 else [""]:
        try:
            Choice.parse(tag)
        except ValueError as error:
            wrong = f"an image that bundle.yaml cannot name by its tag: {error}"
            hint = "give that image another tag, or write bundle.yaml by hand"
            raise SourceError(f"{path}: {wrong}", hint=hint) from error
        after = f":{tag}" if tag else ""
        platforms = _platforms(Reference(f"oci:{path}{after}", "oci", path, tag), path, Access(offline=True))
        name = _name(tag or os.path.basename(os.path.abspath(path)), found)
        found.append(Found(name, f"oci:{place}{after}", platforms))
    return found


def in_registry(image: str, offline: bool) -> list[Found]:
    """The image of a registry, as docker names it, for one platform: this machine's, where it is there for it.

    Raises SourceError.
    """
    text = image if image.startswith("docker:") else f"docker://{image}"
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise SourceError(f"--from-image: {error}") from error
    last = reference.path.rpartition("/")[2].partition("@")[0]
    return [Found(_name(last, ()), text, _platforms(reference, "", Access(offline=offline), enough=1))]


def _platforms(reference: Reference, path: str, access: Access, enough: int = 99) -> tuple[Platform, ...]:
    """The platforms that the image is there for, `enough` at most, the machine's own first.

    Raises SourceError: it is there for none.
    """
    resolver = Resolver(access, Documents("", keeps=False))
    found: list[Platform] = []
    missing: SourceError | None = None
    for platform in dict.fromkeys((replace(Platform.own(), os="linux"), *_PLATFORMS)):
        try:
            is_for = resolver.resolve(reference, path, platform).parsed.platform
        except SourceError as error:
            if not isinstance(error.__cause__ or error, NotFound):
                raise
            missing = missing or error
            continue
        if platform == is_for:
            found.append(platform)
        if len(found) == enough:
            break
    if not found:
        raise missing or SourceError(f"{reference.text}: its platform is not known", hint="write bundle.yaml by hand")
    return tuple(found)


def made_fit(text: str, otherwise: str) -> str:
    """A name that bundle.yaml takes, of any text; `otherwise` where nothing of it can be in one. Pure."""
    return _NO_NAME.sub("-", text)[:_LONGEST].strip("._-") or otherwise


def _name(text: str, others: Iterable[Found]) -> str:
    """A name for an image, which none of the others has: of `library/web:1.0` it is `web-1.0`."""
    plain = made_fit(text.rpartition("/")[2], "image")
    taken = {one.name for one in others}
    numbered = (f"{plain}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (plain, *numbered) if name not in taken)


def bundle_yaml(template: str, name: str, found: Sequence[Found]) -> str:
    """The text of bundle.yaml for the images that were found, of the catalog `name`. Pure."""
    common = found[0].platforms
    lines = []
    for one in found:
        if one.platforms == common:
            lines.append(f"  {item_of(one.name)}: {item_of(one.source)}")
        else:
            lines.append(f"  {item_of(one.name)}:\n    source: {item_of(one.source)}\n    platforms: [{_list(one)}]")
    text = template.replace("PLATFORMS", _list(found[0])).replace("NAME", value_of(name))
    return text.replace("IMAGES\n", "\n".join([*lines, "\n"]))


def _list(one: Found) -> str:
    return ", ".join(map(str, one.platforms))
