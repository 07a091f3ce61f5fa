"""The fuzzing harnesses without a fuzzer: their targets over all vectors and seeded bytes, and a
real transmission, damaged in every way, through line and receiver with tight limits.
"""

import importlib
import subprocess
import sys
from pathlib import Path

import make_vectors
import numpy as np
import pytest
import vectorfile
from hypothesis import given
from hypothesis import strategies as st
from pair import BytesSource, content, examples, transmit

from diode import events, frame, line
from diode.code import CODES
from diode.collector import SPARE, Collector
from diode.geometry import Geometry
from diode.limits import Limits
from diode.line import rs
from diode.line.auto import QUIET
from diode.line.cobs import LONGEST
from diode.plan import Link, Settings
from diode.suspect import MAX_TRIALS, Suspect

FUZZ = Path(__file__).parent / "fuzz"
sys.path.append(str(FUZZ))
NAMES = (
    *("fuzz_announcement", "fuzz_cobs", "fuzz_config", "fuzz_datagram", "fuzz_envelope"),
    *("fuzz_journal", "fuzz_modem", "fuzz_receipt", "fuzz_receiver", "fuzz_records"),
    *("fuzz_rs", "fuzz_state"),
    *("fuzz_tag", "fuzz_text"),
    "fuzz_words",
)
fuzz_receiver = importlib.import_module("fuzz_receiver")
VECTORS = vectorfile.load()
LINES = ("cobs", "rs", line.AUTO)


def test_every_harness_is_run_here():
    assert sorted(p.stem for p in FUZZ.glob("fuzz_*.py")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_harness_says_what_it_tests_and_takes_every_vector(name):
    harness = importlib.import_module(name)
    assert len(harness.__doc__) > 100
    harness.target(b"")
    of_sound = name == "fuzz_modem"  # which takes a third of a second for each
    for vector in VECTORS[:: 4 if of_sound else 1]:
        harness.target(vector.data[: 1024 if of_sound else 4096])


@pytest.mark.parametrize("name", NAMES)
def test_harness_takes_seeded_bytes(name):
    target = importlib.import_module(name).target
    rng = np.random.default_rng(1)
    for length in range(0, 300, 10):
        target(rng.bytes(length))
        target(bytes(rng.integers(0, 4, length, np.uint8)))


def test_harness_without_atheris_says_so_and_ends_well():
    code = (
        "import importlib.util as u; u.find_spec = lambda name: None;"
        f"import sys; sys.path.insert(0, {str(FUZZ)!r}); import harness; harness.run(None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "atheris" in done.stdout


def test_receiver_scripts_reach_what_they_are_meant_to_reach():
    """A harness in which nothing ever completes would find nothing."""
    seen = set()
    rng = np.random.default_rng(2)
    for _ in range(150):
        script = fuzz_receiver.Script(rng.bytes(1500))
        taken = script.keeper.take
        script.keeper.take = lambda found, taken=taken: (
            seen.update(map(type, found)),
            taken(found),
        )
        script.run()
    assert seen >= {
        events.ObjectAnnounced,
        events.BlockRecovered,
        events.BlockParked,
        events.BlockWanted,
        events.BlockSpoiled,
        events.ObjectCompleted,
        events.ObjectVoided,
        events.FrameRejected,
        events.SenderHeard,
        events.SenderFellSilent,
    }


# Whole transmissions -----------------------------------------------------------------------------

LIMITS = Limits(
    max_object=1 << 16,
    max_blocks=64,
    max_block=1 << 14,
    memory=4096,
    begun=1 << 17,
    orphans=8192,
    objects=3,
    finished=4,
    senders=2,
    announcements=4096,
)
OBJECTS = [BytesSource(content(n, n + 1), b"name%d" % n) for n in (900, 0, 300, 2000, 5)]


def capture(name):
    """Line bytes of a real transmission of some objects."""
    encoder = line.encoder(name)
    link = Link(rate=11_520, max_frame=encoder.max_frame, line_bytes=encoder.line_bytes)
    chosen = Settings(symbol_size=48, redundancy=0.5, passes=2)
    return encoder.encode(frame.Frames.of_pieces(transmit(*OBJECTS, settings=chosen, link=link)))


CAPTURES = {name: capture(name).data.tobytes() for name in ("cobs", "rs")}


def held(decoder):
    """Bytes a decoder keeps for later."""
    if hasattr(decoder, "_asked"):
        return len(decoder._quiet) + sum(held(asked) for asked in decoder._asked.values())
    return len(decoder._tail) if hasattr(decoder, "_tail") else len(decoder._pending)


MOST_HELD = {"cobs": LONGEST, "rs": rs.PIECE - 1, "auto": QUIET + LONGEST + rs.PIECE}


def check_content(key, manifest, offset, data):
    """A block handed up is right when its check is: 2^-64 beside that."""
    source = OBJECTS[key.number - 1].content
    assert data.tobytes() == source[offset : offset + len(data)], (key, manifest)


def survive(name, data, split=997):
    """Feed bytes in pieces; every bound is checked after each. Returns the keeper."""
    decoder = line.decoder(name)
    keeper = fuzz_receiver.Keeper(LIMITS, check_content)
    for first in range(0, len(data) + 1, split):
        piece = data[first : first + split]
        rows = decoder.feed(piece)
        assert sum(r.size for r in rows) <= len(piece) + MOST_HELD[name]
        assert held(decoder) <= MOST_HELD[name]
        keeper.hear(rows)
    keeper.hear(decoder.flush())
    assert 0 <= decoder.noise <= len(data)
    return keeper


@pytest.mark.parametrize("listening", LINES)
@pytest.mark.parametrize("sent", CAPTURES)
def test_undamaged_capture_is_delivered_within_tight_limits(sent, listening):
    keeper = survive(listening, CAPTURES[sent])
    whole = {key.number for key in keeper.completed}
    assert whole == (set(range(1, 6)) if listening in (sent, "auto") else set())


def test_frames_that_each_begin_a_wide_block():
    """13 bytes of frame for 12 kB of block: what is set aside has a bound all the same."""
    limits = Limits(memory=1 << 20, begun=1 << 21)
    facts = make_vectors.Facts(size=1 << 25, code=0, k=4096, n=4096, symbol_size=1)
    told = make_vectors.announcement(facts.elements())
    (announced,) = make_vectors.manifest_frames(told, 1, [0], number=1)
    frames = [announced] + [make_vectors.compact(b"x", block=b) for b in range(3000)]
    rows = frame.Frames.of_pieces(frames).rows()
    keeper = fuzz_receiver.Keeper(limits, check_content)
    keeper.hear(rows)
    (incoming,) = keeper.receiver.objects.values()
    held = len(incoming.collector.open_blocks) * incoming.collector.block_memory
    assert 2 << 20 <= held <= 3 << 20
    assert keeper.receiver.rejected["limit"] == 3000 - len(incoming.collector.open_blocks)
    keeper.hear([])
    assert incoming.collector._source.nbytes <= limits.memory + limits.begun
    keeper.take(keeper.receiver.park_all())
    assert incoming.collector._source.nbytes <= SPARE


@pytest.mark.parametrize(
    ("by", "k", "size"), [("zfec", 3, 8), ("zfec", 255, 8), ("repeat", 20_000, 1)]
)
def test_wrong_symbols_in_one_call_cost_a_bounded_number_of_decodings(by, k, size, monkeypatch):
    rng = np.random.default_rng(3)
    blocks = Collector(Geometry(k * size - 8, CODES[by].id, k, k, size), CODES[by])
    decodings = []
    decode = Suspect._decode
    monkeypatch.setattr(Suspect, "_decode", lambda *args: decodings.append(1) or decode(*args))
    rows = rng.integers(0, 256, (k, size), np.uint8)
    assert not blocks.add(np.zeros(k, np.int64), np.arange(k), rows)
    wrong = rng.integers(0, 256, (1000, size), np.uint8)
    numbers = rng.integers(0, min(blocks.numbers, 256), 1000)
    assert not blocks.add(np.zeros(1000, np.int64), numbers, wrong)
    assert 0 < len(decodings) <= MAX_TRIALS


@pytest.mark.parametrize("name", LINES)
@examples(60)
@given(data=st.binary(max_size=3000), split=st.integers(1, 700))
def test_random_bytes(name, data, split):
    survive(name, data, split)


@pytest.mark.parametrize("name", LINES)
@examples(25)
@given(seed=st.integers(0, 2**32), size=st.integers(0, 150_000), zeros=st.floats(0, 0.3))
def test_long_noise(name, seed, size, zeros):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, size, np.uint8)
    noise[rng.random(size) < zeros] = 0
    survive(name, noise.tobytes(), 20_000)


@st.composite
def damage(draw):
    """A capture, cut, with bytes changed, lost, put in and pieces moved."""
    sent = draw(st.sampled_from(sorted(CAPTURES)))
    data = bytearray(CAPTURES[sent])
    del data[draw(st.integers(0, len(data))) :]
    del data[: draw(st.integers(0, max(0, len(data) // 2)))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(0, 40))):
        at, length = int(rng.integers(0, len(data) + 1)), int(rng.integers(1, 9))
        match rng.integers(0, 5):
            case 0:
                data[at : at + length] = rng.bytes(len(data[at : at + length]))
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = rng.bytes(length)
            case 3:
                data[at:at] = data[at // 2 : at // 2 + 60 * length]
            case 4:
                data[at : at + length] = bytes(len(data[at : at + length]))
    return sent, bytes(data)


@pytest.mark.parametrize("listening", ["as sent", "auto"])
@examples(60)
@given(damaged=damage(), split=st.sampled_from([251, 1000, 5000]))
def test_damaged_capture(listening, damaged, split):
    sent, data = damaged
    survive(sent if listening == "as sent" else listening, data, split)


@pytest.mark.parametrize("sent", CAPTURES)
@examples(40)
@given(cut=st.data())
def test_truncated_capture(sent, cut):
    data = CAPTURES[sent]
    survive(sent, data[: cut.draw(st.integers(0, len(data)))])
