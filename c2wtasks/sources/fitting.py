"""Which image serves a platform, which of several is meant, and what to say when that cannot be told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from c2wtasks.errors import SourceError, some_of
from c2wtasks.oci.choice import Choice
from c2wtasks.oci.digest import Digest
from c2wtasks.oci.image import Descriptor, ImageConfig
from c2wtasks.oci.platform import Platform

T = TypeVar("T")

MAX_LAYERS = 500  # Linux overlays no more (OVL_MAX_STACK in fs/overlayfs)
_DESCRIBED = 8
_REASONS = 3


class NotFound(SourceError):
    """The source can be read, and what was asked for is not in it."""


class Unfit(NotFound):
    """There are images, none for the platform asked for. `instead` are the platforms there are."""

    def __init__(self, message: str, instead: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.instead = instead


@dataclass(slots=True)
class Misses:
    """What was looked at and not taken.

    `offered` are images' platforms (None: the config names no architecture), `passed` entries of an image index that
    are for other platforms. `disagreeing` and `needing` say why an image that the image index offers for the platform
    cannot be taken, each with a hint; `others`, why this or that is no image at all.
    """

    offered: list[Platform | None] = field(default_factory=list)
    passed: list[Descriptor] = field(default_factory=list)
    disagreeing: list[tuple[str, str]] = field(default_factory=list)
    needing: list[tuple[str, str]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def disagree(self, descriptor: Descriptor, config: Platform, source: str) -> None:
        """Notes that the image index says another platform of a manifest than its config. `source` names it by
        digest."""
        self.disagreeing.append(
            (
                f"manifest {descriptor.digest.short} is for {descriptor.platform} by the index that lists it, "
                f"for {config} by its own config",
                f"build it again so that both agree; or take it for what its config says: {source} for {config}",
            )
        )

    def need(self, descriptor: Descriptor, source: str) -> None:
        """Notes that the image index says of an image for the platform that it needs features. `source` as above."""
        features = some_of(descriptor.os_features)
        self.needing.append(
            (
                f"{descriptor.digest.short} needs features of the operating system ({features})",
                f"copy an image that does without; or, if the VM's kernel has them, name it by its digest: {source}",
            )
        )

    def not_know(self, descriptor: Descriptor, *, serves: bool) -> None:
        """Notes an entry whose digest is of an unknown algorithm: it says that it `serves` the platform, or does not
        say."""
        said = f"{descriptor.digest.short}: {descriptor.digest.why_unknown}"
        if serves:
            self.needing.append((said, "push or copy the image again with sha256 digests"))
        elif descriptor.platform is None:
            self.others.append(said)

    def error(self, path: str, platform: Platform) -> SourceError:
        """The SourceError when nothing in `path` was taken for `platform`."""
        offered = [*self.offered, *(passed.platform for passed in self.passed)]
        if self.disagreeing:
            said, hint = _joined(self.disagreeing)
            return NotFound(f"{path}: {said}; both must serve {platform}, which was asked for", hint=hint)
        if self.needing:
            said, hint = _joined(self.needing)
            return NotFound(f"{path}: no image for {platform} that can be used: {said}", hint=hint)
        if len(offered) == 1:
            only = offered[0]
            if only is None:
                return NotFound(
                    f"{path}: the image's config names no architecture, {platform} was asked for",
                    hint="build it again with one that does",
                )
            return Unfit(
                f"{path}: the image is for {only}, {platform} was asked for",
                str(only),
                f"ask for {only}, or copy the image for {platform}",
            )
        if offered:
            return Unfit(
                f"{path}: no image for {platform}; there are: {', '.join(_names(offered))}",
                "one of these",
                "ask for one of these, or copy the image with all its platforms",
            )
        if self.others:
            return NotFound(f"{path} holds no container image: {'; '.join(self.others[:_REASONS])}")
        return NotFound(f"{path} holds no image at all", hint="copy one into it")


def _joined(reasons: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Some of the reasons, and the first one's hint."""
    return "; ".join(said for said, _ in reasons[:_REASONS]), reasons[0][1]


def _names(offered: Iterable[Platform | None]) -> list[str]:
    return list(dict.fromkeys("one that names no architecture" if one is None else str(one) for one in offered))


def image_platform(config: ImageConfig, described: Platform | None = None) -> Platform | None:
    """The platform an image is for, by its config; None where nothing names an architecture.

    `described` is what the image index says. It counts where the config names no architecture (as in containerd), and
    fills in the variant, which older builders left out of configs.
    """
    if not config.architecture:
        return described
    own = config.platform
    if config.variant or described is None or described.architecture != own.architecture:
        return own
    return Platform.of(config.os, config.architecture, described.variant)


def taken_for(config: ImageConfig, platform: Platform) -> ImageConfig:
    """The config, its platform filled in where it names no architecture and `platform` is known from elsewhere."""
    if config.architecture:
        return config
    return replace(config, architecture=platform.architecture, variant=platform.variant)


def check_layer_count(where: str, layers: int, config: ImageConfig) -> None:
    """Raises SourceError unless the config has one diffID for each layer, and there are MAX_LAYERS at most.

    An image may name one layer again and again: few bytes, and each time all of its names are merged.
    """
    if layers > MAX_LAYERS:
        raise SourceError(
            f"{where} has {layers} layers ({MAX_LAYERS} at most)", hint="build it again with fewer, larger layers"
        )
    if layers != len(config.diff_ids):
        raise SourceError(
            f"{where} has {layers} layers, its config has diffIDs of {len(config.diff_ids)}",
            hint="the image is damaged; build or copy it again",
        )


# -- one of several


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T]):
    """An image that fits: `value`, and what tells it from others. `digest` is its manifest's, or its config's where
    it has no manifest; `rank`, how well its `platform` serves the one asked for."""

    names: tuple[str, ...]
    digest: Digest
    platform: Platform
    rank: int
    created_ns: int
    value: T

    def __str__(self) -> str:
        facts = [str(self.platform), self.digest.short]
        if self.created_ns > 0:
            facts.append(f"created {_day(self.created_ns)}")
        return f"{_called(self.names)} ({', '.join(facts)})"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What may be the image that is meant, or not: it cannot be read. `rank` is the best that it could have."""

    names: tuple[str, ...]
    rank: int
    error: SourceError


def the_one(
    path: str, source: str, candidates: Sequence[Candidate[T]], unreadable: Sequence[Unreadable]
) -> Candidate[T] | None:
    """The image that is meant: the only one that serves the platform best. None where there is none.

    Several that are the same image are one. Which of several others was meant, or whether it was one that cannot be
    read, nobody can tell. `path` begins messages; `source` is how bundle.yaml names it all: `oci:web`.

    Raises SourceError: there are several, and what tells them apart; or the first that cannot be read, where there is
    no other.
    """
    best = min((one.rank for one in candidates), default=0)
    found = {one.digest: one for one in reversed(candidates) if one.rank == best}
    several = list(found.values())[::-1]
    if not several:
        if unreadable:
            raise unreadable[0].error
        return None
    unreadable = [one for one in unreadable if one.rank <= best]
    if len(several) == 1 and not unreadable:
        return several[0]
    shown = [
        *(str(one) for one in several),
        *(f"{_called(one.names)} ({one.error.message.removeprefix(f'{path}: ')})" for one in unreadable),
    ]
    ways = sorted((_way(one, several) for one in several), key=lambda way: way.startswith("@"))
    raise SourceError(
        f"{path} holds several images that fit: {some_of(shown, _DESCRIBED)}",
        hint=f"name one of them, such as {source}:{ways[0]}",
    )


def _called(names: tuple[str, ...]) -> str:
    return some_of(names, 3) or "one without a name"


def _way(one: Candidate[T], several: Sequence[Candidate[T]]) -> str:
    """What names `one` and none of the others: a name that bundle.yaml can hold, or else its digest."""
    taken = {name for other in several if other is not one for name in other.names}
    return next((name for name in one.names if name not in taken and _can_be_chosen(name)), f"@{one.digest}")


def _can_be_chosen(name: str) -> bool:
    try:
        Choice.parse(name)
    except ValueError:
        return False
    return "\0" not in name


def _day(created_ns: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=min(created_ns // 1000, 253_000_000_000_000_000)
    )
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
