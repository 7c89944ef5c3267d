"""`layer:<64 hex digits>`: a blob read, checked, and stored as the tar in it, with the tar's index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from c2wtasks.engine.checks import AnyExists, Inputs
from c2wtasks.engine.meta import Meta
from c2wtasks.layers.receipt import is_small
from c2wtasks.layers.store import Store
from c2wtasks.output.record import OUTPUT_VERSION
from c2wtasks.sources.model import Layer
from c2wtasks.tasks import reuse
from c2wtasks.tasks.build import Task


def make(store: Store, copies: Sequence[Layer], whole: bool) -> None:
    """Stores the layer, of the first of its copies that is good; `whole` where tasks will surely want its tar.

    Raises LayerError, OutputError.
    """
    reuse.make_layer(store, copies, whole=whole)


def task(store: Store, key: str, copies: Sequence[Layer], waiting_bytes: int, *, whole: bool) -> Task:
    """The task that stores a layer. `waiting_bytes` are those of all blobs of the largest bundle that has the layer;
    `whole` is whether a form of such a bundle takes its tar, whatever else is known of it.

    A digest stands for its bytes, so the receipt is all that shows whether the blob was read: it is the target, and
    the blob's file is no dependency. Only where no digest is known is the file itself looked at.
    """
    digest = copies[0].digest
    claims = sorted({copy.diff_id for copy in copies})
    return {
        "name": key,
        "title": _titled(f"layer {copies[0].short}"),
        "doc": f"reads, checks and stores the layer {copies[0].short}",
        "actions": [(make, [store, copies, whole])],
        "meta": Meta(
            blob_bytes=copies[0].place.size,
            waiting_bytes=waiting_bytes,
            brief=all(map(is_small, copies)),
            product="",
        ),
        "file_dep": [] if digest else sorted({copy.place.where for copy in copies}),
        "targets": [store.receipt_file(digest)] if digest else [],
        "uptodate": [
            Inputs({"output_version": OUTPUT_VERSION, "claims": [str(diff_id) for diff_id in claims]}),
            AnyExists(*(store.index(diff_id) for diff_id in claims)),
        ],
    }


def is_proven(store: Store, copies: Sequence[Layer]) -> bool:
    """Whether a receipt shows that the blob was read, and what is in it."""
    receipt = store.receipt(copies[0].digest) if copies[0].digest else None
    return receipt is not None and receipt.diff_id in {str(copy.diff_id) for copy in copies}


def _titled(text: str) -> Callable[[Any], str]:
    return lambda _task: text
