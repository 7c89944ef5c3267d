"""Running the blocks of a page one after another, as a reader does who begins at its top.

Of a page, these blocks count, by the language of their fence:

    sh       commands; bash runs them, and stops at the first that fails
    console  lines `$ COMMAND`, each with what it prints below it; that is compared
    others   text to read; or, after a paragraph that ends in "`NAME`:", the content of the file NAME

Each command ends with 0, or its line says what is done otherwise (`|| echo "exit status $?"`). What differs from
run to run counts as equal: numbers before a unit, dates, and the order of lines that tell what was built. `...`
stands for any lines.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?P<before>[^\n]*)\n\n?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INTO = re.compile(r"`(?P<name>[^`\s]+)`:$")
_TIMEOUT = 600  # seconds a command may take
_UNIT = r"(?:ns|ms|s|min|h|bytes|B|kB|MB|GB)"
_DIFFERS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "DATE"),
    (re.compile(r"\b\d\d:\d\d, (?:today|last night)"), "WHEN"),
    (re.compile(rf"\b\d+(?:\.\d+)? {_UNIT}\b"), "N"),
    (re.compile(r"\b\d{9,}\.\d+\b"), "TIME"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True)
class Block:
    """A block with the line of text before it. `line` is the number of its fence."""

    language: str
    text: str
    before: str
    line: int

    @property
    def file(self) -> str:
        """The file that it is the content of; empty where it is none."""
        found = _INTO.search(self.before)
        return found["name"] if found and self.language not in ("sh", "console") else ""

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command of a `console` block, with the lines that it prints. `> ` begins what goes on a command."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("> ") and found and not found[-1][1]:
                found[-1] = (f"{found[-1][0]}\n{line[2:]}", [])
            else:
                assert found, f"line {self.line}: a block begins with a command"
                found[-1][1].append(line)
        yield from found


def blocks(text: str) -> list[Block]:
    """All blocks of a page, in their order."""
    return [
        Block(found["language"], found["text"], found["before"], text.count("\n", 0, found.start("language")) + 1)
        for found in _BLOCK.finditer(text)
    ]


class Shell:
    """A shell that is at a place: the folder and the variables that one command leaves are those of the next."""

    def __init__(self, folder: Path, state: Path, env: Mapping[str, str]) -> None:
        """`folder` is where it begins, `state` a folder for its notes."""
        self._state = state
        self._env = dict(env)
        state.mkdir()
        (state / "cwd").write_text(f"cd {shlex.quote(str(folder))}\n")
        (state / "variables").touch()

    @property
    def folder(self) -> Path:
        """Where it is now."""
        return Path(shlex.split((self._state / "cwd").read_text())[1])

    def run(self, script: str) -> tuple[int, str]:
        """The exit status of the script, and all that it prints."""
        state = shlex.quote(str(self._state))
        note = f"export -p >{state}/variables; printf 'cd %q\\n' \"$PWD\" >{state}/cwd"
        before = [f"trap {shlex.quote(note)} EXIT", f". {state}/variables", f". {state}/cwd", "set -euo pipefail"]
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", "\n".join([*before, script])],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout


def run(block: Block, shell: Shell, replaced: Mapping[str, str]) -> None:
    """Does what the block says. `replaced` are words of the page for which the test has others.

    Raises AssertionError: what came of it is not what the page says.
    """

    def ours(text: str) -> str:
        for word, other in replaced.items():
            text = text.replace(word, other)
        return text

    if block.file:
        path = shell.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ours(block.text))
    elif block.language == "sh":
        status, said = shell.run(ours(block.text))
        assert status == 0, f"line {block.line}:\n{block.text}ended with {status}:\n{said}"
    elif block.language == "console":
        for command, want in block.commands():
            status, said = shell.run(ours(command))
            where = f"line {block.line}: {command}"
            assert status == 0, f"{where}\nended with {status}:\n{said}"
            for word, other in replaced.items():
                said = said.replace(other, word)
            assert _is_said(want, said.splitlines()), "\n".join([where, "--- the page", *want, "--- the run", said])


def alike(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in _DIFFERS:
        text = pattern.sub(word, text)
    return text.strip()


def alike_lines(lines: Iterable[str]) -> list[str]:
    """The lines without what differs from run to run. Lines that tell what was built come as it was built: here they
    are sorted, each run of them by itself."""
    ordered: list[str] = []
    run: list[str] = []
    for line in [*map(alike, lines), ""]:
        if line.startswith("built "):
            run.append(line)
        else:
            ordered += [*sorted(run), line]
            run = []
    return ordered[:-1]


def _is_said(want: list[str], have: list[str]) -> bool:
    """Whether the lines that a page shows are those that were printed."""
    pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line) + r"\n" for line in alike_lines(want))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in alike_lines(have))) is not None
