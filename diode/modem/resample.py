"""From one sample rate to another, streaming.

A modem works at the rate that suits its tones and hears whatever the sound card gives. The
conversion is libsoxr's (python-soxr), whose pass band is flat to 91 % of the lower rate's half and
whose images are 120 dB down; its delay is made up for, so sample n of the output is the input at
n / rate. Where the rates are equal nothing is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode.errors import CarrierError

if TYPE_CHECKING:
    from diode.modem import F32


class Resampler(Protocol):
    """Samples at one rate to samples at another; any split gives the same samples."""

    def feed(self, samples: F32) -> F32: ...

    def flush(self) -> F32:
        """The sound has ended: the samples still inside."""


class _Same:
    """No conversion."""

    def feed(self, samples: F32) -> F32:
        return samples

    def flush(self) -> F32:
        return np.empty(0, np.float32)


class _Soxr:
    """Conversion by libsoxr."""

    def __init__(self, source: float, target: float) -> None:
        try:
            import soxr  # noqa: PLC0415  an extra
        except ImportError as error:
            raise CarrierError(
                f"sound at {source:g} Hz has to be converted to {target:g} Hz, and soxr is not "
                "installed",
                hint="pip install 'diode-fec[audio]'",
            ) from error
        self._stream = soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")

    def feed(self, samples: F32) -> F32:
        return np.asarray(self._stream.resample_chunk(samples), np.float32)

    def flush(self) -> F32:
        return np.asarray(
            self._stream.resample_chunk(np.empty(0, np.float32), last=True), np.float32
        )


def resampler(source: float, target: float) -> Resampler:
    """A converter from `source` to `target` Hz. Raises CarrierError where it is not installed."""
    return _Same() if source == target else _Soxr(source, target)
