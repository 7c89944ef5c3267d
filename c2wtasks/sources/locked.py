"""Bundles resolved by a lock: what it says is taken, what it lacks is looked up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from c2wtasks.bundlefile.lock import Entries, LockedLayer, LockEntry, moves
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.errors import SourceError
from c2wtasks.process.unexpected import as_user_error
from c2wtasks.sources.asking import Answer, Asking
from c2wtasks.sources.fitting import taken_for
from c2wtasks.sources.model import Image
from c2wtasks.sources.resolve import Resolver


class NotAsLocked(SourceError):
    """The image is another than the lock says."""


def entry_of(bundle: Bundle, image: Image) -> LockEntry:
    """What a lock says of a bundle that was found to be `image`."""
    layers = tuple(LockedLayer(layer.digest, layer.diff_id, layer.place.size) for layer in image.layers)
    return LockEntry(str(bundle), bundle.source.text, image.manifest_digest, image.config_digest, layers)


@dataclass(frozen=True, slots=True)
class LockedResolver:
    """`file` is the lock's, for messages."""

    resolver: Resolver
    entries: Entries
    file: str

    def all(self, bundles: Iterable[Bundle]) -> list[tuple[Bundle, Answer]]:
        """The image of each bundle, or why there is none."""
        bundles = list(bundles)
        asking, answers = self.begin(bundles)
        found = {str(bundle): answer for bundle, answer in (*answers, *self.come(asking))}
        return [(bundle, found[str(bundle)]) for bundle in bundles]

    def begin(self, bundles: Iterable[Bundle]) -> tuple[Asking, list[tuple[Bundle, Answer]]]:
        """The image of each bundle, or why there is none, as far as that can be told without asking a registry; and
        the look-ups of the others, which have begun."""
        asked: list[Bundle] = []
        at_hand: list[Bundle] = []
        for bundle in bundles:
            (at_hand if self._is_at_hand(bundle) else asked).append(bundle)
        asking = Asking(self._try, asked)
        return asking, [(bundle, self._try(bundle)) for bundle in at_hand]

    def come(
        self, asking: Asking, first: float | None = None, then: float | None = None
    ) -> list[tuple[Bundle, Answer]]:
        """The answers that have come (`Asking.answers`)."""
        return [
            (bundle, self._try(bundle) if self._is_at_hand(bundle) else answer)  # so that it is remembered here
            for bundle, answer in asking.answers(first, then)
        ]

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
            f"{self.file}:{entry.line}: {entry.bundle}: {wrong}", hint=f"run: doit lock --update {name}"
        )
