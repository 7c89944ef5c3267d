"""What the tests of sources share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.errors import SourceError
from c2wtasks.oci.access import Access
from c2wtasks.oci.platform import Platform
from c2wtasks.oci.reference import Reference
from c2wtasks.sources.documents import Documents
from c2wtasks.sources.model import Image
from c2wtasks.sources.resolve import Resolver
from tests.support.images import DockerSave, Layout

Resolve = Callable[..., Image]


@pytest.fixture
def image() -> Resolve:
    """`image("oci:DIR:TAG", "linux/arm64")`: the image, resolved by its source as written."""

    def resolve_text(source: str, platform: str = "linux/amd64") -> Image:
        reference = Reference.parse(source)
        return Resolver(Access(offline=True), Documents("")).resolve(
            reference, reference.path, Platform.parse(platform)
        )

    return resolve_text


@pytest.fixture
def refusal(image: Resolve) -> Callable[..., str]:
    """Like `image`, where it must fail: the one line of the error."""

    def refuse(source: str, platform: str = "linux/amd64") -> str:
        with pytest.raises(SourceError) as caught:
            image(source, platform)
        line = str(caught.value)
        assert "\n" not in line
        return line

    return refuse


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "web")


@pytest.fixture
def saved(tmp_path: Path) -> DockerSave:
    return DockerSave(tmp_path / "saved")
