"""Opening what is encrypted for us (wire 5.6).

An envelope names nobody, so each identity is tried on each. An attempt takes 40 us, and so futile
ones may take only a share of the time (bucket.py). What could not be opened is remembered by a
digest of the announcement: one that is repeated for others costs its attempts once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from diode.admission import Refusal
from diode.bucket import Bucket
from diode.envelope import ENVELOPE, ENVELOPES, Unwrapper, open_concealed
from diode.objects import Announcement, Malformed
from diode.seal import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.admission import Verdict
    from diode.envelope import Identity
    from diode.events import Key
    from diode.objects import Opened

REMEMBERED = 4096
"""Announcements remembered that could not be opened: half a megabyte."""
BURST = 2048
"""Futile attempts at once, 0.1 s."""
RATE = 1000
"""Futile attempts a second, a twentieth of one processor."""


class Identities:
    """Opens what is encrypted for one of these identities."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        self._unwrappers = [Unwrapper(identity) for identity in identities]
        self._closed: OrderedDict[bytes, Refusal] = OrderedDict()
        self._futile = Bucket(RATE, BURST)
        self.attempts = 0
        """Envelopes tried so far, with each identity."""

    def open(self, key: Key, announcement: bytes, verdict: Verdict, now: float) -> Opened | Refusal:
        """The object as its sender had it, or why it stays closed; now: monotonic seconds."""
        bound = IDENTITY.pack(*key) + (verdict.signer or b"")
        name = hashlib.sha256(bound + announcement).digest()
        refusal = self._closed.get(name)
        if refusal is None:
            if self._futile.full(now):
                return Refusal.UNCHECKED
            before = self.attempts
            result = self._open(key, announcement, verdict)
            if not isinstance(result, Refusal):
                return result
            self._futile.pour(self.attempts - before)
            refusal = result
        self._closed[name] = refusal
        self._closed.move_to_end(name)
        if len(self._closed) > REMEMBERED:
            self._closed.popitem(last=False)
        return refusal

    def _open(self, key: Key, announcement: bytes, verdict: Verdict) -> Opened | Refusal:
        sections = Announcement.parse(announcement).sections
        envelopes = [content for kind, content in sections if kind == ENVELOPE]
        object_key = self._object_key(key, envelopes[:ENVELOPES])
        if object_key is None:
            return Refusal.SEALED
        try:
            opened = open_concealed(key, announcement, object_key)
        except Malformed:
            return Refusal.BAD_SEAL
        # A signature is right for what it covers; whoever made it must also be who enclosed.
        if verdict.signer is not None and verdict.signer not in opened.signers:
            return Refusal.BAD_SEAL
        return opened

    def _object_key(self, key: Key, envelopes: list[bytes]) -> bytes | None:
        for envelope in envelopes:
            for unwrapper in self._unwrappers:
                self.attempts += 1
                object_key = unwrapper.unwrap(key, envelope)
                if object_key is not None:
                    return object_key
        return None
