"""What differs between the versions of container2wasm that bundles are made for: the table of profiles.

`v0.3` is its commit 4f7a936 (containerd 1.7.2), `v0.8` its commit c0f692f (containerd 1.7.31).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """One version of create-spec, and of the init that reads what it writes.

    `default_env` is what the image's env is laid over; None means that it is taken as it stands. `start` is the
    command that runs the container; `touched` what vmtouch keeps in memory; `without_binfmt` the architectures, as
    image configs write them, that need no emulator registered in the VM. `overlay_mode` is that of the folders which
    init makes for the overlay. `external_bundle`: whether the bundle may be mounted, and not be in the VM.
    """

    go_before_1_22: bool
    oci_version: str
    no_new_privileges: bool
    default_env: tuple[str, ...] | None
    terminal_env: tuple[str, ...]
    run_mount: bool
    network_namespace: bool
    powercap_masked: bool
    start: tuple[str, ...]
    run: tuple[str, ...]
    touched: tuple[str, ...]
    without_binfmt: tuple[str, ...]
    overlay_mode: int
    etc_on_tmpfs: bool
    external_bundle: bool


# The newest first.
PROFILES: dict[str, Profile] = {
    "v0.8": Profile(
        go_before_1_22=False,
        oci_version="1.1.0",
        no_new_privileges=False,
        default_env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",),
        terminal_env=("TERM=xterm",),
        run_mount=False,
        network_namespace=False,
        powercap_masked=True,
        start=("/sbin/runc",),
        run=("run",),
        touched=("/sbin/runc", "/sbin/init"),
        without_binfmt=("riscv64", "amd64", ""),
        overlay_mode=0o755,
        etc_on_tmpfs=True,
        external_bundle=True,
    ),
    "v0.3": Profile(
        go_before_1_22=True,
        oci_version="1.1.0-rc.1",
        no_new_privileges=True,
        default_env=None,
        terminal_env=(),
        run_mount=True,
        network_namespace=True,
        powercap_masked=False,
        start=("/sbin/start-runc",),
        run=(),
        touched=("/sbin/runc", "/sbin/init", "/sbin/start-runc"),
        without_binfmt=("riscv64", "amd64"),
        overlay_mode=0o666,
        etc_on_tmpfs=False,
        external_bundle=False,
    ),
}
DEFAULT_PROFILE = "v0.8"
