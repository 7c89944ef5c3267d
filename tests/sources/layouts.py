"""Images where the tests of sources look for them."""

from __future__ import annotations

from tests.support.images import DockerSave, Layout, pack

TREE = {"etc/": None, "etc/motd": "hi\n"}


def cmd(image) -> str:
    return image.parsed.cmd[0]


def sources(layout: Layout) -> list[str]:
    """A layout as a folder and packed."""
    archive = pack(layout.folder, layout.folder.with_suffix(".tar"))
    return [f"oci:{layout.folder}", f"oci-archive:{archive}"]


def short(descriptor: dict) -> str:
    return descriptor["digest"][:19]


def archives(saved: DockerSave) -> list[str]:
    """A docker archive as a folder and packed."""
    archive = pack(saved.folder, saved.folder.with_suffix(".tar"))
    return [f"docker-archive:{saved.folder}", f"docker-archive:{archive}"]
