"""Senders, a line and a receiver in one process, on a virtual clock, from one seed.

    python tests/simulation.py 1234        one scenario, told
    scenario = draw(1234); play(scenario)  the same in a test

A scenario is drawn from its seed: what is sent, how, by whom, in how many runs, some of them
interrupted; what the line does to it; and how often the receiver is stopped, killed or set in
front of something it has heard before. Playing it asserts, at each step, what must hold
whatever happens:

- nothing delivered differs from what was sent, not even a single block on its way;
- nothing is delivered twice;
- what came in sufficient pieces is delivered: an oracle of a few lines counts, from the
  frames that the line's decoder handed up, which symbols of which block a receiver holds
  that has lost in a crash no more than what came after its last checkpoint but one;
- what nobody forged is not refused, and frames are neither invented nor lost between line and
  receiver;
- memory stays inside its limits;
- nothing raises.

A disk is a dictionary that outlives receivers; in one of sixteen scenarios it is a real folder,
copied at the instant of a crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pair import BytesSource

from diode import events, frame, line
from diode.announcements import Announcements
from diode.carrier.channel import Channel
from diode.carrier.impairment import Impairment
from diode.code import by_id
from diode.events import Key
from diode.frame import Frames, Kind
from diode.incoming import Course, Incoming
from diode.limits import Limits
from diode.objects import Announcement, Malformed, Manifest, Status
from diode.ordering import GivenUp
from diode.plan import Link, Settings
from diode.service.receiver import Session, Stop
from diode.sink import Delivered, Unfinished
from diode.sink.folder import Inbox
from diode.transmitter import Transmitter

SENDERS = 0x1000_0001, 0x2000_0002
LARGEST_FRAMES = 600
"""Frames of the largest object, about."""
PIECES = 300
"""Pieces in which a receiver hears all that it hears, at most."""


# What happens ---------------------------------------------------------------------------------


@dataclass
class Object:
    """A thing to be sent."""

    size: int
    seed: int
    fails_at: int | None = None
    """Byte at which its source breaks."""

    @property
    def content(self) -> bytes:
        return np.random.default_rng(self.seed).bytes(self.size)


@dataclass
class Run:
    """A sender from its start to its end, or to its interruption."""

    sender: int
    objects: list[Object]
    settings: Settings
    rate: float | None
    cut: float = 1.0
    """Share of its frames that go on air before it is killed."""
    stopped: bool = False
    """Whether it was stopped rather than killed: the last heartbeat comes."""


@dataclass
class Visit:
    """A receiver from its start to its end."""

    first: float
    last: float
    """What it hears, as shares of everything on the line."""
    killed: bool = False
    piece: int = 4096
    """Bytes that come at a time."""
    leap: float = 0.0
    """Seconds that the clock jumps in the middle."""


@dataclass
class Scenario:
    seed: int
    line: str
    runs: list[Run]
    together: bool
    """Whether the senders talk at the same time."""
    damage: str
    forged: float
    """Share of frames after which comes a copy with other content and a right check."""
    visits: list[Visit]
    memory: int
    on_disk: bool


def draw(seed: int) -> Scenario:
    """The scenario of that seed."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice(["cobs", "cobs", "rs"]))
    senders = SENDERS[: 1 + (rng.random() < 0.3)]
    runs = [
        run
        for sender in senders
        for run in _runs(rng, sender, name, 1 + int(rng.integers(0, 3) * (len(senders) == 1)))
    ]
    forged = float(rng.choice([0, 0, 0, 0, 0, 0.003]))
    memory = int(rng.choice([0, 2_000, 20_000, 1 << 20, 96 << 20]))
    return Scenario(
        seed,
        name,
        runs,
        len(senders) > 1,
        _damage(rng, name),
        forged,
        _visits(rng),
        96 << 20 if forged else memory,  # parked, forgeries cost a search each time they come back
        bool(rng.random() < 1 / 16),
    )


def _runs(rng: np.random.Generator, sender: int, name: str, count: int) -> list[Run]:
    runs = []
    for _ in range(count):
        rate = rng.choice([0, 0, 1_000, 11_520, 300_000, 5_000_000]) or None
        settings = _settings(rng, name)
        things = [_object(rng, settings, name) for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 6]))]
        cut = 1.0 if rng.random() < 0.7 else float(rng.random())
        runs.append(Run(sender, things, settings, rate, cut, bool(rng.random() < 0.5)))
        if rng.random() < 0.3:  # what was sent is sent again, under new numbers
            runs.append(Run(sender, things, replace(settings, redundancy=None), rate))
    return runs


def _object(rng: np.random.Generator, settings: Settings, name: str) -> Object:
    """Up to 100 kB, fewer where that would be many frames."""
    frames = LARGEST_FRAMES // settings.passes // (4 if name == "rs" else 1)
    most = min(100_000, frames * (settings.symbol_size or 210))
    small, large = int(rng.integers(0, 40)), int(10 ** rng.uniform(0, np.log10(most)))
    thing = Object(
        int(rng.choice([0, small, small, large, large, large])), int(rng.integers(1 << 30))
    )
    if rng.random() < 0.05 and thing.size:
        thing.fails_at = int(rng.integers(0, thing.size))
    return thing


def _settings(rng: np.random.Generator, name: str) -> Settings:
    return Settings(
        code=rng.choice([None, None, "zfec", "repeat"]),
        redundancy=rng.choice([None, None, 0.0, 0.1, 0.5, 2.0]),
        passes=int(rng.choice([1, 1, 1, 2, 3])),
        burst=float(rng.choice([0, 0.05, 0.5])),
        symbol_size=rng.choice([None, None, None, 16, 97] + [1200] * (name != "rs")),
        keep_order=bool(rng.random() < 0.2),
    )


def _damage(rng: np.random.Generator, name: str) -> str:
    parts = [f"seed={rng.integers(1 << 30)}"]
    share = lambda low, high: f"{10 ** rng.uniform(low, high):.2e}"  # noqa: E731
    choices = {
        "drop": lambda: share(-3, -0.3),
        "ge": lambda: f"{share(-3, -1.5)}/{share(-1.5, -0.5)}",
        "dup": lambda: share(-3, -0.5),
        "reorder": lambda: str(int(10 ** rng.uniform(0, 3))),
        "burst": lambda: f"{int(10 ** rng.uniform(1, 4))}B/{int(10 ** rng.uniform(4.1, 5))}B",
        "flip": lambda: share(-7, -3 if name == "cobs" else -2.3),
        "slip": lambda: share(-6, -3.3),
    }
    return ",".join(parts + [f"{k}={v()}" for k, v in choices.items() if rng.random() < 0.3])


def _visits(rng: np.random.Generator) -> list[Visit]:
    """Receivers one after the other; now and then something of the past is heard again."""
    edges = [0.0, *sorted(rng.random(int(rng.choice([0, 0, 1, 2, 4])))), 1.0]
    if rng.random() < 0.15:
        edges[0] = edges[1] / 2  # joined late
    visits = []
    for first, last in itertools.pairwise(edges):
        visits.append(Visit(first, last, killed=bool(rng.random() < 0.5)))
        if rng.random() < 0.2:
            back = rng.random() * last
            visits.append(Visit(back, last if rng.random() < 0.5 else (back + last) / 2))
    for visit in visits:
        visit.piece = int(10 ** rng.uniform(1, 5))
        visit.leap = float(rng.choice([0, 0, 0, 3600, 1e6]))
    visits[-1].killed = False
    return visits


# The line -------------------------------------------------------------------------------------


@dataclass
class Sent:
    """What went on air, and what of."""

    pieces: list[np.ndarray] = field(default_factory=list)
    contents: dict[Key, bytes] = field(default_factory=dict)
    fails: set[Key] = field(default_factory=set)


def send(scenario: Scenario) -> Sent:
    """Everything the senders put on the line, in its order, undamaged."""
    sent = Sent()
    numbers: Counter[int] = Counter()
    frames_before: Counter[int] = Counter()
    streams: dict[int, list[np.ndarray]] = {}
    for run in scenario.runs:
        encoder = line.encoder(scenario.line)
        link = Link(run.rate, encoder.max_frame, encoder.line_bytes, None, encoder.frame_room)
        transmitter = Transmitter(
            run.sender,
            run.settings,
            link,
            frames_before=frames_before[run.sender],
            highest_number=numbers[run.sender],
        )
        for thing in run.objects:
            numbers[run.sender] += 1
            key = Key(run.sender, numbers[run.sender])
            source = BytesSource(thing.content, b"%d.bin" % key.number)
            if thing.fails_at is not None:
                source.fails_at = thing.fails_at
                sent.fails.add(key)
            transmitter.add(key.number, source)
            sent.contents[key] = source.content
        frames = _frames(transmitter, run)
        frames_before[run.sender] = transmitter.frames_sent
        streams.setdefault(run.sender, []).extend(_encoded(encoder, frames, scenario))
    sent.pieces = _merged(list(streams.values()), scenario)
    return sent


def _frames(transmitter: Transmitter, run: Run) -> list[np.ndarray]:
    if run.cut == 1.0:
        batches = []
        while (batch := transmitter.step(len(batches) * 0.01)) is not None:
            batches.append(batch)
        return [p for batch in batches for p in batch.pieces()]
    wanted = run.cut * max(1, transmitter.progress.total_frames)
    frames: list[np.ndarray] = []
    while len(frames) < wanted and (batch := transmitter.step(len(frames) * 0.01)) is not None:
        frames += batch.pieces()
    if not run.stopped:
        return frames[: int(wanted)]
    transmitter.stop()
    while (batch := transmitter.step(len(frames) * 0.01)) is not None:
        frames += batch.pieces()
    return frames


def _encoded(encoder, frames: list[np.ndarray], scenario: Scenario) -> list[np.ndarray]:
    rng = np.random.default_rng([scenario.seed, 1, len(frames)])
    out = []
    for piece in frames:
        out.append(piece)
        if scenario.forged and rng.random() < scenario.forged:
            out.append(_forged(piece, rng))
    return [p.copy() for p in encoder.encode(Frames.of_pieces(out)).pieces()]


def _forged(piece: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A data frame with another content and a right check; other frames as they are."""
    compact = piece[0] & 0x0F == Kind.COMPACT
    if not compact and piece[0] & 0x0F != Kind.DATA:
        return piece
    changed = piece.copy()
    header = frame.COMPACT_HEADER if compact else frame.HEADER
    changed[int(rng.integers(header, len(piece) - frame.CHECK))] ^= int(rng.integers(1, 256))
    check = frame.crc32c(changed[: -frame.CHECK].tobytes())
    changed[-frame.CHECK :] = np.frombuffer(check.to_bytes(4, "little"), np.uint8)
    return changed


def _merged(streams: list[list[np.ndarray]], scenario: Scenario) -> list[np.ndarray]:
    if len(streams) < 2 or not scenario.together:
        return [piece for stream in streams for piece in stream]
    rng = np.random.default_rng([scenario.seed, 2])
    turns = np.repeat(np.arange(len(streams)), [len(s) for s in streams])
    rng.shuffle(turns)
    heads = [iter(s) for s in streams]
    return [next(heads[turn]) for turn in turns.tolist()]


def damaged(pieces: list[np.ndarray], spec: str) -> np.ndarray:
    """The bytes that come out of the line."""
    channel = Channel(Impairment.parse(spec), None)
    size = 500
    out = [
        channel.apply(Frames.of_pieces(pieces[at : at + size])).data
        for at in range(0, len(pieces), size)
    ]
    return np.concatenate([*out, channel.flush().data, np.empty(0, np.uint8)])


# The oracle -----------------------------------------------------------------------------------


class Oracle:
    """What a receiver must be able to deliver, by what the line's decoder handed up."""

    def __init__(self, sent: Sent) -> None:
        self.sent = sent
        self.manifests: dict[Key, Manifest] = {}
        """Those heard by a receiver, or kept by an earlier one."""
        self.void: set[Key] = set()
        self.ever_void: set[Key] = set()
        self.frames = 0
        self._kept: dict[Key, dict[int, set[int]]] = {}
        self._kept_manifests: dict[Key, Manifest] = {}
        self._heard: dict[object, dict[int, set[int]]] = {}
        self._begin()

    def _begin(self) -> None:
        self.frames = 0
        self.manifests = dict(self._kept_manifests)
        self._heard = {}
        self._before: dict[Key, dict[int, set[int]]] = {}
        """What was at hand at the last checkpoint."""
        self._announcements = Announcements(1 << 20, lambda *_: None)
        self.early = 0
        self.early_bytes = 0

    def hear(self, rows: np.ndarray) -> None:
        self.frames += len(rows)
        kinds = rows[:, 0] & 0x0F
        for kind in np.unique(kinds).tolist():
            chosen = np.ascontiguousarray(rows[kinds == kind])
            if kind == Kind.COMPACT:
                parsed = frame.parse_compact(chosen)
                names = parsed.alias.tolist()
            elif kind == Kind.DATA:
                parsed = frame.parse_full(chosen)
                names = [
                    Key(*n)
                    for n in zip(parsed.sender.tolist(), parsed.number.tolist(), strict=True)
                ]
            else:
                if kind == Kind.MANIFEST:
                    self._hear_manifests(frame.parse_full(chosen))
                continue
            each = zip(names, parsed.block.tolist(), parsed.symbol.tolist(), strict=True)
            for name, block, symbol in each:
                self._heard.setdefault(name, {}).setdefault(block, set()).add(symbol)

    def _hear_manifests(self, parsed: frame.Parsed) -> None:
        columns = (parsed.sender, parsed.number, parsed.block, parsed.code, parsed.symbol)
        rows = zip(*(c.tolist() for c in columns), parsed.payload, strict=True)
        for sender, number, tag, count, symbol, payload in rows:
            key = Key(sender, number)
            whole = self._announcements.take(key, tag, count, symbol, payload)
            if whole is None:
                continue
            try:
                manifest = Announcement.parse(whole).manifest
            except Malformed:
                continue
            if manifest.status == Status.VOID:
                self.void.add(key)
            elif key not in self.void:
                self.manifests[key] = manifest

    def _symbols(self, key: Key, block: int) -> set[int]:
        """Symbols at hand: kept by earlier receivers, heard by this one."""
        return (
            self._kept.get(key, {}).get(block, set())
            | self._heard.get(key, {}).get(block, set())
            | self._heard.get(frame.alias(*key), {}).get(block, set())
        )

    def keep(self) -> None:
        """A checkpoint: what was heard of known objects until the one before survives a crash."""
        for key, blocks in self._before.items():
            held = self._kept.setdefault(key, {})
            for block, symbols in blocks.items():
                held.setdefault(block, set()).update(symbols)
        self._before = {
            key: {b: self._symbols(key, b) for b in range(manifest.geometry.blocks)}
            for key, manifest in self.manifests.items()
        }
        self._kept_manifests = dict(self.manifests)

    def end(self, *, killed: bool) -> None:
        if not killed:
            self.keep()
            self.keep()
        self._begin()

    def lacks(self, key: Key) -> int:
        """Blocks of an object that no receiver could rebuild from what is at hand."""
        manifest = self.manifests.get(key)
        if manifest is None:
            return -1
        cut = manifest.geometry
        return sum(
            not _sufficient(cut, block, self._symbols(key, block)) for block in range(cut.blocks)
        )


def _sufficient(cut, block: int, symbols: set[int]) -> bool:
    code = by_id(cut.code)
    wanted = cut.source_symbols(block)
    if code.name == "repeat":
        return len({s % cut.k for s in symbols if s % cut.k < wanted}) == wanted
    return len(symbols) >= wanted


# The receiver ---------------------------------------------------------------------------------


class Kept:
    """A disk: what outlives a receiver."""

    def __init__(self) -> None:
        self.parts: dict[Key, Part] = {}
        self.finished: dict[Key, str] = {}


@dataclass
class Part:
    manifest: Manifest
    announcement: bytes
    done: np.ndarray
    data: bytearray
    parked: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)


class MemorySink:
    """A sink on a dictionary. What is written is kept at once, as by a disk in order."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        self.dead = False
        self.evicted = self.lost = lambda _key, _why: None
        self.notices: list[str] = []
        self.folders: tuple[str, ...] = ()
        self._undone: dict[Key, list[int]] = {}

    def unfinished(self):
        for key, part in list(self.kept.parts.items()):
            yield Unfinished(key, part.announcement, part.done.copy(), list(part.parked))

    def first_to_go(self, keys) -> None:
        """There is always room."""

    def contradicts(self, key: Key, manifest: Manifest) -> bool:
        return False

    def announce(self, key: Key, manifest: Manifest, announcement: bytes) -> bool:
        if key in self.kept.finished:
            return False
        done = np.zeros(manifest.geometry.blocks, np.bool_)
        self.kept.parts[key] = Part(manifest, announcement, done, bytearray(manifest.size))
        return True

    def write(self, key: Key, block: int, offset: int, data: np.ndarray) -> None:
        part = self.kept.parts.get(key)
        if part is not None and not self.dead:
            part.data[offset : offset + len(data)] = data.tobytes()
            part.done[block] = True
            part.parked.pop(block, None)

    def park(self, key: Key, block: int, numbers: np.ndarray, symbols: np.ndarray) -> None:
        part = self.kept.parts.get(key)
        if part is not None and not self.dead:
            held = part.parked.setdefault(block, {})
            held.update(zip(numbers.tolist(), symbols.copy(), strict=True))

    def parked(self, key: Key, block: int) -> tuple[np.ndarray, np.ndarray]:
        part = self.kept.parts.get(key)
        held = part.parked.get(block, {}) if part else {}
        if not held:
            return np.empty(0, np.int64), np.empty((0, 0), np.uint8)
        return np.array(list(held), np.int64), np.stack(list(held.values()))

    def refuse(self, refusals) -> None:
        """Nothing is asked about them."""

    def numbers(self, sender: int, most: int) -> list[tuple[int, int]]:
        return []

    def deliver(self, key: Key, manifest: Manifest, course: Course) -> Delivered | list[int]:
        part = self.kept.parts[key]
        if hashlib.sha256(part.data).digest() != manifest.digest:
            part.done[:] = False
            part.parked.clear()
            return []
        self.kept.finished[key] = "delivered"
        del self.kept.parts[key]
        return Delivered(f"{key}", manifest.digest.hex(), duplicate=False)

    def discard(self, key: Key) -> None:
        self.kept.parts.pop(key, None)

    def void(self, key: Key, manifest: Manifest) -> None:
        self.discard(key)
        self.kept.finished.setdefault(key, "void")

    def checkpoint(self) -> None: ...

    def close(self) -> None: ...


class Air:
    """The receiving carrier: pieces of the line, on a virtual clock."""

    rate = None

    def __init__(self, data: bytes, visit: Visit, world: World) -> None:
        self.data, self.visit, self.world = data, visit, world
        self.piece = max(visit.piece, len(data) // PIECES)
        self.at = 0

    def read(self, timeout: float | None) -> bytes:
        piece = self.data[self.at : self.at + self.piece]
        self.at += len(piece)
        before = self.world.now
        self.world.now += 1e-4 * len(piece)
        if self.at - len(piece) < len(self.data) // 2 <= self.at:
            self.world.now += self.visit.leap
        assert self.world.now >= before
        if not piece and self.visit.killed:
            self.world.crash()
        return piece

    def close(self) -> None: ...


class Ears:
    """A line's decoder that lets the oracle listen."""

    def __init__(self, name: str, oracle: Oracle) -> None:
        self.decoder, self.oracle = line.decoder(name), oracle

    @property
    def rejected(self) -> Counter:
        return self.decoder.rejected

    @property
    def noise(self) -> int:
        return self.decoder.noise

    def feed(self, data):
        return self._heard(self.decoder.feed(data))

    def flush(self):
        return self._heard(self.decoder.flush())

    def _heard(self, batches):
        for rows in batches:
            self.oracle.hear(rows)
        return batches


class Killed(BaseException):
    """A receiver is no more."""


class World:
    """One scenario being played, and what is watched over while it is."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.sent = send(scenario)
        self.oracle = Oracle(self.sent)
        self.now = 1000.0
        self.kept = Kept()
        self.folder = folder
        self.crashes = 0
        self.delivered: dict[Key, bytes] = {}
        self.counts: Counter[str] = Counter()
        self.sink: MemorySink | Inbox | None = None
        self.dead = False
        self.limits = Limits(memory=scenario.memory, begun=8 << 20, orphans=64 << 20)

    # The observer's side

    def event(self, event: events.Event, session: Session) -> None:
        if isinstance(event, events.BlockRecovered):
            content = self.sent.contents[event.key]
            data = event.data.tobytes()
            assert content[event.offset : event.offset + len(data)] == data, event.key
            self.counts["blocks"] += 1
            self.counts["decoded"] += event.decoded

    def delivered_(self, key: Key, incoming: Incoming, how: Delivered, session: Session) -> None:
        manifest = incoming.manifest
        assert not self.dead
        assert key not in self.delivered, f"{key} is delivered twice"
        content = self.sent.contents[key]
        assert hashlib.sha256(content).digest() == manifest.digest
        if self.scenario.on_disk:
            path = Path(self.sink.path) / how.path
            assert path.read_bytes() == content
        self.delivered[key] = content

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:
        assert key in self.delivered or key in self.oracle.void
        self.counts["known"] += 1

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:
        assert why.startswith("void"), why
        assert key in self.oracle.void
        self.counts["void"] += 1

    def trouble(self, error: Exception, needed: int, session: Session) -> None:
        raise AssertionError(error)

    def notice(self, text: str) -> None:
        raise AssertionError(text)

    def held(self, key: Key, manifest: Manifest, session: Session) -> None:
        """Only with a strict order."""

    def gave_up(self, gap: GivenUp, session: Session) -> None:
        """Only with a strict order."""

    def tick(self, session: Session) -> None:
        receiver = session.receiver
        assert receiver._parking.memory <= self.limits.memory + self.limits.begun
        assert receiver._parking.memory == sum(
            i.collector.memory for i in receiver.objects.values()
        )
        assert receiver._orphans.bytes <= self.limits.orphans
        assert receiver._announcements.bytes <= self.limits.announcements

    # The run

    def crash(self) -> None:
        """The receiver is killed: whatever it still writes is not kept. Raises Killed."""
        self.dead = True
        if isinstance(self.sink, MemorySink):
            self.sink.dead = True
        else:
            self.crashes += 1
            shutil.copytree(self.folder / "inbox", self.folder / f"crash{self.crashes}")
        raise Killed

    def play(self) -> Counter[str]:
        data = damaged(self.sent.pieces, self.scenario.damage)
        for visit in self.scenario.visits:
            first, last = round(visit.first * len(data)), round(visit.last * len(data))
            self._visit(visit, data[first:last].tobytes())
        self.counts["sent"] = len(self.sent.contents)
        self.counts["delivered"] = len(self.delivered)
        self.counts["frames"] = len(self.sent.pieces)
        return self.counts

    def _visit(self, visit: Visit, data: bytes) -> None:
        self.dead = False
        self.sink = self._open()
        session = Session(
            Air(data, visit, self),
            Ears(self.scenario.line, self.oracle),
            self.sink,
            _Observed(self),
            self.limits,
            clock=lambda: self.now,
        )
        checkpoint = self.sink.checkpoint

        def checkpointed() -> None:
            checkpoint()
            if not self.dead:
                self.oracle.keep()

        self.sink.checkpoint = checkpointed
        with contextlib.suppress(Killed):
            session.run(Stop())
        del self.sink.checkpoint
        self.sink.close()
        self._check(session)
        self.oracle.end(killed=visit.killed)
        if visit.killed and self.scenario.on_disk:
            shutil.rmtree(self.folder / "inbox")
            (self.folder / f"crash{self.crashes}").rename(self.folder / "inbox")

    def _open(self) -> MemorySink | Inbox:
        if not self.scenario.on_disk:
            return MemorySink(self.kept)
        return Inbox(str(self.folder / "inbox"), clock=lambda: self.now)

    def _check(self, session: Session) -> None:
        receiver, oracle = session.receiver, self.oracle
        assert receiver.frames == oracle.frames, "every frame found is looked at"
        assert session.line.noise <= session.line_bytes
        if not self.scenario.forged:
            assert not receiver.rejected, receiver.rejected
        if self.scenario.forged:
            return
        for key in self.sent.contents:
            if key in self.delivered or key in oracle.void:
                continue
            assert oracle.lacks(key), f"{key} came in sufficient pieces and is not delivered"
        for short in session.short():
            if short.key in oracle.manifests:  # one of a killed receiver may be known to the disk
                assert short.blocks_short <= oracle.lacks(short.key), short.key


class _Observed:
    """The observer that a session wants; `World.delivered` is what was."""

    def __init__(self, world: World) -> None:
        self.event, self.delivered = world.event, world.delivered_
        self.known, self.refused = world.known, world.refused
        self.trouble, self.notice, self.tick = world.trouble, world.notice, world.tick


def play(scenario: Scenario) -> Counter[str]:
    """Play it; what came of it. AssertionError where something that must hold does not."""
    with tempfile.TemporaryDirectory(prefix="diode-simulation-") as folder:
        return World(scenario, Path(folder)).play()


def play_all(seeds: range) -> Counter[str]:
    """Play them all; the first that fails is told with its seed."""
    total: Counter[str] = Counter()
    for seed in seeds:
        scenario = draw(seed)
        try:
            total += play(scenario)
        except Exception as error:
            raise AssertionError(
                f"seed {seed} (python tests/simulation.py {seed}): "
                f"{type(error).__name__}: {error}\n{scenario}"
            ) from error
        total["scenarios"] += 1
    return total


if __name__ == "__main__":
    for text in sys.argv[1:]:
        print(draw(int(text)))
        try:
            print(dict(play(draw(int(text)))))
        except Exception:  # noqa: BLE001  it is told
            traceback.print_exc()
