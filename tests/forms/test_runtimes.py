"""The bundles of the example catalog run under real runtimes, and their program sees what the image says.

Each runs as the VM's init has it run: `spec.json` is the runtime's `config.json`, with `process.args` from
`image.json` and a root that may be written to (there an overlay, here a copy). Changed beyond that:

- `terminal` is off, for the output is read from a pipe.
- `cgroupsPath` is a name of the test's own: `/default` may be anybody's outside of a VM.
- Programs of other architectures are run by QEMU, a static program that is mounted into the root and put before the
  arguments. So nothing needs to be registered with this machine's kernel.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import run_doit

PROJECT = Path(__file__).parents[2]
RUNTIMES = ["runc", "crun"]
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64"}
ARCHITECTURES = {machine: architecture for architecture, machine in MACHINES.items()}
CGROUP2_OF_TWO = Path("/sys/fs/cgroup/unified")

# crun refuses a machine with cgroups of both versions. So it runs where the second one is not mounted.
WITHOUT_CGROUP2 = ["unshare", "--mount", "sh", "-c", f'umount {CGROUP2_OF_TWO} && exec "$@"', "sh"]

Json = dict[str, Any]
CONTAINER = f"c2wtasks-{os.getpid()}"
SIMPLE: Json = {
    "ociVersion": "1.0.2",
    "process": {"args": ["/hello"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
    "root": {"path": "rootfs"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
    ],
    "linux": {"cgroupsPath": f"/{CONTAINER}", "namespaces": [{"type": "mount"}, {"type": "pid"}]},
}

Run = Callable[[Path], subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Seen:
    """What the program is run with. The runtime adds the user's HOME, as it is in the image's etc/passwd."""

    args: list[str]
    uid: int
    gid: int
    groups: list[int]
    cwd: str
    env: list[str]

    def lines(self, architecture: str) -> list[str]:
        image = next(variable for variable in self.env if variable.startswith("IMAGE=")).removeprefix("IMAGE=")
        return [
            f"Hello from {image} on linux/{architecture}",
            f"uid {self.uid}",
            f"gid {self.gid}",
            *(f"group {group}" for group in self.groups),
            f"cwd {self.cwd}",
            *(f"arg {arg}" for arg in self.args),
            *(f"env {variable}" for variable in sorted(self.env)),
        ]


USUAL_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "HOME=/home/app"
TERM = "TERM=xterm"
EXAMPLES = {
    "hello": Seen(
        ["/hello", "what", "Cmd says"], 0, 0, [], "/tmp", ["PATH=/usr/bin:/", "IMAGE=hello", TERM, "HOME=/root"]
    ),
    "greeter": Seen(
        ["/usr/bin/hello"], 1001, 1001, [29, 44], "/home/app", ["PATH=/usr/bin:/", "IMAGE=greeter", TERM, HOME]
    ),
    "greeter-custom": Seen(
        ["/usr/bin/salute", "to", "all of you"],
        *(1001, 50, [], "/tmp"),  # a group that is named stands alone, as in a Dockerfile
        ["PATH=/usr/bin:/", "IMAGE=greeter-custom", "LANG=C.UTF-8", HOME],
    ),
    "legacy": Seen(["/hello"], 1001, 50, [], "/home/app", ["IMAGE=legacy", HOME]),  # as v0.3: no PATH, no TERM
    "archive": Seen(["/hello"], 1001, 50, [], "/home/app", [USUAL_PATH, "IMAGE=archive", TERM, HOME]),
}
BUNDLES = [
    *(("hello", architecture) for architecture in MACHINES),
    *(("greeter", architecture) for architecture in MACHINES),
    ("greeter-custom", "amd64"),
    ("legacy", "amd64"),
    ("archive", "amd64"),
    ("archive", "riscv64"),
]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `bundles/` of the example catalog."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a runtime mounts, and the files of the root have their owners")
    folder = tmp_path_factory.mktemp("runtimes")
    for name in ("bundle.yaml", "dodo.py"):
        shutil.copy(PROJECT / name, folder)
    (folder / "examples").symlink_to(PROJECT / "examples")
    done = run_doit(folder)
    assert done.exit == 0, done.stderr
    return folder / "bundles"


@pytest.fixture(scope="module", params=RUNTIMES)
def run(request: pytest.FixtureRequest, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a runtime bundle, where this machine lets the runtime run anything at all."""
    runtime = request.param
    if shutil.which(runtime) is None:
        pytest.skip(f"needs {runtime}: install Debian's package {runtime}")
    state = tmp_path_factory.mktemp(f"{runtime}-state")
    prefix = WITHOUT_CGROUP2 if runtime == "crun" and CGROUP2_OF_TWO.is_mount() else []

    def run(bundle: Path) -> subprocess.CompletedProcess[str]:
        command = [*prefix, runtime, "--root", str(state), "run", "--bundle", str(bundle), CONTAINER]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )

    simple = tmp_path_factory.mktemp(f"{runtime}-simple")
    write_config(simple, SIMPLE)
    copy_root(bundles / "hello" / f"linux-{ARCHITECTURES[platform.machine()]}", simple)
    done = run(simple)
    if done.returncode != 0:
        pytest.skip(f"{runtime} runs not even a simple bundle on this machine: {done.stderr.strip()}")
    return run


def copy_root(bundle: Path, folder: Path) -> None:
    subprocess.run(["cp", "-a", bundle / "rootfs", folder], check=True)


def write_config(folder: Path, config: Json) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def config_of(bundle: Path) -> Json:
    """What the VM's init makes of the bundle, changed as told at the top."""
    config: Json = json.loads((bundle / "spec.json").read_text())
    image = json.loads((bundle / "image.json").read_text())["config"]
    config["process"]["args"] = [*(image.get("Entrypoint") or []), *(image.get("Cmd") or [])]
    config["process"]["terminal"] = False
    config["root"] = {"path": "rootfs"}
    config["linux"]["cgroupsPath"] = f"/{CONTAINER}"
    return config


def emulate(config: Json, architecture: str) -> None:
    emulator = shutil.which(f"qemu-{MACHINES[architecture]}-static")
    if emulator is None:
        pytest.skip(f"needs qemu-{MACHINES[architecture]}-static: install Debian's package qemu-user-static")
    mount = {"destination": "/emulator", "type": "bind", "source": emulator, "options": ["bind", "ro"]}
    config["mounts"].append(mount)
    config["process"]["args"].insert(0, "/emulator")


@pytest.mark.parametrize(("name", "architecture"), BUNDLES, ids=lambda value: value)
def test_runs_as_the_image_says(name: str, architecture: str, run: Run, bundles: Path, tmp_path: Path) -> None:
    bundle = bundles / name / f"linux-{architecture}"
    config = config_of(bundle)
    if platform.machine() != MACHINES[architecture]:
        emulate(config, architecture)
    write_config(tmp_path, config)
    copy_root(bundle, tmp_path)
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    first_variable = next(number for number, line in enumerate(lines) if line.startswith("env "))
    lines[first_variable:] = sorted(lines[first_variable:])  # an emulator passes them in another order
    assert lines == EXAMPLES[name].lines(architecture)


def test_all_bundles_are_tried(bundles: Path) -> None:
    catalog = json.loads((bundles / "catalog.json").read_text())
    tried = {f"{name}@linux/{architecture}" for name, architecture in BUNDLES}
    assert {f"{one['name']}@{one['platform']}" for one in catalog["bundles"]} == tried
