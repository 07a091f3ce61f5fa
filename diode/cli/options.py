"""Option types and the sets of options that verbs share."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from diode import carrier, slots
from diode.errors import UsageError
from diode.line import DATAGRAM
from diode.line.slots import Slots
from diode.plan import Link, Settings
from diode.tag import LinkKey, Untagged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diode.carrier import CarrierFacts
    from diode.line import Encoder

_SIZE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE |= {f"{unit}i": 1 << (10 * power) for power, unit in enumerate("kmgt", 1)}
_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DIGITS = 30
NO_SANDBOX = "diode.no_sandbox"
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")


class Size(click.ParamType[int]):
    """Bytes: 1500, 10M, 4GiB; within low … high."""

    name = "size"

    def __init__(self, low: int = 0, high: int | None = None) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _QUANTITY.fullmatch(value.strip())
        unit = match[2].lower().removesuffix("b") if match else None
        if match is None or unit not in _SIZE:
            self.fail(f"{value!r} is not a size such as 1500, 10M or 4GiB", param, ctx)
        if len(match[1]) > _MAX_DIGITS:
            self.fail(f"{value!r} is more than there can be", param, ctx)
        count = int(Decimal(match[1]) * _SIZE[unit])
        if count < self.low or (self.high is not None and count > self.high):
            self.fail(f"{value!r} is not within {self.low:,} … {self.high:,} bytes", param, ctx)
        return count


class Duration(click.ParamType[float]):
    """Seconds: 500ms, 2s, 10min."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = _QUANTITY.fullmatch(value.strip())
        if match is None or match[2].lower() not in _SECONDS:
            self.fail(f"{value!r} is not a time such as 500ms, 2s or 10min", param, ctx)
        return float(match[1]) * _SECONDS[match[2].lower()]


class Percent(click.ParamType[float]):
    """A share: 25% or 0.25."""

    name = "percent"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = value.strip()
        try:
            return float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            self.fail(f"{value!r} is not a share such as 25% or 0.25", param, ctx)


class Mode(click.ParamType[int]):
    """File permissions in octal."""

    name = "mode"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"0?[0246]{3}", value):
            self.fail(f"{value!r} is not a file mode such as 0440, without execute", param, ctx)
        return int(value, 8)


def _stack(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _no_sandbox(context: click.Context, _option: click.Parameter, value: bool) -> None:
    context.meta[NO_SANDBOX] = value


def _sandbox(context: click.Context, _option: click.Parameter, value: str) -> str:
    """auto, required or off."""
    if not context.meta[NO_SANDBOX]:
        return value
    if value == "required":
        raise UsageError("--no-sandbox and --sandbox required contradict each other")
    return "off"


manners = _stack(
    click.option("--json", "json_", is_flag=True, help="One JSON object a line on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
)
impair = click.option(
    "--impair",
    metavar="SPEC",
    help="Damage the link on purpose: drop=5%,burst=200ms/10s,flip=1e-5,slip=1e-6,seed=1",
)
line = click.option(
    "--line",
    type=click.Choice(["cobs", "rs"]),
    help="Byte framing: cobs for clean lines, rs for noisy ones.  [default: cobs]",
)
buffer = click.option(
    "--buffer",
    type=Size(1 << 16, 1 << 30),
    default="32MiB",
    show_default=True,
    help="Memory for what is heard while the disk, or this computer, is too slow.",
)
cbr = click.option(
    "--cbr",
    is_flag=True,
    help="Constant rate: frames of one size, one after the other, idle ones where nothing is to be "
    "sent, so that the line does not show when there is something.",
)
linger = click.option(
    "--linger",
    type=Duration(),
    metavar="TIME",
    help="With --cbr, end after so much idleness.  [default: go on until stopped]",
)
jobs = click.option(
    "--jobs",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Processes that compute parity beside the sending.",
)
link_key = click.option(
    "--link-key",
    "link_key",
    metavar="KEYFILE",
    help="Tag frames with this key, which both ends have: on media that others can write to.",
)
sandbox = _stack(
    click.option(
        "--sandbox",
        type=click.Choice(["auto", "required"]),
        default="auto",
        show_default=True,
        callback=_sandbox,
        help="Confine this process as far as the system can, or fail where it cannot.",
    ),
    click.option(
        "--no-sandbox",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_no_sandbox,
        help="Do not confine this process.",
    ),
)
heard_line = click.option(
    "--line",
    "line_name",
    type=click.Choice(["auto", "cobs", "rs"]),
    help="Byte framing; auto follows the sender.  [default: auto]",
)
planning = _stack(
    click.option(
        "--code",
        type=click.Choice(["zfec", "repeat", "raptorq", "leopard"]),
        help="Erasure code.  [default: by size and link]",
    ),
    click.option(
        "--redundancy",
        type=Percent(),
        help="Parity on top of the data.  [default: 25%, more for small files]",
    ),
    click.option(
        "--loss",
        type=Percent(),
        help="Frame loss to plan for, instead of --redundancy: as much parity as it takes.",
    ),
    click.option(
        "--passes",
        type=click.IntRange(0, 1_000_000),
        default=1,
        show_default=True,
        help="Times everything is sent, with fresh parity; 0 goes on until stopped.",
    ),
    click.option(
        "--burst",
        type=Duration(),
        default="500ms",
        show_default=True,
        help="Outage to survive; on carriers without a known rate 1,000 frames, or 0.",
    ),
    click.option(
        "--symbol-size", type=int, metavar="BYTES", help="Payload of a frame.  [default: by rate]"
    ),
    line,
)


def tagging(path: str | None) -> LinkKey | Untagged:
    """What tags frames, or checks their tags. KeyFileError where that is no link key."""
    if path is None:
        return Untagged()
    from diode.service.keys import read_secret

    return read_secret(path, LinkKey)


def line_for(facts: CarrierFacts, asked: str | None, otherwise: str) -> str:
    """The name of the line on that carrier. UsageError when one was asked for that has no choice.

    otherwise: what it is on a carrier of bytes when none was asked for.
    """
    if facts.kind == "bytes":
        return asked or otherwise
    if asked is not None:
        raise UsageError(
            f"--line {asked} is for carriers of bytes; here each frame is a datagram of its own",
            hint="leave out --line",
        )
    return DATAGRAM


def lines_for(urls: Sequence[str], asked: str | None, otherwise: str) -> list[tuple[str, str]]:
    """The URLs of a transmission's lanes, each with the name of its line; otherwise as `line_for`.

    The line asked for is that of all carriers of bytes. UsageError for a URL given twice.
    """
    for url in urls:
        if urls.count(url) > 1:
            raise UsageError(f"{url} is given twice", hint="each lane has a carrier of its own")
    facts = [carrier.facts(url) for url in urls]
    if any(one.kind == "bytes" for one in facts):
        each = [asked if one.kind == "bytes" else None for one in facts]
    else:
        each = [asked] * len(facts)
    return [
        (url, line_for(one, name, otherwise))
        for url, one, name in zip(urls, facts, each, strict=True)
    ]


def lane(number: int, url: str) -> str:
    """How the operator knows a lane; number: from 0."""
    return f"lane {number + 1} ({url})"


def settings(
    code: str | None,
    redundancy: float | None,
    loss: float | None,
    passes: int,
    burst: float,
    symbol_size: int | None,
    *,
    keep_order: bool = False,
    bundle: bool = True,
) -> Settings:
    """What the planning options say."""
    return Settings(code, redundancy, passes, burst, symbol_size, keep_order, loss, bundle=bundle)


def link(facts: CarrierFacts, encoder: Encoder, extra: int = 0) -> Link:
    """What planning has to know of a carrier with a line. UsageError when they do not fit.

    extra: bytes by which frames grow before the line, for their tag.
    """
    longest = encoder.max_frame
    if facts.max_piece is not None:
        longest = min(longest, encoder.frame_room(facts.max_piece))
        if not longest:
            raise UsageError(
                f"this modem carries {facts.max_piece} bytes in one piece, the line needs more",
                hint="leave out --line: the modem has a code of its own",
            )
    return Link(
        facts.rate,
        longest - extra,
        lambda frame: facts.air_bytes(encoder.line_bytes(frame + extra)),
        facts.max_piece,
        lambda piece: max(0, encoder.frame_room(piece) - extra),
    )


def evened(
    settings: Settings, facts: CarrierFacts, encoder: Encoder, extra: int = 0
) -> tuple[Settings, Encoder]:
    """The same with all frames, and what the line makes of them, in one size (wire 3.10).

    UsageError where the carrier has no rate.
    """
    settings, even = slots.filled(settings, link(facts, encoder, extra))
    return settings, Slots(encoder, even.max_frame + extra)
