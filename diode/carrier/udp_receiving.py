"""The receiving end of `udp:`: datagrams in batches, and nothing that answers.

Coalescing. Of a burst from one sender the kernel makes one long datagram again and says how long
the pieces were (UDP_GRO, udp(7)), so that a system call brings up to 64 KiB. `read_into` takes one
such batch straight into memory that is given to it; `read` takes what is there, some batches.

Losses. The kernel drops a datagram, or a batch of them, when the receive buffer is full because
nobody read in time. That is no loss of the link, so it is counted apart (`Tally.dropped`,
what SO_RXQ_OVFL tells) and named with the remedy, once an outage. The buffer that is asked for
exceeds what systems give by default, and how to be given it is said at the start.

What is not from the sender, or cut, or empty, is counted and used for nothing. The kernel itself
answers ARP, ICMP and multicast queries: to keep it silent is the firewall's business (udp.py).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diode.carrier import sockets
from diode.errors import CarrierError
from diode.frame import Frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.carrier.udp import Address
    from diode.frame import I64

LONGEST = 1 << 16
"""Bytes that the longest batch may have."""
READ = 5 * LONGEST
"""Bytes of one `read`: a few batches, and little enough for a processor's cache."""
MANY = 4096
"""Batches of one `read`, where they are small."""
PAUSE = 0.004
"""Seconds in which more may come before the socket is looked at again."""
PATIENT = 8 << 20
"""Bytes of receive buffer that hold what comes in a pause, at 10 Gbit/s too."""
QUIET = 5.0
"""Seconds without a drop after which an outage is over."""
_ANCILLARY = socket.CMSG_SPACE(4)


@dataclass(frozen=True, slots=True)
class Listening:
    """What the URL says of the receiving end."""

    at: Address
    interface: str | None = None
    source: str | None = None
    """The only address to listen to; None: any."""
    buffer: int = 64 << 20
    coalesced: bool = True
    """Whether the kernel may put datagrams together."""
    rate: float | None = None


@dataclass(slots=True)
class Tally:
    """What came, and what became of what was not used."""

    received: int = 0
    """Datagrams handed up."""
    dropped: int = 0
    """By the kernel, in want of room: datagrams, or batches of them."""
    foreign: int = 0
    """From another address than the one asked for."""
    truncated: int = 0
    empty: int = 0


class UdpReceiver:
    """Listens for datagrams. A send on its socket fails."""

    def __init__(
        self,
        way: Listening,
        *,
        notice: Callable[[str], None],
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        """Raises CarrierError when the address or the interface cannot be had."""
        self.rate = way.rate
        self.datagrams = Tally()
        self._way = way
        self._notice = notice
        self._clock = clock
        self._sleep = sleep
        self._streaming = False
        """Whether something came since there was nothing, and more may wait a moment."""
        self._seen = 0  # of the kernel's count of drops
        self._last_drop: float | None = None
        self._socket = sockets.udp(way.at.family)
        try:
            self._set_up()
            self.buffer = self._enlarge()
        except Exception:
            self._socket.close()
            raise
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)

    @property
    def counts(self) -> dict[str, int]:
        """What came, and what was not used, by the names of the `link` event."""
        self.account()
        tally = self.datagrams
        return {
            "datagrams": tally.received,
            "kernel_dropped": tally.dropped,
            "foreign": tally.foreign,
            "truncated": tally.truncated,
            "empty": tally.empty,
            "receive_buffer": self.buffer,
        }

    def read(self, timeout: float | None) -> bytes | Frames | None:
        """The datagrams that have come, as pieces; None after `timeout` seconds of silence."""
        memory = np.empty(READ, np.uint8)
        ends: list[I64] = []
        at = 0
        while len(memory) - at >= LONGEST and len(ends) < MANY:
            got = self.read_into(memory.data[at:], 0 if ends else timeout)
            if got is None:
                break
            count, piece = got
            inner = np.arange(at + piece, at + count, piece)
            at += count
            ends += [inner, np.array([at])]
        self.account()
        if ends:
            return Frames(memory[:at], np.concatenate(ends))
        return None if self._socket.fileno() >= 0 else b""

    def read_into(self, memory: memoryview, timeout: float | None) -> tuple[int, int] | None:
        """Take one batch into that memory, which should have room for LONGEST bytes.

        (count, piece): `count` bytes of datagrams that have `piece` bytes each but the last,
        which may be shorter; a single one is a piece of `count` bytes. None after `timeout`
        seconds of silence.
        """
        end = None if timeout is None else self._clock() + timeout
        while self._socket.fileno() >= 0:
            try:
                count, notes, flags, source = self._socket.recvmsg_into(
                    [memory], _ANCILLARY, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                left = None if end is None else end - self._clock()
                if left is not None and left <= 0:
                    return None
                if self._streaming:  # to be woken for each batch takes longer than to read it
                    self._streaming = False
                    self._sleep(PAUSE if left is None else min(PAUSE, left))
                else:
                    self._readable.poll(None if left is None else left * 1000)
                continue
            except OSError as error:
                raise CarrierError(f"{self._way.at}: cannot be read: {error.strerror}") from error
            found = self._used(count, _piece(notes), flags, source)
            if found is not None:
                self._streaming = self.buffer >= PATIENT
                return found
        return None

    def account(self) -> None:
        """Bring the count of drops up to date and tell of an outage; whoever reads calls it."""
        drops = sockets.dropped(self._socket) if self._socket.fileno() >= 0 else self._seen
        fresh = (drops - self._seen) & 0xFFFF_FFFF
        if not fresh:
            return
        self._seen = drops
        self.datagrams.dropped += fresh
        now = self._clock()
        if self._last_drop is None or now - self._last_drop > QUIET:
            self._notice(
                f"the kernel dropped {fresh:,} datagrams or batches of them: this machine did not "
                f"read them in time, and its receive buffer has {self.buffer:,} bytes; "
                + _larger(max(2 * self.buffer, self._way.buffer))
            )
        self._last_drop = now

    def close(self) -> None:
        """Close the socket; further reads say that it has ended."""
        self.account()
        self._socket.close()

    def _set_up(self) -> None:
        one, at, name = self._socket, self._way.at, self._way.interface
        if name is not None and name not in (known for _, known in socket.if_nameindex()):
            raise sockets.no_such_interface(name)
        if at.multicast:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if at.version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if name is not None and not sockets.bind_to(one, name):
            raise CarrierError(f"{name}: this system does not let the link be bound to it")
        if self._way.coalesced:
            sockets.tried(one, sockets.SOL_UDP, sockets.UDP_GRO, 1)
        try:
            one.bind(at.sockaddr)
            if at.multicast:
                _join(one, at, socket.if_nametoindex(name) if name else 0)
        except OSError as error:
            raise sockets.cannot_bind(str(at), error) from error
        sockets.mute(one)

    def _enlarge(self) -> int:
        """The receive buffer in bytes, once it was asked for; says what to do when it is small."""
        wanted = self._way.buffer
        got = sockets.receive_buffer(self._socket, wanted)
        if got < wanted:
            self._notice(
                f"the receive buffer has {got:,} bytes instead of {wanted:,}, and what comes while "
                f"it is full is lost; {_larger(wanted)}"
            )
        return got

    def _used(
        self, count: int, piece: int, flags: int, source: tuple[str, int]
    ) -> tuple[int, int] | None:
        """What of a batch can be used; the rest is counted."""
        tally = self.datagrams
        if not 0 < piece < count:
            piece = 0
        datagrams = -(-count // piece) if piece else 1
        if self._way.source is not None and source[0].partition("%")[0] != self._way.source:
            tally.foreign += datagrams
            return None
        if flags & socket.MSG_TRUNC:
            tally.truncated += 1
            count -= count % piece if piece else count
            datagrams -= 1
        elif not count:
            tally.empty += 1
        if not count:
            return None
        tally.received += datagrams
        return count, piece if 0 < piece < count else count


def _piece(notes: list[tuple[int, int, bytes]]) -> int:
    """The length of the datagrams in a batch, 0 for a single one."""
    for level, kind, data in notes:
        if (level, kind) == (sockets.SOL_UDP, sockets.UDP_GRO):
            return int(struct.unpack_from("=i", data)[0])
    return 0


def _join(one: socket.socket, group: Address, index: int) -> None:
    packed = socket.inet_pton(group.family, group.host.partition("%")[0])
    if group.version == 6:
        request = packed + struct.pack("@I", index)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
    else:
        request = packed + struct.pack("=4si", bytes(4), index)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)


def _larger(size: int) -> str:
    return f"for more: sudo sysctl -w net.core.rmem_max={size}, and buffer={size} in the URL"
