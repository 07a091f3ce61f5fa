"""Records by `send`, `recv` and `run`, from real sources over real lines to real sinks."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from brokers import Broker, Client, retained
from cli import Shell, wait_until
from ptys import socat_line
from records import SLOW, reading
from services import Ends

from diode import line
from diode.outflow import Outflow
from diode.plan import Settings
from diode.transmitter import Transmitter


@pytest.fixture
def shell(tmp_path):
    made = Shell(tmp_path)
    yield made
    made.close()


@pytest.fixture
def broker(tmp_path):
    made = []

    def start(name, **how):
        made.append(Broker(tmp_path / name, **how).start())
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def ends(shell):
    made = []

    def start(damage=""):
        made.append(Ends(shell, 115_200, damage))
        return made[-1]

    yield start
    for one in made:
        one.close()


def sending(shell, lines, *options):
    """`diode send --records -` that has been given these lines, its input still open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "diode", "send", "--records", "-", *map(str, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=shell.folder,
        env=shell.environment,
    )
    shell.processes.append(process)
    process.stdin.write(lines)
    process.stdin.flush()
    return process


def read_lines(process, count):
    return [json.loads(process.stdout.readline()) for _ in range(count)]


def test_from_standard_input_over_a_line_to_standard_output(shell, tmp_path):
    with socat_line(tmp_path) as (tx, rx):
        receiver = shell.start("recv", "in", "--records-to", "-", "--from", f"serial:{rx}")
        wait_until((tmp_path / "in" / ".diode").exists)
        lines = b'boiler/temp 21.5\nnonsense\n{"topic":"log/1","payload":"x","retain":true}\n'
        sender = sending(shell, lines, "--every", "log/#", "--to", f"serial:{tx}")
        got = {one["topic"]: one for one in read_lines(receiver, 2)}
        assert got["boiler/temp"]["payload"] == "21.5"
        assert (got["boiler/temp"]["class"], got["log/1"]["class"]) == ("latest", "every")
        assert got["log/1"]["retain"] is True
        assert got["log/1"]["time"] <= got["log/1"]["heard"]
        sender.send_signal(signal.SIGINT)
        sent = shell.finish(sender)
        receiver.send_signal(signal.SIGINT)
        ran = shell.finish(receiver)
    assert sent.code == 130
    assert "line 2 is refused" in sent.err
    assert "1 of them go on next time" in sent.err
    assert "2 records heard" in ran.err
    assert ran.out == ""  # each came once


def test_a_refused_topic_is_escaped_once(shell):
    line_ = '{"topic": "a\\u001b[2J\u00e4", "payload": "1"}\n'
    process = sending(shell, line_.encode(), "--to", "file:line")
    said = b""
    while b"refused" not in said:
        said = process.stderr.readline()
        assert said, "it has ended"
    process.send_signal(signal.SIGINT)
    shell.finish(process)
    assert b"-: refused a\\x1b[2J\\xe4: " in said


def test_what_was_not_repeated_yet_goes_on_at_the_next_start(shell):
    shell.run("keygen", "--link", "link.key")
    options = ("--every", "log/#", "--state", "s", "--link-key", "link.key")
    first = sending(shell, b"log/a 1\nlog/a 2\n", *options, "--to", "file:lost")
    wait_until(lambda: (shell.folder / "lost").exists() and (shell.folder / "lost").stat().st_size)
    wait_until((shell.folder / "s" / "records.db").exists)
    wait_until(lambda: (shell.folder / "lost").stat().st_size > 150)
    first.kill()
    first.communicate()
    second = sending(shell, b"log/a 3\n", *options, "--to", "file:kept")
    wait_until((shell.folder / "kept").exists)
    wait_until(lambda: (shell.folder / "kept").stat().st_size > 150)
    second.send_signal(signal.SIGINT)
    assert "going on with 2 records" in shell.finish(second).err
    records = ("--records-to", "file:out", "--link-key", "link.key")
    assert shell.run("recv", "in", *records, "--from", "file:kept").code == 0
    lines = (shell.folder / "out").read_text().splitlines()
    assert [json.loads(line)["payload"] for line in lines] == ["1", "2", "3"]
    assert shell.run("recv", "in", *records, "--from", "file:lost").code == 0
    assert (shell.folder / "out").read_text().splitlines() == lines  # known by their numbers


def test_a_capture_that_begins_in_the_middle_gives_what_it_has(shell):
    outflow = Outflow(7, Settings(), SLOW, streams=(1, 1))
    transmitter = Transmitter(7, Settings(), SLOW, records=outflow)
    transmitter.first(0.0)
    for number in range(60):
        outflow.every(reading("log/a", b"%d" % number, sequence=number + 1), number, 0.0)
    pieces = []
    while (frames := transmitter.next(1.0)) is not None:
        pieces += line.encoder("cobs").encode(frames).pieces()
    (shell.folder / "part").write_bytes(b"".join(piece.tobytes() for piece in pieces[3:]))
    ran = shell.run("recv", "in", "--records-to", "-", "--from", "file:part")
    numbers = [int(json.loads(text)["payload"]) for text in ran.out.splitlines()]
    assert numbers == list(range(numbers[0], 60))
    assert numbers[0] > 0
    assert f"records 1 to {numbers[0]} of log/a" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("send", "--records", "nowhere:", "--to", "file:x"), "no source of records"),
        (("send", "--every", "a", "--to", "file:x"), "Missing argument"),
        (("send", "--records", "tail:/tmp/x", "--every", "a#", "--to", "file:x"), "no pattern"),
        (("send", "--records", "tail:x?form=csv", "--to", "file:x"), "form="),
        (("send", "-", "--records", "-", "--to", "file:x"), "both want standard input"),
        (("recv", "in", "--records-to", "-", "--json", "--from", "file:x"), "standard output"),
        (("recv", "-", "--records-to", "file:y", "--from", "file:x"), "goes with an inbox"),
        (("recv", "in", "--records-to", "nowhere:", "--from", "file:x"), "no sink of records"),
    ],
)
def test_what_cannot_be(shell, arguments, said):
    ran = shell.run(*arguments)
    assert ran.code == 2
    assert said in ran.err + ran.out


def test_records_are_not_taken_unsigned_where_signatures_are_asked_for(shell):
    shell.run("keygen", "a")
    ran = shell.run("recv", "in", "--records-to", "file:y", "--verify", "a.pub", "--from", "file:x")
    assert ran.code == 2
    assert "--link-key" in ran.err


# From broker to broker ----------------------------------------------------------------------


def services(ends, a, b):
    """A service on each side of a line, from one broker to another."""
    ends.sends(more=f'records = "mqtt://127.0.0.1:{a.port}/#"\nevery = ["log/#"]')
    ends.receives(more=f'records-to = "mqtt://127.0.0.1:{b.port}"')
    ends.receiver.start()
    ends.sender.start()


def connected(inside, outside):
    """Wait until what is published on one side is heard on the other."""

    def through():
        inside.publish("ready", b"1")
        return outside.of("ready")

    wait_until(through, 40)


class Plant:
    """Topics that change once a second on one broker, and how another one follows."""

    def __init__(self, inside, topics, logs):
        self.inside, self.topics, self.logs = inside, topics, logs
        self.values, self.written = {}, 0

    def tick(self, number):
        for topic in range(self.topics):
            self.values[f"value/{topic}"] = b"%d" % number
            self.inside.publish(f"value/{topic}", b"%d" % number, retain=topic % 2 == 0, wait=False)
        for topic in range(self.logs):
            self.inside.publish(f"log/{topic}", b"%d" % number, wait=False)
        self.written = number + 1

    def check_all(self, outside):
        """What was written to logs is there, all, in order and once; values go forward only."""
        for topic in range(self.logs):
            heard = [int(payload) for payload in outside.of(f"log/{topic}")]
            missing = sorted(set(range(self.written)) - set(heard))
            assert (missing, heard) == ([], list(range(self.written))), f"log/{topic}"
        for topic in self.values:
            heard = [int(payload) for payload in outside.of(topic)]
            assert heard == sorted(set(heard)), topic


def test_from_broker_to_broker_over_a_bad_line(broker, ends):
    a, b = broker("a"), broker("b")
    inside, outside = Client(a, ()), Client(b)
    both = ends("drop=10%,seed=3")
    services(both, a, b)
    connected(inside, outside)
    plant = Plant(inside, 10, 2)
    for number in range(20):
        plant.tick(number)
        time.sleep(0.1)
    outside.wait_for(lambda: all(len(outside.of(f"log/{n}")) == 20 for n in range(2)))
    outside.wait_for(lambda: all(outside.last(t) == v for t, v in plant.values.items()))
    plant.check_all(outside)
    kept = retained(b)
    assert kept == retained(a) == {f"value/{n}": b"19" for n in range(0, 10, 2)}
    assert both.sender.stop() == 0
    assert both.receiver.stop() in (0, 130)
    for client in (inside, outside):
        client.close()


@pytest.mark.slow
def test_ten_minutes_with_outages(broker, ends):
    """A tenth of the frames lost, and 2 s of each 30 all of them."""
    a, b = broker("a"), broker("b")
    inside, outside = Client(a, ()), Client(b)
    both = ends("drop=10%,seed=5")
    services(both, a, b)
    connected(inside, outside)
    plant, began, late = Plant(inside, 90, 10), time.monotonic(), []
    for number in range(int(os.environ.get("SECONDS", "600"))):
        both.line.unplugged = number % 30 >= 28
        plant.tick(number)
        time.sleep(max(0.0, began + number + 1 - time.monotonic()))
        if 5 <= number % 30 < 28:  # five seconds after an outage and later
            late.append(max(number - int(outside.last(t) or -99) for t in plant.values))
    both.line.unplugged = False
    outside.wait_for(lambda: all(outside.last(t) == v for t, v in plant.values.items()))
    with contextlib.suppress(AssertionError):  # what is missing is told by the next line
        outside.wait_for(
            lambda: all(len(outside.of(f"log/{n}")) == plant.written for n in range(10))
        )
    plant.check_all(outside)
    print(f"seconds behind: {sorted(late)[len(late) // 2]} median, {max(late)} at most")
    assert max(late) <= 5
    assert retained(b) == retained(a)
    for client in (inside, outside):
        client.close()


def test_brokers_that_are_killed_lose_nothing(broker, ends):
    a, b = broker("a"), broker("b")
    inside, outside = Client(a, (), "inside"), Client(b, name="outside", clean=False)
    both = ends()
    services(both, a, b)
    connected(inside, outside)
    plant = Plant(inside, 4, 1)
    for number in range(5):
        plant.tick(number)
    outside.wait_for(lambda: outside.last("log/0") == b"4")
    b.kill()
    for number in range(5, 10):
        plant.tick(number)
        time.sleep(0.1)
    wait_until(lambda: both.receiver.events("warning"))
    b.start()
    outside.wait_for(lambda: outside.last("log/0") == b"9", 60)
    time.sleep(1.5)  # the broker saves what it knows each second
    a.kill()
    for number in range(10, 15):
        plant.tick(number)  # which the client keeps
    a.start()
    outside.wait_for(lambda: outside.last("log/0") == b"14", 60)
    outside.wait_for(lambda: all(outside.last(t) == v for t, v in plant.values.items()))
    there = [int(payload) for payload in outside.of("log/0")]
    assert sorted(set(there)) == list(range(15))
    assert retained(b) == {"value/0": b"14", "value/2": b"14"}
    for client in (inside, outside):
        client.close()


def test_a_broker_that_forgot_everything_gets_the_table_again(broker, ends):
    a, b = broker("a"), broker("b", keeps=False)
    inside, outside = Client(a, ()), Client(b)
    both = ends()
    services(both, a, b)
    connected(inside, outside)
    inside.publish("value/0", b"7", retain=True)
    outside.wait_for(lambda: outside.last("value/0") == b"7")
    wait_until(lambda: retained(b) == {"value/0": b"7"})
    outside.close()
    b.kill()
    b.start()
    wait_until(lambda: retained(b) == {"value/0": b"7"}, 60)
    inside.close()


def test_a_receiver_that_is_killed_again_and_again(shell, ends):
    """Nothing of `every` is missing, and what was delivered comes again only around a kill."""
    log = shell.folder / "log"
    log.touch()
    both = ends("drop=5%,seed=2")
    both.sends(more=f'records = "tail:{log}?from=start"\nevery = ["log/#"]')
    both.receives(more=f'records-to = "file:{shell.folder}/out"')
    both.receiver.start()
    both.sender.start()
    out = shell.folder / "out"

    def payloads():
        lines = out.read_text().splitlines(keepends=True) if out.exists() else []
        return [int(json.loads(line)["payload"]) for line in lines if line.endswith("\n")]

    def come_to(number):
        wait_until(lambda: payloads() and payloads()[-1] >= number, 60)

    count = 0
    for turn in range(4):
        for _ in range(10):
            with log.open("a") as file:
                file.write(f"log/a {count}\n")
            count += 1
            time.sleep(0.05)
        come_to(count - 10)
        if turn < 3:
            both.receiver.kill()
            both.receiver.start()
    come_to(count - 1)
    there = payloads()
    assert list(dict.fromkeys(there)) == list(range(count))  # the first time, in order
    assert len(there) <= count + 3 * 20  # what was under way to the file at each kill
    assert not both.receiver.events("record_gap")


def test_syslog_and_a_file_into_a_database(shell, ends):
    log, path, database = (shell.folder / name for name in ("log", "syslog", "r.db"))
    log.write_text("old 1\n")
    both = ends()
    sources = json.dumps([f"syslog:{path}", f"tail:{log}"])
    both.sends(more=f'records = {sources}\nevery = ["syslog/#"]')
    both.receives(more=f'records-to = "sqlite:{database}"')
    both.receiver.start()
    both.sender.start()
    wait_until(path.exists)
    message = b"<34>1 2026-01-31T12:00:00Z pump su 77 ID47 - 'su root' failed"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        for text in (message, b"rubbish\xff", b"<13>" + b"x" * 9000, message):
            one.sendto(text, str(path))

    def rows():
        if not database.exists():
            return []
        with (
            contextlib.closing(sqlite3.connect(database)) as db,
            contextlib.suppress(sqlite3.Error),
        ):
            return db.execute("SELECT topic, payload, class FROM records").fetchall()
        return []

    def measured():
        """Until it is heard: what came before it was followed is not sent."""
        with log.open("a") as file:
            file.write("boiler/temp 21.5\n")
        time.sleep(0.2)
        return any(topic == "boiler/temp" for topic, *_ in rows())

    wait_until(measured, 60)
    wait_until(lambda: sum(topic.startswith("syslog/") for topic, *_ in rows()) == 3, 60)
    found = rows()
    assert not any(topic == "old" for topic, *_ in found)
    assert found.count(("syslog/pump/su", message.decode(), "every")) == 2
    assert ("syslog/-/-", b"rubbish\xff", "every") in found
    assert ("boiler/temp", "21.5", "latest") in found
    told = [one["message"] for one in both.sender.events("warning")]
    assert any("refused syslog/-/-" in text for text in told)  # 9,000 bytes


def test_mqtt_3_1_1_with_filters_binary_payloads_and_a_prefix(broker, ends):
    a, b = broker("a"), broker("b")
    inside, outside = Client(a, ()), Client(b)
    inside.publish("plant/kept", b"\x00\xff", retain=True)
    both = ends()
    source = f"mqtt://127.0.0.1:{a.port}/plant/+?version=3.1.1&topic=alarms/%23&qos=0"
    both.sends(more=f'records = "{source}"\nevery = ["alarms/#"]')
    both.receives(more=f'records-to = "mqtt://127.0.0.1:{b.port}/from/a?version=3.1.1"')
    both.receiver.start()
    both.sender.start()
    outside.wait_for(lambda: outside.last("from/a/plant/kept") == b"\x00\xff")
    for number in range(3):
        inside.publish("alarms/fire/1", b"%d" % number)
        inside.publish("plant/line/1", b"not asked for")
    inside.publish("plant/giant", bytes(9000))
    outside.wait_for(lambda: len(outside.of("from/a/alarms/fire/1")) == 3)
    assert outside.of("from/a/alarms/fire/1") == [b"0", b"1", b"2"]
    assert not outside.of("from/a/plant/line/1")
    assert retained(b) == {"from/a/plant/kept": b"\x00\xff"}
    wait_until(lambda: any("plant/giant" in w["message"] for w in both.sender.events("warning")))
    for client in (inside, outside):
        client.close()
