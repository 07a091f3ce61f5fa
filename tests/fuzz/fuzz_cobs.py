"""Line `cobs`: whatever the bytes, nothing is raised; every frame handed up passes its own check;
any split of the bytes gives the same frames, refusals and noise; never more than the
longest chunk is held back; and a whole frame between delimiters is found whatever came before.
"""

from __future__ import annotations

from itertools import pairwise

import harness

from diode import stamp

with harness.instrumented():
    import numpy as np

    from diode import frame
    from diode.line import cobs

FRAME = frame.blank_rows(1, 40, compact=True)
FRAME[:] = 7
frame.fill_compact(FRAME, sender=7, number=1, block=2, symbol=3)
stamp.stamp(frame.Frames.of_rows(FRAME), 9)
INTACT = FRAME.tobytes()
_ENCODER = cobs.Encoder()
_ENCODER.encode(frame.Frames.of_rows(FRAME))
CHUNK = _ENCODER.encode(frame.Frames.of_rows(FRAME)).data.tobytes()


def hear(decoder, pieces, most):
    """All frames, sorted, and what was counted; checks each row and what is held back."""
    found = []
    for piece in (*pieces, None):
        for rows in decoder.flush() if piece is None else decoder.feed(piece):
            assert stamp.check_rows(rows).all()
            found += [row.tobytes() for row in rows]
        assert held(decoder) <= most, held(decoder)
    return sorted(found), decoder.rejected, decoder.noise


def held(decoder):
    return len(decoder._tail if hasattr(decoder, "_tail") else decoder._pending)


def split(data, seed):
    """Cut at places that follow from the seed; some pieces are empty."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(data) + 1, rng.integers(1, 12))).tolist()
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def target(data: bytes) -> None:
    whole = hear(cobs.Decoder(), [data], cobs.LONGEST)
    assert hear(cobs.Decoder(), split(data, len(data)), cobs.LONGEST) == whole
    if len(data) < 512:
        single = [data[i : i + 1] for i in range(len(data))]
        assert hear(cobs.Decoder(), single, cobs.LONGEST) == whole
    assert 0 <= whole[2] <= len(data)
    surrounded = hear(cobs.Decoder(), [data + b"\0" + CHUNK + data], cobs.LONGEST)[0]
    assert INTACT in surrounded


if __name__ == "__main__":
    harness.run(target)
