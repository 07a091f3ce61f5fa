"""`diode status`: real receivers on real lines, asked from outside while they run and after."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from cli import Ran, Shell, make, wait_until
from healths import NOW, a_health, a_line, a_sender
from ptys import socat_line
from test_service_reading_health import leave

from diode.cli import main
from diode.health import (
    Alarm,
    Clock,
    FlowHealth,
    Health,
    LinkState,
    Numbers,
    Refused,
    Sending,
    UnderWay,
    Unfinished,
)
from diode.objects import escape
from diode.service import snapshots

HOSTILE = "<b>\x1b]0;x\x07[red]\n\u202e.sh"


def status(shell: Shell, *arguments: object) -> tuple[int, dict]:
    """The exit code and the JSON of one look."""
    ran = shell.run("status", *arguments, "--json")
    (event,) = ran.events("status")
    return ran.code, event


@pytest.fixture
def look(
    shell: Shell, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """`diode status` in this process, which spares starting another."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.setenv("COLUMNS", "120")

    def looking(*arguments: str) -> Ran:
        capfd.readouterr()
        code = main(["status", *arguments])
        return Ran(code, *capfd.readouterr())

    return looking


def health_of(event: dict) -> Health:
    return msgspec.convert(event["health"], Health)


def now() -> Clock:
    return Clock(snapshots.boot(), time.monotonic())


@contextlib.contextmanager
def listening(shell: Shell, rx: str, *options: str) -> Iterator[subprocess.Popen]:
    receiver = shell.start("recv", "inbox", "--json", "--from", rx, *options)
    shell.listening(receiver)
    yield receiver


# With real receivers ------------------------------------------------------------------------


def test_from_nothing_heard_to_delivered_and_silent(shell: Shell) -> None:
    """A receiver that runs is asked again and again; its alarm is an event, too."""
    make(shell.folder / "report.pdf", 20_000)
    with (
        socat_line(shell.folder) as (tx, rx),
        listening(shell, f"serial:{rx}?baud=1000000", "--silence", "2s") as receiver,
    ):
        wait_until((shell.folder / "inbox/.diode/health.json").exists)
        code, event = status(shell, "inbox")
        assert (code, event["health"]["line"]["state"]) == (4, "unheard")
        assert event["age"] < 4
        assert shell.run("send", "report.pdf", "--to", f"serial:{tx}?baud=1000000").code == 0
        wait_until(lambda: status(shell, "inbox")[1]["health"]["outcomes"]["delivered"])
        wait_until(lambda: status(shell, "inbox")[1]["health"]["line"]["state"] == "silent")
        code, event = status(shell, "inbox")
        (one,) = event["recent"]
        assert (code, one["path"], one["size"], event["well"]) == (3, "report.pdf", 20_000, False)
        assert [alarm["name"] for alarm in event["health"]["alarms"]] == ["silent"]
        shown = shell.run("status", "inbox")
        assert shown.code == 3
        assert "SILENT" in shown.out.splitlines()[0]
        receiver.send_signal(signal.SIGTERM)
        ran = shell.finish(receiver)
    assert [(e["name"], e["state"]) for e in ran.events("alarm")][-1] == ("silent", "raised")
    assert ran.events("alarm")[-1]["hint"]
    code, event = status(shell, "inbox")
    assert event["health"]["line"]["state"] == "stopped"
    assert event["recent"] == [one]


def test_a_receiver_that_is_killed_is_told_of(shell: Shell) -> None:
    with (
        socat_line(shell.folder) as (_tx, rx),
        listening(shell, f"serial:{rx}") as receiver,
    ):
        wait_until((shell.folder / "inbox/.diode/health.json").exists)
        receiver.kill()
        receiver.wait()
    state = shell.folder / "inbox/.diode"
    last = snapshots.read(str(state), "health.json", Health)
    assert last is not None
    earlier = msgspec.structs.replace(last.clock, seconds=last.clock.seconds - 6)
    leave(state, health=msgspec.structs.replace(last, clock=earlier))
    _, event = status(shell, "inbox")
    assert event["health"]["line"]["state"] == "stopped"
    assert [alarm["name"] for alarm in event["health"]["alarms"]] == ["gone"]
    assert "no receiver runs" in shell.run("status", "inbox").out


def test_an_object_that_never_came_and_one_that_is_not_whole(shell: Shell) -> None:
    for number in range(1, 5):
        make(shell.folder / f"{number}.bin", 3000, seed=number)
        to = "file:2.cap" if number == 2 else "file:line.cap?append=1"
        assert shell.run("send", f"{number}.bin", "--to", to).code == 0
    make(shell.folder / "big.bin", 50_000)
    assert shell.run("send", "big.bin", "--to", "file:big.cap").code == 0
    whole = (shell.folder / "big.cap").read_bytes()
    with (shell.folder / "line.cap").open("ab") as line:
        line.write(whole[: len(whole) // 2])
    assert shell.run("recv", "inbox", "--from", "file:line.cap").code == 3
    code, event = status(shell, "inbox")
    health = health_of(event)
    assert code == 3
    assert (health.missing_objects, event["missing_objects"]) == (1, 1)
    assert health.senders[0].missing == [Numbers(2, 2)]
    (big,) = health.unfinished
    assert big.name == "big.bin"
    assert 0 < big.symbols_short < big.symbols
    text = " ".join(shell.run("status", "inbox").out.split())
    assert "missing sender objects next step" in text
    assert "2, 1 in all send them again, then --dismiss" in text
    assert "1 object not whole, see below another pass, or send them again" in text
    assert f"{big.symbols_short:,}" in text
    assert shell.run("recv", "inbox", "--from", "file:big.cap").code == 0
    assert status(shell, "inbox")[0] == 3, "the other is missing still"
    assert shell.run("recv", "inbox", "--from", "file:2.cap").code == 0
    code, event = status(shell, "inbox")
    assert (code, event["well"], event["missing_objects"]) == (0, True, 0)
    assert len(event["recent"]) == 5


def test_refused_objects_and_who_signed(shell: Shell) -> None:
    make(shell.folder / "a.bin", 500)
    make(shell.folder / "b.bin", 500, seed=2)
    assert shell.run("keygen", "k").code == 0
    assert shell.run("send", "a.bin", "--to", "file:cap", "--sign", "k").code == 0
    assert shell.run("send", "b.bin", "--to", "file:cap?append=1").code == 0
    shell.run("recv", "inbox", "--from", "file:cap", "--verify", "k.pub")
    code, event = status(shell, "inbox")
    (refused,) = health_of(event).refused
    assert (code, refused.name, refused.reason) == (3, "b.bin", "unsigned")
    (one,) = event["recent"]
    assert one["path"] == "a.bin" and one["signed_by_key"]
    assert one["signed_by"] in shell.run("status", "inbox").out
    shell.run("recv", "inbox", "--from", "file:cap")
    assert health_of(status(shell, "inbox")[1]).refused == [], "it came after all"


def test_a_state_elsewhere(shell: Shell) -> None:
    make(shell.folder / "a.bin", 500)
    shell.run("send", "a.bin", "--to", "file:cap")
    shell.run("recv", "inbox", "--from", "file:cap", "--state", "memory")
    assert status(shell, "memory")[1]["recent"][0]["path"] == "a.bin"
    assert shell.run("status", "inbox").code == 2


def test_a_sender_of_which_only_numbers_are_known(shell: Shell) -> None:
    make(shell.folder / "a.bin", 500)
    shell.run("send", "a.bin", "--to", "file:cap")
    code, event = status(shell, "state/diode")
    assert (code, event["role"], event["sending"]["highest"]) == (0, "sender", 1)
    assert "secret" not in json.dumps(event)
    assert "IDLE" in shell.run("status", "state/diode").out


def test_numbers_that_are_seen_to_are_missing_no_more(shell: Shell) -> None:
    """Also while a receiver runs, which learns of it from the file, and over its restarts."""
    for number in range(1, 4):
        make(shell.folder / f"{number}.bin", 300, seed=number)
    with (
        socat_line(shell.folder) as (tx, rx),
        listening(shell, f"serial:{rx}?baud=1000000") as receiver,
    ):
        for number in range(1, 4):
            to = "file:lost" if number == 2 else f"serial:{tx}?baud=1000000"
            assert shell.run("send", f"{number}.bin", "--to", to).code == 0
        wait_until(lambda: status(shell, "inbox")[1]["missing_objects"])
        ran = shell.run("status", "inbox", "--dismiss")
        assert (ran.code, ran.err) == (0, "1 missing object dismissed\n")
        state = str(shell.folder / "inbox/.diode")

        def told() -> bool:
            health = snapshots.read(state, "health.json", Health)
            return health is not None and health.well

        wait_until(told)
        receiver.send_signal(signal.SIGTERM)
        events = shell.finish(receiver).events("alarm")
    assert [(e["name"], e["state"]) for e in events if e["name"] == "gap"] == [
        ("gap", "raised"),
        ("gap", "cleared"),
    ]
    assert status(shell, "inbox")[0] == 0
    assert shell.run("send", "2.bin", "--to", "file:again").code == 0
    assert shell.run("recv", "inbox", "--from", "file:again").code == 0
    assert status(shell, "inbox")[0] == 0


# With values --------------------------------------------------------------------------------


@pytest.fixture
def left(shell: Shell) -> Callable[..., None]:
    """Leaves a receiver's health in `inbox`, as of now."""

    def leaving(health: Health) -> None:
        fresh = msgspec.structs.replace(health, time=time.time(), clock=now())
        leave(shell.folder / "inbox/.diode", health=fresh)

    return leaving


WELL = {
    "senders": [a_sender(missing=[], missing_objects=0)],
    "unfinished": [],
    "unfinished_objects": 0,
    "refused": [],
    "alarms": [],
}


@pytest.mark.parametrize(
    ("health", "code"),
    [
        (a_health(**WELL), 0),
        (a_health(a_line(LinkState.ENDED), **WELL), 0),
        (a_health(a_line(LinkState.UNHEARD, frames=0, last_heard=None), **WELL), 4),
        (a_health(**WELL | {"alarms": [Alarm("disk", NOW, "full", "x")]}), 3),
        (a_health(**WELL | {"senders": [a_sender()]}), 3),
        (a_health(), 3),
    ],
)
def test_exit_codes(
    look: Callable[..., Ran], left: Callable[..., None], health: Health, code: int
) -> None:
    left(health)
    assert look("inbox", "--json").code == code
    assert look("inbox").code == code
    assert look("inbox", "--quiet") == Ran(code, "", "")


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_every_number_is_shown_and_lines_are_as_wide_as_they_may(
    look: Callable[..., Ran],
    left: Callable[..., None],
    columns: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    left(a_health())
    out = look("inbox").out
    assert max(map(len, out.splitlines())) <= int(columns)
    words = " ".join(out.split())
    for shown in ("12,345 heard", "67 lost", "4 rejected", "1.0% last minute", "0.5% hour",
                  "25.0% needed last", "50.0% in the last hour", "75.0% at worst",
                  "36 delivered", "2 in quarantine", "10 MB unfinished", "0badcafe"):  # fmt: skip
        assert shown in words, shown
    if columns == "120":
        for shown in ("7, 9 to 12, 5 in all", "12/20", "255", "gap: 5 objects never came",
                      "next: send them again", "0badcafe:40", "evil.exe", "unsigned"):  # fmt: skip
            assert shown in words, shown


def test_names_cannot_do_anything(look: Callable[..., Ran], left: Callable[..., None]) -> None:
    name = escape(HOSTILE)
    left(
        a_health(
            unfinished=[Unfinished("0badcafe", 41, name, 1, NOW, 1, 0, 9, 5)],
            refused=[Refused(NOW, "0badcafe", 40, name, name)],
            alarms=[Alarm("refused", NOW, name, name)],
        )
    )
    for arguments in ((), ("--json",)):
        out = look("inbox", *arguments).out
        assert out.isascii() or not arguments
        assert not set(out) & set("\x1b\x07\u202e\r")
        assert "[red]" in "".join(out.split())


def test_only_ascii(
    shell: Shell, left: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    left(a_health())
    assert shell.run("status", "inbox").out.isascii()


def test_a_sender_that_runs(shell: Shell) -> None:
    sending = Sending(
        time.time(), time.time() - 60, "0badcafe", ["serial:/dev/x"], True, 1234, 56_789, 11_520,
        42, 40, 1, [FlowHealth("urgent", 9, 3, 4500)],
        [UnderWay(42, "big.iso", 10**9, 1, 3, "backups")], [], 7, now(),
    )  # fmt: skip
    leave(shell.folder / "state", sending=sending)
    ran = shell.run("status", "state")
    words = " ".join(ran.out.split())
    for shown in ("SENDING", "0badcafe", "1,234 frames", "40 sent", "1 failed", "urgent 9 3",
                  "42 big.iso 1 GB 1/3 backups", "7 repeated"):  # fmt: skip
        assert shown in words, shown
    assert ran.code == 0
    event = status(shell, "state")[1]
    assert msgspec.convert(event["sending"], Sending) == sending
    late = msgspec.structs.replace(sending.clock, seconds=sending.clock.seconds - 60)
    leave(shell.folder / "state", sending=msgspec.structs.replace(sending, clock=late))
    assert shell.run("status", "state").code == 3
    assert "GONE" in shell.run("status", "state").out


def test_follow_gives_a_line_a_second(shell: Shell, left: Callable[..., None]) -> None:
    left(a_health(**WELL))
    following = shell.start("status", "inbox", "--follow", "--json")
    first = json.loads(following.stdout.readline())
    left(a_health())
    wait_until(lambda: not json.loads(following.stdout.readline())["well"])
    following.send_signal(signal.SIGINT)
    assert shell.finish(following).code == 130
    assert first["well"]
    assert shell.run("status", "inbox", "--follow").code == 2


def test_a_signal_ends_follow_wherever_it_hits() -> None:
    """A lock that its handler takes, too, is one that it may hold already."""
    program = (
        "import os, random, signal, threading, time\n"
        "from diode.cli import status\n"
        "from diode.cli.report import Report\n"
        "status.EACH = 0\n"
        "status._tell = lambda *_: None\n"
        "def soon():\n"
        "    time.sleep(0.002 * random.random())\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "for _ in range(500):\n"
        "    killer = threading.Thread(target=soon)\n"
        "    read = lambda: killer.ident or killer.start()\n"  # once a signal is provided for
        "    assert status._follow(Report(json_=True), read) == 130\n"
        "    killer.join()\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_follow_on_a_terminal(shell: Shell, left: Callable[..., None]) -> None:
    left(a_health(**WELL))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "diode", "status", "inbox", "--follow"],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=shell.folder,
        env={**shell.environment, "TERM": "xterm", "COLUMNS": "100", "LINES": "50"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def shows(word: bytes) -> bool:
        nonlocal seen
        seen += os.read(ours, 65_536)
        return word in seen

    try:
        wait_until(lambda: shows(b"UP"))
        assert b"SILENT" not in seen
        left(a_health(a_line(LinkState.SILENT, silent_since=NOW)))
        wait_until(lambda: shows(b"SILENT"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
