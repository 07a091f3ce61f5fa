"""What the fibre bench reckons and lays: parity for its peers, the search for a rate, the wire."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHES = Path(__file__).resolve().parents[1] / "benches"
sys.path.insert(0, str(BENCHES))

import fibre  # noqa: E402
import fibre_tools  # noqa: E402
import one_way_wire  # noqa: E402
from one_way_wire import Loopback, Loss, Wire  # noqa: E402
from side_by_side import Cost  # noqa: E402

namespaces = pytest.mark.skipif(
    bool(one_way_wire.missing()), reason=f"it needs {', '.join(one_way_wire.missing())}"
)


def test_losses_are_read_as_they_are_written():
    assert Loss.parse("5%") == Loss(0.05)
    assert Loss.parse("0.5%x10") == Loss(0.005, 10)
    assert [str(Loss.parse(text)) for text in ("0%", "5%x10")] == ["0 %", "5 % in bursts of 10"]
    for wrong in ("5", "50%", "5%x0.5", "x3", "5%x", "-1%"):
        with pytest.raises(ValueError, match=wrong):
            Loss.parse(wrong)


def simulated(loss, frames, seed):
    """Which frames Gilbert's channel takes: stretches that are well and bursts, in turns."""
    rng = np.random.default_rng(seed)
    count = int(frames * loss.enter) * 2 + 100
    lengths = np.empty(2 * count, int)
    lengths[0::2] = rng.geometric(loss.enter, count)
    lengths[1::2] = rng.geometric(1 / loss.burst, count)
    return np.repeat(np.tile([False, True], count), lengths)[:frames]


@pytest.mark.parametrize(("loss", "interleaved"), [(Loss(0.05), 4), (Loss(0.05, 10), 8)])
def test_parity_suffices_and_not_much_less_does(loss, interleaved):
    """Against a channel drawn frame by frame, with blocks interleaved as the peers do it."""
    k, groups = 64, 2000
    needed = fibre_tools.parity(k, interleaved, loss, groups * interleaved)

    def worst(more):
        lost = simulated(loss, groups * interleaved * (k + more), seed=1)
        return lost.reshape(groups, k + more, interleaved).sum(axis=1).max()

    assert worst(needed) <= needed
    assert worst(needed // 2) > needed // 2


def test_no_loss_takes_no_parity_and_too_much_has_none():
    assert fibre_tools.parity(128, 4, Loss(0.0), 1000) == 0
    assert fibre_tools.parity(200, 4, Loss(0.3), 1000) is None


def test_a_datagram_is_lost_with_any_fragment():
    loss = Loss(0.01)
    needed = fibre_tools.copies(1000, 45, loss)
    alone = 1 - 0.99**45
    assert 1000 * alone**needed <= fibre_tools.FAILURE < 1000 * alone ** (needed - 1)
    assert fibre_tools.copies(1000, 45, Loss(0.0)) == 1
    # in bursts of 45 most of the fragments that are lost are lost together
    assert fibre_tools.copies(1000, 45, Loss(0.01, 45)) < needed / 2


def run_of(rate, *, limit, able):
    """A tool that delivers up to a rate, and gets no faster from another one on."""
    wall = 1e9 / min(rate, able)
    cost = Cost(wall, 0.0, 0.0)
    return fibre.Run(rate, rate <= limit, cost, cost, 0, 0.0)


@pytest.mark.parametrize(
    ("limit", "able", "found"),
    [(2e9, 1e10, 2e9), (1e10, 2e9, 2e9), (3e8, 1e10, 3e8), (1e10, 1e10, fibre.RATES[-1])],
)
def test_the_fastest_rate_that_delivers_is_found(limit, able, found):
    runs = fibre.fastest(
        lambda rate: run_of(rate, limit=limit, able=able), 3, fibre.FIRST, climb=True
    )
    assert [run.rate for run in runs] == [found] * 3
    assert all(run.delivered for run in runs)


def test_a_rate_that_delivers_once_only_is_not_taken():
    tried = []

    def attempt(rate):
        tried.append(rate)
        fails_again = rate == 1e9 and tried.count(rate) > 1
        return run_of(rate, limit=0 if fails_again else 1e9, able=1e10)

    runs = fibre.fastest(attempt, 2, fibre.FIRST, climb=True)
    assert [run.rate for run in runs] == [fibre.RATES[fibre.FIRST - 1]] * 2


def test_what_never_delivers_says_so():
    runs = fibre.fastest(lambda rate: run_of(rate, limit=0, able=1e9), 2, fibre.FIRST, climb=True)
    assert [(run.rate, run.delivered) for run in runs] == [(fibre.RATES[0], False)]
    row = fibre.Row("tool", 10**8, runs, [])
    assert not row.delivered
    assert "0/1" in str(row)


def test_ratios_are_above_one_where_diode_is_better():
    def row(tool, wall, cpu, on_wire):
        cost = Cost(wall, cpu, 0.0)
        return fibre.Row(tool, 10**8, [fibre.Run(1e9, True, cost, cost, on_wire, 0.0)], [])

    ours, theirs = row("diode", 1.0, 1.0, 10**8), row("peer", 2.0, 3.0, 15 * 10**7)
    (text,) = fibre.comparisons([ours, theirs])
    assert [float(word) for word in text.split()[-3:]] == [2.0, 3.0, 1.5]


# The wire -------------------------------------------------------------------------------------

NUMBERED = """
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.9.0.2", 5000))
s.setsockopt(socket.SOL_UDP, 103, 1000)  # UDP_SEGMENT: 40 datagrams a call
for n in range(0, {count}, 40):
    s.send(b"".join(struct.pack("<I", n + i) + bytes(996) for i in range(40)))
    time.sleep(0.0005)
for _ in range(5):
    s.send(40 * (struct.pack("<I", {count}) + bytes(996)))
"""
HEARD = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)
s.bind(("10.9.0.2", 5000))
print(flush=True)
while (number := struct.unpack_from("<I", s.recv(2000))[0]) < {count}:
    print(number)
"""
ENDS = 200
"""Datagrams at the end that all say so: one of them arrives."""


@namespaces
@pytest.mark.parametrize("loss", [Loss(0.0), Loss(0.05), Loss(0.05, 10)], ids=str)
def test_the_wire_loses_single_frames_as_asked(loss):
    count = 60_000
    with Wire(loss) as wire:
        inside = [["ip", "netns", "exec", space] for space in (wire.low, wire.high)]
        hearing = subprocess.Popen(
            [*inside[1], sys.executable, "-c", HEARD.format(count=count)],
            stdout=subprocess.PIPE,
            text=True,
        )
        hearing.stdout.readline()
        before = wire.carried()
        program = NUMBERED.format(count=count)
        subprocess.run([*inside[0], sys.executable, "-c", program], check=True)
        heard = [int(line) for line in hearing.communicate(timeout=60)[0].split()]
        carried = wire.carried().since(before)
    lost = np.ones(count, bool)
    lost[heard] = False
    assert carried.frames == count + ENDS
    assert carried.bytes == (count + ENDS) * (14 + 20 + 8 + 1000)
    assert carried.lost == pytest.approx(lost.mean(), abs=ENDS / count)
    # as many standard deviations as no test run sees: bursts spread the count by 2 burst - 1
    spread = math.sqrt(loss.share * (1 - loss.share) * (2 * loss.burst - 1) / count)
    assert lost.mean() == pytest.approx(loss.share, abs=7 * spread)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]])))
    lengths = edges[1::2] - edges[::2]
    if loss.share:
        burst = loss.burst if loss.burst > 1 else 1 / (1 - loss.share)
        assert lengths.mean() == pytest.approx(burst, rel=7 / math.sqrt(len(lengths)))


@namespaces
def test_nothing_comes_back_and_nothing_stays():
    with Wire(Loss(0.0)) as wire:
        spaces = list(wire.spaces)
        before = wire.count(0, "tx", "rx_packets")
        program = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        program += "s.setsockopt(1, 6, 1); s.sendto(b'back', ('10.9.0.255', 5000))"
        wire.inside(-1, sys.executable, "-c", program)
        assert wire.count(-1, "rx", "tx_packets") > 0
        assert wire.count(0, "tx", "rx_packets") == before
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True)
    assert not set(spaces) & set(listed.stdout.split())


@namespaces
@pytest.mark.parametrize(
    ("path", "right"),
    [(lambda: Wire(Loss(0.05)), True), (Loopback, False)],
    ids=["wire", "loopback, compared with another file"],
)
def test_a_file_is_sent_measured_and_compared(path, right, tmp_path):
    source = fibre.Source(tmp_path, [2_000_000])
    ((size, file, wanted),) = source.files
    tool = fibre_tools.Diode()
    with path() as wire:
        job = fibre_tools.Job(wire, file, size, source.inbox(), 2e8)
        run = fibre.once(tool, tool.settings(wire.loss, size), job, wanted if right else bytes(32))
    assert run.delivered is right
    assert run.sending.cpu > 0.05
    assert run.receiving.cpu > 0.05
    assert 1 < run.on_wire / size < 1.5
    assert run.lost == pytest.approx(wire.loss.share, abs=0.05)
