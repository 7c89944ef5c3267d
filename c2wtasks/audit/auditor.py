"""Which layers, receipts and bundles are looked at, and what is known of each: what `verify` audits, before and after
mending."""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from c2wtasks.audit import sharers
from c2wtasks.audit import store as audit
from c2wtasks.audit.bundle import Known, check_bundle
from c2wtasks.audit.catalog import Catalog
from c2wtasks.audit.fetched import Fetched
from c2wtasks.audit.finding import Finding, Findings, shown
from c2wtasks.audit.node import Contents
from c2wtasks.audit.sharers import Damaged
from c2wtasks.audit.store import LayerAudit, TarState
from c2wtasks.audit.threads import each
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.cache.upkeep import needs
from c2wtasks.cachedir import layout
from c2wtasks.disk import safely
from c2wtasks.engine.targets import recorded_target
from c2wtasks.errors import MachineError, UserError
from c2wtasks.layers.store import Store
from c2wtasks.oci.digest import Digest
from c2wtasks.output import record
from c2wtasks.output.places import Places
from c2wtasks.output.record import Record
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.sources.model import Layer
from c2wtasks.tasks.build import Build
from c2wtasks.telling import stages


@dataclass(slots=True)
class StoreAudit:
    """What was found of the store: of its `layers` by diffID, of its `receipts` by the blob's digest; of those
    without a deviation, too."""

    layers: dict[Digest, LayerAudit] = field(default_factory=dict)
    receipts: dict[Digest, tuple[Finding, ...]] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        """All deviations, those of layers first."""
        of_layers = [finding for layer in self.layers.values() for finding in layer.findings]
        return of_layers + [finding for findings in self.receipts.values() for finding in findings]

    @property
    def bad_layers(self) -> list[Digest]:
        """The diffIDs of the layers that have deviations."""
        return [diff_id for diff_id, layer in self.layers.items() if layer.findings]

    @property
    def bad_receipts(self) -> list[Digest]:
        """The digests of the blobs whose receipts have deviations."""
        return [digest for digest, findings in self.receipts.items() if findings]


class Auditor:
    """Looks at layers, receipts and bundles, `workers` at a time.

    `command` is doit's, and has doit's memory of what was published last. Tars that were evicted are made again in
    the store where it `repairs`, else in a temporary folder that is gone when the process ends.
    """

    def __init__(self, command: Any, catalog: Catalog, workers: int, *, repairs: bool) -> None:
        self.catalog = catalog
        self.store = catalog.store
        self.workers = workers
        self.builds = {str(build.bundle): build for build in catalog.builds}
        self.copies: dict[Digest, list[Layer]] = {}
        self.by_diff_id: dict[Digest, list[Layer]] = defaultdict(list)
        for copies in catalog.layers.values():
            if copies[0].digest is not None:
                self.copies[copies[0].digest] = copies
            for copy in copies:
                self.by_diff_id[copy.diff_id].append(copy)
        self._command = command
        self._tars: dict[Digest, TarState] = {}
        self._making: dict[Digest, threading.Lock] = {}
        self._lock = threading.Lock()
        self._repairs = repairs
        self._contents: Contents = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def places(self, bundle: Bundle) -> Places:
        """Where the bundle's files lie."""
        return Places.of(self.catalog.file.output, bundle)

    # The store.

    def whole_store(self) -> tuple[list[Digest], list[Digest]]:
        """All layers (diffIDs) and all receipts (digests) that are there."""
        return audit.diff_ids(self.store), audit.receipts(self.store)

    def store_of(self, bundles: Iterable[Bundle]) -> tuple[list[Digest], list[Digest]]:
        """The layers and receipts in the store that `bundles` are made from, or were when they were published."""
        diff_ids, digests = set(), set()
        for bundle in bundles:
            build = self.builds.get(str(bundle))
            made_from = needs(bundle, build.image if build else None, self.catalog.file.output)
            diff_ids |= made_from[0]
            digests |= made_from[1]
        present = self.whole_store()
        return [one for one in present[0] if one in diff_ids], [one for one in present[1] if one in digests]

    def check_store(self, diff_ids: Iterable[Digest], digests: Iterable[Digest]) -> StoreAudit:
        """What is found of the layers `diff_ids` and of the receipts of the blobs `digests`.

        Raises OutputError.
        """
        found = StoreAudit()
        diff_ids = list(diff_ids)
        stages.begin("checking layers", len(diff_ids))
        layers = each(lambda diff_id: audit.check_layer(self.store, diff_id), diff_ids, self.workers)
        for layer in stages.counted(layers):
            found.layers[layer.diff_id] = layer
            self._tars[layer.diff_id] = layer.tar
        digests = list(digests)

        def check(digest: Digest) -> tuple[Finding, ...]:
            return audit.check_receipt(self.store, digest, self.copies.get(digest, ()), self._tars)

        found.receipts.update(zip(digests, each(check, digests, self.workers), strict=True))
        return found

    def check_memo(self) -> list[Finding]:
        """What was remembered of images otherwise than they are."""
        memo = self.catalog.memo
        return [
            Finding(shown(memo.path), shown(key), str(image.config_digest), "another image")
            for key, image in memo.wrong().items()
        ]

    def misremembered(self, bundles: Iterable[Bundle]) -> list[Bundle]:
        """The bundles of images that were remembered otherwise than they are: they may have been made from that."""
        wrong = {(image.manifest_digest, image.config_digest) for image in self.catalog.memo.wrong().values()}
        images = {bundle: build.image for bundle in bundles if (build := self.builds.get(str(bundle))) is not None}
        return [bundle for bundle, one in images.items() if (one.manifest_digest, one.config_digest) in wrong]

    @property
    def fetched(self) -> Fetched:
        """What was fetched into the cache, to be looked at."""
        return Fetched(self.catalog.documents, f"{self.catalog.file.cache}/{layout.BLOBS}", self._blob_sizes)

    def _blob_sizes(self, digest: Digest) -> set[int]:
        """The sizes (bytes) that the images of the catalog give a blob, or else its receipt."""
        sizes = {copy.place.size for copy in self.copies.get(digest, ())}
        receipt = None if sizes else self.store.receipt(digest)
        return sizes if receipt is None else {receipt.blob_size}

    # Bundles.

    def check_bundles(self, bundles: Iterable[Bundle]) -> Iterator[tuple[Bundle, Findings]]:
        """What is found of each bundle, in their order, as it is found. Tars that were evicted are made again."""
        jobs = [(bundle, self._known(bundle)) for bundle in bundles]

        def check(job: tuple[Bundle, Known]) -> tuple[Bundle, Findings]:
            bundle, known = job
            places = self.places(bundle)
            try:
                return bundle, check_bundle(bundle, places, known, self._tar, self._contents)
            except Exception as error:
                return bundle, Findings([_unchecked(places, error)])

        stages.begin("checking bundles", len(jobs))
        yield from stages.counted(each(check, jobs, self.workers))

    def sharers(self, damaged: Damaged, bundles: Iterable[Bundle]) -> Iterator[tuple[Bundle, list[Finding]]]:
        """Those of the bundles in whose roots these files are, too, with what is to be said of them."""
        for bundle in bundles if damaged else ():
            try:
                findings = sharers.found_in(self.places(bundle), damaged)
            except Exception as error:
                findings = [_unchecked(self.places(bundle), error)]
            if findings:
                yield bundle, findings

    def _known(self, bundle: Bundle) -> Known:
        path = self.places(bundle).record
        state = recorded_target(self._command.dep_manager, f"bundle:{bundle}", path)
        fingerprint = state[-1] if state else None
        build = self.builds.get(str(bundle))
        if build is None:
            return Known(fingerprint=fingerprint)
        return Known(
            lambda have: self._as_sources_say(build, have),
            fingerprint,
            str(build.image.config_digest),
            build.default_mtime_ns,
        )

    def _as_sources_say(self, build: Build, have: Record) -> Record:
        """`have`, with all that bundle.yaml, the image and the store say themselves."""
        image, bundle = build.image, build.bundle
        sizes = [layer.tar_size for layer in have.layers]
        if len(sizes) != len(image.layers):
            sizes = [None] * len(image.layers)
        for number, layer in enumerate(image.layers):
            if self._tars.get(layer.diff_id) == "good" and build.has_rootfs:
                tar_size = safely.size(self.store.tar(layer.diff_id))
                sizes[number] = tar_size if tar_size is not None else sizes[number]  # it may be evicted by now
        return msgspec.structs.replace(
            have,
            source=bundle.source.text,
            manifest_digest=str(image.manifest_digest) if image.manifest_digest else None,
            config_digest=str(image.config_digest),
            layers=record.layer_facts(image, sizes),
            options=record.options(bundle),
        )

    def _tar(self, diff_id: Digest) -> str | None:
        """The path of a layer's tar, made again where it was evicted; None where it is damaged or cannot be made."""
        path = self.store.tar(diff_id)
        with self._lock:
            making = self._making.setdefault(diff_id, threading.Lock())
        with making:
            if self._tars.get(diff_id) == "bad":
                return None
            if self.store.has_tar(diff_id):
                return path
            for layer in self.by_diff_id.get(diff_id, ()):
                try:
                    store = self._store_for_evicted()
                    store.ensure([layer])
                    return store.tar(diff_id)
                except (UserError, OSError):
                    continue
        return None

    def _store_for_evicted(self) -> Store:
        """The store for tars that are made again. Raises OSError."""
        if self._repairs:
            return self.store
        with self._lock:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="c2wtasks-")
            return Store(self._temporary.name)


def _unchecked(places: Places, error: Exception) -> Finding:
    """The finding that a bundle could not be checked. Raises MachineError, where that is not the bundle's fault."""
    why = as_user_error(error)
    if isinstance(why, MachineError):
        raise why from error
    return Finding(places.published, "check", "done", str(why))
