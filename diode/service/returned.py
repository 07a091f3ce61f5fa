"""What a receipt that was carried back means for what is to be sent.

It answers one question about each object: did it arrive, is it missing under a number that can be
used again, or is nothing known of it. Whether a receipt may be believed at all is decided here too,
once it is known who made it: it must be for this sender, speak of nothing that was never sent, and
not be older than the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diode.errors import ReceiptError
from diode.service.resuming import encoded

if TYPE_CHECKING:
    from diode.objects import Manifest
    from diode.receipt import Ranges, Receipt
    from diode.service.history import History, Newest, Sent


@dataclass(slots=True)
class Receipted:
    """What one receipt says of the objects in a history."""

    receipt: Receipt
    history: History
    _given: set[int] = field(default_factory=set)
    """Numbers that objects of this run have."""

    def has(self, number: int) -> bool:
        return within(self.receipt.received, number)

    def arrived(self, manifest: Manifest) -> int | None:
        alike = (sent.number for sent in self.history.alike(manifest))
        return next((number for number in alike if self.has(number)), None)

    def again(self, manifest: Manifest) -> int | None:
        whole = encoded(manifest)
        for sent in reversed(self.history.alike(manifest)):
            usable = sent.number <= self.receipt.highest and sent.number not in self._given
            if (
                sent.manifest == whole
                and usable
                and not self.has(sent.number)
                and not within(self.receipt.closed, sent.number)
            ):
                self._given.add(sent.number)
                return sent.number
        return None

    def missing(self) -> list[Sent]:
        """What was sent, and the receipt does not have; the closed ones too: they have to come
        under numbers of their own.
        """
        found: list[Sent] = []
        for first, last in sorted((*self.receipt.missing, *self.receipt.closed)):
            found += self.history.within(first, last)
        return found


def within(ranges: Ranges, number: int) -> bool:
    return any(first <= number <= last for first, last in ranges)


def believable(
    receipt: Receipt, sender: int, highest: int, newest: Newest | None, ledger: int | None
) -> None:
    """Raise ReceiptError for a receipt that must not be acted on.

    highest: number that this sender has used. newest: receipt before this one. ledger: the one
    that receipts are to be accepted of from now on, if that was asked for.
    """
    if receipt.sender != sender:
        raise ReceiptError(
            f"the receipt is for sender {receipt.sender:08x}, and this is {sender:08x}",
            hint=f"diode receipt INBOX --sender {sender:08x}, or --state DIR of that sender here",
        )
    if receipt.highest > highest:
        raise ReceiptError(
            f"the receipt speaks of object {receipt.highest:,}, and this sender has sent "
            f"{highest:,}",
            hint="was the state of this sender restored from a backup? Then remove it, so that a "
            "new identity is drawn",
        )
    if ledger is not None and ledger != receipt.ledger:
        raise ReceiptError(f"the receipt is of ledger {receipt.ledger:08x}, not {ledger:08x}")
    if newest is None or ledger is not None:
        return
    if newest.ledger != receipt.ledger:
        raise ReceiptError(
            f"the receipt is of ledger {receipt.ledger:08x}, and the one before was of "
            f"{newest.ledger:08x}: it is of another receiver, or that one has lost its state",
            hint=f"if that is so, accept it with --receipt-ledger {receipt.ledger:08x}",
        )
    if receipt.count < newest.received:
        raise ReceiptError(
            f"the receipt is older than one that was used before: it has {receipt.count:,} objects,"
            f" that one had {newest.received:,}",
            hint="make a new one: diode receipt INBOX",
        )
