"""The gate with keys: what one of them has signed comes in.

A check of a signature takes 0.1 ms, a hundred times what a frame takes, so a flood of wrong ones
must not buy a check each. What was checked is remembered, by a digest of message and signature
(not by the tag of the announcement: that is a CRC, and anybody can make another
announcement with the same). And wrong ones may take only a share of the time (bucket.py): while
the bucket is full nothing unknown is checked, and an announcement that finds it so is neither
admitted nor refused, it is waited for again.
Right signatures pour nothing, so honest objects come in at the speed of the link.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from diode.admission import Refusal, Verdict
from diode.bucket import Bucket
from diode.seal import take_apart

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diode.events import Key
    from diode.seal import PublicKey

CHECKED = 4096
"""Checks remembered: about a megabyte."""
SIGNATURES = 4
"""Signatures of one announcement that are looked at: to change keys takes two."""
BURST = 2048
"""Wrong signatures checked at once, 0.2 s."""
RATE = 1000
"""Wrong signatures checked a second, a tenth of one processor."""


class Keyring:
    """Lets in what one of these keys has signed."""

    def __init__(self, keys: Iterable[PublicKey]) -> None:
        self._keys = {key.id: key for key in keys}
        self._checked: OrderedDict[bytes, bool] = OrderedDict()
        self._futile = Bucket(RATE, BURST)
        self.checks = 0
        """Signatures checked so far."""

    def judge(self, key: Key, announcement: bytes, now: float) -> Verdict:
        """Who signed this announcement, or why it is refused; now: monotonic seconds."""
        sealed = take_apart(key, announcement)
        if not sealed.signatures:
            return Verdict(Refusal.UNSIGNED)
        if not sealed.sound or len(sealed.signatures) > SIGNATURES:
            return Verdict(Refusal.BAD_SIGNATURE)
        refusal = Refusal.UNKNOWN_KEY
        for name, signature in sealed.signatures:
            signer = self._keys.get(name)
            if signer is None:
                continue
            right = self._check(signer, sealed.message, signature, now)
            if right is None:
                return Verdict(Refusal.UNCHECKED)
            if right:
                return Verdict(None, signer.name, signer.id)
            refusal = Refusal.BAD_SIGNATURE
        return Verdict(refusal)

    def _check(
        self, signer: PublicKey, message: bytes, signature: bytes, now: float
    ) -> bool | None:
        """Whether the signature is right; None where there is no time to tell."""
        name = hashlib.sha256(signer.raw + signature + message).digest()
        right = self._checked.get(name)
        if right is None:
            if self._futile.full(now):
                return None
            self.checks += 1
            right = signer.signed(message, signature)
            if not right:
                self._futile.pour()
        self._checked[name] = right
        self._checked.move_to_end(name)
        if len(self._checked) > CHECKED:
            self._checked.popitem(last=False)
        return right
