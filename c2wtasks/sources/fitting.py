"""Which image serves a platform, and what to say when none does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from c2wtasks.errors import SourceError
from c2wtasks.oci.image import ImageConfig
from c2wtasks.oci.platform import Platform

_LISTED = 20


class Unfit(SourceError):
    """There are images, none for the platform asked for. `instead` are the platforms there are."""

    def __init__(self, message: str, instead: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.instead = instead


@dataclass(slots=True)
class Misses:
    """What was looked at and not taken: `offered`, images' platforms (None: the config names no architecture),
    and `others`, why this or that is no image at all."""

    offered: list[Platform | None] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def error(self, path: str, platform: Platform) -> SourceError:
        """The SourceError when nothing in `path` was taken for `platform`."""
        if len(self.offered) == 1:
            only = self.offered[0]
            if only is None:
                return SourceError(
                    f"{path}: the image's config names no architecture, {platform} was asked for",
                    hint="build it again with one that does",
                )
            return Unfit(
                f"{path}: the image is for {only}, {platform} was asked for",
                str(only),
                f"ask for {only}, or copy the image for {platform}",
            )
        if self.offered:
            return Unfit(
                f"{path}: no image for {platform}; there are: {', '.join(_names(self.offered))}",
                "one of these",
                "ask for one of these, or copy the image with all its platforms",
            )
        if self.others:
            return SourceError(f"{path} holds no container image: {'; '.join(self.others[:3])}")
        return SourceError(f"{path} holds no image at all", hint="copy one into it")


def _names(offered: Iterable[Platform | None]) -> list[str]:
    return list(dict.fromkeys("one that names no architecture" if one is None else str(one) for one in offered))


def image_platform(config: ImageConfig, described: Platform | None = None) -> Platform | None:
    """The platform an image is for, by its config; None where that names no architecture.

    `described` is what the index says. It fills in the variant, which older builders left out of configs.
    """
    if not config.architecture:
        return None
    own = config.platform
    if config.variant or described is None or described.architecture != own.architecture:
        return own
    return Platform.of(config.os, config.architecture, described.variant)


def check_layer_count(where: str, layers: int, config: ImageConfig) -> None:
    """Raises SourceError unless the config has one diffID for each layer."""
    if layers != len(config.diff_ids):
        raise SourceError(
            f"{where} has {layers} layers, its config has diffIDs of {len(config.diff_ids)}",
            hint="the image is damaged; build or copy it again",
        )


def some_of(names: Sequence[str]) -> str:
    """For messages: the names, the first ones of many."""
    shown = ", ".join(names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown


def ask_for_one(path: str, tags: Sequence[str], example: str) -> SourceError:
    """The SourceError where images of several names would do. `example` is a source that names one."""
    return SourceError(
        f"{path} holds several images that fit: {some_of(tags)}", hint=f"name one of them, such as {example}"
    )
