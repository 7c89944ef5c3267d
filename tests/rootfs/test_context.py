"""`build.sh` of the form `context`: what docker is told, by a program in its place. tests/forms has docker itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from c2wtasks.bundlefile.load import load
from c2wtasks.rootfs import context

C2W = '#!/bin/sh\n[ "$*" = --show-dockerfile ] && echo "FROM scratch"\n'
DOCKER = f"""\
#!{sys.executable}
import json, os, sys
words = sys.argv[1:]
dockerfile = open(words[words.index("-f") + 1]).read()
print(json.dumps([words, dockerfile, os.listdir(words[-1])]))
"""
USUAL = ["LINUX_LOGLEVEL=0", "INIT_DEBUG=false"]
X86_64 = ["TARGETARCH=amd64", "TARGETPLATFORM=linux/amd64"]
AARCH64 = ["TARGETARCH=aarch64", "TARGETPLATFORM=linux/aarch64"]
RISCV64 = ["TARGETARCH=riscv64", "TARGETPLATFORM=linux/riscv64"]


def script(folder: Path, platform: str, boot: dict[str, object]) -> Path:
    """That of a bundle, in a folder whose name a shell must be careful with."""
    image = {"source": "oci:x", "platforms": [platform], "boot": boot}
    (folder / "bundle.yaml").write_text(json.dumps({"images": {"x": image}}))
    (bundle,) = load(str(folder / "bundle.yaml"), {}).bundles
    path = folder / "one's $(folder)" / "build.sh"
    path.parent.mkdir()
    path.write_text(context.script(bundle))
    return path


def run(path: Path, *args: str, programs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    folder = path.parents[1]
    for name in ("programs", "temporary"):
        (folder / name).mkdir()
    for name, text in programs.items():
        (folder / "programs" / name).write_text(text)
        (folder / "programs" / name).chmod(0o755)
    for name in ("dirname", "mkdir", "mktemp", "rm"):
        (folder / "programs" / name).symlink_to(shutil.which(name) or "")
    env = {**os.environ, "PATH": f"{folder}/programs", "TMPDIR": f"{folder}/temporary"}
    done = subprocess.run(["/bin/sh", path, *args], env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert os.listdir(folder / "temporary") == []
    return done


@pytest.mark.parametrize(
    ("platform", "boot", "target", "values"),
    [
        ("linux/amd64", {}, [], [*X86_64, *USUAL, "OUTPUT_NAME=out.wasm"]),
        ("linux/amd64", {"preset": "wasi-wizer"}, [], [*X86_64, *USUAL, "OUTPUT_NAME=out.wasm"]),
        (
            *("linux/riscv64", {"preset": "wasi-native"}, []),
            [*RISCV64, *USUAL, "OUTPUT_NAME=out.wasm", "OPTIMIZATION_MODE=native"],
        ),
        ("linux/arm64", {"preset": "wasi-wizer"}, [], [*AARCH64, *USUAL, "OUTPUT_NAME=out.wasm"]),
        ("linux/amd64", {"preset": "js"}, ["--target=js"], [*X86_64, *USUAL]),
        ("linux/arm64", {"preset": "js-aarch64"}, ["--target=js"], [*AARCH64, *USUAL, "NO_BINFMT=true"]),
        (
            *("linux/amd64", {"preset": "js", "debug": True}, ["--target=js"]),
            [*X86_64, "LINUX_LOGLEVEL=7", "INIT_DEBUG=true"],
        ),
    ],
)
@pytest.mark.parametrize("args", [(), ("some where",)])
def test_what_docker_is_told(
    platform: str,
    boot: dict[str, object],
    target: list[str],
    values: list[str],
    args: tuple[str, ...],
    tmp_path: Path,
) -> None:
    path = script(tmp_path, platform, boot)
    done = run(path, *args, programs={"c2w": C2W, "docker": DOCKER})
    assert done.returncode == 0, done.stderr
    words, dockerfile, in_context = json.loads(done.stdout)
    dockerfile_path, context_path = words[3], words[-1]
    assert words == [
        *("buildx", "build", "-f", dockerfile_path, "--platform=linux/amd64", *target),
        *(word for value in values for word in ("--build-arg", value)),
        *("--build-context", f"bundle-dev=oci-layout://{path.parent}:latest"),
        *("--output", f"type=local,dest={args[0] if args else 'out'}", context_path),
    ]
    assert (dockerfile, in_context) == ("FROM scratch\n", [])


@pytest.mark.parametrize("missing", ["docker", "c2w"])
def test_without_a_program(missing: str, tmp_path: Path) -> None:
    path = script(tmp_path, "linux/amd64", {})
    done = run(path, programs={name: text for name, text in (("c2w", C2W), ("docker", DOCKER)) if name != missing})
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{path}: {missing} is not here\n")


def test_docker_fails(tmp_path: Path) -> None:
    done = run(script(tmp_path, "linux/amd64", {}), programs={"c2w": C2W, "docker": "#!/bin/sh\nexit 7\n"})
    assert done.returncode == 7
