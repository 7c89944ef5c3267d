"""Platforms and which image serves which (containerd `platforms`: Normalize, Parse, Only)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPONENT = re.compile(r"[A-Za-z0-9_-]+")
_OS_ALIASES = {"macos": "darwin"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system, an architecture and its variant, always in containerd's normal form.

    `linux/x86_64` and `linux/amd64/v1` are `linux/amd64`; `linux/aarch64` and `linux/arm64/v8` are
    `linux/arm64`; `linux/arm` is `linux/arm/v7`.
    """

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Platform:
        """The platform that an image index or an image config names (`Normalize`; no OS means linux)."""
        system = os.lower() or "linux"
        arch, var = _normal_arch(architecture.lower(), variant.lower())
        return cls(_OS_ALIASES.get(system, system), arch, var)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """The platform that is written as `os/architecture[/variant]`.

        Raises ValueError.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_COMPONENT.fullmatch(part) for part in parts):
            raise ValueError(f"{text!r} is not a platform (os/architecture or os/architecture/variant)")
        return cls.of(*parts)

    @classmethod
    def own(cls) -> Platform:
        """The platform of this machine."""
        machine = os.uname()
        variant = "v6" if machine.machine.startswith("armv6") else ""
        architecture = "arm" if machine.machine.startswith("arm") else machine.machine
        if re.fullmatch(r"i[3-6]86", architecture):
            architecture = "386"
        return cls.of(machine.sysname, architecture, variant)

    def served_by(self) -> Iterator[Platform]:
        """The platforms whose images run here, best first (`platformVector`)."""
        yield self
        match self.architecture:
            case "amd64":
                for version in range(_version(self.variant, 1) - 1, 0, -1):
                    yield Platform.of(self.os, "amd64", f"v{version}")
                yield Platform(self.os, "386")
            case "arm":
                for version in range(_version(self.variant, 5) - 1, 4, -1):
                    yield Platform(self.os, "arm", f"v{version}")
            case "arm64":
                yield from Platform.of(self.os, "arm", self.variant or "v8").served_by()

    def rank(self, offered: Platform) -> int | None:
        """How well an image of platform `offered` serves this one: 0 is best, None is not at all (`Only`)."""
        for rank, platform in enumerate(self.served_by()):
            if platform == offered:
                return rank
        return None

    def __str__(self) -> str:
        name = f"{self.os}/{self.architecture}"
        return f"{name}/{self.variant}" if self.variant else name

    @property
    def folder(self) -> str:
        """The platform as a file name: `linux-arm-v7`."""
        return str(self).replace("/", "-")


def _version(variant: str, default: int) -> int:
    """The number in a variant. More than two digits are no version, and counting down from them would not end."""
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 2 else default


def _normal_arch(arch: str, variant: str) -> tuple[str, str]:
    match arch:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            return "arm64", "" if variant in ("8", "v8") else variant
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            if variant in ("", "7"):
                return "arm", "v7"
            return "arm", f"v{variant}" if variant in ("5", "6", "8") else variant
    return arch, variant
