"""A receiver with a link key: what fuzz_receiver.py does, in frames with the right tag, while
frames without a tag, with a wrong one, or too short for one come in between. Nothing is raised,
every bound holds, no content is ever wrong; each frame without the right tag is counted under
one reason and has no other effect: a receiver without a key that hears only the others is in
the same state.
"""

from __future__ import annotations

import fuzz_receiver
import harness

with harness.instrumented():
    import numpy as np

    from diode import frame
    from diode.frame import Frames, Reject
    from diode.receiver import Receiver
    from diode.tag import MARK, TAG, TAGGED, LinkKey

KEY, OTHER = LinkKey(bytes(32)), LinkKey(bytes([1] * 32))
REFUSED = (Reject.UNTAGGED, Reject.TAG)


def keyed(key: LinkKey, pieces: list[bytes]) -> list[bytes]:
    """The same frames with tags, numbered anew."""
    if not pieces:
        return []
    made = key.stamp(Frames.of_pieces(pieces), 0)
    return [piece.tobytes() for piece in made.pieces()]


def closed(body: bytes) -> bytes:
    return body + frame.crc32c(body).to_bytes(4, "little")


def state(receiver: Receiver) -> object:
    """What frames can change, but for the counts of those refused for their tags."""
    rejected = {why: n for why, n in receiver.rejected.items() if why not in REFUSED}
    objects = {
        key: (incoming.manifest, incoming.collector.symbols, incoming.collector.done_count)
        for key, incoming in receiver.objects.items()
    }
    return objects, rejected, receiver.frames, receiver._orphans.bytes, list(receiver.senders)


class Script(fuzz_receiver.Script):
    """A run in which all frames are tagged, and some are forged."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.keeper.receiver = Receiver(fuzz_receiver.LIMITS, tags=KEY)
        self.plain = fuzz_receiver.Keeper(fuzz_receiver.LIMITS, self.check_content)
        self.forged = 0

    def call(self) -> None:
        known = [piece for piece in self.batch if piece[0] >> 4 == frame.VERSION]
        others = [piece for piece in self.batch if piece[0] >> 4 != frame.VERSION]
        self.batch.clear()
        good = keyed(KEY, known)
        forged = others + [self.forgery() for _ in range(self.choices.byte() % 5)]
        short = sum(p[0] >> 4 == TAGGED and len(p) < frame.MIN_FRAME + TAG for p in forged)
        self.forged += len(forged) - short
        both = list(good)
        for piece in forged:
            both.insert(self.choices.byte() % (len(both) + 1), piece)
        mixed = Frames.of_pieces(both).rows() if both else []
        self.keeper.hear(mixed)
        # In the same batches: what is kept until its manifest comes is reckoned by them.
        ours = set(good)
        batches = (rows[[row.tobytes() in ours for row in rows]] for rows in mixed)
        told = [rows for rows in batches if len(rows)]
        assert sum(map(len, told)) == len(good)
        refused: list[tuple[Reject, int]] = []
        right = [KEY.accepted(each, lambda *why: refused.append(why)).copy() for each in told]
        assert not refused
        if short:
            self.plain.receiver.rejected[Reject.LENGTH] += short
        for each in right:
            each[:, 0] &= ~np.uint8(MARK)
        self.plain.hear(right)
        rejected = self.keeper.receiver.rejected
        assert sum(rejected[why] for why in REFUSED) == self.forged

    def forgery(self) -> bytes:
        """A frame that passes its check and has not the right tag."""
        body = bytearray(self.choices.take(self.choices.of(30, 9, 20, 21, 60)))
        match self.choices.byte() % 3:
            case 0:
                body[0] &= 0x7F
            case 1:
                body[0] = TAGGED << 4 | body[0] & 0x0F
                body = bytearray(max(bytes(body), bytes(body).ljust(24, b"\1")))
            case 2:
                return keyed(OTHER, [closed(bytes(body))])[0]
        return closed(bytes(body))

    def command(self) -> None:
        """Nothing that has to be done to both."""
        self.call()


def target(data: bytes) -> None:
    script = Script(data)
    script.run()
    script.plain.take(script.plain.receiver.park_all())
    assert state(script.keeper.receiver) == state(script.plain.receiver)
    rows = np.frombuffer(closed(data[:60].ljust(20, b"\0")), np.uint8)[None]
    got = KEY.accepted(rows, lambda *_: None)
    assert not len(got), "nobody without the key makes a tag"


if __name__ == "__main__":
    harness.run(target)
