r"""The carrier of one fibre strand: `udp://HOST:PORT?rate=900M&mtu=1500`, a datagram a frame.

Ethernet wants to talk: ARP, neighbour discovery, ICMP, IGMP, negotiation of speed and pauses. None
of it comes back over one strand, and nothing may be made to wait for it. What the two programs
see to:

    sender    is never connected, so no ICMP error reaches it; takes nothing in (udp_sending.py);
              sends nothing in fragments; is bound to the interface that the route names, so
              that nothing goes another way when that one is down; keeps the pace
    receiver  cannot send (udp_receiving.py); has a large buffer, counts what did not fit

What the administrator sees to (README; `diode doctor` looks after it): on the sender ARP off and
*then* a permanent neighbour entry, since switching ARP off flushes the entry; IPv6 off; on the
receiver net.core.rmem_max, and silence, because its kernel answers by itself:

    nft add table netdev diode
    nft add chain netdev diode out \
        '{ type filter hook egress device "eth1" priority 0; policy drop; }'

Keys. rate: bits per second on the wire, everything counted (ethernet.py); `unlimited` for tests
in one machine. The default, 100M, is what the slowest fibre converters in use carry (100BASE-FX)
and what any receiver can keep up with. mtu: of the interfaces at both ends, 1500 or 9000.
interface: the one to use, else the route's. ttl: hops, else the system's. broadcast=1: HOST is a
broadcast address. gso=0, gro=0: one system call a datagram. reopen: seconds to wait for an
interface that is down. source: the only address to listen to. buffer: bytes for what was not
yet read.

HOST is an address, or a name that this machine knows by itself. A receiver names the address to
listen on, none for any (`udp://:5000`), or a multicast group, which it joins.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diode.carrier import ethernet
from diode.carrier.absence import PATIENCE
from diode.errors import CarrierError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier.pace import Clock, Sleep
    from diode.carrier.udp_receiving import UdpReceiver
    from diode.carrier.udp_sending import UdpSender
    from diode.carrier.url import CarrierFacts, CarrierUrl

KEYS = frozenset(
    {"rate", "mtu", "ttl", "interface", "source", "buffer", "gso", "gro", "broadcast", "reopen"}
)

DEFAULT_RATE = 100e6
UNLIMITED = "unlimited"
DEFAULT_MTU, LEAST_MTU, MOST_MTU = 1500, 576, 65535
DEFAULT_BUFFER = 64 << 20
"""Bytes of receive buffer: at 900 Mbit/s a receiver that stands still for half a second."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where datagrams go to, or are awaited."""

    family: int
    host: str
    """Numeric."""
    sockaddr: tuple[str | int, ...]
    """As the socket calls want it."""

    @property
    def version(self) -> int:
        return 6 if self.family == socket.AF_INET6 else 4

    @property
    def multicast(self) -> bool:
        return ipaddress.ip_address(self.host.partition("%")[0]).is_multicast

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.version == 6 else self.host
        return f"{host}:{self.sockaddr[1]}"


def facts(url: CarrierUrl) -> CarrierFacts:
    """Frames of a whole datagram, which is what is lost together. No name is resolved for it."""
    version = 6 if ":" in url.endpoint()[0] else 4
    return ethernet.facts(_rate(url), ethernet.room(mtu(url), version), version)


def sending(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> UdpSender:
    """A socket to transmit to HOST:PORT."""
    from diode.carrier.udp_sending import Sending, UdpSender  # noqa: PLC0415  one side each

    host, port = url.endpoint()
    if not host or not port:
        raise UsageError(f"{url} does not say where to", hint="write udp://HOST:PORT")
    way = Sending(
        resolve(url, host, port),
        rate=_rate(url),
        mtu=mtu(url),
        interface=url.query.get("interface"),
        ttl=url.whole("ttl", 1, 1, 255) if "ttl" in url.query else None,
        broadcast=url.flag("broadcast"),
        segmented=url.query.get("gso") is None or url.flag("gso"),
        reopen=url.number("reopen", PATIENCE, 0, 1e9),
    )
    return UdpSender(way, notice=notice, clock=clock, sleep=sleep)


def receiving(
    url: CarrierUrl, *, notice: Callable[[str], None], clock: Clock, sleep: Sleep
) -> UdpReceiver:
    """A socket to listen on PORT."""
    from diode.carrier.udp_receiving import Listening, UdpReceiver  # noqa: PLC0415  one side each

    del sleep
    host, port = url.endpoint()
    if not port:
        raise UsageError(f"{url} names no port", hint="write udp://:PORT")
    way = Listening(
        resolve(url, host or "0.0.0.0", port),  # noqa: S104  any address was asked for
        interface=url.query.get("interface"),
        source=_source(url),
        buffer=buffer(url),
        coalesced=url.query.get("gro") is None or url.flag("gro"),
        rate=_rate(url) if "rate" in url.query else None,
    )
    return UdpReceiver(way, notice=notice, clock=clock)


def mtu(url: CarrierUrl) -> int:
    """The MTU that the URL says both ends have."""
    return url.whole("mtu", DEFAULT_MTU, LEAST_MTU, MOST_MTU)


def buffer(url: CarrierUrl) -> int:
    """Bytes of receive buffer that are asked for."""
    return url.whole("buffer", DEFAULT_BUFFER, 4096, 1 << 30)


def resolve(url: CarrierUrl, host: str, port: int) -> Address:
    """The address of a host; a name's IPv4 address if it has one, as `facts` reckons."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise CarrierError(
            f"{url}: nothing is known of {host!r}",
            hint="write its address, or put it into /etc/hosts: a one-way link asks nobody",
        ) from error
    by_family = sorted(found, key=lambda each: each[0] != socket.AF_INET)
    family, _, _, _, sockaddr = by_family[0]
    if family == socket.AF_INET6 and ":" not in host:
        raise CarrierError(
            f"{url}: {host} has an IPv6 address only", hint=f"write udp://[{sockaddr[0]}]:{port}"
        )
    return Address(family, str(sockaddr[0]), (str(sockaddr[0]), *sockaddr[1:]))


def _rate(url: CarrierUrl) -> float | None:
    """Bytes per second, None for as fast as it goes."""
    if url.query.get("rate") == UNLIMITED:
        return None
    return url.number("rate", DEFAULT_RATE, 1000, 1e12) / 8


def _source(url: CarrierUrl) -> str | None:
    text = url.query.get("source")
    if text is None:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise UsageError(
            f"{url}: source={text} is no address", hint="for example source=10.9.0.1"
        ) from error
