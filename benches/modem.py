"""Sound modems beside theory and beside others: errors, whole files, speed, bad channels.

    python benches/modem.py [ber] [delivery] [speed] [channels] [--full] [--only NAMES]
                            [--plot PNG]

ber       bit errors of plain FSK and channel-symbol errors of the synchronous modems in white
          noise, beside the theory for noncoherent detection, and how many dB apart they are.
          Eb is the energy of a bit on the channel, start and stop bits and guards counted.
delivery  2,000 random bytes against Eb/N0 where Eb is the energy of the whole sound (lead-in,
          preambles, manifests, heartbeats, parity) over the 16,000 bits of the file.
speed     decoding, as a multiple of real time on one core.
channels  2,000 bytes through every channel of tests/sound_channels.py.

Others (peers.py) get the same noise from the same seeds, with half a second of it before and
behind. The default takes some minutes; --full has a million bits a point and 100 seeds.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported: one core is one core

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import peers
from modem_theory import bfsk, correlated, mfsk, needed_db, ratio, tone_correlation, words_simulated
from side_by_side import heading

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from sound_channels import CHANNELS, Missing, awgn, fitted
from sound_pair import hear, sound_of

from diode import modem as modems
from diode.errors import DiodeError
from diode.frame import Frames
from diode.modem.profile import BITS, PROFILES, Profile
from diode.modem.soft import Level
from diode.modem.tones import energies, synthesise
from diode.plan import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.modem import F32, Modem

RATE = 48_000
SIZE = 2000
FULL_BITS, SHORT_BITS = 1_000_000, 200_000
FULL_SEEDS, SHORT_SEEDS = 100, 5
FULL_TURNS, SHORT_TURNS = 10, 1
CHANNEL_BITS = 10
"""Bits of a character on an asynchronous line."""

Point = tuple[float, float, float]
"""Eb/N0 in dB, measured error rate, error rate of theory."""


# --- error rates ---


BLOCK = 16
"""Characters aligned at a time."""
ALIKE = 0.35
"""Share of wrong bits below which two blocks of characters are the same: by chance it is 1/2."""


def bits_wrong(sent: bytes, heard: bytes) -> tuple[int, int]:
    """Bits compared and wrong among them, where characters may have been lost or made up.

    Sixteen characters at a time, each block where it matches best near the last one that
    matched; where that place moves, it moves inside the block where that costs the fewest errors.
    """
    a = np.frombuffer(sent, np.uint8)[: len(sent) // BLOCK * BLOCK]
    b = np.frombuffer(heard, np.uint8)
    wrong = shift = 0
    reach = 8
    for first in range(0, len(a), BLOCK):
        block = a[first : first + BLOCK]
        here = _differing(block, b, first + shift)
        errors = int(here.sum())
        if errors > BLOCK:
            moves = [*range(-reach, reach + 1)]
            tried = [_differing(block, b, first + shift + move) for move in moves]
            best = int(np.argmin([t.sum() for t in tried]))
            if tried[best].sum() < ALIKE * 8 * BLOCK:
                before = np.concatenate([[0], np.cumsum(here)])
                behind = np.concatenate([np.cumsum(tried[best][::-1])[::-1], [0]])
                errors, shift, reach = int((before + behind).min()), shift + moves[best], 8
            else:
                errors, reach = min(errors, 4 * BLOCK), min(reach + 4, 256)
        wrong += errors
    return 8 * len(a), wrong


def _differing(block: np.ndarray, heard: np.ndarray, at: int) -> np.ndarray:
    """Bits in which each character differs from what was heard there; 4 if nothing was."""
    out = np.full(len(block), 4, np.int64)
    first, last = max(0, at), min(len(heard), at + len(block))
    if first < last:
        same = slice(first - at, last - at)
        out[same] = np.bitwise_count(block[same] ^ heard[first:last])
    return out


def plain_errors(modem: Modem, baud: float, ebn0_db: float, bits: int, seed: int) -> float:
    """Bit error rate of plain FSK, modulator to demodulator with its own timing."""
    wrong = total = 0
    piece = 4000
    while total < bits:
        content = np.random.default_rng([seed, total]).bytes(piece)
        modulator = modem.modulator(RATE)
        body = modulator.modulate(Frames.of_pieces([content]))
        sound = np.concatenate([modulator.begin(), body, modulator.end()])
        # every bit has the same energy, idle ones too
        seconds = np.count_nonzero(sound) / RATE
        noisy = awgn(sound, RATE, seed + total, ebn0_db=ebn0_db, bits=seconds * baud)
        demodulator = modem.demodulator(RATE)
        heard = demodulator.feed(noisy) + demodulator.flush()
        compared, errors = bits_wrong(content, heard)
        wrong, total = wrong + errors, total + compared
    return wrong / total


def word_errors(profile: Profile, ebn0_db: float, bits: int, seed: int) -> float:
    """Channel-symbol error rate of a synchronous modem: its tones, levels and decisions."""
    random = np.random.default_rng(seed)
    symbols, wrong, total = 128, 0, 0
    starts = np.arange(symbols, dtype=np.int64) * profile.symbol + profile.guard
    while total * BITS < bits:
        values = random.integers(0, 16, (symbols, profile.groups)).astype(np.uint8)
        sound = synthesise(profile, values)
        carried = values.size * BITS
        noisy = awgn(sound, profile.rate, seed + total, ebn0_db=ebn0_db, bits=carried)
        energy = energies(profile, noisy, starts, 0.0)
        decided = Level.of(profile, energy).logarithms(energy).argmax(axis=2)
        wrong += int(np.count_nonzero(decided != values))
        total += values.size
    return wrong / total


def curves(full: bool) -> Iterator[tuple[str, Callable[[float], float], Callable, range]]:
    """Name, theory (of Eb/N0 as a ratio), measurement (of dB and bits), dB to measure at."""
    step = 1 if full else 2
    orthogonal = modems.modem("fsk", baud=1200, mark=1200, space=2400)
    yield (
        "fsk 1200 Bd, 1200/2400 Hz",
        bfsk,
        lambda db, bits: plain_errors(orthogonal, 1200, db, bits, 1),
        range(6, 14, step),
    )
    rho = tone_correlation(1200, 1200, 2200)
    bell = modems.modem("bell202")
    yield (
        f"bell202, |rho| = {rho:.3f}",
        lambda ebn0: correlated(ebn0, rho),
        lambda db, bits: plain_errors(bell, 1200, db, bits, 1),
        range(6, 14, step),
    )
    for name, profile in PROFILES.items():
        words, draws = profile.words, FULL_BITS if full else SHORT_BITS
        if profile.sounding == 1:
            theory = lambda ebn0, tones=profile.tones: mfsk(BITS * ebn0, tones)  # noqa: E731
        else:
            theory = lambda ebn0, words=words, draws=draws: words_simulated(  # noqa: E731
                BITS * ebn0, words, draws
            )
        yield (
            f"{name}, {profile.sounding} of {profile.tones} tones",
            theory,
            lambda db, bits, profile=profile: word_errors(profile, db, bits, 1),
            range(2, 8, step) if profile.sounding == 1 else range(6, 12, step),
        )


def ber(full: bool, only: list[str], plot: str | None) -> None:
    heading("error rates beside the theory for noncoherent detection")
    bits = FULL_BITS if full else SHORT_BITS
    measured: dict[str, list[Point]] = {}
    print(f"  at least {bits} bits a point; of plain FSK bit errors, else channel-symbol errors")
    print(f"  {'':28} {'Eb/N0':>6} {'measured':>10} {'theory':>10} {'behind by':>10}")
    for name, theory, measure, decibels in curves(full):
        if only and not any(name.startswith(o) for o in only):
            continue
        points = measured.setdefault(name, [])
        for db in decibels:
            rate, ideal = measure(db, bits), theory(ratio(db))
            points.append((db, rate, ideal))
            # too few errors tell nothing: 20 give a standard error of 22 %, or 0.1 dB
            behind = f"{db - needed_db(rate, theory):7.2f} dB" if rate * bits >= 20 else "      -"
            print(f"  {name:28} {db:6} {rate:10.2e} {ideal:10.2e} {behind:>10}", flush=True)
    if plot:
        draw(measured, plot)


def draw(measured: dict[str, list[Point]], path: str) -> None:
    """Points measured on the curves of theory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 6))
    for number, (name, points) in enumerate(measured.items()):
        db, rate, ideal = (np.array(c) for c in zip(*points, strict=True))
        axes.semilogy(db, np.where(ideal > 0, ideal, np.nan), "-", color=f"C{number}")
        axes.semilogy(db, np.where(rate > 0, rate, np.nan), "o", color=f"C{number}", label=name)
    axes.set(xlabel="Eb/N0, dB", ylabel="error rate (points: measured, lines: theory)")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"  drawn to {path}")


# --- whole files ---


class Ours:
    """A file through transmitter, line and modem, in this process."""

    rate = RATE
    installed = True

    def __init__(self, modem: str, line: str = "cobs", settings: Settings | None = None) -> None:
        self.modem, self.line = modem, line
        self.settings = settings or Settings()
        passes = self.settings.passes
        self.name = f"{modem} {line}" + (f" x{passes}" if passes > 1 else "")
        if self.settings.redundancy is not None:
            self.name += f" {self.settings.redundancy:.0%}"

    def sound_of(self, content: bytes) -> F32:
        modem = modems.modem(self.modem)
        return sound_of(content, modem=modem, rate=RATE, settings=self.settings, name=self.line)

    def delivers(self, content: bytes, samples: F32) -> bool:
        heard = hear(samples, modems.modem(self.modem), RATE, name=self.line)
        assert all(h == content for h in heard), "a false delivery"
        return bool(heard)

    def cpu(self, samples: F32) -> float:
        start = time.process_time()
        hear(samples, modems.modem(self.modem), RATE, name=self.line)
        return time.process_time() - start


Contender = Ours | peers.Minimodem | peers.Amodem


def contenders(ours: list[Ours], only: list[str]) -> list[Contender]:
    chosen = [c for c in (*ours, *peers.PEERS) if not only or any(o in c.name for o in only)]
    missing = [c.name for c in chosen if not c.installed]
    if missing:
        print(f"  not installed: {', '.join(missing)}")
    return [c for c in chosen if c.installed]


def padded(samples: F32, rate: int) -> F32:
    """Half a second of what the channel adds before and behind."""
    return np.pad(samples, rate // 2)


def content_of(seed: int) -> bytes:
    return np.random.default_rng([2000, seed]).bytes(SIZE)


def delivered(one: Contender, ebn0_db: float, seeds: int) -> int:
    """How many of so many files come through white noise."""
    count = 0
    for seed in range(seeds):
        content = content_of(seed)
        sound = padded(one.sound_of(content), one.rate)
        noisy = awgn(sound, one.rate, seed, ebn0_db=ebn0_db, bits=8 * SIZE)
        count += one.delivers(content, fitted(noisy))
    return count


def threshold(one: Contender, seeds: int, step: float) -> tuple[float | None, list[str]]:
    """The lowest Eb/N0 with 90 % delivered, searched on a grid; and what was seen on the way."""
    seen: dict[float, int] = {}

    def enough(db: float) -> bool:
        if db not in seen:
            seen[db] = delivered(one, db, seeds)
        return seen[db] >= 0.9 * seeds

    db = 12.0
    while not enough(db) and db < 40:
        db += 4
    while enough(db) and db > 0:
        db -= 4
    while not enough(db) and db < 40:
        db += step
    ways = [f"{db:g}: {count}" for db, count in sorted(seen.items())]
    return (db if enough(db) else None), ways


def delivery(full: bool, only: list[str]) -> None:
    seeds, step = (FULL_SEEDS, 0.5) if full else (SHORT_SEEDS, 1.0)
    heading(f"{SIZE} random bytes in white noise, {seeds} seeds, everything counted")
    print(f"  {'':18} {'90 % at Eb/N0':>14} {'net bit/s':>10}   delivered at dB")
    ours = [
        Ours("robust", settings=Settings(redundancy=0.2)),
        Ours("robust"),
        Ours("telephone"),
        Ours("cable"),
        Ours("bell202"),
        Ours("bell202", "rs"),
    ]
    for one in contenders(ours, only):
        net = 8 * SIZE / (len(one.sound_of(content_of(0))) / one.rate)
        found, ways = threshold(one, seeds, step)
        at = f"{found:.1f} dB" if found is not None else "never"
        print(f"  {one.name:18} {at:>14} {net:10.0f}   {', '.join(ways)}", flush=True)


# --- speed ---


def speed(full: bool, only: list[str]) -> None:
    heading("decoding at 48 kHz on one core, as a multiple of real time")
    turns, least = (5, 120.0) if full else (3, 30.0)
    names = ("bell103", "bell202", "robust", "telephone", "cable")
    names = tuple(n for n in names if not only or n in only)
    print(f"  {'':18} {'its own sound':>14} {'at 10 dB SNR':>14} {'noise alone':>14}")
    for one in [*map(Ours, names), *(p for p in peers.PEERS if isinstance(p, peers.Minimodem))]:
        if not one.installed:
            continue
        content = np.random.default_rng(1).bytes(SIZE)
        sound = one.sound_of(content)
        sound = np.tile(padded(sound, RATE), int(np.ceil(least * RATE / len(sound))))
        random = np.random.default_rng(2)
        noise = random.standard_normal(len(sound), np.float32)
        noise *= np.float32(np.sqrt(np.mean(np.square(sound)) / 10))
        sounds = (sound, fitted(sound + noise), fitted(noise))
        # turn by turn, so that what else runs on the machine hits all alike; the best counts
        times = np.array([[one.cpu(s) for s in sounds] for _ in range(turns)]).min(axis=0)
        factors = len(sound) / RATE / times
        print(f"  {one.name:18} " + " ".join(f"{f:13.0f}x" for f in factors), flush=True)
    speak(names)


def speak(names: tuple[str, ...]) -> None:
    """The sending side: it has to keep up too."""
    for name in names:
        one = Ours(name)
        content = np.random.default_rng(1).bytes(SIZE)
        start = time.process_time()
        sound = one.sound_of(content)
        took = time.process_time() - start
        print(f"  {name:18} sending {len(sound) / RATE / took:13.0f}x", flush=True)


# --- channels ---


def channels(full: bool, only: list[str]) -> None:
    seeds = FULL_TURNS if full else SHORT_TURNS
    heading(f"{SIZE} random bytes through every channel: delivered of {seeds}")
    ours = [
        Ours("robust"),
        Ours("robust", settings=Settings(passes=2)),
        Ours("cable", settings=Settings(passes=2)),
    ]
    chosen = contenders(ours, only)
    print(f"  {'':18} " + " ".join(f"{c.name:>15}" for c in chosen))
    for name, channel in CHANNELS.items():
        try:
            counts = [through(one, channel, seeds) for one in chosen]
        except Missing as missing:
            print(f"  {name:18} {missing} is not installed")
            continue
        print(f"  {name:18} " + " ".join(f"{c:>15}" for c in counts), flush=True)


def through(one: Contender, channel: Callable[[F32, int, int], F32], seeds: int) -> int:
    count = 0
    for seed in range(seeds):
        content = content_of(seed)
        sound = channel(padded(one.sound_of(content), one.rate), one.rate, seed)
        count += one.delivers(content, sound)
    return count


SECTIONS = {"ber": ber, "delivery": delivery, "speed": speed, "channels": channels}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("section", nargs="*", choices=[*SECTIONS, []])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="", help="names, or parts of them, with commas")
    parser.add_argument("--plot", metavar="PNG", help="draw the error rates")
    asked = parser.parse_args()
    only = [name for name in asked.only.split(",") if name]
    for name in asked.section or SECTIONS:
        try:
            if name == "ber":
                ber(asked.full, only, asked.plot)
            else:
                SECTIONS[name](asked.full, only)
        except DiodeError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
