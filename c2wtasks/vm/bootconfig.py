"""initconfig.json: what the VM's init mounts and runs (create-spec `generateBootConfig`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from c2wtasks.bundlefile.boot import Boot
from c2wtasks.bundlefile.profile import Profile
from c2wtasks.vm import gojson
from c2wtasks.vm.gojson import drop_empty
from c2wtasks.vm.runtimespec import ROOTFS_IN_VM

_BUNDLE_IN_VM = "/run/bundle"
_HOSTS = "127.0.0.1\tlocalhost\n"
_MS_BIND = 4096

Fields = dict[str, Any]


@lru_cache(maxsize=64)  # the bundles of a catalog have few different ones, and 0.7 ms is much for a text
def boot_config(architecture: str, boot: Boot, profile: Profile) -> bytes:
    """The text of initconfig.json for an image of that architecture (as its config writes it)."""
    mounts = [_tmpfs_like("proc", "/proc")]
    if boot.binfmt and not boot.external_bundle and architecture not in profile.without_binfmt:
        mounts.append(_binfmt(architecture))
    mounts += [_tmpfs_like("tmpfs", folder) for folder in ("/run", "/sys", "/tmp", "/var", "/mnt")]
    mounts.append(_mount("cgroup2", "none", "/sys/fs/cgroup", dir=[_dir("/sys/fs/cgroup", 0o666)]))
    mounts += _etc_on_tmpfs() if profile.etc_on_tmpfs else _etc_bound()
    mounts.append(_mount("tmpfs", "tmpfs", _BUNDLE_IN_VM, dir=[_dir(_BUNDLE_IN_VM, 0o666)]))
    overlay = _overlay(boot, profile)
    if not boot.external_bundle:
        mounts.append(overlay)
    touch = [["vmtouch", "-tv", *profile.touched]] if boot.vmtouch else []
    debug = ["--debug"] if boot.debug else []
    config: Fields = {
        "mounts": mounts,
        **drop_empty({"cmd_pre_run": touch}),
        "cmd": [[*profile.start, *debug, *profile.run, "-b", _BUNDLE_IN_VM, "foo"]],
        **drop_empty({"debug": boot.debug, "debug_init": boot.debug_init}),
        "container": _container(boot, profile),
    }
    if profile.etc_on_tmpfs:
        config["post_mounts"] = [overlay] if boot.external_bundle else None
    return gojson.dumps(config, go_before_1_22=profile.go_before_1_22)


def _mount(kind: str, source: str, target: str, **more: Any) -> Fields:
    return {**drop_empty({"fstype": kind}), "src": source, "dst": target, **drop_empty(more)}


def _tmpfs_like(kind: str, target: str) -> Fields:
    return _mount(kind, kind, target)


def _dir(path: str, mode: int) -> Fields:
    return {"path": path, "mode": mode}


def _file(path: str, mode: int, contents: str = "") -> Fields:
    return {"path": path, "mode": mode, **drop_empty({"contents": contents})}


def _binfmt(architecture: str) -> Fields:
    command = ["binfmt", "--install", architecture]
    return _mount("binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc", cmd=command)


def _etc_bound() -> list[Fields]:
    hosts, resolv = "/run/etc/hosts", "/run/etc/resolv.conf"
    return [
        _mount(
            "",
            hosts,
            "/etc/hosts",
            flags=_MS_BIND,
            data="bind",
            dir=[_dir("/run/etc", 0o666)],
            file=[_file(hosts, 0o666, _HOSTS)],
        ),
        _mount("", resolv, "/etc/resolv.conf", flags=_MS_BIND, data="bind", file=[_file(resolv, 0o666)]),
    ]


def _etc_on_tmpfs() -> list[Fields]:
    return [_mount("tmpfs", "tmpfs", "/etc", post_file=_network_files("/etc"))]


def _network_files(etc: str) -> list[Fields]:
    return [_file(f"{etc}/hosts", 0o644, _HOSTS), _file(f"{etc}/resolv.conf", 0o644)]


def _overlay(boot: Boot, profile: Profile) -> Fields:
    upper, work = "/run/rootfs-upper", "/run/rootfs-work"
    post: Fields = {}
    if profile.etc_on_tmpfs:
        etc = f"{ROOTFS_IN_VM}/etc"
        post = {"post_dir": [_dir(f"{etc}/", 0o644)] * 2, "post_file": _network_files(etc)}
    return _mount(
        "overlay",
        "overlay",
        ROOTFS_IN_VM,
        data=f"lowerdir={boot.rootfs_path},upperdir={upper},workdir={work}",
        dir=[_dir(path, profile.overlay_mode) for path in (ROOTFS_IN_VM, upper, work)],
        **post,
    )


def _container(boot: Boot, profile: Profile) -> Fields:
    if not profile.etc_on_tmpfs:
        return {
            "bundle_path": _BUNDLE_IN_VM,
            "image_config_path": boot.image_config_path,
            "runtime_config_path": boot.runtime_config_path,
        }
    return {
        "bundle_path": _BUNDLE_IN_VM,
        "image_config_path": boot.image_config_path,
        "image_rootfs_path": boot.rootfs_path,
        "runtime_config_path": boot.runtime_config_path,
        "external_bundle": boot.external_bundle,
    }
