"""Sound cards: finding one by name, agreeing on a rate, and running it in one direction.

PortAudio lists the devices of all its host systems; which of them can play and which can
listen stands in the list. It runs a stream in a thread of its own, which calls back for samples
or with them and may end by itself when the device goes. `Stream` watches that: a device that is
pulled out either stops its stream or stops calling.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from diode.errors import CarrierError
from diode.modem import MAX_RATE, MIN_RATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock

PATIENCE = 10.0
"""Seconds without a sign of life after which a device is taken to be gone."""
LATENCY = 0.2
"""Seconds of sound in the card's own buffer. What PortAudio calls high may be 35 ms, and
making a frame can keep the thread that feeds the card from running for longer than that."""

Direction = Literal["output", "input"]


@dataclass(frozen=True, slots=True)
class Card:
    """A device, and how it will be used."""

    sounddevice: Any
    """The module, which is an extra."""
    number: int
    name: str
    channels: int
    rate: int
    """Samples per second."""


def find(
    wanted: str | None,
    direction: Direction,
    rate: int,
    notice: Callable[[str], None],
    channels: int = 2,
) -> Card:
    """The device meant, run at `rate` Hz where it can. Raises CarrierError."""
    module = _sounddevice()
    device = _device(module, wanted, direction)
    use = min(channels, int(device[f"max_{direction}_channels"]))
    number, name = int(device["index"]), str(device["name"])
    rate = _rate(module, device, direction, rate, use, notice)
    return Card(module, number, name, use, rate)


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise CarrierError(
            f"live sound needs sounddevice, which cannot be loaded: {error}",
            hint="pip install 'diode-fec[audio]'",
        ) from error
    except Exception as error:  # OSError for a missing library, or PortAudio's own
        raise CarrierError(
            f"live sound needs PortAudio, which cannot be loaded: {error}",
            hint="apt install libportaudio2",
        ) from error


def _device(module: Any, wanted: str | None, direction: Direction) -> Any:
    """The entry of PortAudio's list that is meant."""
    able = [each for each in module.query_devices() if each[f"max_{direction}_channels"] > 0]
    if not able:
        raise CarrierError(
            f"there is no sound device for {direction}",
            hint="see what the system has: aplay -l, arecord -l",
        )
    if wanted is None:
        return _default(module, direction, able)
    text = wanted.lower()
    exact = [each for each in able if text in {str(each["index"]), each["name"].lower()}]
    found = exact or [each for each in able if text in each["name"].lower()]
    if len(found) == 1:
        return found[0]
    what = f"device={wanted} means several" if found else f"there is no device {wanted!r}"
    raise CarrierError(f"{what} for {direction}", hint=f"name one of: {_listed(found or able)}")


def _default(module: Any, direction: Direction, able: list[Any]) -> Any:
    try:
        return module.query_devices(kind=direction)
    except (module.PortAudioError, ValueError) as error:
        raise CarrierError(
            f"the system names no default device for {direction}",
            hint=f"name one of: device={_listed(able)}",
        ) from error


def _listed(devices: list[Any]) -> str:
    return ", ".join(f"{each['index']} ({each['name']})" for each in devices)


def _rate(
    module: Any,
    device: Any,
    direction: Direction,
    rate: int,
    channels: int,
    notice: Callable[[str], None],
) -> int:
    """The rate asked for, or the device's own where it cannot do that one."""
    check = getattr(module, f"check_{direction}_settings")
    own = round(device["default_samplerate"])
    for tried in (rate, own):
        try:
            check(device["index"], channels, "float32", samplerate=tried)
        except module.PortAudioError as error:
            reason = error
            continue
        if tried != rate:
            notice(f"{device['name']}: {rate} Hz is not to be had, running at {tried}")
        if MIN_RATE <= tried <= MAX_RATE:
            return tried
    raise CarrierError(
        f"{device['name']}: neither {rate} nor {own} Hz can be had ({_said(reason)})",
        hint="see whether another program holds the device; name another by device=",
    )


def _said(error: BaseException) -> str:
    """What PortAudio says, without its number."""
    return str(error).partition(" [")[0]


class Stream:
    """A stream of a card: started, stopped and watched alike for both directions."""

    def __init__(self, card: Card, kind: str, callback: Callable[..., None], clock: Clock) -> None:
        """`kind`: OutputStream or InputStream. Raises CarrierError."""
        self._name = card.name
        self._clock = clock
        self._error: type[Exception] = card.sounddevice.PortAudioError
        self.over = threading.Event()
        """Set when the card has stopped: the last sample is out, or the card is gone."""
        self._alive = clock()
        self._callback = callback
        try:
            self._stream = getattr(card.sounddevice, kind)(
                samplerate=card.rate,
                device=card.number,
                channels=card.channels,
                dtype="float32",
                latency=LATENCY,
                callback=self._called,
                finished_callback=self.over.set,
            )
        except self._error as error:
            raise self._gone(f"cannot be opened: {_said(error)}") from error

    @property
    def latency(self) -> float:
        """Seconds that a sample takes through the card."""
        return float(self._stream.latency)

    def start(self) -> None:
        """Let the card run. It may have been stopped before."""
        try:
            self._stream.stop()
            self.over.clear()
            self._alive = self._clock()
            self._stream.start()
        except self._error as error:
            raise self._gone(f"cannot be started: {_said(error)}") from error

    def check(self) -> None:
        """CarrierError when the card has stopped by itself or shows no sign of life."""
        if self.over.is_set():
            raise self._gone("the device is gone")
        if self._clock() - self._alive > PATIENCE:
            raise self._gone(f"the device has done nothing for {PATIENCE:g} s")

    def close(self) -> None:
        """Stop at once, whatever is still to be played."""
        try:
            self._stream.abort(ignore_errors=True)
        finally:
            self._stream.close(ignore_errors=True)

    def _called(self, *arguments: Any) -> None:
        self._alive = self._clock()
        self._callback(*arguments)

    def _gone(self, what: str) -> CarrierError:
        return CarrierError(
            f"{self._name}: {what}", hint="plug it in, or name another by device=, and start again"
        )
