"""What Linux says of network interfaces, without a word on any of them.

Which interface leads to an address the routing table knows; it is asked by netlink
(rtnetlink(7)), which stays inside the kernel, where connecting a socket to find out would leave
one about that can hear ICMP errors. The rest are ioctls (netdevice(7)), which any socket answers,
also one that may not be replaced any more because the process is confined.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass

_SIOCGIFFLAGS, _SIOCGIFADDR, _SIOCGIFMTU = 0x8913, 0x8915, 0x8921
_NAME = 16
_ADDRESS = slice(_NAME + 4, _NAME + 8)
"""Of a struct ifreq that holds a struct sockaddr_in."""
_UP, _LOOPBACK, _RUNNING, _NOARP = 0x1, 0x8, 0x40, 0x80

_GETROUTE, _NEWROUTE = 26, 24
_REQUEST = 1
_DST, _OIF, _GATEWAY = 1, 4, 5
_NLMSG, _RTMSG, _RTA = struct.Struct("=IHHII"), struct.Struct("=8BI"), struct.Struct("=HH")
_MAX_REPLY = 1 << 16


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface at one moment."""

    name: str
    up: bool
    running: bool
    """Whether it has a carrier: light, a link partner."""
    arp: bool
    """Whether it asks for, and answers, who has which address."""
    loopback: bool
    mtu: int
    address: str
    """Its first IPv4 address; empty where it has none."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where datagrams to an address leave this machine."""

    interface: str
    gateway: bytes
    """Empty where the address is on the link itself."""


def look(name: str, descriptor: int) -> Interface | None:
    """The interface of that name, asked through any socket; None when there is none."""
    request = os.fsencode(name)[: _NAME - 1].ljust(_NAME, b"\0") + bytes(24)
    try:
        flags = fcntl.ioctl(descriptor, _SIOCGIFFLAGS, request)
        mtu = fcntl.ioctl(descriptor, _SIOCGIFMTU, request)
    except OSError:
        return None
    try:
        address = socket.inet_ntoa(fcntl.ioctl(descriptor, _SIOCGIFADDR, request)[_ADDRESS])
    except OSError:
        address = ""
    (bits,) = struct.unpack_from("=H", flags, _NAME)
    return Interface(
        name,
        bool(bits & _UP),
        bool(bits & _RUNNING),
        not bits & _NOARP,
        bool(bits & _LOOPBACK),
        int(struct.unpack_from("=i", mtu, _NAME)[0]),
        address,
    )


def route(family: int, address: str) -> Route | None:
    """How that numeric address is reached; None when it is not, or this system does not tell."""
    if not hasattr(socket, "AF_NETLINK"):
        return None
    target = socket.inet_pton(family, address.partition("%")[0])
    attribute = _RTA.pack(_RTA.size + len(target), _DST) + target
    body = _RTMSG.pack(family, 8 * len(target), 0, 0, 0, 0, 0, 0, 0) + attribute
    request = _NLMSG.pack(_NLMSG.size + len(body), _GETROUTE, _REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as asked:
            asked.send(request)
            reply = asked.recv(_MAX_REPLY)
    except OSError:
        return None
    kind = _NLMSG.unpack_from(reply)[1]
    return None if kind != _NEWROUTE else _read(reply)


def _read(reply: bytes) -> Route | None:
    length = min(_NLMSG.unpack_from(reply)[0], len(reply))
    found: dict[int, bytes] = {}
    at = _NLMSG.size + _RTMSG.size
    while at + _RTA.size <= length:
        size, kind = _RTA.unpack_from(reply, at)
        if size < _RTA.size:
            break
        found[kind] = reply[at + _RTA.size : at + size]
        at += size + -size % 4
    if _OIF not in found:  # a route that leads nowhere
        return None
    try:
        name = socket.if_indextoname(int(struct.unpack("=I", found[_OIF])[0]))
    except OSError:
        return None
    return Route(name, found.get(_GATEWAY, b""))
