"""The settings of `boot:`, each a field that also says what bundle.yaml may hold, and the reference page says of it;
and the presets of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from c2wtasks.bundlefile.profile import PROFILES
from c2wtasks.bundlefile.values import ABSOLUTE, BOOLEAN, Kind


def _setting(default: bool | str, kind: Kind, example: str, help: str) -> Any:
    """A field, with what its row in the table of settings says of it."""
    return field(default=default, metadata={"kind": kind, "example": example, "help": help})


_NOT_EXTERNAL = " and ".join(name for name, profile in PROFILES.items() if not profile.external_bundle)


@dataclass(frozen=True, slots=True)
class Boot:
    """What `initconfig.json` tells the VM. The defaults are those of create-spec's flags."""

    debug: bool = _setting(False, BOOLEAN, "true", "For an image that is to be debugged.")
    debug_init: bool = _setting(False, BOOLEAN, "true", "Whether the VM's init tells what it does.")
    vmtouch: bool = _setting(True, BOOLEAN, "false", "Whether files are read into memory at boot.")
    binfmt: bool = _setting(True, BOOLEAN, "false", "Whether binfmt_misc is set up at boot.")
    external_bundle: bool = _setting(
        False,
        BOOLEAN,
        "true",
        f"Whether the bundle is not in the VM but mounted over 9p. Not with profile {_NOT_EXTERNAL}.",
    )
    image_config_path: str = _setting("/oci/image.json", ABSOLUTE, "/i.json", "Where `image.json` is in the VM.")
    runtime_config_path: str = _setting("/oci/spec.json", ABSOLUTE, "/s.json", "Where `spec.json` is in the VM.")
    rootfs_path: str = _setting("/oci/rootfs", ABSOLUTE, "/rootfs", "Where the root is in the VM.")


# The flags of create-spec that go with each way in which container2wasm builds.
PRESETS: dict[str, dict[str, Any]] = {
    "wasi-wizer": {"debug_init": True, "vmtouch": True, "binfmt": True},
    "wasi-native": {"debug_init": False, "vmtouch": False, "binfmt": False},
    "js": {"debug_init": True, "vmtouch": True, "binfmt": True},
    "js-aarch64": {"debug_init": True, "vmtouch": True, "binfmt": False},
}
