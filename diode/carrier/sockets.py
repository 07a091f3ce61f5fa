"""Sockets that go one way: Linux's socket options, by number where Python has no name for them.

A UDP socket has two directions by nature. `deaf` takes away the one in: a filter that accepts
nothing stands before the receive queue and is locked there, so that whatever is sent to
the port a sender happens to have is dropped before anything of it is kept, for good. `mute`
takes away the one out: a send fails with EPIPE. shutdown(2) says ENOTCONN of a socket that is
not connected, and does its work all the same (inet_shutdown in net/ipv4/af_inet.c).

Sources: socket(7), udp(7), ip(7), ipv6(7); linux/udp.h, linux/filter.h, linux/sock_diag.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct

from diode.carrier.apart import apart
from diode.errors import CarrierError

UDP_SEGMENT, UDP_GRO = 103, 104
SOL_UDP = socket.IPPROTO_UDP
SOL_SOCKET, SO_BROADCAST = socket.SOL_SOCKET, socket.SO_BROADCAST
_SO_BINDTODEVICE, _SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 25, 26, 33
_SO_LOCK_FILTER, _SO_MAX_PACING_RATE, _SO_MEMINFO = 44, 47, 55
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_MEMINFO = struct.Struct("=9I")
_DROPS = 8
_RETURN = 0x06
"""The classic BPF instruction that ends with a constant: how many bytes to let in."""


def udp(family: int) -> socket.socket:
    """A UDP socket under a descriptor of its own kind (apart.py). Raises CarrierError."""
    try:
        made = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        which = "IPv6" if family == socket.AF_INET6 else "IPv4"
        raise CarrierError(
            f"no socket for {which}: {error.strerror}", hint="use the other version of IP"
        ) from error
    return socket.socket(family, socket.SOCK_DGRAM, fileno=apart(made.detach()))


def tried(one: socket.socket, level: int, option: int, value: int | bytes) -> bool:
    """Set an option that not every system has; whether it took."""
    try:
        one.setsockopt(level, option, value)
    except OSError:
        return False
    return True


def deaf(one: socket.socket) -> None:
    """Let nothing in any more, as far as the system can."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", _RETURN, 0, 0, 0))
    filtered = struct.pack("@HP", 1, ctypes.addressof(program))
    tried(one, socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtered)
    tried(one, socket.SOL_SOCKET, _SO_LOCK_FILTER, 1)
    tried(one, socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RD)


def mute(one: socket.socket) -> None:
    """Let nothing out any more."""
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_WR)


def whole(one: socket.socket) -> None:
    """Never cut a datagram into fragments, and never mind what anybody says of paths' MTUs."""
    if one.family == socket.AF_INET6:
        tried(one, socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
        tried(one, socket.IPPROTO_IPV6, getattr(socket, "IPV6_DONTFRAG", 62), 1)
    else:
        tried(one, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)


def bind_to(one: socket.socket, interface: str) -> bool:
    """Send and hear by that interface alone; whether that could be had."""
    return tried(one, socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode() + b"\0")


def hops(one: socket.socket, count: int) -> None:
    """How many routers may pass it on, less one."""
    six = one.family == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    names = ("IPV6_UNICAST_HOPS", "IPV6_MULTICAST_HOPS") if six else ("IP_TTL", "IP_MULTICAST_TTL")
    for name in names:
        one.setsockopt(level, getattr(socket, name), count)


def pace(one: socket.socket, rate: float) -> None:
    """Ask the queueing discipline `fq`, where it is in use, to spread bursts. Bytes per second."""
    tried(one, socket.SOL_SOCKET, _SO_MAX_PACING_RATE, min(int(rate), 0x7FFFFFFF))


def receive_buffer(one: socket.socket, wanted: int) -> int:
    """Ask for that many bytes of receive buffer; how many there are. The kernel reckons double."""
    if not tried(one, socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted):
        tried(one, socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def dropped(one: socket.socket) -> int:
    """Batches that found no room in the receive buffer so far, modulo 2^32; 0 if not known.

    The count that SO_RXQ_OVFL puts beside the next datagram, without waiting for one to come.
    """
    try:
        info = one.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
        return int(_MEMINFO.unpack(info)[_DROPS])
    except (OSError, struct.error):
        return 0


def no_such_interface(name: str) -> CarrierError:
    """The error for an interface that is not there."""
    names = ", ".join(name for _, name in socket.if_nameindex())
    return CarrierError(f"there is no interface {name!r}", hint=f"there are {names}")


def cannot_bind(address: str, error: OSError) -> CarrierError:
    """The error for an address that cannot be listened on, with the next step."""
    hint = "ip address shows which addresses this machine has; udp://:PORT listens on any"
    if error.errno == errno.EADDRINUSE:
        hint = "another program listens there: see ss -ulnp"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        hint = "ports below 1024 are root's: take a higher one"
    return CarrierError(f"{address}: cannot listen: {error.strerror}", hint=hint)
