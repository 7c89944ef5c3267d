"""The pages that are read in order are run in order: README, the tutorial, the how-tos. See tests.support.pages.

What is not run stands in NOT_RUN, with the reason. No other command is left out: these pages have no indented blocks,
and none in a language that nobody knows.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.forms import vm
from tests.support import pages
from tests.support.images import Layout
from tests.support.pages import Shell
from tests.support.registries import PASSWORD, USER, Certificate, Storage
from tests.support.running import run_python

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
HOW_TOS = sorted(f"docs/how-to/{path.name}" for path in (PROJECT / "docs/how-to").iterdir())
PAGES = ["README.md", "docs/tutorial.md", "docs/consuming.md", *HOW_TOS]
RUN = {"sh", "console"}
READ = {"yaml", "json", "text"}  # not commands

# The first line of each block of commands that is not run here, and why.
NOT_RUN = {
    "bash tests/run": "it runs this test",
    "package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p')": (
        "it downloads a kernel, which tests/run has unpacked into .venv/kernel by these commands"
    ),
    "git pull --quiet": "there is nothing newer to pull, and the package of these tests would be installed anew",
    "python -m pip uninstall --quiet --yes c2wtasks": "it would remove the package of these tests",
}
TOOLS = {
    "docs/how-to/private-registry.md": ["docker-registry", "skopeo", "openssl"],
    "docs/how-to/publishing.md": ["rsync"],
    "docs/how-to/wrong-root.md": ["skopeo", "umoci"],
    "docs/tutorial.md": ["git", "qemu-system-x86_64"],
}


@dataclass
class Site:
    """Where a reader of a page stands: a folder, variables, and what the page's own words stand for here."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)


def copy_of_project(folder: Path) -> Path:
    """The files of the project as they are now, without what is built."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("needs git, and the files of the project in it")
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, folder / name, follow_symlinks=False)
    return folder


@contextmanager
def checkout(folder: Path) -> Iterator[Site]:
    """A checkout of the project, in which nothing is set up."""
    yield Site(copy_of_project(folder / "checkout"))


@contextmanager
def nothing(folder: Path) -> Iterator[Site]:
    """An empty folder, and a repository to clone; the kernel, which NOT_RUN tells of."""
    vm.require_all()
    repository = copy_of_project(folder / "repository")
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "init.defaultBranch=main"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "As it is"]):
        subprocess.run([*git, *words], cwd=repository, check=True)
    work = folder / "work"
    (work / "first").mkdir(parents=True)
    (work / "first/kernel").symlink_to(vm.KERNEL)
    yield Site(work, replaced={"ADDRESS-OF-THE-REPOSITORY": str(repository)})


@contextmanager
def new_catalog(folder: Path) -> Iterator[Site]:
    """What `c2wtasks init` writes."""
    done = run_python(folder, "-m", "c2wtasks", "init", "catalog")
    assert done.exit == 0, done.stderr
    yield Site(folder / "catalog", with_our_programs())


@contextmanager
def built_catalog(folder: Path) -> Iterator[Site]:
    """A catalog of one bundle, `hello@linux/amd64`, which is built."""
    with new_catalog(folder) as site:
        text = "{platforms: [linux/amd64], images: {hello: 'oci:images/hello'}}\n"
        (site.folder / "bundle.yaml").write_text(text)
        done = run_python(site.folder, "-m", "c2wtasks")
        assert done.exit == 0, done.stderr
        yield site


@contextmanager
def shared_folder(folder: Path) -> Iterator[Site]:
    with new_catalog(folder) as site:
        site.replaced["/var/cache/c2wtasks"] = str(folder / "shared")
        yield site


@contextmanager
def with_registry(folder: Path) -> Iterator[Site]:
    """An empty catalog, and a registry with TLS and users that has `team/web:1`."""
    certificate = Certificate.make(folder / "tls")
    layout = Layout(folder / "web")
    layout.image({"etc/": None, "etc/motd": "hi\n"}, tag="1", cmd=["web"])
    storage = Storage(folder / "storage")
    storage.push(layout.folder, "team/web:1", tag="1")
    catalog = folder / "catalog"
    catalog.mkdir()
    (catalog / "password.txt").write_text(PASSWORD)
    shutil.copy(certificate.ca, catalog / "our-ca.pem")
    with storage.serve(htpasswd=True, certificate=certificate) as address:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        env = with_our_programs() | {"REGISTRY_AUTH": json.dumps({"auths": {address: {"auth": auth}}})}
        yield Site(catalog, env, {"registry.example": address})


def with_our_programs() -> dict[str, str]:
    return {"PATH": f"{BIN}:{os.environ['PATH']}"}


SITES: dict[str, Callable[[Path], contextmanager[Site]]] = {  # type: ignore[type-arg]
    "README.md": checkout,
    "docs/tutorial.md": nothing,
    "docs/how-to/private-registry.md": with_registry,
    "docs/consuming.md": built_catalog,
    "docs/how-to/publishing.md": built_catalog,
    "docs/how-to/shared-cache.md": shared_folder,
    "docs/how-to/wrong-root.md": built_catalog,
}


def environment_of_a_user(home: Path) -> dict[str, str]:
    """That of somebody who has nothing yet, but reaches packages as we do. Logins are kept in `home`, too."""
    (home / "run").mkdir(parents=True)
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    env |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}
    for file in (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        if file.exists():
            env["PIP_CONFIG_FILE"] = str(file)
    passed = ("pip_", "http_proxy", "https_proxy", "no_proxy")
    return env | {key: value for key, value in os.environ.items() if key.lower().startswith(passed)}


@pytest.mark.parametrize("page", PAGES)
def test_its_blocks_work_in_their_order(page: str, tmp_path: Path) -> None:
    found = pages.blocks((PROJECT / page).read_text())
    for tool in TOOLS.get(page, []):
        if any(block.language in RUN for block in found) and shutil.which(tool) is None:
            pytest.skip(f"{page} needs {tool}")
    if os.geteuid() != 0:
        pytest.skip(f"{page} shows what root sees: run as root")
    with SITES.get(page, new_catalog)(tmp_path) as site:
        env = environment_of_a_user(tmp_path / "home")
        shell = Shell(site.folder, tmp_path / "shell", env | site.env)
        for block in found:
            if block.text.splitlines()[0] not in NOT_RUN:
                pages.run(block, shell, site.replaced)


@pytest.mark.parametrize("page", PAGES)
def test_no_command_is_left_out(page: str) -> None:
    text = (PROJECT / page).read_text()
    found = pages.blocks(text)
    assert len(re.findall(r"^ *```\w", text, re.MULTILINE)) == len(found), "each fence begins its line, after text"
    assert {block.language for block in found} <= RUN | READ
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(?: {4}|\t)(?! *[-*\d]).*", outside, re.MULTILINE) == [], "indented blocks are not run"


def test_what_is_not_run_is_on_a_page() -> None:
    first = {block.text.splitlines()[0] for page in PAGES for block in pages.blocks((PROJECT / page).read_text())}
    assert sorted(NOT_RUN.keys() - first) == []


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    shell = Shell(tmp_path, tmp_path / "shell", dict(os.environ))
    (good,) = pages.blocks(
        "See:\n\n```console\n$ printf 'took 3.2 s\\nbuilt b\\nbuilt a\\n'\ntook 1 s\nbuilt a\nbuilt b\n```\n"
    )
    pages.run(good, shell, {})
    for wrong in ("```console\n$ echo one\ntwo\n```", "```console\n$ false\n```", "```sh\nfalse\ntrue\n```"):
        (block,) = pages.blocks(f"See:\n\n{wrong}\n")
        with pytest.raises(AssertionError):
            pages.run(block, shell, {})
