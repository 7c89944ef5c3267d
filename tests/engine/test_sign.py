"""What a run shows before its first task is at work, and after the last one has been."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from c2wtasks.engine.interrupt import Stopped
from c2wtasks.engine.sign import Sign
from c2wtasks.telling import notices, stages
from tests.engine.test_screen import check_whole, interrupted, terminal
from tests.graph.catalogs import write_catalog
from tests.graph.test_late_images import registry
from tests.support.child import in_child
from tests.support.hooking import SHORT_WAITS, hooked
from tests.support.images import Layout
from tests.support.running import run_doit

EAGER = """
import c2wtasks.engine.sign as _sign
_sign._FIRST, _sign._TICK, _sign.SILENCE = 0.01, 0.01, 0.05
import c2wtasks.graph.lookups as _lookups
_lookups._GRACE = 60
"""
"""The line comes at once, and images are waited for while nothing else is done."""
NO_GRACE = "import c2wtasks.graph.lookups as _lookups\n_lookups._GRACE = 0.05\n"
SLOWLY = """
def _slowly(*arguments):
    _begin(*arguments)
    time.sleep(0.03)
_stages.begin = _slowly
"""
"""A stage takes long enough to be shown."""
LINE = re.compile(r"looking images up: [01] of 2  0:\d\d")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    write_catalog(tmp_path, {"one": "oci:one"})
    return tmp_path


def test_on_a_terminal_a_line_tells_what_is_looked_up_and_goes_again(tmp_path: Path) -> None:
    with registry(tmp_path / "slow", "1", held=True) as slow:
        address = f"127.0.0.1:{slow.server_port}"
        write_catalog(tmp_path, {name: f"docker://{address}/team/{name}:1" for name in ("one", "two")})
        env = hooked(tmp_path / "hook", EAGER)
        with terminal(tmp_path, 80, 24, "-n", "2", **env) as run:
            run.wait_for(lambda lines: any(map(LINE.fullmatch, lines)))
            assert run.screen.cursor.x == 0
            run.resize(40, 12)
            slow.released.set()
            lines = run.end()
    assert run.process.returncode == 0, lines
    check_whole(run, lines)
    assert [line.split()[0] for line in lines[:2]] == ["built", "built"]


def test_elsewhere_a_line_now_and_then(tmp_path: Path) -> None:
    with registry(tmp_path / "slow", "1", held=True) as slow:
        write_catalog(tmp_path, {"one": f"docker://127.0.0.1:{slow.server_port}/team/one:1"})
        env = hooked(tmp_path / "hook", f"{EAGER}_lookups._GRACE = 0.5\n")
        done = run_doit(tmp_path, "--offline", env=env)
        assert done.exit == 1
        with terminal(tmp_path, 80, 24, TERM="dumb", **env) as run:
            run.wait_for(lambda lines: len(lines) > 3)
            slow.released.set()
            lines = run.end()
    assert b"\x1b" not in run.written
    working = [line for line in lines if line.startswith("working")]
    assert any(re.fullmatch(r"working  looking images up: 0 of 1 \(\d+\.\d s\)", line) for line in working), lines
    assert len(working) >= 3
    assert run.process.returncode == 0, lines


def test_what_is_late_is_waited_for_with_a_sign_of_life_when_all_else_is_done(tmp_path: Path) -> None:
    with registry(tmp_path / "slow", "1", held=True) as slow:
        write_catalog(
            tmp_path, {"slow": f"docker://127.0.0.1:{slow.server_port}/team/one:1", "good": f"oci:{tmp_path}/slow"}
        )
        code = f"{NO_GRACE}import c2wtasks.engine.report as _report\n_report.SILENCE = 0.1\n"
        env = hooked(tmp_path / "hook", code)
        with terminal(tmp_path, 80, 24, TERM="dumb", **env) as run:
            run.wait_for(lambda lines: any(line.startswith("working  looking images up") for line in lines))
            slow.released.set()
            run.end()
    assert run.process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1])
def test_interrupted_meanwhile(tmp_path: Path, seconds: float, number: signal.Signals) -> None:
    with registry(tmp_path / "slow", "1", held=True) as slow:
        write_catalog(tmp_path, {"one": f"docker://127.0.0.1:{slow.server_port}/team/one:1"})
        assert interrupted(tmp_path, seconds, number, **hooked(tmp_path / "hook", EAGER)) == 128 + number


@pytest.mark.parametrize("words", [["-r", "json"], ["--reporter=json"], ["one", "-r", "json"], ["-o", "report"]])
def test_what_is_for_programs_has_none(catalog: Path, words: list[str]) -> None:
    done = run_doit(catalog, *words, env=hooked(catalog / "hook", EAGER))
    assert "working" not in done.stdout
    assert done.exit == 1


def test_a_mistake_is_not_written_into_the_line(catalog: Path) -> None:
    (catalog / "bundle.yaml").write_text("imges: {}\n")
    with terminal(catalog, 80, 24, **hooked(catalog / "hook", EAGER)) as run:
        lines = run.end()
    assert run.process.returncode == 3
    assert lines[0].startswith("ERROR: ")
    check_whole(run, lines)


def written_by(use: Callable[[Sign], None]) -> bytes:
    """What a line of a run shows on a terminal, once it was written and `use` has done something with it."""

    def child() -> str:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # another test may have one of its own
        reader, writer = os.pipe()
        own = Sign()
        with open(writer, "wb") as stream:
            stages.begin("looking images up")
            own.follow(stream, 0.0, on_terminal=True)
            own._write(signal.SIGALRM, None)
            use(own)
        with open(reader, "rb") as stream:
            return ascii(stream.read())

    return bytes(ast.literal_eval(in_child(child)))


def test_a_late_signal_of_the_timer_writes_no_line_that_stays() -> None:
    def late(own: Sign) -> None:
        notices.precede = lambda _: own._write(signal.SIGALRM, None)  # once the line was erased
        own.end()

    assert written_by(late).endswith(b"\r\r\x1b[K")


@pytest.mark.parametrize("name", ["end", "clear"])
def test_a_line_that_an_interrupt_keeps_from_being_erased_is_erased_before_what_is_said_next(name: str) -> None:
    def interrupted_there(own: Sign) -> None:
        usual = own._erase

        def stopped() -> None:
            own._erase = usual  # type: ignore[method-assign]
            raise Stopped

        own._erase = stopped  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            getattr(own, name)()
        own.clear()

    assert written_by(interrupted_there).endswith(b"\r\r\x1b[K")


COMMANDS = ["lock", "lock --check", "why", "plan", "verify", "gc --dry-run", "list"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_give_a_sign_of_life_on_a_terminal_too(catalog: Path, command: str) -> None:
    Layout(catalog / "one").image({"a": "1"})
    assert run_doit(catalog).exit == 0
    plain = run_doit(catalog, *command.split())
    slow = f"{EAGER}import time\nimport c2wtasks.telling.stages as _stages\n_begin = _stages.begin\n{SLOWLY}"
    with terminal(catalog, 80, 24, *command.split(), **hooked(catalog / "hook", slow)) as run:
        lines = run.end()
    assert run.process.returncode == plain.exit
    assert re.search(rb"\r\x1b\[K(reading bundle.yaml|making tasks)", run.written)
    check_whole(run, lines)
    ageless = [re.sub(r"  \d+ s", "", line) for line in (*plain.stdout.splitlines(), *plain.stderr.splitlines())]
    assert sorted(re.sub(r"  \d+ s", "", line) for line in lines) == sorted(ageless)


LONG = {"list": "rows.lines", "plan": "plan._line"}


@pytest.mark.parametrize(("command", "of"), LONG.items(), ids=LONG)
def test_the_line_is_gone_when_what_took_long_is_printed(catalog: Path, command: str, of: str) -> None:
    Layout(catalog / "one").image({"a": "1"})
    module, _, name = of.partition(".")
    slow = (
        f"{EAGER}import time\nimport c2wtasks.commands.{module} as _module\n_usual = _module.{name}\n"
        f"def _slowly(*found):\n    time.sleep(0.6)\n    return _usual(*found)\n_module.{name} = _slowly\n"
    )
    plain = run_doit(catalog, *command.split())
    with terminal(catalog, 200, 24, *command.split(), **hooked(catalog / "hook", slow)) as run:
        lines = run.end()
    assert run.written.count(b"\r\x1b[K") > 2
    assert lines == [*plain.stdout.splitlines(), *plain.stderr.splitlines()]


@pytest.mark.parametrize("command", ["lock", "why", "plan", "verify", "why --json", "plan --json", "verify --json"])
def test_commands_give_a_sign_of_life_beside_what_they_say(tmp_path: Path, command: str) -> None:
    with registry(tmp_path / "slow", "1", held=True) as slow:
        write_catalog(tmp_path, {"one": f"docker://127.0.0.1:{slow.server_port}/team/one:1"})
        env = hooked(tmp_path / "hook", EAGER + SHORT_WAITS)
        done = run_doit(tmp_path, *command.split(), env=env)
    working = [line for line in done.stderr.splitlines() if line.startswith("working  ")]
    assert any(line.startswith("working  looking images up: 0 of 1 (") for line in working)
    assert "working" not in done.stdout
    if "--json" in command:
        json.loads(done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_quick_commands_need_none(catalog: Path, command: str) -> None:
    Layout(catalog / "one").image({"a": "1"})
    assert run_doit(catalog).exit == 0
    assert run_doit(catalog, *command.split()).stderr == ""
