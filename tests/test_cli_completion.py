"""Completion: by real shells on a terminal, where they are installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from cli import Shell

from diode.carrier import CARRIERS
from diode.cli import complete, completion, diode
from diode.cli.complete import carriers

SHARE = Path(__file__).resolve().parents[1] / "share"
SCRIPTS = {
    "bash": SHARE / "bash-completion/completions/diode",
    "zsh": SHARE / "zsh/site-functions/_diode",
    "fish": SHARE / "fish/vendor_completions.d/diode.fish",
}
START = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
LOAD = {
    "bash": "bind 'set enable-bracketed-paste off'; source {script}; "
    """bind -x '"\\C-t": printf "(%s)\\n" "$READLINE_LINE"'""",
    "zsh": "unset zle_bracketed_paste; autoload -U compinit; compinit -u -D; source {script}; "
    """tell() {{ print -r -- "($BUFFER)" }}; zle -N tell; bindkey '^T' tell""",
}
AUTOLOAD = LOAD["zsh"].replace("autoload", f"fpath=({SCRIPTS['zsh'].parent} $fpath); autoload")
"""As zsh finds it when it was installed."""
CTRL_T, CTRL_U, TAB = "\x14", "\x15", "\t"
PATIENCE = 30


class Terminal:
    """An interactive shell on a pseudo-terminal."""

    def __init__(
        self, name: str, folder: Path, environment: dict[str, str], load: str = ""
    ) -> None:
        load = load or LOAD[name].format(script=SCRIPTS[name])
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            START[name],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        self.type(load + "; printf 'load%s\\n' ed\r")
        self.wait("loaded\r?\n")

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def wait(self, pattern: str) -> re.Match[str]:
        """Until that is shown."""
        until = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self.shown)) is None:
            assert time.monotonic() < until, f"{pattern!r} is not in {self.shown!r}"
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += os.read(self.ours, 1 << 16).decode(errors="replace")
        return found

    def completed(self, line: str) -> str:
        """The last word of the line after the tab key, as the shell itself has it then."""
        self.shown = ""
        # What is typed ahead waits until the shell has done with the tab.
        self.type(f"{line}{TAB}{CTRL_T}")
        whole = self.wait(r"\((diode [^\r\n]*)\)\r?\n")[1]
        self.type(CTRL_U)
        return whole.split(" ", line.count(" "))[-1].strip(" '")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


class Fish:
    """Fish tells what it would offer without a terminal."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment

    def completed(self, line: str) -> str:
        done = subprocess.run(
            ["fish", "--private", "-c", f"source {SCRIPTS['fish']}; complete -C $LINE"],
            env={**self._environment, "LINE": line},
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        (found,) = [row.split("\t")[0] for row in done.stdout.splitlines()]
        return found.lstrip("'")

    def close(self) -> None:
        """Nothing is left."""


@pytest.fixture(params=[*SCRIPTS, "zsh from fpath"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal | Fish]:
    name = request.param.split()[0]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (apt install {name})")
    (tmp_path / "captures").mkdir()
    program = tmp_path / "diode"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m diode "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "INPUTRC": "/dev/null",
    }
    load = AUTOLOAD.format(script="/dev/null") if "fpath" in request.param else ""
    shell: Terminal | Fish
    if name == "fish":
        shell = Fish(tmp_path, environment)
    else:
        shell = Terminal(name, tmp_path, environment, load)
    yield shell
    shell.close()


def test_a_line_with_the_tab_key(line: Terminal | Fish) -> None:
    """Carrier URLs have the colons and question marks that shells stumble over."""
    for begun, whole in [
        ("diode ins", "inspect"),
        ("diode send x --code leo", "leopard"),
        ("diode send x --to ser", "serial:"),
        ("diode send x --to file:captu", "file:captures/"),
        ("diode send x --to 'serial:x?bau", "serial:x?baud="),
        ("diode send x --to 'wav:x?modem=tele", "wav:x?modem=telephone"),
        ("diode recv captu", "captures/"),
    ]:
        assert line.completed(begun) == whole


# The scripts and what they ask ------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_shipped_scripts_are_what_the_verb_prints(shell: Shell, name: str) -> None:
    ran = shell.run("completion", name)
    assert ran.code == 0, ran.err
    assert SCRIPTS[name].read_text() == ran.out, "make man"


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_scripts_are_right(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (apt install {name})")
    subprocess.run([name, "-n", SCRIPTS[name]], check=True)


def asked(
    monkeypatch: pytest.MonkeyPatch, shell: str, line: str, word: str = ""
) -> list[list[str]]:
    monkeypatch.setenv("DIODE_LINE", line)
    monkeypatch.setenv("DIODE_WORD", word)
    one = completion.SHELLS[shell](diode, {}, "diode", "_DIODE_COMPLETE")
    return [row.split("\t") for row in one.complete().splitlines()]


def values(rows: list[list[str]]) -> list[str]:
    return [row[1] for row in rows]


def items(incomplete: str) -> dict[str, str]:
    context = click.Context(click.Command("x"))
    return {i.value: i.type for i in carriers(context, click.Option(["--to"]), incomplete)}


def test_every_scheme_is_offered_and_described() -> None:
    assert complete.SCHEMES.keys() == CARRIERS.keys()
    assert items("") == {
        "serial:": "more",
        "file:": "more",
        "wav:": "more",
        "pcm:": "more",
        "audio:?": "more",
        "udp://": "more",
        "-": "plain",
    }
    assert items("xyz") == {}


def test_ports_by_the_names_that_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ttyUSB0", "ttyUSB1", "by-id-x"):
        (tmp_path / name).touch()
    monkeypatch.setattr(complete, "_PORTS", (f"{tmp_path}/by-id*", f"{tmp_path}/ttyUSB*"))
    found = [f"serial:{tmp_path}/{name}" for name in ("by-id-x", "ttyUSB0", "ttyUSB1")]
    assert list(items("serial:")) == found
    assert list(items(f"serial:{tmp_path}/tty")) == found[1:]


def test_keys_and_values() -> None:
    assert items("serial:/dev/x?") == {
        "serial:/dev/x?baud=": "more",
        "serial:/dev/x?reopen=": "more",
    }
    assert items("serial:/dev/x?baud=9600&") == {"serial:/dev/x?baud=9600&reopen=": "more"}
    assert "wav:a?rate=8000&modem=robust" in items("wav:a?rate=8000&modem=ro")
    assert items("udp://h:1?mtu=") == {"udp://h:1?mtu=1500": "plain", "udp://h:1?mtu=9000": "plain"}
    assert "udp://h:1?interface=lo" in items("udp://h:1?interface=")
    assert items("-?ra") == {"-?rate=": "more"}
    assert items("nothing:?") == {}
    for scheme in CARRIERS:
        assert items(f"{scheme}:?") or scheme == "-"


def test_files_of_any_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a[b].cap", "a\nb", "über.cap"):
        (tmp_path / name).touch()
    (tmp_path / "a[folder]").mkdir()
    assert items("file:a[") == {"file:a[b].cap": "plain", "file:a[folder]/": "more"}
    assert items("file:ü") == {"file:über.cap": "plain"}
    rows = asked(monkeypatch, "zsh", "diode send x --to file:a")
    assert all(len(row) >= 2 for row in rows)
    assert "b" not in values(rows), "a line end in a name makes no line"


@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("diode send x --to ser", "ser", ["serial:"]),
        ("diode send x --to wav:a?mo", "a?mo", ["a?modem="]),
        ("diode send x --to 'wav:a?mo", "'wav:a?mo", ["wav:a?modem="]),
        ("diode send x --to wav:a?modem=", "=", None),
        ("diode send x --to=ser", "ser", ["serial:"]),
        ("diode recv", "recv", ["recv"]),
    ],
)
def test_bash_gets_the_piece_behind_the_last_break(
    monkeypatch: pytest.MonkeyPatch, line: str, word: str, expected: list[str] | None
) -> None:
    found = values(asked(monkeypatch, "bash", line, word))
    assert found == expected if expected else "robust" in found


def test_choices_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(asked(monkeypatch, "zsh", "diode send x --code ")) == [
        *("zfec", "repeat", "raptorq", "leopard")
    ]
    assert asked(monkeypatch, "zsh", "diode send x --sign pla") == [["file", "pla"]]
    assert asked(monkeypatch, "zsh", "diode recv in") == [["dir", "in"]]
    assert asked(monkeypatch, "fish", "diode comp") == [
        ["plain", "completion", "print what makes a shell complete diode's words"]
    ]


@pytest.mark.parametrize("shell", list(SCRIPTS))
def test_half_a_line_is_no_error(monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    for line in ("", "diode", "diode '", "diode nothing x", "diode send \\", '"', "diode send x -"):
        asked(monkeypatch, shell, line)


def test_the_environment_asks(shell: Shell) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diode"],
        env={**os.environ, "DIODE_LINE": "diode recv", "_DIODE_COMPLETE": "zsh_complete"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "plain\trecv\treceive, and deliver what is whole\n"


def test_whatever_names_something_that_is_there_can_be_completed() -> None:
    """A new verb must not forget it."""
    wants = {"URL", "KEYFILE", "PUBKEY", "PATH...", "INBOX", "CAPTURE..."}
    plain = []

    def look(command: click.Command, path: str) -> None:
        context = click.Context(command)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                look(command.get_command(context, name), f"{path} {name}")
        plain.extend(
            (path, param.name)
            for param in command.params
            if param.metavar in wants and not param.shell_complete(context, "")
        )

    look(diode, "diode")
    assert plain == []
