"""Checks for `audio:`: is the card there, open at the right level, and left alone on the way?

A muted output or capture switch is silence without an error. Automatic gain control and an echo
canceller are made for speech and take a modem apart. A sound server that runs at another rate
resamples, which costs little and adds jitter; a card that cannot do the rate does the same.

`Sound` is all that is known, `CHECKS` judge it. The card is found as the carrier finds it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from diode.carrier import sound, soundcard
from diode.doctor import Check, bad, hint, ok, unknown
from diode.errors import DiodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.carrier import CarrierUrl
    from diode.doctor.machine import Machine

Direction = Literal["output", "input"]
LOW = 30
"""Percent below which a level is worth raising."""
MAIN = {"output": ("Master", "PCM", "Digital", "Headphone"), "input": ("Capture", "Mic", "Line")}
"""Controls that silence everything when they are off."""
SPEECH = ("module-echo-cancel", "rnnoise", "noise-suppression", "libpipewire-module-echo-cancel")
"""What is loaded into a sound server to make speech clearer."""
_NAME = re.compile(r"Simple mixer control '(.{1,80})',(\d{1,3})$")
_CHANNEL = re.compile(r"\s+[A-Z][\w -]*: (?:(Playback|Capture) )?(.*\[.*)$")
_RATES = re.compile(r"^\s*[Rr]ates:? (.*)$|^\s+rates \[\w+\]: (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a mixer, of its quietest channel. level: percent."""

    card: int
    name: str
    capture: bool
    on: bool | None = None
    level: int | None = None

    @property
    def command(self) -> str:
        return f"amixer -c {self.card} sset {shlex.quote(self.name)}"


@dataclass(frozen=True, slots=True)
class Sound:
    """One end of an audio link, as far as this machine tells."""

    direction: Direction
    rate: int
    device: str = ""
    """Its name; empty where there is none."""
    trouble: str = ""
    """Why there is none."""
    mend: str = ""
    notices: tuple[str, ...] = ()
    cards: tuple[tuple[int, str], ...] = ()
    """Cards of the kernel that may be meant, by number."""
    permitted: bool = True
    user: str = ""
    controls: tuple[Control, ...] | None = None
    """None where amixer is not there."""
    rates: tuple[int, ...] = ()
    """What the hardware can do; empty where it does not tell."""
    server: str = ""
    server_rate: int | None = None
    speech: str = ""

    @property
    def option(self) -> str:
        return "to" if self.direction == "output" else "from"


def checks(url: CarrierUrl, machine: Machine, *, sends: bool) -> list[Check]:
    """What there is to say of this end of a sound link."""
    return judge(look(url, machine, sends=sends))


def judge(found: Sound) -> list[Check]:
    """All checks that concern this end."""
    return [check for one in _CHECKS if (check := one(found)) is not None]


# Looking ------------------------------------------------------------------------------------


def look(
    url: CarrierUrl,
    machine: Machine,
    *,
    sends: bool,
    find: Callable[..., soundcard.Card] = soundcard.find,
) -> Sound:
    """Gather what is known."""
    direction: Direction = "output" if sends else "input"
    rate, wanted = sound.sample_rate(url), url.query.get("device")
    notices: list[str] = []
    device = trouble = mend = ""
    try:
        device = find(wanted, direction, rate, notices.append).name
    except DiodeError as error:
        trouble, mend = str(error), error.hint
    cards = _cards(machine, device or wanted or "")
    server, server_rate, speech = _server(machine)
    return Sound(
        direction,
        rate,
        device,
        trouble,
        mend,
        tuple(notices),
        cards,
        _permitted(machine, cards, sends=sends),
        machine.user(machine.uid),
        _controls(machine, cards),
        _rates(machine, cards),
        server,
        server_rate,
        speech,
    )


def _cards(machine: Machine, name: str) -> tuple[tuple[int, str], ...]:
    """Those whose name is in that of the device; all where none is."""
    found = []
    for line in machine.line("/proc/asound/cards").splitlines():
        match = re.match(r"\s*(\d{1,3}) \[(\w{1,32})\s*\]: (.{1,200})", line)
        if match:
            found.append((int(match[1]), match[3].partition(" - ")[2] or match[2]))
    meant = tuple(one for one in found if one[1] and one[1].lower() in name.lower())
    return meant or tuple(found)


def _permitted(machine: Machine, cards: tuple[tuple[int, str], ...], *, sends: bool) -> bool:
    """Whether this user may open some device of these cards in that direction."""
    end = "p" if sends else "c"
    numbers = tuple(f"pcmC{number}D" for number, _ in cards)
    paths = [
        f"/dev/snd/{name}"
        for name in machine.names("/dev/snd")
        if name.startswith(numbers) and name.endswith(end)
    ]
    return not paths or any(machine.permits(path, write=True) for path in paths)


def _controls(machine: Machine, cards: tuple[tuple[int, str], ...]) -> tuple[Control, ...] | None:
    found: list[Control] = []
    answered = False
    for number, _ in cards:
        said = machine.ask("amixer", "-c", str(number), "scontents")
        if said is not None:
            answered = True
            found += controls(number, said)
    return tuple(found) if answered or not cards else None


def controls(card: int, said: str) -> list[Control]:
    """What `amixer scontents` says, by control and direction."""
    found: dict[tuple[str, bool], Control] = {}
    name = ""
    for line in said.splitlines():
        if match := _NAME.match(line):
            name = match[1]
        elif name and (match := _CHANNEL.match(line)):
            capture, words = match[1] == "Capture", match[2]
            # A control may have both, in one line: Playback 31 [on] Capture 15 [off]
            first, _, second = words.partition(" Capture ")
            for part, is_capture in ((first, capture), (second, True)):
                if part:
                    key = (name, is_capture)
                    found[key] = _quieter(found.get(key), _control(card, name, is_capture, part))
    return list(found.values())


def _control(card: int, name: str, capture: bool, words: str) -> Control:
    level = re.search(r"\[(\d{1,3})%\]", words)
    on = True if "[on]" in words else False if "[off]" in words else None
    return Control(card, name, capture, on, int(level[1]) if level else None)


def _quieter(one: Control | None, other: Control) -> Control:
    if one is None:
        return other
    switches = [on for on in (one.on, other.on) if on is not None]
    levels = [level for level in (one.level, other.level) if level is not None]
    on = all(switches) if switches else None
    return Control(one.card, one.name, one.capture, on, min(levels, default=None))


def _rates(machine: Machine, cards: tuple[tuple[int, str], ...]) -> tuple[int, ...]:
    """Samples per second that the hardware of the only card can do."""
    if len(cards) != 1:
        return ()
    folder = f"/proc/asound/card{cards[0][0]}"
    found: set[int] = set()
    for name in machine.names(folder):
        if name.startswith(("stream", "codec#")):
            for match in _RATES.finditer(machine.read(f"{folder}/{name}") or ""):
                numbers = re.findall(r"\b\d{4,6}\b", match[1] or match[2] or "")
                found.update(int(number) for number in numbers)
    return tuple(sorted(found))


def _server(machine: Machine) -> tuple[str, int | None, str]:
    """Which sound server runs, at what rate, and what it has loaded for speech."""
    server = machine.runs("pipewire", "pulseaudio")
    if not server:
        return "", None, ""
    said = machine.ask("pactl", "info") or ""
    rate = re.search(r"Sample Specification: .{0,40}? (\d{4,6})Hz", said)
    modules = (machine.ask("pactl", "list", "short", "modules") or "").split()
    speech = next((name for name in SPEECH if any(name in word for word in modules)), "")
    return server, int(rate[1]) if rate else None, speech


# Judging ------------------------------------------------------------------------------------


def _card(found: Sound) -> Check:
    if found.device:
        return ok("card", found.device)
    return bad("card", found.trouble, found.mend)


def _permission(found: Sound) -> Check | None:
    if not found.cards:
        return None
    if found.permitted:
        return ok("permission", f"{found.user} may use it")
    mend = f"usermod -a -G audio {shlex.quote(found.user)}  # then log out and in again"
    return bad("permission", f"{found.user} may not use /dev/snd", mend)


def _rate(found: Sound) -> Check | None:
    name = "sample rate"
    if found.rates and found.rate not in found.rates:
        listed = ", ".join(map(str, found.rates))
        best = min(found.rates, key=lambda rate: abs(rate - found.rate))
        mend = f"diode doctor --{found.option} 'audio:?rate={best}'"
        return hint(name, f"the card does {listed} Hz, not {found.rate}", mend)
    if found.notices:
        return hint(
            name, "; ".join(found.notices), "aplay -l; arecord -l  # another rate=, device="
        )
    return ok(name, f"{found.rate} Hz") if found.device else None


def _switches(found: Sound) -> Check | None:
    name = "mute"
    if found.controls is None:
        return unknown(name, "amixer is not there", "apt install alsa-utils")
    mine = _mine(found)
    off = [one for one in mine if one.on is False]
    if not mine:
        return None
    if off:
        word = "unmute" if found.direction == "output" else "cap"
        mend = "; ".join(f"{one.command} {word}" for one in off)
        return bad(name, f"off: {', '.join(one.name for one in off)}", mend)
    return ok(name, f"nothing is: {', '.join(one.name for one in mine)}")


def _levels(found: Sound) -> Check | None:
    name = "level"
    mine = [one for one in _mine(found) if one.level is not None]
    low = [one for one in mine if (one.level or 0) < LOW]
    if not mine:
        return None
    listed = ", ".join(f"{one.name} {one.level} %" for one in low or mine)
    if low:
        mend = "; ".join(f"{one.command} 75%" for one in low)
        silent = any(one.level == 0 for one in low)
        return (bad if silent else hint)(name, f"low: {listed}", mend)
    return ok(name, listed)


def _gain(found: Sound) -> Check | None:
    if found.direction != "input":
        return None
    automatic = [one for one in found.controls or () if one.on and "auto gain" in one.name.lower()]
    if automatic:
        mend = "; ".join(f"{one.command} off" for one in automatic)
        return bad("gain control", "is automatic: it follows speech and tears a modem apart", mend)
    return None


def _boost(found: Sound) -> Check | None:
    if found.direction != "input":
        return None
    boosted = [one for one in found.controls or () if "boost" in one.name.lower() and one.level]
    if boosted:
        mend = "; ".join(f"{one.command} 0" for one in boosted)
        listed = ", ".join(f"{one.name} {one.level} %" for one in boosted)
        return hint("boost", f"{listed}: a line signal overdrives it", mend)
    return None


def _mine(found: Sound) -> list[Control]:
    """The controls that silence this direction."""
    capture = found.direction == "input"
    mine = [
        one
        for one in found.controls or ()
        if one.capture == capture and one.name in MAIN[found.direction]
    ]
    capturing = [one for one in mine if one.name == "Capture"]
    return capturing or mine


def _resampling(found: Sound) -> Check:
    name = "sound server"
    if not found.server:
        return ok(name, "none runs")
    if found.server_rate is None:
        return unknown(name, f"{found.server} runs", "apt install pulseaudio-utils; pactl info")
    if found.server_rate == found.rate:
        return ok(name, f"{found.server} runs, at {found.rate} Hz")
    what = f"{found.server} runs at {found.server_rate} Hz and resamples to {found.rate}"
    if found.server == "pipewire":
        return hint(name, what, f"pw-metadata -n settings 0 clock.force-rate {found.rate}")
    mend = f"echo default-sample-rate = {found.rate} >> ~/.config/pulse/daemon.conf; pulseaudio -k"
    return hint(name, what, mend)


def _speech(found: Sound) -> Check | None:
    if not found.speech:
        return None
    what = f"{found.speech} is loaded: what is not speech is taken out"
    return bad("speech filter", what, f"pactl unload-module {found.speech}")


_CHECKS: tuple[Callable[[Sound], Check | None], ...] = (
    *(_card, _permission, _rate, _switches, _levels, _gain, _boost, _resampling, _speech),
)
