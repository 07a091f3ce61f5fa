"""Lines: how frames become the bytes of a carrier and are found again (wire 6).

Each member has an encoder (frames in, line bytes out) and a decoder (line bytes in, in any
split; checked frames out). A decoder hands up only frames whose own check passes, because
finding frames again *is* trying the check at every place one could begin; what it
refused it counts. Members are chosen by name in `LINES`; a receiver that is not told which
one listens with `auto`, which asks all of them until one finds frames.

A carrier of datagrams keeps frames apart by itself. There is nothing to choose then: its line is
`datagram`, in which a frame is what it is (datagram.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from diode.errors import UsageError
from diode.line import auto, cobs, datagram, rs

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from diode.frame import U8, Frames, Received


class Encoder(Protocol):
    """Frames to line bytes. Stateless apart from the very first call."""

    max_frame: int
    """Longest frame this line can carry."""

    def encode(self, frames: Frames) -> Frames:
        """Line bytes of these frames; piece i of the result is frame i on the line."""

    def line_bytes(self, frame: int) -> float:
        """Expected bytes on the line for a frame of that many random bytes."""

    def frame_room(self, piece: int) -> int:
        """The longest frame that never takes more than that many line bytes; 0 if none."""


class Decoder(Protocol):
    """Line bytes to frames, streaming: any split of the bytes gives the same frames."""

    @property
    def rejected(self) -> Counter[str]:
        """Chunks refused so far, by frame.Reject value."""

    @property
    def noise(self) -> int:
        """Bytes so far that belonged to no accepted frame."""

    def feed(self, data: Received) -> list[U8]:
        """The frames completed by these bytes, as rows grouped by length."""

    def flush(self) -> list[U8]:
        """The stream has ended: what can still be made of the bytes held back."""


class Line(NamedTuple):
    """What makes the two ends of a line."""

    encoder: Callable[[], Encoder]
    decoder: Callable[[], Decoder]


LINES: dict[str, Line] = {
    "cobs": Line(cobs.Encoder, cobs.Decoder),
    "rs": Line(rs.Encoder, rs.Decoder),
}
"""The members for a stream of bytes, by name."""

DATAGRAM = "datagram"
"""The name of the line of a carrier that keeps frames apart."""

_EVERY = {**LINES, DATAGRAM: Line(datagram.Encoder, datagram.Decoder)}

AUTO = "auto"
"""The name under which a receiver asks all members."""


def encoder(name: str) -> Encoder:
    """A new encoder of the line of that name. Raises UsageError for an unknown one."""
    if name not in _EVERY:
        raise UsageError(f"there is no line {name!r} to send on", hint=f"one of {_names(*LINES)}")
    return _EVERY[name].encoder()


def decoder(name: str) -> Decoder:
    """A new decoder of the line of that name, or `auto`. Raises UsageError for an unknown one."""
    if name == AUTO:
        return auto.Auto({name: line.decoder for name, line in LINES.items()})
    if name not in _EVERY:
        raise UsageError(f"there is no line {name!r}", hint=f"one of {_names(*LINES, AUTO)}")
    return _EVERY[name].decoder()


def _names(*names: str) -> str:
    return ", ".join(f"--line {name}" for name in names)
