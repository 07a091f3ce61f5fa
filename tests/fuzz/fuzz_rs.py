"""Line `rs`: whatever the bytes, nothing is raised; every frame handed up passes its own check;
any split of the bytes gives the same frames, refusals and noise; less than one piece is
held back; every byte is either a frame's or noise; and 16 wrong bytes anywhere in
the word of a frame are put right.
"""

from __future__ import annotations

import fuzz_cobs
import harness

with harness.instrumented():
    import numpy as np

    from diode import frame
    from diode.line import rs

PIECE = rs.Encoder().encode(frame.Frames.of_rows(fuzz_cobs.FRAME)).data


def sprinkled(data: bytes) -> bytes:
    """Sync words at places the bytes choose, so that there is something to judge."""
    out = np.frombuffer(data, np.uint8).copy()
    for place in data[:8]:
        at = place * 16 % (len(out) or 1)
        room = min(4, len(out) - at)
        out[at : at + room] = rs.SYNC[:room]
    return out.tobytes()


def wrong(data: bytes) -> bytes:
    """The piece of a frame with as many wrong bytes as can be put right."""
    out = PIECE.copy()
    for i, value in enumerate(data[: rs.PARITY // 2]):
        out[len(rs.SYNC) + (value + 16 * i) % (rs.PIECE - len(rs.SYNC))] ^= value
    return out.tobytes()


def target(data: bytes) -> None:
    for stream in (data, sprinkled(data)):
        whole = fuzz_cobs.hear(rs.Decoder(), [stream], rs.PIECE - 1)
        pieces = fuzz_cobs.split(stream, len(data))
        assert fuzz_cobs.hear(rs.Decoder(), pieces, rs.PIECE - 1) == whole
        if len(stream) < 300:
            single = [stream[i : i + 1] for i in range(len(stream))]
            assert fuzz_cobs.hear(rs.Decoder(), single, rs.PIECE - 1) == whole
        frames, _, noise = whole
        # the last frame may lack some of its parity
        used = len(frames) * rs.PIECE + noise
        assert used - rs.PARITY <= len(stream) <= used, (used, len(stream))
    assert fuzz_cobs.hear(rs.Decoder(), [wrong(data)], rs.PIECE - 1)[0] == [fuzz_cobs.INTACT]


if __name__ == "__main__":
    harness.run(target)
