"""What a datagram takes on Ethernet, in bytes: the arithmetic of `rate=` and `mtu=`.

    preamble  header  IP       UDP  datagram  check  gap
    8         14      20 | 40  8    n         4      12

The MTU bounds what stands between header and check; what is shorter than 46 bytes there is filled
up. `rate=` counts all of it, so that rate=1G is what a gigabit fibre can just carry, and a full
datagram at MTU 1500 (1,472 bytes by IPv4, 1,452 by IPv6) makes 1,538 bytes of it.

Sources: IEEE 802.3, 3.1.1 and 4.4.2; RFC 791, RFC 8200, RFC 768.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode.carrier.url import CarrierFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.frame import I64

UDP = 8
IP = {4: 20, 6: 40}
"""By version."""
SHORTEST = 46
AROUND = 8 + 14 + 4 + 12
"""Preamble, header, check, gap."""


def room(mtu: int, version: int = 4) -> int:
    """The longest datagram that an MTU lets through whole."""
    return mtu - IP[version] - UDP


def mtu_for(datagram: int, version: int = 4) -> int:
    """The MTU that a datagram of that many bytes needs."""
    return datagram + IP[version] + UDP


def air_bytes(version: int = 4) -> Callable[[float], float]:
    """Bytes of line time that a datagram of so many bytes takes."""
    around = IP[version] + UDP
    return lambda datagram: AROUND + max(SHORTEST, datagram + around)


def air_ends(lengths: I64, version: int = 4) -> I64:
    """The same for datagrams behind each other: where each of them ends."""
    ends: I64 = (AROUND + (lengths + (IP[version] + UDP)).clip(SHORTEST)).cumsum()
    return ends


def facts(rate: float | None, longest: int, version: int = 4) -> CarrierFacts:
    """What planning has to know. rate: bytes per second; longest: bytes of a datagram.

    What is not read waits in the kernel's receive buffer, and what finds no room there the kernel
    counts.
    """
    air = air_bytes(version)
    return CarrierFacts(
        rate, kind="datagrams", max_piece=longest, live=True, air_bytes=air, waits=True
    )
