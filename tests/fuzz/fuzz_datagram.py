"""Line of datagrams: whatever comes as datagrams, nothing is raised; what is handed up is exactly
those that pass their own check, in order within a length; each of the others is counted
once, under its length or its check; nothing is held back, and no datagram changes what is
made of another.
"""

from __future__ import annotations

from collections import Counter

import fuzz_cobs
import harness

with harness.instrumented():
    import numpy as np

    from diode.frame import CHECK, MAX_FRAME, MIN_FRAME, Frames, Reject, crc32c
    from diode.line import datagram


def datagrams(choices: harness.Choices) -> list[bytes]:
    """Whole frames, cut ones, ones with something behind them, noise, empty ones."""
    made = []
    while choices and len(made) < 60:
        body = choices.take(choices.of(0, 9, 24, 60, choices.byte(), choices.byte() * 40))
        right = body + crc32c(body).to_bytes(CHECK, "little")
        at = choices.byte()
        made.append(choices.of(right, body, right[: at % (len(right) + 1)], right + body[:at]))
    return made


def is_frame(piece: bytes) -> bool:
    fits = MIN_FRAME <= len(piece) <= MAX_FRAME
    return fits and crc32c(piece[:-CHECK]) == int.from_bytes(piece[-CHECK:], "little")


def hear(batches: list[list[bytes]]) -> tuple[dict[int, list[bytes]], Counter[str], int]:
    """Frames by length, in the order they came, and what was counted."""
    decoder, found = datagram.Decoder(), {}
    for batch in batches:
        for rows in decoder.feed(Frames.of_pieces(batch)) if batch else []:
            found.setdefault(rows.shape[1], []).extend(row.tobytes() for row in rows)
    assert decoder.flush() == []
    return found, decoder.rejected, decoder.noise


def target(data: bytes) -> None:
    pieces = datagrams(harness.Choices(data))
    wanted: dict[int, list[bytes]] = {}
    for piece in filter(is_frame, pieces):
        wanted.setdefault(len(piece), []).append(piece)
    others = [piece for piece in pieces if not is_frame(piece)]
    whole = hear([pieces])
    assert whole[0] == wanted
    assert whole[2] == sum(map(len, others))
    assert whole[1].total() == len(others)
    assert whole[1][Reject.LENGTH] == sum(not MIN_FRAME <= len(p) <= MAX_FRAME for p in others)
    at = len(data) % (len(pieces) + 1)
    assert hear([pieces[:at], pieces[at:]]) == whole
    assert hear([[piece] for piece in pieces]) == whole
    alone = datagram.Decoder()
    rows = alone.feed(np.frombuffer(data, np.uint8)) if data else []
    assert [row.tobytes() for row in rows] == ([data] if is_frame(data) else [])
    intact = datagram.Decoder().feed(Frames.of_pieces([*pieces, fuzz_cobs.INTACT]))
    assert any(row.tobytes() == fuzz_cobs.INTACT for group in intact for row in group)


if __name__ == "__main__":
    harness.run(target)
