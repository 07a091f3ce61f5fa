"""The vital signs of records: sources and sinks that come and go, in status, metrics and alarms."""

from __future__ import annotations

import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from brokers import Broker
from cli import Shell, wait_until
from healths import NOW, a_health, records_out
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from records import SLOW, reading
from rich.console import Console
from services import Ends, Service
from test_service_vitals import Watch, seconds

from diode import events, line
from diode.cli import status_records
from diode.cli.alarming import AlarmHook
from diode.cli.report import Report
from diode.cli.status_words import Look
from diode.errors import UsageError
from diode.health import Alarm, Health
from diode.outflow import Outflow
from diode.plan import Settings
from diode.record import LATEST, Record
from diode.record_health import RecordsIn, Sink, away
from diode.service import record_presence, snapshots
from diode.service.record_delivery import NoRecipient
from diode.service.record_examining import GAPS, RecordExaminer
from diode.service.record_presence import Presence
from diode.service.record_process import Said
from diode.transmitter import Transmitter

# Two services and what comes and goes beside them ------------------------------------------------

HOOK = """#!/bin/sh
echo "$DIODE_ALARM $DIODE_STATE" >> {}
"""


@pytest.fixture
def ends(shell: Shell) -> Iterator[Ends]:
    ends = Ends(shell, 115_200)
    yield ends
    ends.close()


def hook(shell: Shell, name: str) -> Path:
    """A program for on-alarm, and the file that it writes to: its own name and .told."""
    program, told = shell.folder / name, shell.folder / f"{name}.told"
    program.write_text(HOOK.format(told))
    program.chmod(0o755)
    told.touch()
    return told


def status(shell: Shell, where: str) -> dict:
    (event,) = shell.run("status", where, "--json").events("status")
    return event


def scraped(service: Service) -> dict[tuple[str, ...], float]:
    url = service.events("metrics")[0]["url"]
    text = urllib.request.urlopen(url, timeout=20).read().decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def alarms(service: Service) -> list[tuple[str, str]]:
    return [(event["name"], event["state"]) for event in service.events("alarm")]


class Logs:
    """A server of syslog over TCP that is not there at first."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = one.getsockname()[1]
        self.heard = b""

    def start(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        one, _ = self._server.accept()
        with one:
            while data := one.recv(1 << 16):
                self.heard += data

    def close(self) -> None:
        self._thread.join(20)
        self._server.close()


def started(ends: Ends, logs: Logs) -> tuple[Path, Path]:
    """Both services; what their hooks are told."""
    shell = ends.shell
    for folder in ("log", "out"):
        (shell.folder / folder).mkdir()
    (shell.folder / "log/plant").touch()
    common = 'records-away = "2s"\nmetrics = { listen = "127.0.0.1:0" }\n'
    heard, told = hook(shell, "heard"), hook(shell, "sent")
    sinks = f'["file:out/all.jsonl", "syslog://127.0.0.1:{logs.port}?transport=tcp"]'
    ends.receives(f'{common}on-alarm = "{shell.folder}/heard"\nrecords-to = {sinks}').start()
    more = f'{common}on-alarm = "{shell.folder}/sent"\nevery = ["alarms/#"]\n'
    ends.sends(more=f'{more}records = ["tail:log/plant", "tail:log/later"]').start()
    return heard, told


def test_both_ends_tell_of_records_and_ring_for_what_is_away(ends: Ends) -> None:
    shell, logs = ends.shell, Logs()
    heard, sent = started(ends, logs)
    with (shell.folder / "log/plant").open("a") as file:
        for number in range(5):
            file.write(f"boiler/temp{number} 20.5\nalarms/pump {number}\n")
        file.write('{"topic": "a/#", "payload": "1"}\n')
    wait_until(lambda: ("sink_away", "raised") in alarms(ends.receiver), 60)
    wait_until(lambda: ("source_away", "raised") in alarms(ends.sender), 60)
    wait_until(lambda: status(shell, "in")["health"]["records"]["every"] == 5, 60)
    _while_it_is_away(ends, f"127.0.0.1:{logs.port}")
    logs.start()
    (shell.folder / "log/later").touch()
    wait_until(lambda: ("sink_away", "cleared") in alarms(ends.receiver), 60)
    wait_until(lambda: ("source_away", "cleared") in alarms(ends.sender), 60)
    wait_until(lambda: "sink_away cleared" in heard.read_text(), 60)
    wait_until(lambda: "source_away cleared" in sent.read_text(), 60)
    assert heard.read_text().split("\n")[:2] == ["sink_away raised", "sink_away cleared"]
    wait_until(lambda: status(shell, "in")["health"]["records"]["sinks"][1]["waiting"] == 0, 60)
    assert status(shell, "in")["well"]
    assert b"alarms/pump" in logs.heard
    assert ends.sender.stop() == 0
    assert ends.receiver.stop() in (0, 130)
    _when_it_is_over(shell)
    logs.close()


def _while_it_is_away(ends: Ends, address: str) -> None:
    """What is asked of both ends agrees, whoever is asked."""
    event = status(ends.shell, "in")
    records = event["health"]["records"]
    there, gone = records["sinks"]
    assert not event["well"]
    assert (records["latest"], records["every"], records["missing"]) == (5, 5, 0)
    assert records["topics"] == 6
    assert there["there"] is True
    assert (gone["there"], gone["taken"], gone["waiting"]) == (False, 0, 10)
    assert address in gone["name"]
    assert gone["away_seconds"] >= 2
    assert "refused" in gone["why"]
    found = scraped(ends.receiver)
    assert found["diode_records_heard_total", "every"] == 5
    assert found["diode_records_waiting", gone["name"]] == 10
    assert found["diode_records_sink_away_seconds", gone["name"]] > 2
    wait_until(lambda: scraped(ends.receiver)["diode_alarm", "sink_away"] == 1)
    shown = " ".join(ends.shell.run("status", "in").out.split())
    assert "5 of latest · 5 of every" in shown.replace("|", "·")
    assert "! sink_away:" in shown
    sending = status(ends.shell, "tx")["sending"]
    records = sending["records"]
    plant, later = records["sources"]
    assert (records["latest"], records["every"], records["refused"]) == (5, 5, 1)
    assert (records["waiting"], records["dropped"], records["topics"]) == (0, 0, 6)
    assert 0 <= records["kept_bytes"] < records["quota"]
    assert (plant["there"], plant["taken"], plant["away_since"]) == (True, 10, None)
    assert later["there"] is False
    assert "no such file" in later["why"]
    assert [alarm["name"] for alarm in sending["alarms"]] == ["source_away"]
    found = scraped(ends.sender)
    assert found["diode_sending_records_total", "latest"] == 5
    assert found["diode_sending_records_refused_total",] == 1
    assert found["diode_sending_records_source_away_seconds", "tail:log/later"] > 2
    shown = " ".join(ends.shell.run("status", "tx").out.split())
    assert "1 refused" in shown
    assert "! source_away: tail:log/later is away" in shown


def _when_it_is_over(shell: Shell) -> None:
    """What was known last is what is told."""
    event = status(shell, "in")
    assert event["health"]["line"]["state"] == "stopped"
    assert event["health"]["records"]["every"] == 5
    assert [sink["taken"] for sink in event["health"]["records"]["sinks"]] == [10, 10]
    assert "STOPPED" in shell.run("status", "in").out
    sending = status(shell, "tx")["sending"]
    assert not sending["running"]
    assert sending["records"]["every"] == 5


def test_brokers_that_go_are_away_at_once_and_there_when_they_are_back(ends: Ends) -> None:
    """Also while nothing is published."""
    shell, brokers = ends.shell, [Broker(ends.shell.folder / name) for name in "ab"]
    (inside, outside) = brokers
    try:
        for broker in brokers:
            broker.start()
        ends.receives(f'records-to = "mqtt://127.0.0.1:{outside.port}"').start()
        ends.sends(more=f'records = "mqtt://127.0.0.1:{inside.port}/#"').start()

        def states() -> list[bool | None]:
            sinks = status(shell, "in")["health"]["records"]["sinks"]
            sources = status(shell, "tx")["sending"]["records"]["sources"]
            return [sinks[0]["there"], sources[0]["there"]]

        wait_until(lambda: states() == [True, True], 60)
        for broker in brokers:
            broker.kill()
        wait_until(lambda: states() == [False, False], 60)
        for broker in brokers:
            broker.start()
        wait_until(lambda: states() == [True, True], 60)
        assert status(shell, "in")["health"]["alarms"] == [], "it was not away for 60 s"
    finally:
        for broker in brokers:
            broker.close()


def test_a_gap_is_named_and_rings(shell: Shell) -> None:
    outflow = Outflow(7, Settings(), SLOW, streams=(1, 1))
    transmitter = Transmitter(7, Settings(), SLOW, records=outflow)
    transmitter.first(0.0)
    for number in range(60):
        outflow.every(reading("log/a\u00e4", b"%d" % number, sequence=number + 1), number, 0.0)
    pieces: list = []
    while (frames := transmitter.next(1.0)) is not None:
        pieces += line.encoder("cobs").encode(frames).pieces()
    (shell.folder / "part").write_bytes(b"".join(piece.tobytes() for piece in pieces[3:]))
    to = ("--records-to", "file:out")
    ran = shell.run("recv", "in", *to, "--from", "file:part", "--json")
    (alarm,) = ran.events("alarm")
    (told,) = ran.events("record_gap")
    assert (alarm["name"], alarm["state"]) == ("record_gap", "raised")
    event = status(shell, "in")
    records = event["health"]["records"]
    (gap,) = records["gaps"]
    assert (gap["sender"], gap["topic"], gap["first"]) == ("00000007", "log/a\\xe4", 1)
    assert (gap["last"], records["missing"]) == (told["last"], told["last"])
    assert records["every"] == 60 - gap["last"]
    assert records["newest"] <= event["health"]["time"]
    (one,) = event["health"]["alarms"]
    assert f"{gap['last']} records never came, the last of log/a\\xe4" in one["text"]
    shown = shell.run("status", "in").out
    assert f"1 to {gap['last']}" in shown
    assert "log/a\\xe4" in shown
    shell.run("recv", "in", *to, "--from", "file:part")  # an hour has not passed, but a restart
    assert status(shell, "in")["health"]["records"]["gaps"] == [gap], "remembered over a restart"


def test_without_records_nothing_is_told_of_them(shell: Shell) -> None:
    (shell.folder / "x").write_text("x")
    shell.run("send", "x", "--to", "file:line")
    assert shell.run("recv", "in", "--from", "file:line").code == 0
    assert status(shell, "in")["health"]["records"] is None
    assert "  records  " not in shell.run("status", "in").out


# Whether a peer is there --------------------------------------------------------------------------


def test_presence(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Presence()
    assert one.there is None
    assert one.away == (None, 0.0, "")
    one.hear(Said("just a word"))
    assert one.there is None
    one.hear(Said("no broker\x1b", there=False))
    since = one.away.since
    assert since is not None
    assert one.away.why == "no broker\\x1b"
    one.hear(Said("its process died", there=False))
    assert (one.away.since, one.away.why) == (since, "its process died")
    one.begun()
    assert (one.there, one.away.since) == (False, since), "it may die at once again"
    monkeypatch.setattr(record_presence, "SELDOM", 0.0)
    assert (one.there, one.away.since) == (None, None), "it runs, and says nothing"
    one.lose("no broker")
    assert one.there is False
    one.hear(Said(there=True))
    assert (one.there, one.away.since) == (True, None)
    one.gave()
    assert one.away.since is None, "it has some time"
    monkeypatch.setattr(record_presence, "HANGS", 0.0)
    assert one.away.why == "it does not answer"
    one.took()
    assert one.away.since is None


def test_who_is_away_for_too_long() -> None:
    def sink(name: str, since: float | None, seconds: float) -> Sink:
        return Sink(name, since is None, since, seconds, "", 0, 0)

    peers = [sink("a", None, 0.0), sink("b", NOW, 59.0), sink("c", NOW, 60.0)]
    assert [one.name for one in away(peers, 60.0)] == ["c"]


# A session that is looked at ----------------------------------------------------------------------


class Dropping(NoRecipient):
    """Sinks that drop more and more."""

    def __init__(self) -> None:
        self.dropped = 0

    def tick(self, *, live: bool) -> None:
        self.dropped += 1

    def health(self) -> RecordsIn:
        return RecordsIn(dropped=min(self.dropped, 3))


def test_dropped_records_ring_until_an_hour_after_the_last(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.run(*seconds(3700), records=Dropping())
    watch.close()
    assert [told for told in watch.told if told[0] == "records_dropped"] == [
        ("records_dropped", True),
        ("records_dropped", False),
    ]
    assert watch.healths[-1].records.dropped == 3


def test_what_is_remembered_of_gaps_is_bounded() -> None:
    before = RecordsIn(newest=5.0, gaps=list(a_health().records.gaps))
    one = RecordExaminer(before)
    for number in range(2 * GAPS):
        one.hear(events.RecordGap(7, 1, b"\x1b", number, number), 10.0, NOW)
    one.hear(events.RecordsHeard(7, LATEST, 1, [Record(b"t", b"1")]), 11.0, NOW + 1)

    inflow = SimpleNamespace(new=[1, 2], known=3, gaps=2 * GAPS, topics=5)
    found = one.look(
        SimpleNamespace(
            records=SimpleNamespace(health=RecordsIn), receiver=SimpleNamespace(records=inflow)
        ),
        15.0,
        NOW + 9000,  # the wall clock was set meanwhile
    )
    assert len(found.gaps) == GAPS
    assert found.gaps[-1].topic == "\\x1b"
    assert (found.latest, found.every, found.known, found.newest) == (1, 2, 3, NOW + 8996)


# How it is shown ----------------------------------------------------------------------------------


def drawn(*tables: object) -> str:
    console = Console(width=140, force_terminal=False)
    with console.capture() as capture:
        for table in tables:
            console.print(table)
    return " ".join(capture.get().split())


def test_figures_and_tables_of_both_ends() -> None:
    health = a_health()
    look = Look()
    words = status_records.figures(health.records, health.time, look)
    assert words.startswith("1,200 of latest | 45 of every | the newest 2 s ago | 90 topics")
    for part in ("678 heard again", "3 missing", "11 dropped", "1 waiting for the disk"):
        assert part in words
    assert "none heard yet" in status_records.figures(RecordsIn(), NOW, look)
    titles, tables = zip(*status_records.tables(health.records, NOW), strict=True)
    assert len(titles) == 3
    text = drawn(*tables)
    for part in ("there is no broker", "away for 50 s", "344", "alarms/pump", "7 to 9", "11"):
        assert part in text
    words = status_records.offered(records_out(), look)
    for part in ("1,300 of latest", "20 replaced", "700 repeated", "2 refused", "4 dropped"):
        assert part in words
    assert "12 kept to be repeated (6 kB of at most 67.1 MB)" in words
    sources = list(records_out().sources)
    sources.append(replace(sources[0], name="-", ended=True))
    text = drawn(status_records.sources(records_out(sources=sources), NOW)[1])
    for part in ("tail:/var/log/plant there 1,340", "away for 70 s", "- at its end"):
        assert part in text


# The hook for alarms ------------------------------------------------------------------------------


def test_a_hook_that_fails_is_told(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = Report(json_=False, quiet=False, verbose=False)
    one = AlarmHook(report, "sender", ["/bin/false"])
    one.begin()
    one.run(Alarm("disk", NOW, "full", "make room"), True)
    said = []

    def failed() -> bool:
        one.tell()
        said.append(capfd.readouterr().err)
        return "the hook for the alarm disk failed" in "".join(said)

    wait_until(failed, 20)
    one.close()
    with pytest.raises(UsageError, match=r"sender\.on-alarm"):
        AlarmHook(report, "sender", [str(tmp_path / "nosuch")])


def test_a_health_with_records_comes_back_from_its_file(tmp_path: Path) -> None:
    """Also one of a version that knew nothing of them."""
    folder = os.open(tmp_path, os.O_RDONLY)
    snapshots.write(folder, snapshots.HEALTH, a_health())
    os.close(folder)
    assert snapshots.read(str(tmp_path), snapshots.HEALTH, Health) == a_health()
    path = tmp_path / snapshots.HEALTH
    old = json.loads(path.read_text())
    del old["records"]
    path.write_text(json.dumps(old))
    assert snapshots.read(str(tmp_path), snapshots.HEALTH, Health) == a_health(records=None)
