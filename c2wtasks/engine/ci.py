"""What a run tells the systems that run it: annotations and a summary for GitHub Actions, a section for GitLab, and a
JUnit file, which many systems read.

Sources: GitHub's "Workflow commands for GitHub Actions"; GitLab's "Custom collapsible sections"; JUnit's
`jenkins-junit.xsd`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from c2wtasks.disk import files, safely
from c2wtasks.engine.report import Report
from c2wtasks.engine.tally import State
from c2wtasks.errors import OutputError, os_reason
from c2wtasks.telling.notices import tell

_TAKEN = (stat.S_IFREG, stat.S_IFDIR)  # of a folder the writing itself says so
_SECTION = "c2wtasks"
_MOST_ROWS = 1000  # of a summary: GitHub takes 1 MiB
_IN_A_CELL = {ord(character): f"&#{ord(character)};" for character in "&\\|`*_<>[]#"}
_GITHUB, _GITLAB, _SUMMARY = "GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_STEP_SUMMARY"


def is_here(environ: Mapping[str, str]) -> bool:
    """Whether one of these systems runs us."""
    return bool(environ.get(_GITHUB) or environ.get(_GITLAB))


class OnCI(Report):
    """The report with what these systems understand."""

    _in_section = False

    def write(self, text: str) -> None:
        """Writes `text`; on GitLab a section is begun before the first."""
        if os.environ.get(_GITLAB) and not self._ended.is_set() and not self._in_section:
            self._in_section = True
            mark = f"\x1b[0Ksection_start:{time.time():.0f}:{_SECTION}\r\x1b[0K"
            text = f"{mark}What was built\n{text}"
        super().write(text)

    def complete_run(self) -> None:
        super().complete_run()
        if self._in_section:
            super().write(f"\x1b[0Ksection_end:{time.time():.0f}:{_SECTION}\r\x1b[0K\n")

    def conclude(self, totals: str, reasons: Mapping[str, str]) -> None:
        if os.environ.get(_GITHUB):
            super().write("".join(annotation(name, reason) for name, reason in reasons.items()))
        super().conclude(totals, reasons)
        if path := os.environ.get(_SUMMARY):
            try:
                with open(path, "a", encoding="utf-8", opener=_without_waiting) as summary:
                    summary.write(markdown(self.last_line(totals), reasons))
            except OSError as error:
                tell(f"{path}: cannot be written: {os_reason(error)}")


def _without_waiting(path: str, flags: int) -> int:
    """Opens a file, and no FIFO that nobody reads. Raises OSError."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def annotation(name: str, reason: str) -> str:
    """The line that makes GitHub show a failure beside the code."""
    return f"::error title={_escaped(name, ',:')}::{_escaped(reason)}\n"


def _escaped(text: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def markdown(summary: str, reasons: Mapping[str, str]) -> str:
    """The summary of a run, with a table of what failed."""
    rows = [f"| {_cell(name)} | {_cell(reason)} |\n" for name, reason in list(reasons.items())[:_MOST_ROWS]]
    table = f"\n| failed | why |\n| --- | --- |\n{''.join(rows)}" if rows else ""
    more = f"\nand {len(reasons) - _MOST_ROWS} more\n" if len(reasons) > _MOST_ROWS else ""
    return f"### {_cell(summary)}\n{table}{more}\n"


def _cell(text: str) -> str:
    return text.translate(_IN_A_CELL)


def write(path: str, content: bytes) -> None:
    """Writes the file that a command line names; a link of one's own is followed. A device, or whatever else lies
    there that is no file, stays.

    Raises OutputError.
    """
    try:
        target = safely.followed(path)
        if safely.exists(target) and stat.S_IFMT(mode := safely.lstat(target).st_mode) not in _TAKEN:
            raise safely.NotRegular(mode, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {os_reason(error)}", hint="name another file") from error
    files.write(target, content)


def junit(
    states: Mapping[str, State], reasons: Mapping[str, str], seconds: Mapping[str, float], whole: float
) -> bytes:
    """The text of a JUnit file: a test case for each product, with how long it took in `seconds`; what is current
    took none. `whole` is how long the run took."""
    counts: dict[str, Any] = {"tests": str(len(states)), "failures": str(list(states.values()).count("failed"))}
    suites = ElementTree.Element("testsuites", {**counts, "errors": "0", "time": f"{whole:.3f}"})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "bundles", **suites.attrib, "skipped": "0"})
    for name, state in states.items():
        attributes = {"name": name, "classname": "bundles", "time": f"{seconds.get(name, 0.0):.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if state == "failed":
            reason = reasons.get(name, "failed")
            ElementTree.SubElement(case, "failure", {"message": reason}).text = reason
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
