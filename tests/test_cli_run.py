"""`diode run` on both ends of a one-way line: drop folders, priorities, kills, outages, reloads."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli import Shell, children, make, wait_until
from services import FOLDER, SENDER, Ends, Service, drop

from diode.seal import SecretKey
from diode.service.keys import read_secret
from diode.tag import LinkKey


@pytest.fixture
def ends(shell: Shell) -> Iterator[Ends]:
    ends = Ends(shell, damage="drop=3%,flip=1e-6,seed=5")
    yield ends
    ends.close()


# Configurations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["sender", "receiver"])
def test_the_example_can_be_run_once_its_folders_are_there(shell: Shell, role: str) -> None:
    example = shell.run("run", "--example", role)
    (shell.folder / "x.toml").write_text(example.out)
    ran = shell.run("run", "x.toml", "--check")
    if role == "sender":
        assert ran.code == 14
        assert ran.err.count("there is no folder") == 2
        for name in ("urgent", "out"):
            (shell.folder / name).mkdir()
        ran = shell.run("run", "x.toml", "--check")
    assert ran.code == 0, ran.err
    assert f"is a {role}" in ran.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sender]\nto =\n", "line 2"),
        ("[sender]\nto = 'serial:/dev/x'\nprioritys = 1\ndrop = []", "prioritys"),
        ("[sender]\nto = 'serial:/dev/x'\n[[sender.drop]]\nfolder='a'\nsettle='soon'", "settle"),
        ("[receiver]\nfrom = 'serial:/dev/x'\ninbox = 'in'\nverify = ['no.pub']", "no.pub"),
        ("[receiver]\nfrom = 'serial:/dev/x'\ninbox = 'in'\non-alarm = 'nosuch'", "on-alarm"),
        ("[receiver]\nfrom = 'serial:/dev/x'\ninbox = 'a/b/in'", "receiver.inbox"),
    ],
)
def test_mistakes_are_named_and_nothing_is_started(shell: Shell, text: str, says: str) -> None:
    (shell.folder / "x.toml").write_text(text)
    for arguments in (("x.toml",), ("x.toml", "--check")):
        ran = shell.run("run", *arguments)
        assert ran.code == 14
        assert says in ran.err
    assert not (shell.folder / "in").exists()


def test_a_configuration_is_needed(shell: Shell) -> None:
    assert shell.run("run").code == 2
    assert shell.run("run", "nosuch.toml").code == 14


# Files cross ------------------------------------------------------------------------------------


def test_files_of_three_priorities_arrive_once_and_right(ends: Ends) -> None:
    ends.receives().start()
    folders = (("urgent", 9), ("normal", 5), ("bulk", 0))
    ends.sends(*folders, more="passes = 2", after="move").start()
    sent = {}
    for number in range(24):
        folder = ends.shell.folder / folders[number % 3][0]
        name = f"{folder.name}-{number}"
        content = os.urandom(200 + 700 * number)
        drop(folder / name, content)
        sent[name] = content
    drop(ends.shell.folder / "bulk" / "left.tmp", b"unfinished")
    wait_until(lambda: len(ends.receiver.events("object_delivered")) >= 24, 60)
    for name, content in sent.items():
        assert ends.inbox(name).read_bytes() == content
    gone = [ends.shell.folder / name.split("-")[0] / name for name in sent]
    wait_until(lambda: not any(path.exists() for path in gone), 30)
    assert all((path.parent / "sent" / path.name).exists() for path in gone)
    assert (ends.shell.folder / "bulk" / "left.tmp").exists()
    assert not ends.inbox("left.tmp").exists()
    assert ends.sender.stop() == 0
    assert ends.receiver.stop() in (0, 130)
    names = [event["name"] for event in ends.receiver.events("object_delivered")]
    assert sorted(names) == sorted(sent)
    queued = {e["name"]: e["priority"] for e in ends.sender.events("object_queued")}
    assert set(queued.values()) <= {0, 5, 9}


def test_a_sender_that_is_killed_goes_on_with_the_same_numbers(shell: Shell) -> None:
    ends = Ends(shell, 460_800, "drop=2%,seed=6")
    try:
        ends.receives().start()
        sender = ends.sends(("out", 0), more='passes = 2\nredundancy = "50%"')
        content = make(shell.folder / "big", 120_000)
        sender.start()
        drop(shell.folder / "out" / "big", content)
        wait_until(lambda: ends.line.bytes_in > 50_000)
        sender.kill()
        drop(shell.folder / "out" / "later", b"later")
        sender.start()
        wait_until(lambda: len(ends.receiver.events("object_delivered")) >= 2, 60)
        assert ends.inbox("big").read_bytes() == content
        assert ends.inbox("later").read_bytes() == b"later"
        numbers = {e["name"]: e["number"] for e in ends.receiver.events("object_delivered")}
        assert numbers == {"big": 1, "later": 2}
        wait_until(lambda: len(sender.events("object_sent")) >= 2, 60)
        before = len(sender.events("object_queued"))
        assert sender.stop() == 0
        sender.start()  # what stays in the folder is not sent again
        time.sleep(1.5)
        assert len(sender.events("object_queued")) == before
        assert sender.stop() == 0
        assert len(ends.receiver.events("object_delivered")) == 2
    finally:
        ends.close()


def test_a_file_that_changes_while_it_is_sent_is_sent_anew(shell: Shell) -> None:
    ends = Ends(shell, 230_400)
    try:
        ends.receives().start()
        sender = ends.sends(("out", 0)).start()
        path = shell.folder / "out" / "log"
        first = os.urandom(90_000)
        drop(path, first)
        wait_until(lambda: ends.line.bytes_in > 30_000)
        path.write_bytes(b"another one\n" * 1000)
        wait_until(lambda: sender.events("object_void"), 30)
        wait_until(lambda: b"another one\n" * 1000 in contents(ends), 30)
        # What was read before may have been whole; a mixture of both never comes.
        assert set(contents(ends)) <= {first, b"another one\n" * 1000}
    finally:
        ends.close()


def contents(ends: Ends) -> list[bytes]:
    """Of all files in the inbox."""
    folder = ends.shell.folder / "in"
    return [path.read_bytes() for path in folder.iterdir() if path.is_file()]


def test_what_is_urgent_overtakes_a_large_file(shell: Shell) -> None:
    """100 MB at 115,200 baud would take two and a half hours; what is urgent takes a second of the
    line, as this line counts it.
    """
    ends = Ends(shell, 115_200)
    try:
        ends.receives().start()
        ends.sends(("urgent", 9), ("backup", 0)).start()
        with (shell.folder / "backup" / ".big").open("wb") as file:
            file.truncate(100_000_000)
        (shell.folder / "backup" / ".big").rename(shell.folder / "backup" / "big")
        wait_until(lambda: ends.line.bytes_in > 30_000, 60)
        taken = []
        for number in range(3):
            before = ends.line.bytes_in
            drop(shell.folder / "urgent" / f"record{number}", os.urandom(300))
            wait_until(lambda n=number: ends.inbox(f"record{n}").exists(), 20)
            taken.append(ends.line.bytes_in - before)
        assert sorted(taken)[1] < ends.line.rate, taken
        assert not ends.inbox("big").exists()
    finally:
        ends.close()


@pytest.mark.parametrize(
    ("silence", "away"),
    [("1500ms", 0.0), pytest.param("10s", 30.0, id="30 s", marks=pytest.mark.slow)],
)
def test_an_unplugged_line_is_an_alarm_and_costs_nothing(
    shell: Shell, silence: str, away: float
) -> None:
    ends = Ends(shell, 460_800)
    try:
        alarm = shell.folder / "page-me"
        alarm.write_text('#!/bin/sh\necho "$DIODE_ALARM $DIODE_STATE" >> alarms\n')
        alarm.chmod(0o755)
        ends.receives(f'silence = "{silence}"\non-alarm = "{alarm}"').start()
        ends.sends(("out", 0), more="carousel = { last = 10 }").start()
        for number, unplugged in enumerate((False, True, False)):
            if unplugged:
                ends.line.unplugged = True
                since = time.monotonic()
                drop(shell.folder / "out" / f"{number}", os.urandom(3000))
                wait_until(lambda: raised(ends, "silent"), 40)
                time.sleep(max(0.0, since + away - time.monotonic()))
                ends.line.unplugged = False
                wait_until(lambda: raised(ends, "silent") == 2, 20)
            else:
                drop(shell.folder / "out" / f"{number}", os.urandom(3000))
                wait_until(lambda n=number: ends.inbox(str(n)).exists(), 20)
        wait_until(lambda: ends.inbox("1").exists(), 20)  # in the next round
        states = [e["state"] for e in ends.receiver.events("alarm") if e["name"] == "silent"]
        assert states[:2] == ["raised", "cleared"]
        wait_until(lambda: (shell.folder / "alarms").read_text().count("silent") >= 2)
        assert "silent raised\nsilent cleared\n" in (shell.folder / "alarms").read_text()
    finally:
        ends.close()


def raised(ends: Ends, name: str) -> int:
    return sum(event["name"] == name for event in ends.receiver.events("alarm"))


def test_a_line_that_takes_nothing_does_not_hold_up_the_end(shell: Shell) -> None:
    master, slave = os.openpty()  # nobody reads: a few kilobytes, and every write blocks
    path = os.ttyname(slave)
    (shell.folder / "out").mkdir()
    content = os.urandom(200_000)
    drop(shell.folder / "out" / "a", content)
    sender = Service(shell, shell.folder / "sender.toml")
    sender.path.write_text(
        SENDER.format(tx=path, baud=1_000_000, more="")
        + FOLDER.format(name="out", priority=0, settle="0s", after="move")
    )
    sender.start()
    wait_until(lambda: blocked(sender))
    assert sender.stop() == 0
    assert any("in the middle of a write" in e["message"] for e in sender.events("warning"))
    os.close(master)
    os.close(slave)
    ends = Ends(shell)  # the line is mended, and everything goes on
    try:
        ends.receives().start()
        ends.sends(("out", 0), after="move").start()
        wait_until(lambda: ends.inbox("a").exists(), 60)
        assert ends.inbox("a").read_bytes() == content
        assert ends.sender.stop() == 0
    finally:
        ends.close()


def blocked(sender: Service) -> bool:
    """Whether it is in a write for longer than writes take."""
    assert sender.process is not None
    calls = set()
    for _ in range(5):
        calls.add(Path(f"/proc/{sender.process.pid}/syscall").read_text())
        time.sleep(0.1)
    return len(calls) == 1 and calls.pop().split()[0] == "1"  # write, on x86-64


def test_thousands_of_files_in_one_folder(shell: Shell) -> None:
    (shell.folder / "out").mkdir()
    for number in range(3000):
        (shell.folder / "out" / f"{number:05}").write_bytes(b"%d" % number)
    (shell.folder / "sender.toml").write_text(
        '[sender]\nto = "file:cap"\nstate = "tx"\n[[sender.drop]]\nfolder = "out"\n'
        'settle = "100ms"\nafter = "delete"\n'
    )
    sender = Service(shell, shell.folder / "sender.toml").start()
    wait_until(lambda: not any((shell.folder / "out").iterdir()), 60)
    assert sender.stop() == 0
    assert len(sender.events("object_sent")) == 3000
    assert len(sender.events("object_queued")) < 100  # in bundles
    assert shell.run("recv", "in", "--from", "file:cap", timeout=120).code == 0
    there = [path for path in (shell.folder / "in").iterdir() if path.is_file()]
    found = {path.name: path.read_bytes() for path in there}
    assert found == {f"{number:05}": b"%d" % number for number in range(3000)}


# What comes from outside --------------------------------------------------------------------------


def test_a_changed_configuration(ends: Ends) -> None:
    sender = ends.sends(("a", 1), ("b", 2)).start()
    text = sender.path.read_text()
    assert sender.process is not None

    def reload(changed: str) -> None:
        sender.path.write_text(changed)
        sender.process.send_signal(signal.SIGHUP)

    reload(text + "nonsense = 1\n")
    wait_until(lambda: sender.events("warning"))
    assert "stays as it was" in sender.events("warning")[0]["message"]
    reload(text.replace("priority = 1", "priority = 7").replace("500ms", "400ms"))
    wait_until(lambda: sender.events("reloaded"))
    assert sender.events("reloaded")[0]["restart"] == ["heartbeat"]
    drop(ends.shell.folder / "a" / "x", b"x")
    wait_until(lambda: sender.events("object_queued"))
    assert sender.events("object_queued")[0]["priority"] == 7
    receiver = ends.receives().start()
    wait_until(lambda: receiver.events("listening"))
    receiver.path.write_text(receiver.path.read_text() + 'silence = "9s"\n')
    receiver.process.send_signal(signal.SIGHUP)
    wait_until(lambda: receiver.events("reloaded"))
    assert receiver.events("reloaded")[0]["restart"] == ["silence"]
    assert sender.stop() == 0


def test_a_second_one_on_the_same_state_is_refused(ends: Ends) -> None:
    ends.sends(("out", 0)).start()
    assert ends.shell.run("run", "sender.toml").code == 11
    ends.receives().start()
    assert ends.shell.run("recv", "in", "--from", "file:sender.toml").code == 11
    assert ends.shell.run("send", "sender.toml", "--to", "file:x", "--state", "tx").code == 11


def test_how_it_goes_can_be_seen_at_both_ends(ends: Ends) -> None:
    folder = ends.shell.folder
    metrics = 'metrics = { textfile = "%s.prom", listen = "127.0.0.1:0" }'
    ends.receives(metrics % "rx").start()
    ends.sends(("out", 3), more=metrics % "tx").start()
    drop(folder / "out" / "x", b"x")
    wait_until(lambda: ends.inbox("x").exists())
    wait_until(lambda: b"diode_sending_objects_total" in (folder / "tx.prom").read_bytes())
    wait_until(
        lambda: b'diode_objects_total{result="delivered"} 1.0' in (folder / "rx.prom").read_bytes()
    )
    wanted = (b"diode_sending_frames_total", b"diode_frames_total")
    for service, name in zip((ends.sender, ends.receiver), wanted, strict=True):
        (event,) = service.events("metrics")
        with urllib.request.urlopen(event["url"], timeout=5) as answer:
            assert name in answer.read()
    ran = ends.shell.run("status", "tx")
    assert ran.code == 0, ran.err
    assert "SENDING" in ran.out
    assert ends.sender.stop() == 0
    assert "SENDING" not in ends.shell.run("status", "tx").out


def test_processes_with_a_network_never_had_the_keys(ends: Ends) -> None:
    """Those of metrics, records and hooks were forked before there was anything to know."""
    shell = ends.shell
    shell.run("keygen", "plant")
    shell.run("keygen", "--link", "link.key")
    (shell.folder / "log").touch()
    more = (
        'metrics = { listen = "127.0.0.1:0" }\non-alarm = "/bin/true"\n'
        'records = "tail:log"\nsign = "plant"\nlink-key = "link.key"'
    )
    sender = ends.sends(("out", 3), more=more).start()
    assert sender.process is not None
    secrets = [
        read_secret(str(shell.folder / name), kind).raw
        for name, kind in (("plant", SecretKey), ("link.key", LinkKey))
    ]
    mine = sender.process.pid
    others = [*children(mine), *(c for child in children(mine) for c in children(child))]
    assert len(others) >= 4, "metrics, hook, and two of records"
    assert all(secret in memory(mine) for secret in secrets), "else this test sees nothing"
    for other in others:
        there = memory(other)
        name = Path(f"/proc/{other}/comm").read_text()
        assert not any(secret in there for secret in secrets), name
    assert sender.stop() == 0


def memory(process: int) -> bytes:
    """All that a process could have written or been given."""
    found = []
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as mem:
        for line in maps:
            where, mode = line.split()[:2]
            begin, end = (int(number, 16) for number in where.split("-"))
            if mode.startswith("rw"):
                mem.seek(begin)
                with contextlib.suppress(OSError):
                    found.append(mem.read(end - begin))
    return b"".join(found)


def test_what_a_carousel_keeps_leaves_room_for_what_is_new_after_a_restart(shell: Shell) -> None:
    """More than a flow's window of them."""
    (shell.folder / "out").mkdir()
    (shell.folder / "sender.toml").write_text(
        '[sender]\nto = "file:cap"\nstate = "tx"\nbundle = false\ncarousel = { last = 100 }\n'
        '[[sender.drop]]\nfolder = "out"\nsettle = "100ms"\n'
    )
    for number in range(80):
        (shell.folder / "out" / f"{number}").write_bytes(b"%d" % number)
    sender = Service(shell, shell.folder / "sender.toml").start()
    wait_until(lambda: len(sender.events("object_sent")) >= 80, 60)
    assert sender.stop() == 0
    sender.start()
    drop(shell.folder / "out" / "new", b"new")
    wait_until(lambda: any(e["name"] == "new" for e in sender.events("object_sent")), 30)
    assert sender.stop() == 0
    assert len(sender.events("object_queued")) == 81
