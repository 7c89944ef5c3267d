"""Bundles resolved by a lock: what it says is taken, what it lacks is looked up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from c2wtasks.bundlefile.lock import Entries, LockedLayer, LockEntry, moves
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.errors import SourceError, program
from c2wtasks.oci.digest import Digest
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.sources.asking import Answer, Asking
from c2wtasks.sources.fitting import taken_for
from c2wtasks.sources.model import Image
from c2wtasks.sources.resolve import Resolver
from c2wtasks.telling import stages


class NotAsLocked(SourceError):
    """The image is another than the lock says."""


class NotAsked(SourceError):
    """What an image is can only be told by a registry, which was not asked."""


def entry_of(bundle: Bundle, image: Image) -> LockEntry:
    """What a lock says of a bundle that was found to be `image`."""
    layers = tuple(LockedLayer(layer.digest, layer.diff_id, layer.place.size) for layer in image.layers)
    return LockEntry(str(bundle), bundle.source.text, image.manifest_digest, image.config_digest, layers)


@dataclass(frozen=True, slots=True)
class LockedResolver:
    """Resolves bundles by the `entries` of a lock, and by the `resolver` what these lack. `file` is the lock's path,
    for messages. `bring` is called with the digests of documents that a registry would be asked for: it may have them
    from elsewhere, which spares that."""

    resolver: Resolver
    entries: Entries
    file: str
    bring: Callable[[Collection[Digest]], None] = lambda _: None

    def all(self, bundles: Iterable[Bundle]) -> list[tuple[Bundle, Answer]]:
        """The image of each bundle, or why there is none."""
        bundles = list(bundles)
        asking, answers = self.begin(bundles)
        found = {str(bundle): answer for bundle, answer in (*answers, *self.come(asking))}
        return [(bundle, found[str(bundle)]) for bundle in bundles]

    def begin(
        self, bundles: Iterable[Bundle], may_ask: Callable[[Bundle], bool] = lambda _: True
    ) -> tuple[Asking, list[tuple[Bundle, Answer]]]:
        """The image of each bundle, or why there is none, as far as that can be told without asking a registry; and
        the look-ups of the others, which have begun. Those for which we may not ask get `NotAsked`."""
        asked: list[Bundle] = []
        at_hand: list[Bundle] = []
        unknown: list[tuple[Bundle, Answer]] = []
        for bundle in bundles:
            if self._is_at_hand(bundle):
                at_hand.append(bundle)
            elif may_ask(bundle):
                asked.append(bundle)
            else:
                unknown.append((bundle, NotAsked(f"{bundle.source.text}: its registry was not asked")))
        if fixed := [bundle for bundle in asked if (entry := self._entry(bundle)) and entry.manifest]:
            self.bring(self._documents(fixed))
            came = {str(bundle) for bundle in fixed if self._is_at_hand(bundle)}
            at_hand += [bundle for bundle in asked if str(bundle) in came]
            asked = [bundle for bundle in asked if str(bundle) not in came]
        asking = Asking(self._try, asked)
        return asking, [*((bundle, self._try(bundle)) for bundle in stages.counted(at_hand)), *unknown]

    def come(
        self, asking: Asking, first: float | None = None, then: float | None = None
    ) -> list[tuple[Bundle, Answer]]:
        """The answers that have come (`Asking.answers`)."""
        return [
            (bundle, self._try(bundle) if self._is_at_hand(bundle) else answer)  # so that it is remembered here
            for bundle, answer in stages.counted(asking.answers(first, then))
        ]

    def _documents(self, bundles: Iterable[Bundle]) -> Collection[Digest]:
        """The manifests and configs of these bundles, as they are locked."""
        entries = [entry for bundle in bundles if (entry := self._entry(bundle))]
        return {digest for entry in entries for digest in (entry.manifest, entry.config) if digest is not None}

    def _is_at_hand(self, bundle: Bundle) -> bool:
        if bundle.source.type.is_path:
            return True
        entry = self._entry(bundle)
        if entry is None:
            return False
        try:
            return entry.manifest is None or self.resolver.has(bundle.source, entry.manifest)
        except Exception:  # which comes again, and is told, when it is resolved
            return True

    def _try(self, bundle: Bundle) -> Answer:
        try:
            return self._resolve(bundle)
        except Exception as error:
            return as_user_error(error)

    def _resolve(self, bundle: Bundle) -> Image:
        entry = self._entry(bundle)
        if entry is None or bundle.source.type.is_path:
            image = self.resolver.resolve(bundle.source, bundle.path, bundle.platform)
        elif entry.manifest is None:
            raise self._unfit(entry, "an image of a registry has a manifest")
        else:
            image = self.resolver.locked(bundle.source, entry.manifest)
            image = replace(image, parsed=taken_for(image.parsed, bundle.platform))
            own = image.parsed.platform
            if not any(
                (own.os, own.architecture) == (one.os, one.architecture) for one in bundle.platform.served_by()
            ):
                raise self._unfit(entry, f"its manifest is of an image for {own}")
        if entry is not None and (moved := moves(entry, entry_of(bundle, image))):
            raise self._unfit(entry, f"the image is another than the lock says: {moved}")
        return image

    def _entry(self, bundle: Bundle) -> LockEntry | None:
        entry = self.entries.get(str(bundle))
        return entry if entry is not None and entry.source == bundle.source.text else None

    def _unfit(self, entry: LockEntry, wrong: str) -> NotAsLocked:
        name = entry.bundle.partition("@")[0]
        return NotAsLocked(
            f"{self.file}:{entry.line}: {entry.bundle}: {wrong}", hint=f"run: {program()} lock --update {name}"
        )
