"""Bundles resolved by a lock: what it says is taken, what it lacks is looked up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from c2wtasks.bundlefile.lock import Entries, Entry, LockedLayer, moves
from c2wtasks.bundlefile.model import Bundle
from c2wtasks.errors import SourceError, UserError
from c2wtasks.sources.fitting import taken_for
from c2wtasks.sources.model import Image
from c2wtasks.sources.resolve import Resolver
from c2wtasks.unexpected import as_user_error

T = TypeVar("T")
_AT_ONCE = 8  # look-ups in registries


def _at_once(ask: Callable[[Bundle], T], bundles: Iterable[Bundle]) -> dict[Bundle, T]:
    """What `ask` gives for each bundle. An interrupt does not wait for those that are being asked for."""
    waiting = deque(bundles)
    answers: dict[Bundle, T] = {}

    def work() -> None:
        try:
            while True:
                bundle = waiting.popleft()
                answers[bundle] = ask(bundle)
        except IndexError:
            pass

    # Those of a pool would be waited for when the process ends, each until its server answers.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(_AT_ONCE, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def entry_of(bundle: Bundle, image: Image) -> Entry:
    """What a lock says of a bundle that was found to be `image`."""
    layers = tuple(LockedLayer(layer.digest, layer.diff_id, layer.place.size) for layer in image.layers)
    return Entry(str(bundle), bundle.source.text, image.manifest_digest, image.config_digest, layers)


@dataclass(frozen=True, slots=True)
class LockedResolver:
    """`file` is the lock's, for messages."""

    resolver: Resolver
    entries: Entries
    file: str

    def all(self, bundles: Iterable[Bundle]) -> list[tuple[Bundle, Image | UserError]]:
        """The image of each bundle, or why there is none. Registries are asked many things at once."""
        bundles = list(bundles)
        asking = [bundle for bundle in bundles if bundle.source.is_remote and self._entry(bundle) is None]
        answers = _at_once(self._try, asking)
        return [(bundle, answers.get(bundle) or self._try(bundle)) for bundle in bundles]

    def _try(self, bundle: Bundle) -> Image | UserError:
        try:
            return self._resolve(bundle)
        except Exception as error:
            return as_user_error(error)

    def _resolve(self, bundle: Bundle) -> Image:
        entry = self._entry(bundle)
        if entry is None or not bundle.source.is_remote:
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

    def _entry(self, bundle: Bundle) -> Entry | None:
        entry = self.entries.get(str(bundle))
        return entry if entry is not None and entry.source == bundle.source.text else None

    def _unfit(self, entry: Entry, wrong: str) -> SourceError:
        name = entry.bundle.partition("@")[0]
        return SourceError(
            f"{self.file}:{entry.line}: {entry.bundle}: {wrong}", hint=f"run: doit lock --update {name}"
        )
