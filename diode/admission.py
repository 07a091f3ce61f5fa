"""What an announcement must pass before anything is allocated: form, limits, gate, code, opening.

The gate judges who announced it. `Anyone` lets everything in, a `Keyring` (keyring.py) only what
one of its keys has signed. The opener opens what is encrypted: `Identities` (identities.py) what
is meant for one of them, `NoIdentity` nothing. What either refuses is in quarantine: its number is
remembered, so that it is told of once and its symbols are not kept as those of an object to come.
Anybody may forge a manifest under any number, so quarantine is no verdict on the number: a good
announcement ends it, whenever that comes, and nothing that is refused touches an object that
was admitted. An object in a code that is not installed here goes the same way.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from diode.block import CRC
from diode.code import by_id
from diode.frame import Reject, alias
from diode.keytext import fingerprint
from diode.objects import Announcement, Malformed, Opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.block import BlockCheck
    from diode.events import Key
    from diode.limits import Limits
    from diode.objects import Manifest


class Refusal(enum.StrEnum):
    """Why an object is not let in. Values are stable names."""

    UNSIGNED = "unsigned"
    UNKNOWN_KEY = "unknown-key"  # signed, but by none of the configured keys
    BAD_SIGNATURE = "bad-signature"  # names a configured key, which did not sign this
    CODE = "code"  # not installed here
    SIZE = "size"  # over a limit of this receiver
    SEALED = "sealed"  # encrypted, and for none of the identities here
    BAD_SEAL = "bad-seal"  # for one of them, but what it conceals was changed or signed by another
    UNCHECKED = "unchecked"  # wrong ones came too fast for this one to be checked too


SEALS = {Refusal.SEALED, Refusal.BAD_SEAL}
"""What the opener refuses for."""


class Verdict(NamedTuple):
    """What the gate says. refusal: None where the object may come in."""

    refusal: Refusal | None = None
    signed_by: str | None = None
    """What the signing key is called."""
    signer: bytes | None = None
    """Its key id."""

    @property
    def fingerprint(self) -> str | None:
        return None if self.signer is None else fingerprint(self.signer)


class Gate(Protocol):
    """Judges announcements that have the right form. Bounded in memory and time."""

    def judge(self, key: Key, announcement: bytes, now: float) -> Verdict:
        """now: monotonic seconds."""


class Anyone:
    """The gate where no keys are configured."""

    def judge(self, key: Key, announcement: bytes, now: float) -> Verdict:  # noqa: ARG002
        return Verdict()


def lacks(manifest: Manifest) -> str:
    """What has to be installed for this object to be decoded here; empty where nothing has."""
    code = by_id(manifest.code)
    if code is None or not code.lacks:
        return ""
    return f"code {code.name} is not installed here: pip install {code.lacks}"


class Opener(Protocol):
    """Opens encrypted objects. Bounded in memory and time."""

    def open(self, key: Key, announcement: bytes, verdict: Verdict, now: float) -> Opened | Refusal:
        """The object as its sender had it, or why it stays closed; now: monotonic seconds."""


class NoIdentity:
    """The opener where no identities are configured."""

    def open(
        self,
        key: Key,  # noqa: ARG002
        announcement: bytes,  # noqa: ARG002
        verdict: Verdict,  # noqa: ARG002
        now: float,  # noqa: ARG002
    ) -> Opened | Refusal:
        return Refusal.SEALED


class Judged(NamedTuple):
    """An announcement of right form, and what gate, limits and opener say of it."""

    manifest: Manifest
    """As the sender had it; as everybody may read it where it stays closed."""
    verdict: Verdict
    check: BlockCheck = CRC


class Admission:
    """Form, gate, limits, code and opener, in this order."""

    def __init__(
        self,
        limits: Limits,
        gate: Gate,
        opener: Opener,
        reject: Callable[[Reject, int, str], object],
    ) -> None:
        """`reject(reason, count, detail)` is told of every announcement that was not used."""
        self._limits = limits
        self._gate = gate
        self._opener = opener
        self._reject = reject

    def judge(self, key: Key, data: bytes, now: float) -> Judged | None:
        """What these bytes announce; None where they are unusable."""
        manifest = self._read(key, data)
        if manifest is None:
            return None
        judged = Judged(manifest, self._gate.judge(key, data, now))
        if judged.verdict.refusal is None and (beyond := self._beyond(manifest)):
            self._reject(Reject.LIMIT, 1, f"{key}: {beyond}")
            return judged._replace(verdict=judged.verdict._replace(refusal=Refusal.SIZE))
        if judged.verdict.refusal is None and (lacking := lacks(manifest)):
            self._reject(Reject.CODE, 1, f"{key}: {lacking}")
            return judged._replace(verdict=judged.verdict._replace(refusal=Refusal.CODE))
        if judged.verdict.refusal is None and manifest.encrypted:
            judged = self._opened(key, data, judged, now)
        match judged.verdict.refusal:
            case None:
                pass
            case Refusal.UNCHECKED:
                self._reject(Reject.LIMIT, 1, f"{key}: too many wrong announcements a second")
                return None
            case refusal:
                reason = Reject.SEAL if refusal in SEALS else Reject.SIGNATURE
                self._reject(reason, 1, f"{key}: {refusal}")
        return judged

    def _opened(self, key: Key, data: bytes, closed: Judged, now: float) -> Judged:
        opened = self._opener.open(key, data, closed.verdict, now)
        if isinstance(opened, Opened):
            return Judged(opened.manifest, closed.verdict, opened.check)
        return closed._replace(verdict=closed.verdict._replace(refusal=opened))

    def _read(self, key: Key, data: bytes) -> Manifest | None:
        """The manifest in these bytes if it makes sense."""
        try:
            return Announcement.parse(data).manifest
        except Malformed as error:
            self._reject(Reject.MANIFEST, 1, f"{key}: {error}")
            return None

    def _beyond(self, manifest: Manifest) -> str:
        """The limit that this object is over; empty where there is none."""
        cut, limits = manifest.geometry, self._limits
        for what, value, limit in (
            ("size", manifest.size, limits.max_object),
            ("blocks", cut.blocks, limits.max_blocks),
            ("block", cut.k * cut.symbol_size, limits.max_block),
        ):
            if value > limit:
                return f"{what} {value}, the limit is {limit}"
        return ""


@dataclass(slots=True)
class Quarantine:
    """Objects that gate or opener refused, `limit` at most; the least recent are forgotten."""

    limit: int
    forgotten: int = 0
    """How many had to be, though none was let in."""
    _held: OrderedDict[Key, Refusal] = field(default_factory=OrderedDict)
    _aliases: dict[int, Key] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Objects refused and not let in since."""
        return len(self._held) + self.forgotten

    @property
    def unsigned(self) -> int:
        """Those of `total` that the gate refused."""
        return self.total - self.sealed - self._because(Refusal.CODE) - self._because(Refusal.SIZE)

    @property
    def sealed(self) -> int:
        """Those of `total` that the opener refused."""
        return sum(why in SEALS for why in self._held.values())

    @property
    def oversized(self) -> int:
        """Those of `total` that are over a limit."""
        return self._because(Refusal.SIZE)

    def _because(self, reason: Refusal) -> int:
        return sum(why is reason for why in self._held.values())

    @property
    def keys(self) -> list[Key]:
        return list(self._held)

    def __contains__(self, name: Key | int) -> bool:
        """Whether this object is here, or one with this alias."""
        return name in self._aliases if isinstance(name, int) else name in self._held

    def add(self, key: Key, why: Refusal) -> bool:
        """Take an object in; whether that is news."""
        news = key not in self._held
        self._held.setdefault(key, why)
        self._held.move_to_end(key)
        self._aliases[alias(*key)] = key
        if len(self._held) > self.limit:
            self.release(next(iter(self._held)))
            self.forgotten += 1
        return news

    def release(self, key: Key) -> None:
        """The object has come as it should after all."""
        self._held.pop(key, None)
        if self._aliases.get(alias(*key)) == key:
            del self._aliases[alias(*key)]
