"""The receiver, with frames whose checks are right: the fuzzer chooses kinds, fields and payloads,
batches, and when objects are finished, forgotten, parked or begun anew. Nothing is raised;
every bound of `Limits` holds after each call (blocks in memory: after the next one, which parks
first); and a block handed up has the object's bytes, however many symbols were wrong.
"""

from __future__ import annotations

import functools
import struct

import harness

from diode import stamp

with harness.instrumented():
    import msgspec
    import numpy as np

    from diode import block as block_layer
    from diode import events, frame
    from diode.announcements import AnnouncementSymbols
    from diode.code import by_id
    from diode.events import Key
    from diode.frame import Kind
    from diode.geometry import Geometry
    from diode.limits import Limits
    from diode.objects import Announcement, Manifest
    from diode.receiver import Receiver

LIMITS = Limits(
    max_object=1 << 16,
    max_blocks=64,
    max_block=1 << 12,
    memory=200,
    begun=4096,
    orphans=8192,
    objects=3,
    finished=4,
    senders=3,
    announcements=4096,
)
MAX_EVENTS = 100_000


@functools.cache
def content(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, 1 << 16, np.uint8)


def check_bounds(receiver: Receiver, limits: Limits) -> None:
    """Everything but blocks in memory is inside its limit, and the accounts are right."""
    kept = [part for parts in receiver._orphans._parts.values() for part in parts]
    assert receiver._orphans.bytes == sum(part.bytes for part in kept)
    assert 0 <= receiver._orphans.bytes <= limits.orphans
    held = sum(p.memory for p in receiver._announcements._parts.values())
    assert held <= receiver._announcements.bytes <= limits.announcements
    assert len(receiver.objects) <= limits.objects
    assert len(receiver._finished) <= limits.finished
    assert len(receiver.senders) <= limits.senders
    assert len(receiver._aliases) <= 1 << 16
    collectors = [incoming.collector for incoming in receiver.objects.values()]
    assert receiver._parking.memory == sum(c.memory for c in collectors)
    begun = sum(len(c.open_blocks) * c.geometry.k * c.geometry.symbol_size for c in collectors)
    assert begun <= limits.memory + limits.begun


def check_memory(receiver: Receiver, limits: Limits) -> None:
    """Blocks in memory, when a call has just begun."""
    assert 0 <= receiver._parking.memory <= limits.memory, receiver._parking.memory


class Keeper:
    """Acts on events as the service does: keeps parked symbols, checks and finishes objects."""

    def __init__(self, limits: Limits, check_content) -> None:
        self.receiver = Receiver(limits)
        self.limits = limits
        self.parked: dict[tuple[Key, int], dict[int, np.ndarray]] = {}
        self.announced: dict[Key, tuple[Manifest, bytes]] = {}
        self.completed: set[Key] = set()
        self.wrong_digest = False
        self._check_content = check_content

    def hear(self, rows: list[np.ndarray]) -> None:
        self.take(self.receiver.receive([], 0.0))
        check_memory(self.receiver, self.limits)
        self.take(self.receiver.receive(rows, 0.0))
        check_bounds(self.receiver, self.limits)

    def take(self, happened: list[events.Event]) -> None:
        assert len(happened) < MAX_EVENTS
        for event in happened:
            match event:
                case events.ObjectAnnounced(key, manifest, announcement):
                    if self.announced.get(key) != (manifest, announcement):  # other content
                        self.parked = {at: kept for at, kept in self.parked.items() if at[0] != key}
                    self.announced[key] = manifest, announcement
                case events.BlockRecovered(key, block, offset, data):
                    manifest = self.announced[key][0]
                    assert len(data) == manifest.geometry.length(block)
                    self._check_content(key, manifest, offset, data)
                case events.BlockParked(key, block, numbers, symbols):
                    kept = self.parked.setdefault((key, block), {})
                    kept.update(zip(numbers.tolist(), symbols.copy(), strict=True))
                case events.BlockWanted(key, block):
                    self._restore(key, block)
                case events.ObjectCompleted(key, manifest) if key in self.receiver.objects:
                    self._completed(key)

    def _restore(self, key: Key, block: int) -> None:
        kept = self.parked.get((key, block), {})
        if kept:
            numbers = np.array(list(kept), np.int64)
            self.take(self.receiver.restore(key, block, numbers, np.stack(list(kept.values()))))

    def _completed(self, key: Key) -> None:
        assert self.receiver.objects[key].collector.complete
        if self.wrong_digest:
            self.wrong_digest = False
            self.receiver.begin_anew(key, [])
            return
        self.completed.add(key)
        self.receiver.finish(key)


class Script:
    """One run: reads what to do from fuzz bytes."""

    def __init__(self, data: bytes) -> None:
        self.choices = harness.Choices(data)
        self.keeper = Keeper(LIMITS, self.check_content)
        self.batch: list[bytes] = []

    def check_content(self, key: Key, _manifest: Manifest, offset: int, data: np.ndarray) -> None:
        whole = content(key.number)
        if not (data == whole[offset : offset + len(data)]).all():
            # A symbol made for another cut of the object can be a whole block of this one, check
            # and all. Only the SHA-256 knows.
            assert data.tobytes() in whole.tobytes()

    def run(self) -> None:
        steps = (
            *(self.manifest, self.symbols, self.symbols, self.wrong_symbol, self.call),
            *(self.heartbeat, self.any_frame, self.any_manifest, self.command),
        )
        while self.choices:
            self.choices.of(*steps)()
        self.call()
        self.keeper.take(self.keeper.receiver.park_all())
        assert self.keeper.receiver._parking.memory == 0

    def call(self) -> None:
        made = frame.Frames.of_pieces(self.batch).rows()
        self.batch.clear()
        assert all(stamp.check_rows(rows).all() for rows in made)
        self.keeper.hear(made)

    def add(self, kind: int, payload: bytes, key: Key, *, code=0, block=0, symbol=0) -> None:
        sequence = self.choices.byte() * 257
        body = struct.pack("<BBHIIII", 0x10 | kind, code, sequence, *key, block, symbol) + payload
        self.batch.append(body + struct.pack("<I", frame.crc32c(body)))

    def add_compact(self, payload: bytes, key: Key, block: int, symbol: int) -> None:
        body = struct.pack("<BBHI", 0x12, 0, frame.alias(*key), block << 8 | symbol) + payload
        self.batch.append(body + struct.pack("<I", frame.crc32c(body)))

    # What is chosen -------------------------------------------------------------------------

    def key(self) -> Key:
        c = self.choices
        return Key(c.of(1, 1, 1, 1, 1, 1, 2, 3, 4), c.of(1, 1, 1, 2, 3, 4, 5))

    def geometry(self, key: Key) -> Geometry:
        """The same for a key most of the time, so that blocks come together."""
        pick = key.number if self.choices.byte() < 240 else self.choices.byte()
        size = (0, 300, 1, 77, 1000, 2000, 64, 65)[pick % 8]
        k, symbol_size, code = ((4, 16, 1), (1, 16, 1), (9, 9, 1), (3, 20, 0), (2, 64, 1))[pick % 5]
        return Geometry(size, code, k, k + 2, symbol_size)

    def manifest(self) -> None:
        key = self.key()
        cut = self.geometry(key)
        status = self.choices.of(0, 0, 0, 0, 0, 0, 0, 2)
        numbers = (cut.code, cut.k, cut.n, cut.symbol_size, 1, None)
        told = Manifest(status, 0, b"name" * key.number, cut.size, bytes(32), *numbers)
        made = AnnouncementSymbols.of(Announcement(told), self.choices.of(200, 200, 40, 21))
        for _ in range(made.count + self.choices.of(0, 0, -1)):
            number = made.numbers(self.choices.byte() % 6, 1)
            symbol = made.symbols(number)
            where = {"block": made.tag ^ (self.choices.byte() == 255), "symbol": int(number[0])}
            self.add(Kind.MANIFEST, symbol.tobytes(), key, code=made.count, **where)

    def symbols(self) -> None:
        """Right symbols of one block."""
        key, choices = self.key(), self.choices
        cut = self.geometry(key)
        if not cut.blocks:
            return
        block = choices.byte() % cut.blocks
        whole = block_bytes(key.number, cut, block)
        code = by_id(cut.code)
        numbers = (np.arange(choices.byte() % (cut.k + 2)) + choices.byte()) % code.numbers(cut.k)
        compact = choices.byte() & 1
        for number, symbol in zip(numbers.tolist(), code.encode(whole, numbers), strict=True):
            if compact:
                self.add_compact(symbol.tobytes(), key, block, number)
            else:
                where = {"code": cut.code, "block": block, "symbol": number}
                self.add(Kind.DATA, symbol.tobytes(), key, **where)

    def wrong_symbol(self) -> None:
        key, choices = self.key(), self.choices
        size = self.geometry(key).symbol_size
        body = bytes(b ^ 0x5A for b in choices.take(size))
        block = choices.of(0, 0, 0, 1, 5, choices.word())
        number = choices.of(0, 1, 2, 5, choices.byte(), choices.word())
        if choices.byte() & 1:
            self.add_compact(body, key, block & 0xFFFFFF, number & 0xFF)
        else:
            self.add(Kind.DATA, body, key, block=block, symbol=number)

    def heartbeat(self) -> None:
        code = self.choices.byte()
        body = self.choices.take(self.choices.of(28, 28, 34, 5))
        key = Key(self.key().sender, self.choices.of(3, 9, self.choices.word()))
        self.add(Kind.HEARTBEAT, body, key, code=code)

    def any_frame(self) -> None:
        body = self.choices.take(self.choices.of(8, 9, 19, 20, 21, 60, self.choices.byte() + 8))
        self.batch.append(body + struct.pack("<I", frame.crc32c(body)))

    def any_manifest(self) -> None:
        """A manifest of any field values, or of any bytes."""
        choices, key = self.choices, self.key()
        fields = [choices.of(0, 1, 2, -1, choices.word(), choices.word() << 31) for _ in range(9)]
        element = [*fields[:2], b"n", fields[2], bytes(choices.of(32, 31)), *fields[3:8], None]
        body = msgspec.msgpack.encode(element) if choices.byte() & 1 else choices.take(60)
        data = len(body).to_bytes(2, "little") + body + choices.take(choices.byte() % 9)
        self.add(
            Kind.MANIFEST, data, key, code=choices.of(1, 1, 2, 64, 65), block=frame.crc32c(data)
        )

    def command(self) -> None:
        """What a service may do at any time."""
        self.call()
        receiver, key = self.keeper.receiver, self.key()
        match self.choices.byte() % 6:
            case 0:
                self.keeper.take(receiver.park_all())
            case 1:
                receiver.finish(key)
            case 2:
                receiver.forget(key)
            case 3:
                receiver.begin_anew(key, [])
            case 4:
                self.keeper.wrong_digest = True
            case 5 if key in self.keeper.announced:
                manifest, announcement = self.keeper.announced[key]
                kept = [b for k, b in self.keeper.parked if k == key]
                done = np.zeros(manifest.geometry.blocks, np.bool_)
                self.keeper.take(receiver.resume(key, announcement, done, kept))
        check_bounds(receiver, LIMITS)


@functools.lru_cache(4096)
def block_bytes(number: int, cut: Geometry, block: int) -> np.ndarray:
    flat = np.zeros(cut.k * cut.symbol_size, np.uint8)
    offset, length = block * cut.block_data, cut.length(block)
    flat[:length] = content(number)[offset : offset + length]
    block_layer.CRC.close(flat, length, 0)
    return flat.reshape(cut.k, cut.symbol_size)


def target(data: bytes) -> None:
    Script(data).run()


if __name__ == "__main__":
    harness.run(target)
