"""Bytes on the line around a symbol, in per cent, by symbol size: measured on random data."""

from __future__ import annotations

import sys

import numpy as np
from side_by_side import heading

from diode import frame, line, stamp

FRAMES = 2000
SIZES = (32, 64, 128, 198, 210, 256, 512, 1024, 1376, 4096, 8192)


def overhead(size: int, *, compact: bool, name: str) -> str:
    encoder = line.encoder(name)
    rows = frame.blank_rows(FRAMES, size, compact=compact)
    if rows.shape[1] > encoder.max_frame:
        return "-"
    if compact:
        frame.fill_compact(rows, sender=7, number=1, block=np.arange(FRAMES), symbol=3)
    else:
        frame.fill_full(
            rows, frame.Kind.DATA, code=1, sender=7, number=1, block=np.arange(FRAMES), symbol=3
        )
    content = np.random.default_rng(size).integers(0, 256, (FRAMES, size), np.uint8)
    frame.payload(rows, compact=compact)[:] = content
    frames = frame.Frames.of_rows(rows)
    stamp.stamp(frames, 0)
    on_line = len(encoder.encode(frames).data) / FRAMES
    return f"{on_line - size:.1f} ({(on_line - size) / size:.1%})"


def main() -> None:
    heading("overhead in bytes a frame, and as a share of the symbol")
    columns = (("compact", "cobs"), ("full", "cobs"), ("compact", "rs"), ("full", "rs"))
    print("  symbol  " + "".join(f"{f'{head} + {name}':>18}" for head, name in columns))
    for size in SIZES:
        cells = [overhead(size, compact=head == "compact", name=name) for head, name in columns]
        print(f"  {size:6d}  " + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
