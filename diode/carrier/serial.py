"""The serial carrier: `serial:/dev/ttyUSB0?baud=115200&reopen=30`.

A UART sends each byte as a start bit, eight data bits and a stop bit: ten bits, so the line
carries baud/10 bytes a second, whether or not anybody listens. A diode has one wire and
ground; nothing comes back, and nothing is allowed to (terminal.py).

Sending is paced (pace.py) so that at most about 50 ms of line time are in the kernel:
stopping is prompt and what is urgent need not queue behind what is bulky. The model runs on
our clock and the line on the UART's, a few per cent apart at worst; where the driver says how
much it still holds (TIOCOUTQ), that has the last word.

USB adapters are pulled out and come back. A port that fails in mid-transmission is closed
and opened again by name (absence.py), for `reopen` seconds; then the slice that was
interrupted is written again and the pass goes on. Losing the 50 ms that were in the old
kernel buffer is the code's business. The receiver does the same between its reads, and ends
(b'') when the port stays away. A by-id name is found for the port at first, since the
adapter may come back as another /dev/ttyUSB number.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from diode.carrier.absence import PATIENCE, Absence
from diode.carrier.pace import LEAD, Pace
from diode.carrier.ports import stable_name
from diode.carrier.url import CarrierFacts, CarrierUrl
from diode.errors import CarrierError

try:
    from diode.carrier.terminal import ReceivingTerminal as ReceivingPort
    from diode.carrier.terminal import SendingTerminal as SendingPort
except ImportError:  # no termios on this platform
    from diode.carrier.ports import ReceivingPort, SendingPort  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.frame import Frames

KEYS = frozenset({"baud", "reopen"})

BITS = 10
"""Bits on the line for a byte: start, eight data, stop."""
DEFAULT_BAUD = 115_200
MAX_BAUD = 12_000_000
"""The fastest rate that USB UARTs offer (FT232H)."""
ROUNDED = 0.01
"""Share by which a driver may miss the rate without a word. A UART reads well up to about
4 % off, and the other end has its own error."""


def facts(url: CarrierUrl) -> CarrierFacts:
    """baud/10 bytes per second."""
    return CarrierFacts(_baud(url) / BITS, live=True)


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> SerialSender:
    """Open the port to transmit."""
    baud, reopen = _baud(url), _reopen(url)
    return SerialSender(url.path, baud, reopen=reopen, notice=notice, clock=clock, sleep=sleep)


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> SerialReceiver:
    """Open the port to listen."""
    baud, reopen = _baud(url), _reopen(url)
    return SerialReceiver(url.path, baud, reopen=reopen, notice=notice, clock=clock, sleep=sleep)


def _baud(url: CarrierUrl) -> int:
    return round(url.number("baud", DEFAULT_BAUD, 1, MAX_BAUD))


def _reopen(url: CarrierUrl) -> float:
    return url.number("reopen", PATIENCE, 0, 1e9)


class _Port(Protocol):
    baud: int

    def close(self) -> None: ...


class SerialSender:
    """Transmits on a serial port. It has no way to read from it."""

    def __init__(
        self,
        path: str,
        baud: int,
        *,
        reopen: float = PATIENCE,
        notice: Callable[[str], None],
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """`reopen`: seconds to wait for a port that went away. Raises CarrierError."""
        self._path = path
        self._baud = baud
        self._patience = reopen
        self._notice = notice
        self._clock = clock
        self._sleep = sleep
        self._port: SendingPort | None = SendingPort(path, baud)
        self._again = stable_name(path)
        _mention_rounding(path, baud, self._port, notice)
        self.rate: float = self._port.baud / BITS
        self._pace = Pace(self.rate, clock=clock, sleep=sleep)

    def write(self, pieces: Frames) -> None:
        """Transmit the bytes of the pieces at the line's pace.

        Raises CarrierError when the port went away and did not come back in time.
        """
        data = pieces.data.data
        for start in range(0, len(data), self._pace.slice):
            part = data[start : start + self._pace.slice]
            self._pace.admit(len(part))
            self._put(part)

    def drain(self) -> None:
        """Return when the UART has played everything, by schedule and by the driver's word."""
        self._pace.settle()
        if self._port is not None:
            self._port.drain()

    def close(self) -> None:
        """Close the port."""
        port, self._port = self._port, None
        if port is not None:
            port.close()

    def _put(self, part: memoryview) -> None:
        """Write one slice, again and again until it got out whole."""
        absence: Absence | None = None
        while True:
            try:
                if self._port is not None:
                    self._port.write(part)
                    self._hold_back(self._port)
                    return
            except OSError as error:
                self._notice(f"{self._path}: gone ({error.strerror or error}), reopening")
                self.close()
            absence = absence or Absence(self._patience, self._clock)
            self._find_again(absence)

    def _find_again(self, absence: Absence) -> None:
        """Open the port once it is there again; CarrierError when patience is at its end."""
        while True:
            if absence.over():
                raise CarrierError(
                    f"{self._path}: the port went away and did not come back "
                    f"within {self._patience:g} s",
                    hint="plug the adapter in and send again; reopen=SECONDS waits longer",
                )
            self._sleep(absence.wait())
            absence.missed()
            try:
                self._port = SendingPort(self._again, self._baud)
            except CarrierError:
                continue
            self._notice(f"{self._path}: back, going on")
            return

    def _hold_back(self, port: SendingPort) -> None:
        """Wait while the driver says that it holds more than LEAD of line time."""
        limit = self.rate * LEAD
        while (queued := port.queued()) > limit + self._pace.slice:
            self._sleep((queued - limit) / self.rate)


class SerialReceiver:
    """Listens to a serial port. It has no way to write to it."""

    def __init__(
        self,
        path: str,
        baud: int,
        *,
        reopen: float = PATIENCE,
        notice: Callable[[str], None],
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """`reopen`: seconds to wait for a port that went away. Raises CarrierError."""
        self._path = path
        self._baud = baud
        self._patience = reopen
        self._notice = notice
        self._clock = clock
        self._sleep = sleep
        self._absence: Absence | None = None
        from diode.carrier.uart import Watch  # noqa: PLC0415  for receivers only

        self._watch = Watch(path, notice, clock)
        self._port: ReceivingPort | None = ReceivingPort(path, baud)
        self._watch.opened(self._port.errors())
        self._again = stable_name(path)
        _mention_rounding(path, baud, self._port, notice)
        self.rate: float = self._port.baud / BITS

    def read(self, timeout: float | None) -> bytes | None:
        """What arrived; None after `timeout`; b'' when the port has been away too long."""
        end = None if timeout is None else self._clock() + timeout
        while True:
            left = None if end is None else max(0.0, end - self._clock())
            if self._port is not None:
                data, gone = self._listen(self._port, left)
                if not gone:
                    return data
                continue
            if self._absence is None or self._absence.over():
                return b""
            wait = self._absence.wait()
            if left is not None and left < wait:
                self._sleep(left)
                return None
            self._sleep(wait)
            self._look_again(self._absence)

    @property
    def counts(self) -> dict[str, int]:
        """What the UART counted, by names of the `link` event; empty where its driver does not."""
        return self._watch.counts

    def close(self) -> None:
        """Close the port; further reads say that it has ended."""
        self._shut()
        self._absence = None

    def _listen(self, port: ReceivingPort, timeout: float | None) -> tuple[bytes | None, bool]:
        """What the port gave, and whether it turned out to be gone."""
        reason = "the far end closed"
        try:
            data = port.read(timeout)
            if self._watch.due:
                self._watch.look(port.errors())
            if data is None or data:
                self._absence = None
                return data, False
        except OSError as error:
            reason = error.strerror or str(error)
        self._shut()
        # A port that fails again before it could be waited on has not been back.
        if self._absence is None:
            self._absence = Absence(self._patience, self._clock)
            if self._patience:
                self._notice(f"{self._path}: gone ({reason}), reopening")
        return None, True

    def _look_again(self, absence: Absence) -> None:
        absence.missed()
        try:
            self._port = ReceivingPort(self._again, self._baud)
        except CarrierError:
            return
        self._watch.opened(self._port.errors())
        self._notice(f"{self._path}: back, listening")

    def _shut(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()


def _mention_rounding(path: str, baud: int, port: _Port, notice: Callable[[str], None]) -> None:
    if abs(port.baud - baud) > baud * ROUNDED:
        notice(f"{path}: the driver made {port.baud} baud of {baud}; set the other end alike")
