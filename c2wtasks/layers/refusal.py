"""What is said of a layer that cannot be used, and what to do then."""

from __future__ import annotations

from c2wtasks.disk import files
from c2wtasks.errors import LayerError, OutputError, os_reason, program
from c2wtasks.layers.receipt import Receipt
from c2wtasks.oci.digest import Digest
from c2wtasks.sources.model import Layer


class UnusableIndex(LayerError):
    """The index of the layer `diff_id` is gone or damaged, or something else lies in its place."""

    def __init__(self, path: str, diff_id: Digest, error: OSError | ValueError) -> None:
        why = os_reason(error) if isinstance(error, OSError) else str(error)
        wrong = f"{path}: the index of layer {diff_id.short} cannot be used: {why}"
        super().__init__(wrong, hint=f"run: {program()} verify --repair")
        self.diff_id = diff_id


class DamagedBlob(LayerError):
    """A copy of a blob holds something else than its digest says."""


class Unreachable(LayerError):
    """The rest of a blob could not be had: another time it may be."""


def damaged(layer: Layer, found: str) -> DamagedBlob:
    """The error for a copy of a blob that holds something else than its digest says."""
    return DamagedBlob(
        f"layer {layer.short}: the blob in {layer.place.where} is damaged: {found}",
        hint="fetch the image again",
    )


def wrong_diff_id(layer: Layer, receipt: Receipt) -> LayerError:
    """The error for a layer whose blob turned out to be another one than its image's config says."""
    plain = layer.digest is not None and receipt.diff_id == receipt.digest
    if plain and (known := _compressed_otherwise(layer)):
        return known
    have = "neither gzip nor zstd, so taken as it is, it is" if plain else "uncompressed it is"
    return built_wrong(layer, f"{have} {receipt.diff_id}, the image config says {layer.diff_id}")


def _compressed_otherwise(layer: Layer) -> LayerError | None:
    """The error for a blob that by its first bytes is another kind of file, or compressed as no layer is; None where
    that is not known."""
    if not layer.place.is_local:
        return None
    from c2wtasks.sources import reading
    from c2wtasks.sources.packed import compression_of

    start = reading.start_of(layer.place)
    if wrong := reading.mistaken(f"layer {layer.short}", start):
        return LayerError(wrong.message, hint=wrong.hint)
    if compression := compression_of(start):
        what = f"its blob is {compression} data, and layers are gzip, zstd or not compressed"
        return LayerError(f"layer {layer.short}: {what}", hint="build the image again with one of these")
    return None


def built_wrong(layer: Layer, wrong: str) -> LayerError:
    """The error for a blob whose content is wrong, though it is what its digest says, if it has one."""
    if layer.digest is None:
        hint = f"{layer.place.where} is damaged, or the image was built wrong: fetch or build it again"
    else:
        hint = "the blob's digest is right, so the image was built wrong: build it again"
    return LayerError(f"layer {layer.short}: {wrong}", hint=hint)


def too_large(layer: Layer, limit: int) -> LayerError:
    """The error for a layer whose tar has more than `limit` bytes."""
    hint = "if it is to be that large, raise max_layer_size in bundle.yaml"
    return LayerError(
        f"layer {layer.short}: its tar has more than {limit} bytes, the limit (max_layer_size)", hint=hint
    )


def not_stored(root: str, layer: Layer, error: OSError) -> OutputError:
    """The error for a layer that cannot be written to the store in the folder `root`."""
    where = f"{error.filename}: " if isinstance(error, IsADirectoryError) else ""
    wrong = f"{root}: layer {layer.short} cannot be stored: {where}{os_reason(error)}"
    return OutputError(wrong, hint=files.hint_for(error))
