"""The sending end of `udp:`: paced bursts of datagrams, and nothing that listens.

Segmentation. A system call a datagram is what limits a sender, so runs of equal frames, the last
of which may be shorter, go to the kernel in one piece and are cut there or in the card
(UDP_SEGMENT, udp(7)): up to 64 of them, at most 64 KiB. Where it refuses, they go one by one.

Pace (pace.py). What is handed over leaves at the card's full speed, so bursts are kept at or
below a millisecond of line time, or one frame where that is longer. A receiver that makes one
datagram of many again (UDP_GRO) hardly notices them; one that does not has the buffer. With the
queueing discipline `fq` the kernel spreads the bursts too.

Trouble. An interface that is down, without a route, a carrier or an address is waited for as a
serial port is that was pulled out (absence.py), and so is a firewall that refuses. Carrier and
address are asked of the interface, once a second: Linux sends without an address, drops what
is sent without a carrier, and says nothing. A datagram too long for the interface is an
error: nothing is ever sent in pieces. What became of what was sent nobody knows, and ICMP
is for those who are connected.
"""

from __future__ import annotations

import errno
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.carrier import ethernet, interface, sockets
from diode.carrier.absence import PATIENCE, Absence
from diode.carrier.pace import Pace, Unpaced
from diode.errors import CarrierError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.carrier.pace import Clock, Sleep
    from diode.carrier.udp import Address
    from diode.frame import I64, Frames

SEGMENTS = 64
"""Most datagrams in one call (UDP_MAX_SEGMENTS)."""
CALL = 65_507
"""Most bytes in one call: what an IPv4 packet can hold."""
BURST = 0.001
"""Line time that may leave at once, in seconds; half of it is handed over in one slice."""
LOOK = 1.0
"""Seconds between two looks at the carrier."""
REPAID = 0.1
"""Share by which it is faster after it was late, until the average is right again."""
FULL = 0.001
"""Seconds until the next attempt when a queue is full."""

_FULL = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}
_AWAY = {
    errno.ENETDOWN: "down",
    errno.ENETUNREACH: "no route to {to}",
    errno.EHOSTUNREACH: "no route to {to}",
    errno.ENODEV: "gone",
    errno.ENXIO: "gone",
    errno.EADDRNOTAVAIL: "without an address",
    errno.EPERM: "closed by the firewall of this machine",
}
"""What is waited for, and how it is told."""
_UNSEGMENTED = {errno.EIO, errno.EINVAL, errno.EOPNOTSUPP}
"""How a kernel says that it cannot cut: no check sums in the card, no such option."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What the URL says of the sending end."""

    to: Address
    rate: float | None = None
    """Bytes of line time per second; None: as fast as it goes."""
    mtu: int = 1500
    interface: str | None = None
    """None: the one that the routing table names."""
    ttl: int | None = None
    broadcast: bool = False
    segmented: bool = True
    """Whether to let the kernel cut."""
    reopen: float = PATIENCE


class UdpSender:
    """Transmits datagrams. What comes to its socket is dropped before anybody could read it."""

    def __init__(
        self,
        way: Sending,
        *,
        notice: Callable[[str], None],
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Raises CarrierError for an interface that is not there or has a smaller MTU."""
        self.rate = way.rate
        self.retried = 0
        """Times that a queue of the kernel was full."""
        self._way = way
        self._notice = notice
        self._clock = clock
        self._sleep = sleep
        self._segmented = way.segmented
        self._patience = way.reopen
        self._socket = sockets.udp(way.to.family)
        self._look_at = clock()
        self._name = ""
        try:
            self._set_up()
        except Exception:
            self._socket.close()
            raise
        longest = ethernet.air_bytes(way.to.version)(ethernet.room(way.mtu, way.to.version))
        self._pace = _pace(way.rate, longest, clock, sleep)

    def write(self, pieces: Frames) -> None:
        """Transmit each piece as a datagram, at the pace.

        Raises CarrierError when a piece is too long for the interface, or when the interface went
        away and did not come back in time.
        """
        if not len(pieces):
            return
        if pieces.size:
            self._write_equal(pieces)
            return
        data = pieces.data.data
        air = ethernet.air_ends(pieces.lengths, self._way.to.version)
        turns = np.flatnonzero(np.diff(pieces.lengths)) + 1
        first = done = 0
        while first < len(pieces):
            last = int(np.searchsorted(air, done + self._pace.slice, "right"))
            last = max(last, first + 1)
            self._pace.admit(int(air[last - 1]) - done)
            for begin, end, size in runs(pieces.ends, turns, first, last):
                start = int(pieces.ends[begin - 1]) if begin else 0
                self._send(data[start : int(pieces.ends[end - 1])], size)
            first, done = last, int(air[last - 1])

    def _write_equal(self, pieces: Frames) -> None:
        """The same for pieces of one length, which need no looking at."""
        data, size = pieces.data.data, pieces.size
        air = ethernet.air_bytes(self._way.to.version)(size)
        call = max(1, min(SEGMENTS, CALL // size))
        most = max(1, int(self._pace.slice / air))
        most -= most % call if most > call else 0
        for first in range(0, len(pieces), most):
            last = min(first + most, len(pieces))
            self._pace.admit(int(air * (last - first)))
            for begin in range(first, last, call):
                self._send(data[begin * size : min(begin + call, last) * size], size)

    def drain(self) -> None:
        """Wait for the scheduled end; when the card is done with the last burst it does not say."""
        self._pace.settle()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    # Opening --------------------------------------------------------------------------------

    def _set_up(self) -> None:
        one, way = self._socket, self._way
        sockets.deaf(one)
        sockets.whole(one)
        self._bind()
        if way.ttl is not None:
            sockets.hops(one, way.ttl)
        if way.broadcast:
            one.setsockopt(sockets.SOL_SOCKET, sockets.SO_BROADCAST, 1)
        if self.rate is not None:
            sockets.pace(
                one, self.rate * (1 + 2 * REPAID)
            )  # for bursts; the average is this program's
        if self._segmented:
            self._segmented = sockets.tried(one, sockets.SOL_UDP, sockets.UDP_SEGMENT, 0)

    def _bind(self) -> None:
        """Keep to one interface, and see that it takes datagrams of this size."""
        way = self._way
        found = interface.route(way.to.family, way.to.host)
        name = way.interface or (found.interface if found else "")
        there = interface.look(name, self._socket.fileno()) if name else None
        if way.interface is not None and there is None:
            raise sockets.no_such_interface(way.interface)
        if there is None:
            return  # there may be one later
        if there.mtu < way.mtu:
            raise self._too_long(there.mtu)
        if found is not None and found.gateway and way.interface is None:
            self._notice(
                f"{way.to} is reached through a gateway, by {name}: that is no link of one strand; "
                "is its interface down? interface=NAME keeps to the right one"
            )
        self._name = name
        if not sockets.bind_to(self._socket, name) and way.interface is not None:
            raise CarrierError(f"{name}: this system does not let the link be bound to it")

    def _too_long(self, mtu: int) -> CarrierError:
        room = ethernet.room(mtu, self._way.to.version)
        return CarrierError(
            f"{self._name}: datagrams for mtu={self._way.mtu} do not fit its MTU of {mtu}",
            hint=f"say mtu={mtu}: frames of up to {room} bytes; "
            f"or: ip link set {self._name} mtu {self._way.mtu}",
        )

    # Sending --------------------------------------------------------------------------------

    def _send(self, data: memoryview, size: int) -> None:
        """Send pieces of `size` bytes, the last of which may be shorter, whatever it takes."""
        if len(data) > size and self._segmented and self._tell(data, size):
            return
        for at in range(0, len(data), max(1, size)):
            self._tell(data[at : at + size], 0)

    def _tell(self, data: memoryview, size: int) -> bool:
        """Send one call's data, cut into `size` bytes by the kernel if that is not 0.

        False when the kernel does not cut; nothing was sent then.
        """
        try:
            return self._insist(data, size)
        except KeyboardInterrupt:
            self._patience = 0.0  # the last words are not waited for
            raise

    def _insist(self, data: memoryview, size: int) -> bool:
        """`_tell`, waiting for as long as something is in the way."""
        absence: Absence | None = None
        while True:
            away = self._unready()
            if not away:
                try:
                    self._call(data, size)
                except OSError as error:
                    if size and error.errno in _UNSEGMENTED:
                        self._segmented = False
                        return False
                    away = self._reason(error, size or len(data))
                    if not away:
                        continue
                else:
                    if absence is not None:
                        self._notice(f"{self._name or 'the interface'} is back, going on")
                    return True
            if absence is None:
                absence = Absence(self._patience, self._clock)
                if self._patience:
                    self._notice(f"{away}: waiting; see: diode doctor --to udp://{self._way.to}")
            self._wait(absence, away)

    def _call(self, data: memoryview, size: int) -> None:
        to = self._way.to.sockaddr
        if size:
            cut = [(sockets.SOL_UDP, sockets.UDP_SEGMENT, struct.pack("=H", size))]
            self._socket.sendmsg([data], cut, 0, to)
        else:
            self._socket.sendto(data, to)

    def _reason(self, error: OSError, size: int) -> str:
        """What is to be waited for; empty to try at once again. Raises CarrierError if nothing."""
        if error.errno in _FULL:
            self.retried += 1
            self._sleep(FULL)
            return ""
        if error.errno in _AWAY:
            what = _AWAY[error.errno].format(to=self._way.to)
            return f"{self._name}: {what}" if self._name else what
        if error.errno == errno.EMSGSIZE:
            there = interface.look(self._name, self._socket.fileno())
            fits = there.mtu if there else ethernet.mtu_for(size - 1, self._way.to.version)
            raise self._too_long(fits) from error
        hint = "say broadcast=1 if that is meant" if error.errno == errno.EACCES else ""
        raise CarrierError(
            f"{self._way.to}: cannot be sent to: {error.strerror}", hint=hint
        ) from error

    def _unready(self) -> str:
        """What Linux would not say of the interface when it is sent on, if it is time to look."""
        if not self._name or self._clock() < self._look_at:
            return ""
        there = interface.look(self._name, self._socket.fileno())
        if there is not None and there.up and not there.running:
            return (
                f"{self._name}: no carrier (no light comes to this end, as some cards and "
                "converters want it, or the two ends do not agree on autonegotiation)"
            )
        if there is not None and there.up and self._way.to.version == 4 and not there.address:
            return f"{self._name} has no address"
        self._look_at = self._clock() + LOOK
        return ""

    def _wait(self, absence: Absence, away: str) -> None:
        if absence.over():
            raise CarrierError(
                f"{away}, for more than {self._patience:g} s",
                hint=f"see: diode doctor --to udp://{self._way.to}; reopen=SECONDS waits longer",
            )
        self._sleep(absence.wait())
        absence.missed()
        self._look_at = self._clock()  # a route comes back before the carrier does


def _pace(rate: float | None, longest: float, clock: Clock, sleep: Sleep) -> Pace | Unpaced:
    if rate is None:
        return Unpaced()
    # Two frames at least: with the next one due before the last has gone, lateness is made good.
    lead = max(BURST, 2 * longest / rate)
    return Pace(rate, clock=clock, sleep=sleep, lead=lead, slice_=BURST / 2, repaid=REPAID)


def runs(ends: I64, turns: I64, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Pieces first … last-1 as runs (first, last, size) that the kernel can cut.

    All of a run have one size but its last piece, which may be shorter. turns: pieces that
    differ in length from the one before them, in order.
    """
    turn = int(np.searchsorted(turns, first, "right"))
    while first < last:
        size = int(ends[first]) - (int(ends[first - 1]) if first else 0)
        most = max(1, min(SEGMENTS, CALL // max(1, size)))
        while turn < len(turns) and turns[turn] <= first:
            turn += 1
        change = int(turns[turn]) if turn < len(turns) else last
        end = min(change, last, first + most)
        if end == change < last and end - first < most:
            end += int(ends[end]) - int(ends[end - 1]) < size
        yield first, end, size
        first = end
