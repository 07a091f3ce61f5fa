"""Modems: how line bytes become sound and are found again in it (wire 7).

Two kinds. Plain FSK (afsk.py) is a byte stream as a UART makes it, understood by every modem
of that kind since 1962: what is lost is found again by the line above it. Synchronous modems
(mfsk.py) send whole pieces of the line in frames of their own, each found by a chirp and protected
by an inner code; what they cannot decode they drop, so no byte that comes out of one is wrong.

Samples are float32, one channel, full scale is -1 … 1. A modulator's samples never exceed it;
a demodulator takes any level. Both are made for a sample rate, 8 to 192 kHz, and
stream: a demodulator that is fed in any chunks gives the same bytes.

A receiver that is given `auto` hears with all demodulators that announce themselves (auto.py).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from diode.errors import UsageError

if TYPE_CHECKING:
    from diode.frame import Frames

F32 = NDArray[np.float32]
"""Samples, shape (samples,), full scale -1 … 1."""

MIN_RATE, MAX_RATE = 8_000, 192_000
"""Sample rates, in Hz."""


@dataclass(slots=True)
class Signal:
    """What a demodulator hears; a figure is None while it is not known."""

    modem: str
    carrier: bool = False
    """Whether something of its own is on air now."""
    snr_db: float | None = None
    """Energy of a tone over the noise density beside it (Es/N0)."""
    clock_ppm: float | None = None
    """How much faster the sender's clock runs than ours."""
    offset_hz: float | None = None
    """How far the tones are from where they should be."""
    error_rate: float | None = None
    """Share of channel symbols received wrong, before the inner code put them right."""
    found: int = 0
    """Frames decoded; of plain FSK, bytes."""
    lost: int = 0
    """Frames heard and not decoded; of plain FSK, bytes with a wrong stop bit."""


class Modulator(Protocol):
    """Line bytes to samples. The phase runs on from call to call."""

    def begin(self) -> F32:
        """What goes before the first piece: long enough for a sound card to wake up."""

    def modulate(self, pieces: Frames) -> F32:
        """The samples of these pieces."""

    def end(self) -> F32:
        """What goes behind the last piece."""


class Demodulator(Protocol):
    """Samples to line bytes, streaming: any split of the samples gives the same bytes."""

    @property
    def signal(self) -> Signal:
        """What is heard now."""

    def feed(self, samples: F32) -> bytes:
        """The line bytes that these samples complete."""

    def flush(self) -> bytes:
        """The sound has ended: what can still be made of the samples held back."""


class Modem(Protocol):
    """Both ends of a modem, and what planning has to know of it."""

    @property
    def name(self) -> str: ...

    @property
    def rate(self) -> float:
        """Line bytes per second of sound."""

    @property
    def max_piece(self) -> int | None:
        """Longest piece that stays whole in one frame; None where there are no frames."""

    @property
    def batch(self) -> int:
        """Line bytes worth handing over in one call; fewer may take as long on air."""

    def air_bytes(self, piece: float) -> float:
        """Line time of a piece of that many bytes, in bytes at `rate`."""

    def modulator(self, sample_rate: int) -> Modulator:
        """A new modulator for that sample rate."""

    def demodulator(self, sample_rate: int) -> Demodulator:
        """A new demodulator for that sample rate."""


DEFAULT = "robust"
"""The modem that a sender takes when none is named."""
AUTO = "auto"
"""The name under which a receiver asks all that announce themselves."""
FSK = "fsk"
"""The name of plain FSK at a rate of one's own choice."""


def modem(
    name: str,
    *,
    baud: float | None = None,
    mark: float | None = None,
    space: float | None = None,
) -> Modem:
    """The modem of that name.

    baud, mark and space (Hz) belong to `fsk`, which needs the first. Raises UsageError for an
    unknown name and for numbers that do not fit it.
    """
    from diode.modem.afsk import NAMED, Afsk, defaults  # noqa: PLC0415  members know this module
    from diode.modem.auto import Auto  # noqa: PLC0415
    from diode.modem.mfsk import Mfsk  # noqa: PLC0415
    from diode.modem.profile import PROFILES  # noqa: PLC0415

    known = [*PROFILES, *NAMED, FSK, AUTO]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean modem={near[0]}? " if near else ""
        raise UsageError(
            f"there is no modem {name!r}", hint=f"{meant}the modems are {', '.join(known)}"
        )
    if name != FSK and (baud, mark, space) != (None, None, None):
        raise UsageError(
            f"modem={name} has its own tones", hint="baud=, mark= and space= go with modem=fsk"
        )
    if name == FSK:
        if baud is None:
            raise UsageError("modem=fsk needs a rate", hint="modem=fsk&baud=1200")
        usual = defaults(baud)
        return Afsk(baud, usual[0] if mark is None else mark, usual[1] if space is None else space)
    if name == AUTO:
        return Auto(
            [Mfsk(profile) for profile in PROFILES.values()],
            [Afsk(*tones, name=name) for name, tones in NAMED.items()],
        )
    return Mfsk(PROFILES[name]) if name in PROFILES else Afsk(*NAMED[name], name=name)
