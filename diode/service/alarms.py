"""What a person should look at now: when an alarm is raised, and when it is cleared.

    name     raised when                                          cleared when
    silent   nothing came for longer than configured or promised  something comes
    losing   over 5 % of the frames of the last minute are lost   under 2 %
    repair   an object of the last hour needed over 80 % of its   none needed over 50 %
             repair
    disk     something could not be written, or 5 % of the disk   all is written and 7 % is free
             is left
    gap      numbers are missing that the sender has no objects   none is missing
             left for, for a minute; at once if it has ended
    refused  an object was refused                                none was for an hour

and of records, at a receiver and at a sender

    record_gap       records of `every` never came                none were missing for an hour
    records_dropped  records were dropped for want of room        none were for an hour
    sink_away        a sink took nothing for as long as           all take them
                     configured
    source_away      a source was away for as long as configured  none is

A sender has the alarm `disk` too, of its state folder.

Between the two an alarm stays as it is, so that what wavers does not ring each minute. One that was
raised stays raised over a restart of the receiver until its other condition holds. The conditions
are functions of a receiver's or a sender's health and of what `Signs` or `SendingSigns` have
besides, so they are the same for all that shows them. Nothing here reads a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from diode.health import Alarm, Health, LinkState, Sending
from diode.record_health import RecordsIn, RecordsOut, away
from diode.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.record_health import Peer

LOSING, CALM = 0.05, 0.02
"""Shares of the frames of a minute."""
ENOUGH = 50
"""Frames of a minute, sent, below which a share says nothing."""
NARROW, WIDE = 0.8, 0.5
"""Shares of the repair that an object was sent with."""
FULL, ROOMY = 0.05, 0.07
"""Shares of a file system that are free."""
REMEMBERED = 3600.0


class Signs(NamedTuple):
    """What alarms go by besides the health."""

    sent_lately: int
    """Frames of the last minute, those that were lost too."""
    overdue: int
    """Objects missing that will hardly come any more."""
    refused_ago: float | None
    """Seconds since the last refusal of this run."""
    blocked: bool
    """Whether something cannot be written for now."""
    record_gap_ago: float | None = None
    """Seconds since records were missing last in this run."""
    dropped_ago: float | None = None
    """Seconds since records were dropped last in this run."""


class SendingSigns(NamedTuple):
    """What the alarms of a sender go by besides what it tells."""

    trouble: str
    """What keeps the state folder from taking something for now."""
    dropped_ago: float | None
    """Seconds since a source dropped records last in this run."""


class Rise:
    """Since when a count has not risen any more."""

    def __init__(self) -> None:
        self._count = 0
        self._at: float | None = None

    def ago(self, count: int, now: float) -> float | None:
        """Seconds since it rose; None where it never did. count: as it is now."""
        if count > self._count:
            self._count, self._at = count, now
        return None if self._at is None else now - self._at


Told = TypeVar("Told", Health, Sending)
Beside = TypeVar("Beside", Signs, SendingSigns)


class Rule(NamedTuple, Generic[Told, Beside]):
    """An alarm: a row of the table above."""

    name: str
    raised: Callable[[Told, Beside], bool]
    cleared: Callable[[Told, Beside], bool]
    text: Callable[[Told, Beside], str]
    hint: str


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.1%}"


def _free(health: Health) -> float:
    """Share of the file system that is free; 1 where that is not known."""
    return health.disk.free / health.disk.size if health.disk.size else 1.0


def _silence(health: Health, _: Signs) -> str:
    if health.line.frames:
        return "nothing comes on the line any more"
    return "nothing has come on the line since the receiver started"


def _disk(health: Health, signs: Signs) -> str:
    if signs.blocked:
        return f"not all can be written: {health.disk.trouble}"
    return f"only {_percent(_free(health))} of the disk is free"


def _gap(health: Health, _: Signs) -> str:
    count = health.missing_objects
    return f"{count:,} object{'' if count == 1 else 's'} never came"


def _refused(health: Health, _: Signs) -> str:
    if not health.refused:
        return "an object was refused"
    last = health.refused[-1]
    return f"{last.name or 'an object'} was refused: {last.reason}"


def _lately(ago: float | None) -> bool:
    return ago is not None and ago < REMEMBERED


def _heard(health: Health) -> RecordsIn:
    return health.records or RecordsIn()


def _offered(sending: Sending) -> RecordsOut:
    return sending.records or RecordsOut()


def _record_gap(health: Health, _: Signs) -> str:
    records = _heard(health)
    last = f", the last of {records.gaps[-1].topic}" if records.gaps else ""
    return f"{plural(records.missing, 'record')} never came{last}"


def _dropped(health: Health, _: Signs) -> str:
    records = _heard(health)
    most = f", most of {records.dropped_of[0].topic}" if records.dropped_of else ""
    return f"{plural(records.dropped, 'record')} dropped for want of room{most}"


def _sinks_away(health: Health) -> list[Peer]:
    records = _heard(health)
    return away(records.sinks, records.patience)


def _sources_away(sending: Sending) -> list[Peer]:
    records = _offered(sending)
    return away(records.sources, records.patience)


def _named(peers: list[Peer], one: str, several: str) -> str:
    """Which they are, one at least, and why; of the first one where there are several."""
    first, *others = peers
    who = f"{first.name} and {len(others)} more {several}" if others else f"{first.name} {one}"
    return f"{who}: {first.why}" if first.why else who


RULES: tuple[Rule[Health, Signs], ...] = (
    Rule(
        "silent",
        lambda health, _: health.line.state is LinkState.SILENT,
        lambda health, _: health.line.state in (LinkState.UP, LinkState.ENDED),
        _silence,
        "is the cable in, and does the sender run? diode status there, diode doctor here",
    ),
    Rule(
        "losing",
        lambda health, signs: (
            signs.sent_lately >= ENOUGH and (health.line.loss.minute or 0.0) > LOSING
        ),
        lambda health, signs: (
            signs.sent_lately >= ENOUGH and (health.line.loss.minute or 0.0) < CALM
        ),
        lambda health, _: f"{_percent(health.line.loss.minute)} of the frames are lost",
        "measure the link with diode linktest, which advises settings for it",
    ),
    Rule(
        "repair",
        lambda health, _: (health.repair.worst or 0.0) > NARROW,
        lambda health, _: (health.repair.worst or 0.0) <= WIDE,
        lambda health, _: f"an object needed {_percent(health.repair.worst)} of its repair",
        "send with more --redundancy or --passes, or mend the link",
    ),
    Rule(
        "disk",
        lambda health, signs: signs.blocked or _free(health) < FULL,
        lambda health, signs: not signs.blocked and _free(health) > ROOMY,
        _disk,
        "make room: take files out of the inbox. Listening goes on meanwhile",
    ),
    Rule(
        "gap",
        lambda _, signs: signs.overdue > 0,
        lambda health, _: not health.missing_objects,
        _gap,
        "send them again: diode status says which, by number",
    ),
    Rule(
        "refused",
        lambda _, signs: signs.refused_ago is not None and signs.refused_ago < REMEMBERED,
        lambda _, signs: signs.refused_ago is None or signs.refused_ago >= REMEMBERED,
        _refused,
        "diode status says which objects, and why",
    ),
    Rule(
        "record_gap",
        lambda _, signs: _lately(signs.record_gap_ago),
        lambda _, signs: not _lately(signs.record_gap_ago),
        _record_gap,
        "diode status says which. Was the line out for longer than they are repeated?",
    ),
    Rule(
        "records_dropped",
        lambda _, signs: _lately(signs.dropped_ago),
        lambda _, signs: not _lately(signs.dropped_ago),
        _dropped,
        "diode status says which sink is behind; is it away, or too slow?",
    ),
    Rule(
        "sink_away",
        lambda health, _: bool(_sinks_away(health)),
        lambda health, _: not away(_heard(health).sinks, 0.0),
        lambda health, _: _named(_sinks_away(health), "takes no records", "take no records"),
        "does it run, and does it answer from here? What it does not take waits meanwhile",
    ),
)

SENDING_RULES: tuple[Rule[Sending, SendingSigns], ...] = (
    Rule(
        "disk",
        lambda _, signs: bool(signs.trouble),
        lambda _, signs: not signs.trouble,
        lambda _, signs: signs.trouble,
        "make room where the state folder is. What is queued goes on meanwhile",
    ),
    Rule(
        "records_dropped",
        lambda _, signs: _lately(signs.dropped_ago),
        lambda _, signs: not _lately(signs.dropped_ago),
        lambda sending, _: (
            f"{plural(_offered(sending).dropped, 'record')} came faster than they were taken, and "
            "were dropped"
        ),
        "diode plan --records says what fits the line; is the disk slow or full?",
    ),
    Rule(
        "source_away",
        lambda sending, _: bool(_sources_away(sending)),
        lambda sending, _: not away(_offered(sending).sources, 0.0),
        lambda sending, _: _named(_sources_away(sending), "is away", "are away"),
        "does it run, and does it answer from here?",
    ),
)


class Alarms(Generic[Told, Beside]):
    """Which alarms are raised."""

    def __init__(self, rules: tuple[Rule[Told, Beside], ...], raised: Iterable[Alarm] = ()) -> None:
        """raised: those of an earlier run."""
        names = {rule.name for rule in rules}
        self._rules: tuple[Rule[Told, Beside], ...] = rules
        self._raised = {alarm.name: alarm for alarm in raised if alarm.name in names}

    @property
    def raised(self) -> list[Alarm]:
        """Those that are, in the order of the table."""
        return [self._raised[r.name] for r in self._rules if r.name in self._raised]

    def look(self, health: Told, signs: Beside) -> list[tuple[Alarm, bool]]:
        """What has changed: alarms, and whether each is raised now. Health's own are not asked."""
        changed = []
        for rule in self._rules:
            known = self._raised.get(rule.name)
            if known is None and rule.raised(health, signs):
                alarm = Alarm(rule.name, health.time, rule.text(health, signs), rule.hint)
                self._raised[rule.name] = alarm
                changed.append((alarm, True))
            elif known is not None and rule.cleared(health, signs):
                changed.append((self._raised.pop(rule.name), False))
            elif known is not None and rule.raised(health, signs):
                text = rule.text(health, signs)
                self._raised[rule.name] = Alarm(rule.name, known.since, text, rule.hint)
        return changed
