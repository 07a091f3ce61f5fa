"""Messages from a socket through a source, and through a sink to a socket."""

import socket

import pytest
from brokers import free_port

from diode import endpoint
from diode.acquire import PORTS, syslog
from diode.errors import CarrierError, UsageError
from diode.publish import syslog as sink
from diode.service.record_process import Reading

NEW = b"<34>1 2026-01-31T12:00:00.003Z pump.example su 77 ID47 - 'su root' failed"


@pytest.mark.parametrize(
    ("message", "topic", "at"),
    [
        (NEW, b"syslog/pump.example/su", 1_769_860_800_003_000_000),
        (b"<34>1 - - - - - - x", b"syslog/-/-", None),
        (b"<34>1 yesterday h a - - - x", b"syslog/h/a", None),
        (b"<13>Feb  5 17:32:18 10.0.0.99 backup[7]: done", b"syslog/10.0.0.99/backup", None),
        (b"<13>Feb 15 17:32:18 backup: done", b"syslog/-/backup", None),
        (b"<34>1 - a/b#c +x - - - y", b"syslog/a_b_c/_x", None),
        (b"no message\xff\x1b[2J", b"syslog/-/-", None),
        (b"", b"syslog/-/-", None),
    ],
)
def test_messages(message, topic, at):
    assert syslog.parsed(message) == (topic, at)


class Enough(Exception):
    pass


class Taken:
    def __init__(self, count):
        self.records, self.count, self.listens = [], count, False

    def there(self):
        self.listens = True

    def put(self, topic, payload, **more):
        self.records.append((topic, payload, more))
        if len(self.records) == self.count:
            raise Enough


def heard(text, send, count):
    source = syslog.Source(endpoint.parse(text, PORTS))
    source.prepare()
    with source.listening as one:
        send(one.getsockname())
        taken = Taken(count)
        with pytest.raises(Enough):
            source.run(taken)
    assert taken.listens
    return taken.records


def test_over_udp():
    def send(address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            for message in (NEW + b"\n", b"\xff" * 60_000, b"rubbish"):
                one.sendto(message, address)

    records = heard("syslog://127.0.0.1:0", send, 3)
    assert records[0][:2] == (b"syslog/pump.example/su", NEW)
    assert [len(payload) for _, payload, _ in records] == [len(NEW), 60_000, 7]


def test_over_a_socket_of_this_machine(tmp_path):
    path = tmp_path / "log"

    def send(address):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(NEW, address)

    for _ in range(2):  # the socket of the first run is still there
        assert len(heard(f"syslog:{path}", send, 1)) == 1


def test_where_it_cannot_listen(tmp_path):
    with pytest.raises(UsageError):
        syslog.Source(endpoint.parse("syslog:/nowhere/log", PORTS))
    (tmp_path / "log").write_text("a file")
    with pytest.raises(CarrierError):
        syslog.Source(endpoint.parse(f"syslog:{tmp_path}/log", PORTS)).prepare()


def test_what_was_read_goes_out_as_it_came_and_the_rest_as_messages():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.settimeout(20)
        one = sink.Sink(endpoint.parse(f"syslog://127.0.0.1:{far.getsockname()[1]}", PORTS))
        one.open(print)
        topic = "Öl/temp".encode()
        one.publish(
            [Reading(1, b"syslog/h/a", NEW), Reading(0, topic, b"5\n\x1b", 0, 2, sequence=9)]
        )
        assert far.recv(1000) == NEW
        message = far.recv(1000)
        one._socket.close()
    assert message.startswith(b"<132>1 1970-01-01T00:00:00.000000Z ")
    assert b'quality="bad" sequence="9"' in message
    assert message.endswith(b": 5\\x0a\\x1b")
    assert syslog.parsed(message)[1] == 0


def test_over_tcp_messages_are_counted_and_a_lost_peer_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        one = sink.Sink(endpoint.parse(f"syslog://127.0.0.1:{port}?transport=tcp", PORTS))
        one.publish([Reading(1, b"syslog/h/a", NEW)])
        with server.accept()[0] as far:
            assert far.recv(1000) == b"%d %b" % (len(NEW), NEW)
    one._socket.close()
    with pytest.raises(OSError):
        one.publish([Reading(1, b"syslog/h/a", NEW)])
    nobody = sink.Sink(endpoint.parse(f"syslog://127.0.0.1:{free_port()}?transport=tcp", PORTS))
    with pytest.raises(OSError):
        nobody.publish([Reading(1, b"syslog/h/a", NEW)])
