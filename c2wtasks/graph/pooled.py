"""What becomes of the pool of files that roots share, when a run ends; and what is to be said of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from c2wtasks.bundlefile.model import BundleFile
from c2wtasks.disk import safely
from c2wtasks.errors import OutputError, os_reason, some_of
from c2wtasks.output import listing, pool
from c2wtasks.output.record import Sharing
from c2wtasks.tasks import catalog
from c2wtasks.tasks.build import Build


def notes(found: Mapping[str, Sharing]) -> Iterator[str]:
    """What kept the files of bundles from being shared."""
    reasons: dict[str, list[str]] = {}
    for bundle, one in sorted(found.items()):
        if one.cannot:
            reasons.setdefault(one.cannot, []).append(bundle)
    for reason, bundles in reasons.items():
        yield f"note: {some_of(bundles)}: the root has files of its own, as they cannot be shared: {reason}"


def tidy(file: BundleFile, builds: Iterable[Build], loose: int | None = None) -> tuple[int, list[str]]:
    """Removes from the pool what no bundle of the catalog needs any more, as `pool.tidy` does. Gives how many bytes
    of disk that freed, and a line where it cannot be done."""
    path = pool.path_of(file.output)
    if not safely.exists(path):
        return 0, []
    text = catalog.read(file)
    try:
        lines = listing.lines(text) if text is not None else ()
    except ValueError:  # it is told by others
        return 0, []
    sharing = {str(bundle) for bundle in file.bundles if bundle.share and bundle.folder_form}
    wanted = {str(layer.diff_id) for build in builds if str(build.bundle) in sharing for layer in build.image.layers}
    made = [line.bundle for line in lines if line.bundle is not None]
    wanted |= {layer.diff_id for one in made if f"{one.name}@{one.platform}" in sharing for layer in one.layers}
    size = sum(one.rootfs.size for one in made if one.rootfs is not None)
    try:
        return pool.tidy(file.output, wanted, size, loose), []
    except OSError as error:
        return 0, [f"note: {path}: cannot be tidied up: {os_reason(error)}"]
    except (OutputError, ValueError) as error:
        return 0, [f"note: {error}"]


def unused(file: BundleFile) -> int:
    """The bytes of disk that files take which roots shared, and none has any more; 0 where that cannot be told."""
    try:
        return pool.unused(file.output)
    except OSError:
        return 0


def loose(found: Collection[Sharing]) -> int:
    """How many bytes of files the roots had that were replaced, and the new ones have not."""
    return sum(one.loose for one in found)
