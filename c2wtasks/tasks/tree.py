"""`tree:<bundle>`: the layers of its image applied, in memory, to one tree."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

import msgspec

from c2wtasks.disk import files, fingerprint
from c2wtasks.engine.checks import Inputs
from c2wtasks.engine.meta import Meta
from c2wtasks.errors import TreeError, os_reason
from c2wtasks.layers.refusal import UnusableIndex, damaged, wrong_diff_id
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.output import kept
from c2wtasks.output.record import OUTPUT_VERSION
from c2wtasks.sources.model import Layer
from c2wtasks.tasks import names
from c2wtasks.tasks.build import Build, Site, Task, of_layers
from c2wtasks.telling import progress

if TYPE_CHECKING:
    from c2wtasks.layers.receipt import Receipt
    from c2wtasks.tree.model import Inode


class TreeInputs(msgspec.Struct, frozen=True):
    """All that a tree is made from: the layers, by diffID and by the key of the blob that each is in; and how they
    are applied."""

    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    same_owner: bool
    created_ns: int
    output_version: int = OUTPUT_VERSION


def inputs(build: Build) -> TreeInputs:
    """What the tree of a bundle is made of."""
    layers = build.image.layers
    return TreeInputs(
        tuple(str(layer.diff_id) for layer in layers),
        tuple(layer.key for layer in layers),
        build.bundle.same_owner,
        build.default_mtime_ns,
    )


@of_layers
def make(site: Site, given: TreeInputs, copied: Set[str]) -> None:
    """Writes the merged tree, and which packages it holds, told while it is in memory. `copied` are the keys of blobs
    that lie in several places.

    An index that cannot be used is made again, by reading the layer again.

    Raises LayerError, TreeError, OutputError.
    """
    from c2wtasks.tasks import packages  # most runs merge nothing
    from c2wtasks.tree import treefile

    mended: set[Digest] = set()
    while True:
        try:
            receipts = [_checked(site, layer, copied) for layer in site.layers]
            root = _merged(site, given)
            sizes = [_tar_size(site.store, *one) for one in zip(site.layers, receipts, strict=True)]
            pieces = treefile.pieces(root, list(given.layers), sizes, default_mtime_ns=given.created_ns)
            kept.keep(site.places, packages.text(site, root))
            files.write_pieces(site.places.tree, pieces)
            return
        except UnusableIndex as error:
            if error.diff_id in mended:
                raise
            mended.add(error.diff_id)
            site.store.mend_index(next(one for one in site.layers if one.diff_id == error.diff_id))


def _merged(site: Site, given: TreeInputs) -> Inode:
    from c2wtasks.tree import model
    from c2wtasks.tree.apply import apply
    from c2wtasks.tree.weight import Scales

    progress.step("merging")
    root = model.new_directory()
    scales = Scales(root)
    for number, layer in enumerate(site.layers):
        try:
            entries = scales.watch(site.store.entries(layer.diff_id))
            scales.add(apply(root, entries, number, same_owner=given.same_owner))
            if number == len(site.layers) - 1:
                scales.finish()
        except TreeError as error:
            hint = error.hint or "build the image again"
            raise TreeError(f"layer {layer.short}: {error.message}", hint=hint) from error
    return root


def _checked(site: Site, layer: Layer, copied: Set[str]) -> Receipt | None:
    """The receipt of the blob that was read under the layer's digest, here or elsewhere, if it is there.

    Another image's config may claim another diffID for it; another copy of it may be good and ours not.

    Raises LayerError: the blob is not what our image says it is.
    """
    receipt = site.store.receipt(layer.digest) if layer.digest else None
    if receipt is None:
        return None
    if receipt.diff_id != str(layer.diff_id):
        raise wrong_diff_id(layer, receipt)
    place = layer.place
    if layer.key in copied and place.is_local:
        try:
            same = fingerprint.of_chunks(place.chunks()) == receipt.fingerprint
        except OSError as error:
            raise damaged(layer, f"it cannot be read: {os_reason(error)}") from error
        if not same:
            raise damaged(layer, "another copy of it is good, this one differs")
    return receipt


def _tar_size(store: Store, layer: Layer, receipt: Receipt | None) -> int:
    """The bytes of a layer's tar. The layer is read again only where its `receipt` was lost, or, of one that has
    none, its tar was evicted.

    Raises LayerError, OutputError.
    """
    if layer.digest is not None:
        return (receipt or store.ensure([layer])).tar_size
    try:
        return store.tar_size(layer.diff_id)
    except OSError:
        return store.ensure([layer]).tar_size


def task(build: Build, copied: Set[str], disputed: Set[str]) -> Task:
    """The task that makes the tree of a bundle. `copied` and `disputed` are keys of blobs: those that lie in several
    places, and those of which images claim different diffIDs. The index of a wrong diffID is never made, so it is no
    dependency: `make` tells."""
    layers, site = build.image.layers, build.site
    given = inputs(build)
    return {
        "name": str(build.bundle),
        "doc": f"applies the {len(layers)} layers of {build.bundle}",
        "actions": [(make, [site, given, copied & set(given.blobs)])],
        "meta": Meta(blob_bytes=build.blob_bytes, light=True, brief=build.is_small, product=""),
        "file_dep": sorted({site.store.index(layer.diff_id) for layer in layers if layer.key not in disputed}),
        "task_dep": list(dict.fromkeys(names.layer(layer.key) for layer in layers)),
        "targets": [site.places.tree],
        "uptodate": [Inputs(given)],
    }
