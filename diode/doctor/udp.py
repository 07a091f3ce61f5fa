"""Checks for `udp:` over one strand. What each is for stands in carrier/udp.py and the README.

Most of what goes wrong on such a link goes wrong in silence: without a neighbour entry, or with one
that was flushed because address resolution was switched off after it was made, frames leave for
the sender's own address and every counter looks well. So the entry is looked at, not only there.

`Host` is all that is known, `CHECKS` judge it: pure functions, one a check.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diode.carrier import interface, sockets, udp
from diode.doctor import Check, Status, network
from diode.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import CarrierUrl
    from diode.carrier.interface import Interface, Route
    from diode.doctor.machine import Machine

SPEED = 1000


@dataclass(frozen=True, slots=True)
class Host:
    """One end of a link, as far as this machine tells. None and empty: it does not tell."""

    sends: bool
    to: udp.Address
    """For a receiver: where it listens."""
    mtu: int = udp.DEFAULT_MTU
    buffer: int = udp.DEFAULT_BUFFER
    broadcast: bool = False
    named: str = ""
    """The interface that the URL names."""
    route: Route | None = None
    link: Interface | None = None
    ipv6_off: bool | None = None
    neighbours: list[dict[str, Any]] | None = None
    most_memory: int | None = None
    may_exceed: bool = False
    segments: bool = True
    coalesces: bool = True
    ring: dict[str, str] = field(default_factory=dict)
    pause: dict[str, str] = field(default_factory=dict)
    negotiation: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    silent: bool | None = None

    @property
    def name(self) -> str:
        return self.link.name if self.link else self.named or "INTERFACE"


def checks(url: CarrierUrl, machine: Machine, *, sends: bool) -> list[Check]:  # noqa: ARG001
    """What there is to say of this end of a link."""
    return judge(look(url, sends=sends))


def judge(host: Host) -> list[Check]:
    """All checks that concern this end, in the order in which to mend things."""
    table = (*_BOTH, *(_SENDER if host.sends else _RECEIVER))
    if host.link is None or host.link.loopback:
        table = tuple(check for check in table if check in _ANYWHERE)
    return [check(host) for check in table]


def look(url: CarrierUrl, *, sends: bool) -> Host:
    """Gather what is known of this machine."""
    given, port = url.endpoint()
    if sends and not given:
        raise UsageError(f"{url} does not say where to", hint="write udp://HOST:PORT")
    to = udp.resolve(url, given or ("0.0.0.0" if not sends else ""), port)  # noqa: S104
    named = url.query.get("interface", "")
    target = to.host if sends else url.query.get("source", "")
    route = interface.route(to.family, target) if target else None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        name = named or (_of_address(to.host, any_) if not sends else "")
        name = name or (route.interface if route else "")
        link = interface.look(name, any_.fileno()) if name else None
    asked = link is not None and not link.loopback
    silence = network.setting(f"net/ipv6/conf/{name}/disable_ipv6")
    return Host(
        sends,
        to,
        udp.mtu(url),
        udp.buffer(url),
        url.flag("broadcast"),
        named,
        route,
        link,
        silence is None or silence == 1,
        network.neighbours(name, to.host) if asked and sends else None,
        network.setting("net/core/rmem_max"),
        network.may_exceed(),
        network.knows(sockets.UDP_SEGMENT),
        network.knows(sockets.UDP_GRO),
        network.fields(name, "-g") if asked else {},
        network.fields(name, "-a") if asked else {},
        network.fields(name) if asked else {},
        network.fields(name, "-k") if asked else {},
        network.stops_all(name) if asked and not sends else None,
    )


def _of_address(address: str, any_: socket.socket) -> str:
    """The interface that has this address; empty if none."""
    for _, name in socket.if_nameindex():
        found = interface.look(name, any_.fileno())
        if found is not None and found.address == address:
            return name
    return ""


def _is(good: bool, name: str, right: str, wrong: str, mend: str) -> Check:
    return Check(name, Status.OK, right) if good else Check(name, Status.BAD, wrong, mend)


def _untold(name: str, mend: str = "") -> Check:
    return Check(name, Status.UNKNOWN, "this machine does not tell", mend)


# Both ends --------------------------------------------------------------------------------------


def _interface(host: Host) -> Check:
    if host.link is not None:
        return Check("interface", Status.OK, host.link.name)
    if host.sends or host.named:
        what = f"there is no interface {host.named}" if host.named else f"no route to {host.to}"
        mend = "ip link; ip address add 10.9.0.1/24 dev INTERFACE"
        return Check("interface", Status.BAD, what, mend)
    what = "any: which of them is the link's is not known"
    return Check("interface", Status.UNKNOWN, what, "say interface=NAME in the URL")


def _gateway(host: Host) -> Check:
    direct = host.route is None or not host.route.gateway
    return _is(
        direct,
        "direct",
        "on the link itself",
        "the route leads through a gateway, which would have to answer",
        f"ip address add 10.9.0.1/24 dev {host.name}",
    )


def _up(host: Host) -> Check:
    up = host.link is not None and host.link.up
    return _is(up, "up", "up", "down", f"ip link set dev {host.name} up")


def _carrier(host: Host) -> Check:
    there = host.link is not None and host.link.running
    mend = f"look at the fibre; ethtool -s {host.name} autoneg off speed {SPEED} duplex full"
    return _is(there, "carrier", "there is one", "none: what is sent is dropped here", mend)


def _address(host: Host) -> Check:
    address = host.link.address if host.link else ""
    if host.to.version == 6:
        return Check("address", Status.OK, "by IPv6")
    mend = f"ip address add 10.9.0.{1 if host.sends else 2}/24 dev {host.name}"
    return _is(bool(address), "address", address, "none", mend)


def _mtu(host: Host) -> Check:
    mtu = host.link.mtu if host.link else 0
    mend = f"ip link set dev {host.name} mtu {host.mtu}"
    return _is(mtu >= host.mtu, "mtu", f"{mtu}", f"{mtu}, less than mtu={host.mtu}", mend)


def _arp(host: Host) -> Check:
    off = host.link is not None and not host.link.arp
    mend = f"ip link set dev {host.name} arp off"
    if host.sends:
        mend += ", and make the neighbour entry after it"
    return _is(off, "arp", "off", "on: the kernel asks who has which address, or answers", mend)


def _ipv6(host: Host) -> Check:
    if host.to.version == 6:
        return Check("ipv6", Status.OK, "in use")
    mend = f"sysctl -w net.ipv6.conf.{host.name}.disable_ipv6=1"
    wrong = "on: the kernel looks for routers and neighbours"
    return _is(bool(host.ipv6_off), "ipv6", "off", wrong, mend)


def _pause(host: Host) -> Check:
    mend = f"ethtool -A {host.name} autoneg off rx off tx off"
    states = [host.pause.get(key) for key in ("RX", "TX")]
    if None in states:
        return _untold("pause", mend)
    wrong = "pause frames are on: the far end could make this one wait"
    return _is(states == ["off", "off"], "pause", "off", wrong, mend)


def _negotiation(host: Host) -> Check:
    state = host.negotiation.get("Auto-negotiation")
    mend = f"ethtool -s {host.name} autoneg off speed {SPEED} duplex full"
    if state is None:
        return _untold("autonegotiation", mend)
    wrong = "on: over one strand there is nobody to negotiate with"
    return _is(state == "off", "autonegotiation", "off", wrong, mend)


def _ring(host: Host) -> Check:
    way = "TX" if host.sends else "RX"
    now, most = host.ring.get(way, ""), host.ring.get(f"{way} max", "")
    if not (now.isdecimal() and most.isdecimal()):
        return _untold("ring")
    mend = f"ethtool -G {host.name} {way.lower()} {most}"
    enough = host.sends or int(now) == int(most)
    found = f"{now} of {most} places"
    return _is(enough, "ring", found, f"{found}: bursts overrun it sooner", mend)


# The sender -------------------------------------------------------------------------------------


def _neighbour(host: Host) -> Check:
    if host.to.multicast or host.broadcast:
        return Check("neighbour", Status.OK, "none is needed for a group")
    entry = f"ip neigh replace {host.to.host} lladdr MAC dev {host.name} nud permanent"
    if host.neighbours is None:
        return _untold("neighbour", f"ip neigh; {entry}")
    states = {str(state) for each in host.neighbours for state in each.get("state", [])}
    address = next((str(each.get("lladdr", "")) for each in host.neighbours), "")
    wrong = "none that stays: frames go to nobody. Switching ARP off, or down, flushes it"
    return _is("PERMANENT" in states, "neighbour", address, wrong, entry)


def _segmentation(host: Host) -> Check:
    if not host.segments:
        what = "this kernel has no UDP_SEGMENT: one system call a datagram"
        return Check("segmentation", Status.UNKNOWN, what)
    card = host.features.get("tx-udp-segmentation", "").partition(" ")[0]
    return Check("segmentation", Status.OK, "in the card" if card == "on" else "in the kernel")


# The receiver -----------------------------------------------------------------------------------


def _buffer(host: Host) -> Check:
    mend = f"sysctl -w net.core.rmem_max={host.buffer}"
    if host.most_memory is None:
        return _untold("receive buffer", mend)
    found = f"up to {host.most_memory:,} bytes"
    if host.may_exceed:
        found += ", more for this user"
    enough = host.may_exceed or host.most_memory >= host.buffer
    return _is(enough, "receive buffer", found, f"{found}, less than {host.buffer:,}", mend)


def _coalescing(host: Host) -> Check:
    mend = f"ethtool -K {host.name} gro on"
    if not host.coalesces:
        what = "this kernel has no UDP_GRO: one system call a datagram"
        return Check("coalescing", Status.UNKNOWN, what)
    state = host.features.get("generic-receive-offload")
    if state is None:
        return _untold("coalescing", mend)
    return _is(state.startswith("on"), "coalescing", "on", "off", mend)


def _silence(host: Host) -> Check:
    mend = (
        "nft add table netdev diode; nft add chain netdev diode out "
        f"'{{ type filter hook egress device \"{host.name}\" priority 0; policy drop; }}'"
    )
    if host.silent is None:
        return Check("silence", Status.UNKNOWN, "the firewall is root's to see", mend)
    wrong = "nothing keeps this machine from sending on the link"
    return _is(host.silent, "silence", "a firewall drops whatever would leave", wrong, mend)


_BOTH: tuple[Callable[[Host], Check], ...] = (
    *(_interface, _up, _carrier, _address, _gateway, _mtu, _ipv6, _arp),
    *(_pause, _negotiation, _ring),
)
_SENDER: tuple[Callable[[Host], Check], ...] = (_neighbour, _segmentation)
_RECEIVER: tuple[Callable[[Host], Check], ...] = (_buffer, _coalescing, _silence)
_ANYWHERE = {_interface, _segmentation, _buffer}
"""What concerns every machine, whatever the interface."""
