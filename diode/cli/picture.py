"""diode inspect --plot: a sound as a picture.

Top: the waterfall, with a bar for every frame found (green) and every chirp whose frame did not
come out (red). Bottom left: the eye. For plain FSK it is the difference of the tones over two bits;
for a synchronous modem, whose symbols have no wave to look at, how much of the energy is in the
loudest tones when the window is moved: a peak at 0 that falls to both sides is an open eye.
Bottom right: the energies of sounding and silent tones, two hills that ought to be apart.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from diode.modem import AUTO, timing
from diode.modem.afsk import NAMED, Afsk
from diode.modem.afsk import Demodulator as FskDemodulator
from diode.modem.discriminator import POSITIONS, Discriminator
from diode.modem.mfsk import Attempt, Demodulator
from diode.modem.profile import CLASS_SYMBOLS, PROFILES
from diode.modem.resample import resampler
from diode.modem.tones import energies, raised

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.cli.output import Plot
    from diode.modem import F32, Modem
    from diode.modem.profile import Profile

COLUMNS = 1_600
"""Columns of the waterfall at most; a longer sound has several glimpses averaged in each."""
WINDOW = 1_024
KEPT = 8
"""Frames kept for the eye and the energies."""
MARKS = 10_000
"""Frames marked at most."""
EYE_SECONDS = 2.0
FLOOR = -80.0


class Spectrogram:
    """Power by time and frequency, streaming; halves its resolution in time when it is full."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._rest = np.empty(0, np.float32)
        self._window = np.hanning(WINDOW).astype(np.float32)
        self._columns: list[F32] = []
        self._open: list[F32] = []
        self._each = 1
        self.samples = 0

    def feed(self, samples: F32) -> None:
        self.samples += len(samples)
        self._rest = np.concatenate([self._rest, samples])
        whole = len(self._rest) // WINDOW
        rows = self._rest[: whole * WINDOW].reshape(whole, WINDOW)
        self._rest = self._rest[whole * WINDOW :].copy()
        for column in np.abs(np.fft.rfft(rows * self._window, axis=1)) ** 2:
            self._open.append(column)
            if len(self._open) == self._each:
                self._columns.append(np.mean(self._open, axis=0))
                self._open = []
        if len(self._columns) >= 2 * COLUMNS:
            pairs = np.array(self._columns[: 2 * COLUMNS]).reshape(COLUMNS, 2, -1).mean(axis=1)
            self._columns = list(pairs)
            self._each *= 2

    def decibels(self) -> F32:
        """Relative to the loudest, (frequencies, columns)."""
        power = np.zeros((WINDOW // 2 + 1, max(1, len(self._columns))))
        for index, column in enumerate(self._columns):
            power[:, index] = column
        top = max(float(power.max()), 1e-20)
        return np.asarray(10 * np.log10(np.maximum(power / top, 10 ** (FLOOR / 10))), np.float32)


class Picture:
    """Watches a sound go by, then draws it."""

    def __init__(self, modem: Modem, rate: int) -> None:
        """rate: samples per second."""
        self._rate = rate
        self._modem = modem
        names = list(PROFILES) if modem.name == AUTO else [n for n in PROFILES if n == modem.name]
        self._watched = {name: Demodulator(PROFILES[name], rate) for name in names}
        self._attempts: dict[str, list[Attempt]] = {name: [] for name in names}
        for name, demodulator in self._watched.items():
            demodulator.watch = self._attempts[name].append
        self._marks: list[tuple[float, float, bool]] = []
        self._frames: deque[tuple[str, Attempt]] = deque(maxlen=KEPT)
        plain = _plain(modem)
        self._fsk = {each.name: FskDemodulator(each, rate) for each in plain}
        self._tones = {each.name: each for each in plain}
        self._speech = deque[Any](maxlen=math.ceil(EYE_SECONDS))
        self._spectrum = Spectrogram(rate)

    def feed(self, samples: F32) -> None:
        """Take in a block of at most about a second."""
        self._spectrum.feed(samples)
        for demodulator in self._watched.values():
            demodulator.feed(samples)
        for name, fsk in self._fsk.items():
            if fsk.feed(samples) and not self._frames:
                self._speech.append((name, samples))
        self._collect()

    def flush(self) -> None:
        """The sound has ended."""
        for demodulator in self._watched.values():
            demodulator.flush()
        self._collect()

    def _collect(self) -> None:
        for name, attempts in self._attempts.items():
            for attempt in attempts:
                if len(self._marks) < MARKS:
                    self._marks.append((attempt.start, attempt.length, attempt.found))
                if attempt.found:
                    self._frames.append((name, attempt))
            attempts.clear()

    def draw(self, plot: Plot, title: str) -> None:
        """Draw and write the picture. Raises DestinationError."""
        figure = plot.figure(12, 7.5)
        halves: Any = figure.subfigures(2, 1, height_ratios=[1.2, 1])
        top, below = halves
        self._waterfall(top.subplots(), title)
        eye, tones = below.subplots(1, 2)
        if self._frames:
            _eye(eye, self._frames)
            _energies(tones, self._frames)
        elif self._speech:
            name = self._speech[-1][0]
            sound = np.concatenate([s for n, s in self._speech if n == name])
            _fsk(eye, tones, self._tones[name], sound, self._rate)
        else:
            for axes in (eye, tones):
                axes.text(0.5, 0.5, "no frame was found", ha="center", va="center")
                axes.set_axis_off()
        plot.draw(figure)

    def _waterfall(self, axes: Any, title: str) -> None:
        seconds = self._spectrum.samples / self._rate
        extent = (0, seconds, 0, self._rate / 2000)
        image = axes.imshow(
            self._spectrum.decibels(),
            origin="lower",
            aspect="auto",
            extent=extent,
            cmap="magma",
            vmin=FLOOR,
            vmax=0,
        )
        axes.figure.colorbar(image, ax=axes, label="dB below the loudest", pad=0.01)
        top = self._highest / 1000
        axes.set_ylim(0, top)
        for found, colour in ((True, "limegreen"), (False, "red")):
            spans = [(start, length) for start, length, ok in self._marks if ok is found]
            axes.broken_barh(spans, (top * 0.95, top * 0.04), facecolors=colour, edgecolor="black")
        good = sum(ok for *_, ok in self._marks)
        counted = f": {good} frames found, {len(self._marks) - good} lost" if self._marks else ""
        axes.set_title(title + counted, loc="left")
        axes.set_xlabel("seconds")
        axes.set_ylabel("kHz")

    @property
    def _highest(self) -> float:
        """Frequency worth showing, in Hz."""
        tones = [PROFILES[name].high for name, _ in self._frames]
        tones += [max(self._tones[n].mark, self._tones[n].space) for n, _ in self._speech]
        return min(self._rate / 2, 1.25 * max(tones, default=self._rate / 2.5))


def _plain(modem: Modem) -> list[Afsk]:
    """The plain FSK modems that a sound may be in."""
    if isinstance(modem, Afsk):
        return [modem]
    return [Afsk(*tones, name) for name, tones in NAMED.items()] if modem.name == AUTO else []


def _windows(attempt: Attempt, profile: Profile, shift: float) -> F32:
    """Energies of a frame's tones with the windows moved by `shift` symbols."""
    symbols = attempt.size * CLASS_SYMBOLS
    start = profile.symbol * (1 + shift)
    starts = timing.places(profile, start, symbols, attempt.ppm)
    inside = np.clip(starts, 0, len(attempt.sound) - profile.window)
    return energies(profile, attempt.sound, inside, attempt.ppm, raised(symbols))


def _eye(axes: Any, frames: deque[tuple[str, Attempt]]) -> None:
    shifts = np.linspace(-0.75, 0.75, 31)
    for name, attempt in frames:
        profile = PROFILES[name]
        share = [timing.gathered(profile, _windows(attempt, profile, s)) for s in shifts]
        axes.plot(shifts, share, alpha=0.7)
    axes.axvline(0, color="grey", lw=0.5)
    axes.set_ylim(0, 1)
    axes.set_title(f"eye of the last {len(frames)} frames", loc="left")
    axes.set_xlabel("window moved by (symbols)")
    axes.set_ylabel("energy in the loudest tones")


def _energies(axes: Any, frames: deque[tuple[str, Attempt]]) -> None:
    loud, quiet = [], []
    for name, attempt in frames:
        profile = PROFILES[name]
        grouped = np.sort(_windows(attempt, profile, 0.0).reshape(-1, profile.tones), axis=1)
        loud.append(grouped[:, profile.tones - profile.sounding :].reshape(-1))
        quiet.append(grouped[:, : profile.tones - profile.sounding].reshape(-1))
    _hills(axes, np.concatenate(loud), np.concatenate(quiet), ("sounding", "silent"))


def _hills(axes: Any, loud: F32, quiet: F32, labels: tuple[str, str]) -> None:
    top = max(float(loud.max(initial=0)), 1e-20)
    bins = np.linspace(FLOOR, 0, 81)
    for values, label in zip((loud, quiet), labels, strict=True):
        decibels = 10 * np.log10(np.maximum(values / top, 10 ** (FLOOR / 10)))
        counts, edges = np.histogram(decibels, bins)
        axes.stairs(counts / max(1, counts.max()), edges, fill=True, alpha=0.6, label=label)
    axes.legend()
    axes.set_title("energies of the tones", loc="left")
    axes.set_xlabel("dB below the loudest")
    axes.set_yticks([])


def _fsk(eye: Any, tones: Any, modem: Afsk, sound: F32, rate: int) -> None:
    discriminator = Discriminator(modem.baud, modem.mark, modem.space)
    convert = resampler(rate, discriminator.rate)
    samples = np.concatenate([convert.feed(sound), convert.flush()])
    overlap = discriminator.bit - discriminator.hop
    bits = (len(samples) - overlap) // discriminator.bit
    mark, space, _ = discriminator.energies(samples[: bits * discriminator.bit + overlap])
    soft = np.sqrt(mark) - np.sqrt(space)
    soft /= max(float(np.quantile(np.abs(soft), 0.98)), 1e-20)
    for trace in _traces(soft):
        eye.plot(np.linspace(-1, 1, len(trace)), trace, color="C0", alpha=0.08, lw=0.8)
    eye.set_ylim(-1.5, 1.5)
    eye.set_title(f"eye, {modem.baud:g} baud", loc="left")
    eye.set_xlabel("bits")
    eye.set_ylabel("mark less space")
    _hills(tones, np.maximum(mark, space), np.minimum(mark, space), ("louder", "quieter"))


def _traces(soft: F32) -> Iterator[F32]:
    """Pieces of two bits around each change from mark to space: characters begin with one."""
    edges = np.flatnonzero((soft[:-1] > 0) & (soft[1:] <= 0))[:400]
    for edge in edges.tolist():
        middle = edge + POSITIONS // 2
        if middle >= POSITIONS and middle + POSITIONS < len(soft):
            yield soft[middle - POSITIONS : middle + POSITIONS + 1]
