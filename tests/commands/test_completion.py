"""TAB completes commands, images and bundles, soon enough."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from c2wtasks.commands.completion import SCRIPTS
from c2wtasks.commands.words import matches
from tests.graph.catalogs import write_catalog
from tests.support.running import environment, run_doit

BUNDLES = ["db@linux/amd64", "web@linux/amd64", "web@linux/arm64", "why-not@linux/amd64"]
TAKEN: dict[str, Any] = {"capture_output": True, "text": True, "check": True}
# What is typed, in bash; what stands there after TAB, or is offered.
TYPED = [
    ("doit we", {"web", "web@linux/amd64", "web@linux/arm64"}),
    ("c2wtasks why web@linux/ar", {"linux/arm64"}),
    ("doit clean web@", {"linux/amd64", "linux/arm64"}),
    ("doit ver", {"verify"}),
    ("doit wh", {"which", "why", "why-not"}),
    ("doit -n 2 d", {"db", "diff", "doctor"}),
    ("doit zz", set()),
]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("", ["run", "why", "db", "web", "why-not"]),
        ("w", ["why", "web", "why-not"]),
        ("web", ["web", "web@linux/amd64", "web@linux/arm64"]),
        ("web@linux/ar", ["web@linux/arm64"]),
        ("x", []),
    ],
)
def test_words(word: str, found: list[str]) -> None:
    assert matches(word, ["run", "why"], BUNDLES) == found


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    both = {"source": "oci:web", "platforms": ["linux/arm64", "linux/amd64"]}
    write_catalog(tmp_path, {"web": both, "db": "oci:db", "why-not": "oci:x"})
    return tmp_path


@pytest.mark.parametrize(("line", "offered"), TYPED)
def test_bash(catalog: Path, line: str, offered: set[str]) -> None:
    typed = f"COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; _c2wtasks; printf '%s\\n' ${{COMPREPLY[@]}}"
    done = subprocess.run(
        ["bash", "-c", SCRIPTS["bash"] + typed],
        cwd=catalog,
        env=environment({"PATH": f"{Path(sys.executable).parent}:{environment()['PATH']}"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert (set(done.stdout.split()), done.stderr) == (offered, "")


WHOLE = [
    (line, {f"{line.split()[-1].partition('@')[0]}@{one}" if "@" in line else one for one in offered})
    for line, offered in TYPED
]
"""The same, for shells that take `web@linux/amd64` as one word."""


@pytest.mark.parametrize(("line", "offered"), WHOLE)
def test_fish(catalog: Path, line: str, offered: set[str]) -> None:
    """fish itself says what it would offer."""
    _need("fish")
    script = f"{SCRIPTS['fish']}complete --do-complete {line!r}\n"
    done = subprocess.run(["fish", "-N"], input=script, cwd=catalog, env=_env(catalog), **TAKEN)
    assert ({text.partition("\t")[0] for text in done.stdout.splitlines()}, done.stderr) == (offered, "")


ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
say() {{ zpty -w shell "$1" }}
say 'source ./script' # which begins zsh's completion where it has not been
say 'zstyle ":completion:*" list-colors ""; zstyle ":completion:*:default" list-prompt ""; LISTMAX=0'
# What is offered is written into a file, as compadd is given it.
say 'compadd() {{ builtin compadd -O all "$@"; print -rl -- $all > part; mv part offered; builtin compadd "$@" }}'
# What it answers is never what the terminal echoes; and its prompt comes when it reads single keys.
say 'PS1="it re""ads "'
zpty -r -m shell seen '*it reads *'
zpty -w -n shell {line}$'\t'
repeat 500; do [[ -e offered ]] && break; sleep 0.1; done
zpty -d shell
"""


@pytest.mark.parametrize(("line", "offered"), WHOLE)
def test_zsh(catalog: Path, line: str, offered: set[str]) -> None:
    """TAB in a zsh on a terminal."""
    _need("zsh")
    (catalog / "script").write_text(SCRIPTS["zsh"])
    script = ZSH.format(line=shlex.quote(line))
    done = subprocess.run(["zsh", "-f"], input=script, cwd=catalog, env=_env(catalog), timeout=60, **TAKEN)
    assert set((catalog / "offered").read_text().split()) == offered, done


def _env(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    return environment({"PATH": path, "HOME": str(folder), "TERM": "dumb"})


def _need(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")


@pytest.mark.parametrize("text", ["images: [", "images: {}\n", None])
def test_without_a_good_bundle_file(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "bundle.yaml").write_text(text)
    command = [sys.executable, "-m", "c2wtasks", "completion", "--words", "ve"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "verify\n", "")


def test_doit_is_not_loaded_for_a_tab(catalog: Path) -> None:
    program = (
        "import sys\nsys.argv[1:] = ['completion', '--words', 'we']\nfrom c2wtasks.__main__ import main\n"
        "try:\n    main()\nfinally:\n    print('doit' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=catalog, env=environment(), capture_output=True, text=True, check=False)
    assert done.stdout.split()[-1] == "False"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_command(tmp_path: Path, shell: str) -> None:
    assert run_doit(tmp_path, "completion", shell).stdout == SCRIPTS[shell]


@pytest.mark.parametrize("words", [[], ["tcsh"], ["bash", "zsh"]])
def test_a_wrong_shell(tmp_path: Path, words: list[str]) -> None:
    done = run_doit(tmp_path, "completion", *words)
    assert (done.exit, done.stderr) == (3, "ERROR: name one shell: bash, zsh, fish\n")
