"""Which images of a graph are looked up, and how long it waits for them: as its options have it."""

from __future__ import annotations

from collections.abc import Collection, Set

from c2wtasks.bundlefile.model import Bundle
from c2wtasks.errors import SourceError
from c2wtasks.process.runoptions import LooksUp
from c2wtasks.sources.asking import Answer
from c2wtasks.sources.locked import LockedResolver
from c2wtasks.telling import stages

_GRACE = 1.0  # seconds without any answer from a registry, after which a run begins with what it has
_BRIEFLY = 2.5  # those after which a command that only looks has waited long enough

Answers = list[tuple[Bundle, Answer]]


class Lookups:
    """The look-ups of the images of a graph's bundles: of the `wanted` ones, or of none where it is not known which
    these are."""

    def __init__(self, resolver: LockedResolver, how: LooksUp, wanted: Set[str] | None) -> None:
        self._resolver = resolver
        self._how = how
        self._wanted = wanted
        self._asking, _ = resolver.begin(())

    @property
    def late(self) -> Collection[str]:
        """The bundles whose images are not known yet. None of them is where the options do not allow it."""
        return self._asking.left

    @property
    def narrowed(self) -> bool:
        """Whether no registry was asked as it is not known what the words on the command line are about."""
        return self._wanted is None

    def begin(self, bundles: Collection[Bundle]) -> Answers:
        """The images that are known so far, or why there are none."""
        stages.begin("looking images up", len(bundles))
        if self._how == "not":
            return []
        self._asking, told = self._resolver.begin(bundles, self._may_ask)
        return told + self._come_first()

    def widen(self, bundles: Collection[Bundle]) -> Answers:
        """Begins with these, too, for which no registry was asked so far; the images of them that are known now."""
        self._wanted = frozenset(map(str, bundles))
        self._how = "briefly" if self._how == "here" else self._how
        self._asking, told = self._resolver.begin(bundles)
        return told + self._come_first()

    def _may_ask(self, bundle: Bundle) -> bool:
        return self._how != "here" and self._wanted is not None and str(bundle) in self._wanted

    def _come_first(self) -> Answers:
        within = {"meanwhile": _GRACE, "briefly": _BRIEFLY}.get(self._how)
        came = self._resolver.come(self._asking, within, within)
        if self._how != "meanwhile":
            came += [(one, _silent(one)) for one in self._asking.give_up()]
        return came

    def come(self, *, wait: bool) -> Answers:
        """What has become known. If it is to `wait`, something has: what comes one soon after another."""
        return self._resolver.come(self._asking, *((None, _GRACE) if wait else (0, 0)))

    def close(self) -> None:
        """Ends the process that asks registries, if there is one."""
        self._asking.close()


def _silent(bundle: Bundle) -> SourceError:
    return SourceError(f"{bundle.source.text}: no answer within {_BRIEFLY:g} s", hint="run again later")
