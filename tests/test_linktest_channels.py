"""Link tests on every kind of damage and carrier: its numbers are found, its advice is enough.

A channel is seeded, so each of these is the same for ever. Carriers are there as planning knows
them (`linktest send` itself says how it would use them); of sound, frames that the modem loses
are lost here. `test_sound_that_loses_frames` sends real sound.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from cli import Shell
from pair import BytesSource, Listener, content, everything

from diode import line
from diode.advice import Channel as Measured
from diode.advice import advise
from diode.alignment import Damage, compare
from diode.carrier.channel import Channel
from diode.carrier.impairment import Impairment
from diode.cli.linktest_report import link as planned_link
from diode.cli.linktest_send import ways
from diode.events import Key
from diode.forecast import Planned
from diode.frame import Frames, flat
from diode.linkstats import Losses, losses
from diode.linktest import Tally, Way, segments
from diode.plan import Link
from diode.transmitter import Transmitter

RUN = 77
WITHIN = 0.2
"""What a recovered parameter may be off by."""
URLS = {
    "serial, cobs": "serial:/dev/x?baud=115200",
    "serial, rs": "serial:/dev/x?baud=115200",
    "udp": "udp://10.9.0.2:5000?rate=10M",
    "sound": "wav:x?modem=cable",
}


@functools.cache
def medium(name: str) -> tuple[Way, Link]:
    there = ways(URLS[name], name.partition(", ")[2] or None)
    assert len(there) == 1
    return there[0]


@dataclass
class Found:
    """What a test said, and the frames that it was made of."""

    losses: Losses
    damage: Damage | None
    length: int
    line_bytes: int
    """Of all frames together."""
    link: Link
    """As the receiver sees it."""


@functools.cache
def measure(name: str, spec: str, frames: int) -> Found:
    way, link = medium(name)
    (test,) = segments(RUN, [(way, link)], 1e9)
    test = type(test)(RUN, 0, test.ways, frames, test.length, test.rate)
    sent = line.encoder(way.line).encode(test.frames(0, frames))
    channel = Channel(Impairment.parse(spec), link.rate)
    pieces = [channel.apply(sent), channel.flush()]
    decoder, tally = line.decoder(way.line), Tally()
    whole = way.line == line.DATAGRAM
    raw = np.concatenate([flat(piece) for piece in pieces])
    for piece in pieces if whole else [raw]:
        tally.take(decoder.feed(piece))
    tally.take(decoder.flush())
    assert tally.wrong == 0
    heard = tally.runs[RUN][0]
    return Found(
        losses(heard.arrivals(), heard.ended, late=True),
        None if whole or way.modem else compare(sent.data, sent.ends, raw),
        test.length,
        len(sent.data),
        planned_link(heard.segment),
    )


def near(value: float | None, wanted: float) -> bool:
    return value is not None and abs(value - wanted) <= WITHIN * wanted


# Parameters ---------------------------------------------------------------------------------

FRAMES = 8_000
EVERYWHERE = list(URLS)
STREAMS = ["serial, cobs", "serial, rs"]


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("spec", ["drop=5%", "drop=0.5%,dup=2%", "drop=20%,dup=2%,reorder=3"])
def test_losses_one_by_one(name: str, spec: str) -> None:
    wanted = Impairment.parse(spec)
    found = measure(name, f"{spec},seed=4", FRAMES).losses
    assert near(found.loss, wanted.drop), found.loss
    assert near(found.p, wanted.drop)
    assert near(found.r, 1 - wanted.drop)
    assert not found.bursty
    assert found.bound > found.loss
    if wanted.dup:
        assert near(found.duplicates / (found.sent - found.lost), wanted.dup)
    assert found.latest == wanted.reorder


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("spec", ["ge=1%/20%", "ge=3%/50%,dup=1%", "ge=0.5%/10%,dup=2%,reorder=4"])
def test_losses_in_bursts(name: str, spec: str) -> None:
    wanted = Impairment.parse(spec)
    assert wanted.ge is not None
    p, r = wanted.ge
    found = measure(name, f"{spec},seed=4", 2 * FRAMES).losses
    assert near(found.p, p), found.p
    assert near(found.r, r), found.r
    assert near(found.loss, p / (p + r)), found.loss
    assert found.bursty
    assert found.latest == wanted.reorder


@pytest.mark.parametrize("name", ["udp", "sound"])
def test_outages_where_frames_are_all_that_is_seen(name: str) -> None:
    """Their length and how often they come, from runs of lost frames."""
    rate = medium(name)[1].rate
    assert rate is not None
    each = measure(name, "seed=1", 2).length
    out, period = 40 * each / rate, 500 * each / rate
    spec = f"burst={out:.6f}s/{period:.6f}s,drop=1%,seed=4"
    found = measure(name, spec, FRAMES)
    outages = {length: n for length, n in found.losses.bursts.items() if length > 5}
    count = sum(outages.values())
    mean = sum(length * n for length, n in outages.items()) / count
    assert near(mean, 40)
    assert near(FRAMES / count, 500)
    assert near(found.losses.longest, 40)


@pytest.mark.parametrize("rate", [2e-6, 1e-5])
def test_bit_errors_where_frames_are_all_that_is_seen(rate: float) -> None:
    """Of a datagram one wrong bit is one lost datagram: what is found is their rate."""
    found = measure("udp", f"flip={rate},seed=4", FRAMES)
    share = -np.log1p(-found.losses.loss) / (8 * found.length)
    assert near(float(share), rate), share


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("spec", ["flip=1e-4", "slip=1e-4", "flip=1e-3,slip=2e-4,drop=2%,dup=1%"])
def test_bits_and_bytes(name: str, spec: str) -> None:
    wanted = Impairment.parse(spec)
    damage = measure(name, f"{spec},seed=4", 4000).damage
    assert damage is not None
    for recovered, rate in ((damage.bit_error_rate, wanted.flip), (damage.slip_rate, wanted.slip)):
        assert near(recovered, rate) if rate else (recovered or 0) < 1e-5


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("spec", ["", "drop=3%,", "ge=1%/20%,flip=1e-5,", "flip=1e-4,slip=5e-5,"])
def test_outages_of_a_stream(name: str, spec: str) -> None:
    rate = medium(name)[1].rate
    assert rate is not None
    found = measure(name, f"{spec}burst=200ms/5s,seed=4", 8000)
    assert found.damage is not None
    long = [n for n in found.damage.outages if n > 0.1 * rate]
    assert near(float(np.mean(long)), 0.2 * rate)
    assert near(found.line_bytes / rate / len(long), 5.0)


def heard(shell: Shell, modem: str, seconds: int, spec: str) -> dict:
    to = ("--to", f"wav:x.wav?modem={modem}", "--seconds", seconds, "--impair", spec)
    assert shell.run("linktest", "send", *to).code == 0
    ran = shell.run("linktest", "recv", "--from", "wav:x.wav", "--json", "--want", "1e-3")
    ((part,),) = [event["segments"] for event in ran.events("linktest")]
    return part


def test_sound_that_loses_frames(shell: Shell) -> None:
    part = heard(shell, "cable", 40, "drop=25%,seed=2")
    assert part["frames"] > 100
    assert near(part["loss"], 0.25)
    assert near(part["gilbert"]["p"], 0.25)
    assert near(part["gilbert"]["r"], 0.75)


@pytest.mark.slow
@pytest.mark.parametrize(("modem", "seconds"), [("cable", 600), ("telephone", 6000)])
def test_sound_that_loses_frames_in_bursts(shell: Shell, modem: str, seconds: int) -> None:
    part = heard(shell, modem, seconds, "ge=10%/40%,seed=2")
    assert part["frames"] > 1000
    assert near(part["loss"], 0.2)
    assert near(part["gilbert"]["p"], 0.1)
    assert near(part["gilbert"]["r"], 0.4)


# Advice -------------------------------------------------------------------------------------

CHANNELS = {
    "drop": "drop=5%",
    "ge": "ge=1%/20%",
    "flip": "flip=1e-4",
    "slip": "slip=1e-4",
    "burst": "burst=200ms/5s",
    "dup and reorder": "drop=2%,dup=5%,reorder=5",
    "pieces": "ge=1%/20%,dup=2%,reorder=3",
    "bytes": "drop=3%,flip=1e-5,slip=1e-5,burst=100ms/5s",
}
POINTS = [
    (name, spec)
    for name in EVERYWHERE
    for what, spec in CHANNELS.items()
    if name in STREAMS or what not in ("flip", "slip", "burst", "bytes")
] + [
    ("udp", "flip=1e-6,drop=1%"),
    ("udp", "burst=20ms/1s,drop=1%,reorder=3"),
    ("sound", "burst=2s/60s,drop=1%"),
]
"""Outages are as long as the carrier makes likely. Bits and bytes that go wrong cost it frames."""


def deliver(name: str, spec: str, settings, data: bytes, seed: int) -> bool:
    """Send one object with these settings through that channel; whether it came."""
    way, link = medium(name)
    transmitter = Transmitter(7, settings, link)
    transmitter.add(1, BytesSource(data))
    encoder, decoder = line.encoder(way.line), line.decoder(way.line)
    frames = encoder.encode(Frames.of_pieces(everything(transmitter)))
    channel = Channel(Impairment.parse(f"{spec},seed={seed}"), link.rate)
    # The channel has been at work for a while, so that it may begin in its bad state.
    (test,) = segments(RUN, [(way, link)], 1e9)
    channel.apply(encoder.encode(test.frames(0, 20 + seed % 180)))
    pieces = [channel.apply(frames), channel.flush()]
    if way.line != line.DATAGRAM:
        pieces = [np.concatenate([flat(piece) for piece in pieces])]
    rows = [row for piece in pieces for row in decoder.feed(piece)] + [*decoder.flush()]
    listener = Listener()
    listener.take(listener.receiver.receive(rows, 0.0))
    return listener.delivered.get(Key(7, 1)) == data


def simulate(name: str, spec: str, size: int, objects: int) -> None:
    """Measure that link, take the advice, and send so many objects, all of which must come."""
    found = measure(name, f"{spec},seed=9", 3000)
    seen = found.losses
    channel = Measured(found.link, seen.bound, seen.burst_bound, seen.longest)
    advised = advise(channel, [Planned(size)], 1e-9)
    assert advised is not None
    data = content(size)
    lost = [s for s in range(objects) if not deliver(name, spec, advised.settings, data, s)]
    print(f"{name}; {spec}: {objects - len(lost)} of {objects}, {advised.options(None)}")
    assert not lost, (advised.options(None), lost)


@pytest.mark.parametrize(("name", "spec"), POINTS)
def test_what_is_advised_delivers(name: str, spec: str) -> None:
    simulate(name, spec, 10_000, 20 if "ge" in spec else 4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spec"), POINTS)
def test_what_is_advised_delivers_a_thousand_of_a_thousand(name: str, spec: str) -> None:
    simulate(name, spec, 30_000, 1000)
