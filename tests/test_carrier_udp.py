"""The carrier of datagrams, with real sockets on the loopback interface.

Over two network namespaces, with a firewall in between: test_namespaces.py.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import json
import os
import re
import select
import signal
import socket
import struct
import threading

import numpy as np
import pytest
from cli import Shell, make
from hypothesis import given
from hypothesis import strategies as st
from pair import examples
from ptys import FakeTime, noise
from test_layers import closure, tree

from diode.carrier import ROOM, interface, open_receiving, open_sending, sockets
from diode.carrier.ring import LEAST
from diode.carrier.separate import open_separate
from diode.carrier.udp_receiving import LONGEST, QUIET
from diode.carrier.udp_sending import CALL, SEGMENTS, runs
from diode.confine import Confinement
from diode.errors import CarrierError, UsageError
from diode.frame import EMPTY, Frames

HERE = {4: "127.0.0.1", 6: "[::1]"}


def has(version: int) -> bool:
    with contextlib.suppress(OSError):
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((HERE[version].strip("[]"), 0))
            return True
    return False


VERSIONS = pytest.mark.parametrize(
    "version",
    [4, pytest.param(6, marks=pytest.mark.skipif(not has(6), reason="this machine has no IPv6"))],
)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def ends(to: str = "", at: str = "", *, host: str = HERE[4], **options):
    """Both ends open, as (sender, receiver); `to` and `at` are queries of their URLs."""
    port = free_port()
    receiver = open_receiving(f"udp://{host}:{port}?buffer=4M{at}", **options)
    sender = open_sending(f"udp://{host}:{port}?rate=unlimited{to}", **options)
    yield sender, receiver
    sender.close()
    receiver.close()


def hear(receiver, count: int) -> list[bytes]:
    """That many datagrams, or those that came within some seconds."""
    found: list[bytes] = []
    while len(found) < count and (frames := receiver.read(5)) is not None:
        assert frames != b""
        found += [bytes(piece) for piece in frames.pieces()]
    return found


def mixed(count: int) -> Frames:
    """Datagrams as a transmission has them: mostly of one length, some shorter, some longer."""
    rng = np.random.default_rng(1)
    lengths = np.where(rng.random(count) < 0.9, 1472, rng.integers(1, 1473, count))
    lengths[count // 2 :][rng.random(count - count // 2) < 0.3] = 259
    return Frames(
        rng.integers(0, 256, int(lengths.sum()), np.uint8), np.cumsum(lengths, dtype=np.int64)
    )


# Across ---------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("gro", [0, 1])
@pytest.mark.parametrize("gso", [0, 1])
def test_every_datagram_arrives_as_it_was_sent(version: int, gso: int, gro: int) -> None:
    with ends(f"&gso={gso}", f"&gro={gro}", host=HERE[version]) as (sender, receiver):
        frames = mixed(600)
        sender.write(frames)
        sender.write(EMPTY)
        sender.drain()
        assert hear(receiver, 600) == [bytes(piece) for piece in frames.pieces()]
        assert receiver.read(0) is None
        assert receiver.datagrams.received == 600
        assert sender._segmented == bool(gso)
    assert receiver.read(None) == b""
    assert receiver.read_into(memoryview(bytearray(LONGEST)), None) is None


def test_a_batch_comes_in_one_piece_into_given_memory() -> None:
    with ends() as (sender, receiver):
        data = noise(40 * 1000 + 7)
        cut = Frames(np.frombuffer(data, np.uint8), np.append(np.arange(1, 41) * 1000, len(data)))
        sender.write(cut)
        memory = bytearray(2 * LONGEST)
        got, at = [], 0
        while at < len(data):
            count, piece = receiver.read_into(memoryview(memory)[at:], 5)
            got.append((count, piece))
            at += count
        assert bytes(memory[:at]) == data
        if got != [(40_007, 1000)]:
            pytest.skip(f"this kernel does not put datagrams together on loopback: {got[:2]}")
        sender.write(Frames.of_pieces([b"alone"]))
        assert receiver.read_into(memoryview(memory), 5) == (5, 5)
        assert bytes(memory[:5]) == b"alone"
        assert receiver.read_into(memoryview(memory), 0) is None


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 12, 259, 1472, 16_384, 60_000]), st.integers(1, 150)),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
@examples(200)
def test_runs_are_what_a_kernel_can_cut(parts, data) -> None:
    lengths = [length for length, count in parts for _ in range(count)]
    pieces = np.cumsum(np.array(lengths, np.int64))
    first = data.draw(st.integers(0, len(lengths)))
    last = data.draw(st.integers(first, len(lengths)))
    turns = np.flatnonzero(np.diff(lengths)) + 1
    at = first
    for begin, end, size in runs(pieces, turns, first, last):
        assert begin == at < end
        assert all(length == size for length in lengths[begin : end - 1])
        assert lengths[end - 1] <= size
        assert end - begin <= SEGMENTS
        assert end - begin == 1 or sum(lengths[begin:end]) <= CALL
        at = end
    assert at == last


def test_a_kernel_that_does_not_cut_is_found_out() -> None:
    """Without check sums the kernel refuses UDP_SEGMENT; every datagram goes alone then."""
    with ends() as (sender, receiver):
        assert sender._segmented
        sender._socket.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        frames = mixed(300)
        sender.write(frames)
        assert not sender._segmented
        assert hear(receiver, 300) == [bytes(piece) for piece in frames.pieces()]


def test_multicast_and_broadcast() -> None:
    port = free_port()
    for host, to in (("239.77.1.1", "&ttl=1"), ("127.255.255.255", "&broadcast=1")):
        receiver = open_receiving(f"udp://{host}:{port}?interface=lo&buffer=1M")
        sender = open_sending(f"udp://{host}:{port}?interface=lo&rate=unlimited{to}")
        frames = mixed(50)
        sender.write(frames)
        assert hear(receiver, 50) == [bytes(piece) for piece in frames.pieces()]
        sender.close()
        receiver.close()


def test_broadcast_is_asked_for() -> None:
    sender = open_sending(f"udp://127.255.255.255:{free_port()}")
    with pytest.raises(CarrierError, match="cannot be sent to") as caught:
        sender.write(Frames.of_pieces([b"x"]))
    assert "broadcast=1" in caught.value.hint
    sender.close()


# One way --------------------------------------------------------------------------------------


def test_nothing_reaches_a_sender() -> None:
    """T94: what is sent to its port is dropped before it is kept, and that cannot be undone."""
    with ends() as (sender, receiver):
        sender.write(Frames.of_pieces([b"first"]))
        link = sender._socket
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(3):
                stranger.sendto(b"a word for the sender", ("127.0.0.1", link.getsockname()[1]))
        queued = struct.unpack("=9I", link.getsockopt(socket.SOL_SOCKET, 55, 36))
        assert (queued[0], queued[8]) == (0, 3)  # bytes held, datagrams dropped
        assert not readable(link)
        with pytest.raises(OSError, match=os.strerror(errno.EPERM)):
            link.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER
        with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
            link.getpeername()
        sender.write(Frames.of_pieces([b"second"]))
        assert hear(receiver, 2) == [b"first", b"second"]


def readable(link: socket.socket) -> bool:
    """Whether there is a datagram to be read; the end that `shutdown` made is none."""
    try:
        return bool(link.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_receiver_cannot_send() -> None:
    with ends() as (_, receiver), pytest.raises(BrokenPipeError):
        receiver._socket.sendto(b"x", ("127.0.0.1", 9))


def test_a_dead_port_is_no_error() -> None:
    """T94: whatever ICMP says, nobody listens to it."""
    sender = open_sending(f"udp://127.0.0.1:{free_port()}?rate=unlimited")
    for _ in range(20):
        sender.write(mixed(20))
    sender.drain()
    assert sender.retried == 0
    sender.close()
    sender.close()


def test_no_code_of_the_sender_connects_or_receives() -> None:
    """T94: of what `send` may load, only the question to the routing table is answered at all."""
    forbidden = {"connect", "connect_ex", "accept", "listen", "recv", "recvfrom", "recvmsg"}
    forbidden |= {"recv_into", "recvfrom_into", "recvmsg_into", "create_connection"}
    loaded = closure("diode.cli.send") | closure("diode.carrier.udp")
    loaded -= {"diode.carrier.udp_receiving"}
    called = {
        (name, node.attr)
        for name in loaded
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Attribute) and node.attr in forbidden
    }
    assert called == {
        ("diode.carrier.interface", "recv"),
        ("diode.service.coders", "recv"),  # of a process of ours
        ("diode.service.record_process", "recv"),  # of one, too
        ("diode.database", "connect"),  # to a file in the state folder
        ("diode.service.notify", "connect"),  # to whoever started this process
    }
    assert "diode.carrier.udp_receiving" not in {
        module.name
        for node in ast.walk(tree("diode.carrier.udp_sending"))
        if isinstance(node, ast.Import)
        for module in node.names
    }


# What is strange ------------------------------------------------------------------------------


def test_strange_datagrams_are_counted() -> None:
    """T86: empty, cut, and from elsewhere."""
    with ends(at="&source=127.0.0.1") as (sender, receiver):
        to = receiver._socket.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.9", 0))
            stranger.sendto(b"from elsewhere", to)
            run = [(socket.IPPROTO_UDP, 103, struct.pack("=H", 100))]
            stranger.sendmsg([bytes(1050)], run, 0, to)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            near.bind(("127.0.0.1", 0))
            near.sendto(b"", to)
        assert receiver.read(0.2) is None
        assert receiver.datagrams.foreign == 12
        assert receiver.datagrams.empty == 1
        sender.write(Frames.of_pieces([bytes(1000)] * 3 + [bytes(500)]))
        memory = memoryview(bytearray(2500))
        assert receiver.read_into(memory, 1) == (2000, 1000)
        assert receiver.datagrams.truncated == 1
        sender.write(Frames.of_pieces([bytes(3000)]))
        assert receiver.read_into(memory, 0.2) is None
        assert receiver.datagrams.truncated == 2
        sender.write(Frames.of_pieces([b"good"]))
        assert hear(receiver, 1) == [b"good"]


def test_what_the_kernel_drops_is_counted_and_told_once_an_outage() -> None:
    """T85: apart from what the link loses, with what to do about it."""
    told: list[str] = []
    now = FakeTime()
    port = free_port()
    receiver = open_receiving(
        f"udp://127.0.0.1:{port}?buffer=65536", notice=told.append, clock=now.clock
    )
    sender = open_sending(f"udp://127.0.0.1:{port}?rate=unlimited")
    outages = 0
    for wait in (0.0, 1.0, QUIET + 1, 1.0):
        now.now += wait
        sender.write(mixed(2000))
        count = 0
        while (frames := receiver.read(0)) is not None:
            count += len(frames)
        assert 0 < count < 2000
        outages += wait == 0 or wait > QUIET
        assert len([text for text in told if "the kernel dropped" in text]) == outages
    assert receiver.datagrams.dropped >= 4
    assert "receive buffer has 65,536 bytes" in told[0]
    assert "sudo sysctl -w net.core.rmem_max=131072" in told[0]
    sender.close()
    receiver.close()


@pytest.mark.parametrize("size", [LEAST, 4 * ROOM])
def test_what_finds_no_room_in_the_ring_waits_in_the_kernel(size: int) -> None:
    """Whoever decodes a dozen blocks at a time does not look for as long as the ring holds out."""
    port = free_port()
    url = f"udp://{HERE[4]}:{port}"
    buffered = open_receiving(f"{url}?buffer=32M")
    if buffered.counts["receive_buffer"] < 8 << 20:
        buffered.close()
        pytest.skip("net.core.rmem_max allows too small a receive buffer here")
    buffered.close()
    medium = open_separate(f"{url}?buffer=32M", confine=Confinement, notice=pytest.fail, size=size)
    try:
        sent = np.arange(4000, dtype=np.uint32)
        rows = np.repeat(sent[:, None], 250, axis=1).view(np.uint8)
        with contextlib.closing(open_sending(f"{url}?rate=1G")) as sender:
            sender.write(Frames.of_rows(rows))  # many times what the ring holds, and nobody reads
            sender.drain()
        heard = b""
        while (frames := medium.read(1)) is not None:
            heard += bytes(frames.data)
        assert (np.frombuffer(heard, np.uint32)[::250] == sent).all()
        assert (medium.bytes_dropped, medium.counts["kernel_dropped"]) == (0, 0)
    finally:
        medium.close()


def test_drops_behind_the_last_datagram_read_are_found() -> None:
    """Nothing comes after them that could carry the count."""
    told: list[str] = []
    port = free_port()
    receiver = open_receiving(f"udp://127.0.0.1:{port}?buffer=16384", notice=told.append)
    sender = open_sending(f"udp://127.0.0.1:{port}?rate=unlimited&gso=0")
    sender.write(Frames.of_pieces([bytes(1000)] * 200))
    sender.close()
    while receiver.read(0) is not None:
        pass
    receiver.account()
    came, gone = receiver.datagrams.received, receiver.datagrams.dropped
    assert came + gone == 200 and gone > 100
    receiver.close()


def test_a_small_buffer_is_told_with_the_command_that_enlarges_it() -> None:
    told: list[str] = []
    root = os.geteuid() == 0
    with open("/proc/sys/net/core/rmem_max", encoding="ascii") as file:
        allowed = int(file.read())
    if root:
        os.seteuid(65534)
    try:
        receiver = open_receiving(
            f"udp://127.0.0.1:{free_port()}?buffer={2 * allowed}", notice=told.append
        )
    finally:
        if root:
            os.seteuid(0)
    assert receiver.buffer == allowed
    (text,) = told
    assert f"{allowed:,} bytes instead of {2 * allowed:,}" in text
    assert f"sudo sysctl -w net.core.rmem_max={2 * allowed}" in text
    receiver.close()


# Opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("udp://10.9.0.2", "where to"),
        ("udp://:5000", "where to"),
        ("udp://10.9.0.2:5000?rate=fast", "rate=fast"),
        ("udp://10.9.0.2:5000?mtu=100", "mtu=100"),
        ("udp://10.9.0.2:5000?ttl=0", "ttl=0"),
        ("udp://10.9.0.2:5000?gso=yes", "gso=yes"),
        ("udp://10.9.0.2:5000?speed=1", "speed"),
    ],
)
def test_urls_that_cannot_be_sent_to(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        open_sending(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("udp://127.0.0.1", "no port"),
        ("udp://:5000?source=anybody", "no address"),
        ("udp://:5000?buffer=1", "buffer=1"),
    ],
)
def test_urls_that_cannot_be_listened_on(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_receiving(text)


def test_errors_of_opening_say_what_to_do() -> None:
    port = free_port()
    for opener in (open_sending, open_receiving):
        with pytest.raises(CarrierError, match="no interface 'eth77'") as caught:
            opener(f"udp://127.0.0.1:{port}?interface=eth77")
        assert "lo" in caught.value.hint
        with pytest.raises(CarrierError, match="nothing is known of") as caught:
            opener(f"udp://nobody.invalid:{port}")
        assert "/etc/hosts" in caught.value.hint
    first = open_receiving(f"udp://127.0.0.1:{port}")
    with pytest.raises(CarrierError, match="cannot listen") as caught:
        open_receiving(f"udp://127.0.0.1:{port}")
    assert "ss -ulnp" in caught.value.hint
    assert caught.value.exit_code == 10
    first.close()
    with pytest.raises(CarrierError, match="cannot listen") as caught:
        open_receiving(f"udp://192.0.2.1:{port}")
    assert "ip address" in caught.value.hint


def look_at_lo() -> interface.Interface:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        found = interface.look("lo", one.fileno())
        assert interface.look("eth77", one.fileno()) is None
    assert found is not None
    return found


def test_interfaces_and_routes() -> None:
    lo = look_at_lo()
    assert lo.up and lo.running and lo.loopback
    assert lo.mtu > 1500
    assert interface.route(socket.AF_INET, "127.0.0.1") == interface.Route("lo", b"")
    if has(6):
        assert interface.route(socket.AF_INET6, "::1").interface == "lo"


def test_no_fragments_are_allowed() -> None:
    """Don't-fragment is set, and no path MTU that somebody claims is believed."""
    one = sockets.udp(socket.AF_INET)
    sockets.whole(one)
    assert one.getsockopt(socket.IPPROTO_IP, 10) == 3  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE
    one.close()


# Pace -----------------------------------------------------------------------------------------


def arrivals(url: str, frames: Frames, port: int) -> list[float]:
    """When the kernel took in each datagram, in its own reckoning (SO_TIMESTAMPNS)."""
    times: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.setsockopt(socket.SOL_SOCKET, 35, 1)
        one.bind(("127.0.0.1", port))
        sender = open_sending(url)
        thread = threading.Thread(target=lambda: (sender.write(frames), sender.drain()))
        thread.start()
        ready = select.poll()
        ready.register(one, select.POLLIN)
        while len(times) < len(frames) and ready.poll(5000):
            _, notes, _, _ = one.recvmsg(2048, 64)
            whole, part = struct.unpack("@ll", notes[0][2])
            times.append(whole + part / 1e9)
        thread.join()
        sender.close()
    return times


@pytest.mark.parametrize("gso", [0, 1])
def test_the_pace_is_even(gso: int) -> None:
    """No window of 10 ms has much more than it should, and nearly all have what they should."""
    port, rate = free_port(), 40e6
    frames = Frames.of_rows(np.zeros((1500, 1472), np.uint8))
    times = np.array(arrivals(f"udp://127.0.0.1:{port}?rate=40M&gso={gso}", frames, port))
    assert len(times) == 1500
    share = rate / 8 / 1538 * 0.01
    first = np.searchsorted(times, times)
    counts = np.searchsorted(times, times + 0.01) - first
    # A window holds its share, the lead, and a slice that was held up before it was sent.
    assert counts.max() <= share * 1.5 + 2
    median = float(np.median(counts[times < times[-1] - 0.01]))
    assert 0.5 * share <= median <= 1.5 * share
    assert times[-1] - times[0] >= 0.9 * 1500 * 1538 / (rate / 8)


def test_the_rate_counts_all_that_is_on_the_wire() -> None:
    now = FakeTime(overshoot=0.00009)
    sender = open_sending(
        f"udp://127.0.0.1:{free_port()}?rate=10M", clock=now.clock, sleep=now.sleep
    )
    start = now.now
    sender.write(Frames.of_rows(np.zeros((1000, 1472), np.uint8)))
    sender.drain()
    assert now.now - start == pytest.approx(1000 * 1538 / 1.25e6, rel=0.01)
    start = now.now
    sender.write(Frames.of_rows(np.zeros((1000, 1), np.uint8)))
    sender.drain()
    assert now.now - start == pytest.approx(1000 * 84 / 1.25e6, rel=0.02)
    assert sender.rate == 1.25e6
    sender.close()


# The whole program ----------------------------------------------------------------------------


def receiving(shell: Shell, url: str, *options: str):
    receiver = shell.start("recv", "inbox", "--json", "--once", "--from", url, *options)
    shell.listening(receiver)
    return receiver


@VERSIONS
@pytest.mark.parametrize(("gso", "gro"), [(1, 1), (0, 0), (1, 0)])
def test_a_file_crosses(shell: Shell, version: int, gso: int, gro: int) -> None:
    content = make(shell.folder / "file", 1_500_000)
    port = free_port()
    receiver = receiving(shell, f"udp://{HERE[version]}:{port}?gro={gro}")
    sent = shell.run(
        "send", "file", "--to", f"udp://{HERE[version]}:{port}?gso={gso}", "--json", "-v"
    )
    assert sent.code == 0, sent.err
    ran = shell.finish(receiver)
    assert ran.code == 0, ran.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    link = ran.events("link")[-1]
    assert (link["kernel_dropped"], link["rejected"], link["foreign"]) == (0, 0, 0)
    assert link["datagrams"] > 100  # as of the last quarter of a second


@pytest.mark.parametrize("damaged", ["send", "recv"])
def test_losses_at_either_end_are_made_good(shell: Shell, damaged: str) -> None:
    content = make(shell.folder / "file", 1_500_000)
    url = f"udp://127.0.0.1:{free_port()}"
    spec = ["--impair", "drop=5%,reorder=4,dup=1%,flip=1e-6,seed=2"]
    receiver = receiving(shell, url, *(spec if damaged == "recv" else []))
    sent = shell.run("send", "file", "--to", url, *(spec if damaged == "send" else []))
    assert sent.code == 0, sent.err
    ran = shell.finish(receiver)
    assert ran.code == 0, ran.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    link = ran.events("link")[-1]
    assert link["lost"] > 20 and link["reasons"].get("check", 0) > 0


def test_there_is_no_line_to_choose(shell: Shell) -> None:
    make(shell.folder / "file", 100)
    for arguments in (
        ("send", "file", "--to", "udp://127.0.0.1:5000"),
        ("recv", "inbox", "--from", "udp://:5000"),
        ("plan", "--size", "1M", "--carrier", "udp:?rate=1G"),
        ("linktest", "send", "--to", "udp://127.0.0.1:5000"),
    ):
        ran = shell.run(*arguments, "--line", "cobs")
        assert ran.code == 2
        assert "leave out --line" in ran.err


def test_plan_fills_datagrams_and_refuses_what_does_not_fit(shell: Shell) -> None:
    for url, most in (
        ("udp:?rate=1G", 1448),
        ("udp://10.9.0.2:5000", 1448),
        ("udp://[fd00::2]:5000?mtu=9000", 8928),
    ):
        (plan,) = shell.run("plan", "--size", "1G", "--carrier", url, "--json").events("plan")
        assert most - 64 < plan["symbol_size"] <= most  # of 64 bytes, for the wide code
        ran = shell.run("send", "x", "--to", url, "--symbol-size", "10000")
        assert ran.code != 0
        ran = shell.run("plan", "--size", "1G", "--carrier", url, "--symbol-size", most + 1)
        assert ran.code == 2
        assert f"from 16 to {most}" in ran.err


def test_link_tests_know_datagrams(shell: Shell) -> None:
    url = f"udp://127.0.0.1:{free_port()}?rate=20M"
    receiver = shell.start(
        "linktest", "recv", "--json", "--from", url, "--impair", "drop=3%,seed=1"
    )
    shell.listening(receiver)
    sent = shell.run("linktest", "send", "--to", url, "--seconds", "0.5")
    assert sent.code == 0, sent.err
    ran = shell.finish(receiver)
    assert ran.code == 0, ran.err
    (found,) = ran.events("linktest")
    (segment,) = found["segments"]
    assert (segment["line"], segment["frame_bytes"]) == ("datagram", 1472)
    assert 0.01 < segment["loss"] < 0.06
    assert "--line" not in found["advice"] and "--redundancy" in found["advice"]


def test_strangers_cost_a_transfer_nothing(shell: Shell) -> None:
    """T86: while a file crosses, datagrams of every other sort come too."""
    content = make(shell.folder / "file", 600_000)
    port = free_port()
    receiver = receiving(shell, f"udp://:{port}?source=127.0.0.1")
    over = threading.Event()

    def pester() -> None:
        rng = np.random.default_rng(1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
            far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            far.bind(("127.0.0.2", 0))
            while not over.is_set():
                far.sendto(rng.bytes(1000), ("127.0.0.1", port))
                near.sendto(rng.bytes(int(rng.integers(0, 20_000))), ("127.0.0.1", port))
                near.sendto(b"", ("127.0.0.1", port))
                over.wait(0.002)
            far.close()

    thread = threading.Thread(target=pester)
    thread.start()
    try:
        sent = shell.run("send", "file", "--to", f"udp://127.0.0.1:{port}?rate=10M")
        ran = shell.finish(receiver)
    finally:
        over.set()
        thread.join()
    assert (sent.code, ran.code) == (0, 0), ran.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    link = ran.events("link")[-1]
    assert link["foreign"] > 10 and link["empty"] > 10
    assert link["reasons"]["check"] > 10 and link["reasons"]["length"] > 0
    assert any("from other addresses" in told["message"] for told in ran.events("warning"))


def test_a_receiver_that_stood_still_knows_what_its_kernel_dropped(shell: Shell) -> None:
    """T85: its reader stopped in mid-transfer, with a small buffer; the next pass makes it good."""
    content = make(shell.folder / "file", 1_000_000)
    url = f"udp://127.0.0.1:{free_port()}"
    receiver = receiving(shell, f"{url}?buffer=100000")
    reader = shell.reader(receiver)
    os.kill(reader, signal.SIGSTOP)
    sent = shell.run("send", "file", "--to", url)
    assert sent.code == 0, sent.err
    os.kill(reader, signal.SIGCONT)
    told = ""
    while "the kernel dropped" not in told:
        line = receiver.stdout.readline()
        assert line, "the receiver ended without a word of it"
        told = json.loads(line).get("message", "")
    assert "sysctl -w net.core.rmem_max=" in told
    again = shell.run("send", "file", "--to", f"{url}?rate=50M", "--passes", "2")
    assert again.code == 0, again.err
    ran = shell.finish(receiver)
    assert ran.code in (0, 3), ran.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    assert ran.events("link")[-1]["kernel_dropped"] > 0
    assert not [e for e in ran.events("warning") if "the kernel dropped" in e["message"]]


def test_nothing_heard_points_to_the_doctor(shell: Shell) -> None:
    ran = shell.run("recv", "inbox", "--idle", "0.3", "--from", f"udp://:{free_port()}")
    assert ran.code == 4
    assert "diode doctor" in " ".join(ran.err.split())
