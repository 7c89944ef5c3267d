"""spec.json: the OCI runtime spec that init hands to runc (create-spec `generateSpec`, containerd `oci`)."""

from __future__ import annotations

from functools import cache
from typing import Any

from c2wtasks.bundlefile.profile import Profile
from c2wtasks.oci.image import ImageConfig
from c2wtasks.vm import gojson
from c2wtasks.vm.gojson import drop_empty
from c2wtasks.vm.users import User

ROOTFS_IN_VM = "/run/rootfs"

_CAPABILITIES = [
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
]


def _mount(destination: str, kind: str, source: str, options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options.split()}


_MOUNTS = [
    _mount("/proc", "proc", "proc", "nosuid noexec nodev"),
    _mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
    _mount("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
    _mount("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
    _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
    _mount("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
]
_RUN_MOUNT = _mount("/run", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k")


def runtime_spec(config: ImageConfig, user: User, profile: Profile, *, terminal: bool = True) -> bytes:
    """The text of spec.json. `user` is the config's user, resolved in the rootfs."""
    process: dict[str, Any] = {
        **drop_empty({"terminal": terminal}),
        "user": {"uid": user.uid, "gid": user.gid, **drop_empty({"additionalGids": list(user.additional_gids)})},
        **drop_empty({"args": [*config.entrypoint, *config.cmd], "env": _environment(config, profile, terminal)}),
        "cwd": config.working_dir or "/",
        **_of_all_processes(),
        **drop_empty({"noNewPrivileges": profile.no_new_privileges}),
    }
    spec = {
        "ociVersion": profile.oci_version,
        "process": process,
        "root": {"path": ROOTFS_IN_VM},
        **_of_profile(profile),
    }
    return gojson.dumps(spec, go_before_1_22=profile.go_before_1_22)


@cache
def _of_all_processes() -> dict[str, Any]:
    return {
        "capabilities": gojson.ready(dict.fromkeys(("bounding", "effective", "permitted"), _CAPABILITIES)),
        "rlimits": gojson.ready([{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]),
    }


@cache
def _of_profile(profile: Profile) -> dict[str, Any]:
    namespaces = ["pid", "ipc", "uts", "mount", *(["network"] if profile.network_namespace else [])]
    masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
    ]
    if profile.powercap_masked:
        masked.append("/sys/devices/virtual/powercap")
    linux = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "cgroupsPath": "/default",
        "namespaces": [{"type": kind} for kind in namespaces],
        "maskedPaths": [*masked, "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    }
    return {
        "mounts": gojson.ready([*_MOUNTS, _RUN_MOUNT] if profile.run_mount else _MOUNTS),
        "linux": gojson.ready(linux),
    }


def what_keeps_from_starting(config: ImageConfig) -> list[str]:
    """Sentences on what in the config lets no container start: it is legal, and the bundle is made all the same."""
    found = []
    if not [*config.entrypoint, *config.cmd, ""][0]:
        found.append(
            "the image names no command (Entrypoint, Cmd), so nothing runs unless the VM is started with one; "
            "process.args sets it"
        )
    if config.working_dir and not config.working_dir.startswith("/"):
        found.append(
            f"runc starts nothing in a relative folder, and the image's WorkingDir is {config.working_dir!r}; "
            "process.cwd sets another"
        )
    return found


def _environment(config: ImageConfig, profile: Profile, terminal: bool) -> list[str]:
    if profile.default_env is None:
        return list(config.env)
    return [*overlay_environment(profile.default_env, config.env), *(profile.terminal_env if terminal else ())]


def overlay_environment(defaults: tuple[str, ...], overrides: tuple[str, ...]) -> list[str]:
    """The environment that containerd's `replaceOrAppendEnvValues` makes: a default keeps its place and takes the
    last override's value; other overrides follow, repetitions and all; a name without "=" removes a default."""
    places = {entry.partition("=")[0]: at for at, entry in enumerate(defaults)}
    result = list(defaults)
    for entry in overrides:
        name, equals, _ = entry.partition("=")
        if not equals:
            if name in places:
                result[places[name]] = ""
        elif name in places:
            result[places[name]] = entry
        else:
            result.append(entry)
    return [entry for entry in result if entry]
