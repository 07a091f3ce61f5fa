"""A sink that remembers: what it asks of its ledger, and what it does when that is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from diode.database import is_damage
from diode.objects import escape
from diode.sink.trouble import explained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diode.events import Key
    from diode.objects import Manifest
    from diode.sink.ledger import Ledger, Refusal


class Remembering:
    """The part of a sink that has to do with its ledger."""

    path: str
    notices: list[str]
    _ledger: Ledger

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Explain trouble; a ledger that turns out damaged is replaced before."""
        with explained(self.path):
            try:
                yield
            except sqlite3.Error as error:
                if is_damage(error) and self._ledger.required is None:
                    self._tell_of_ledger(self._ledger.replace())
                raise

    def _tell_of_ledger(self, aside: str) -> None:
        self.notices.append(
            f"the ledger was damaged and is now {escape(aside)}; what lies in the inbox is not "
            "delivered again, but a replay of what was taken out of it cannot be told any more"
        )

    def contradicts(self, key: Key, manifest: Manifest) -> bool:
        with self._guarded():
            return self._ledger.contradicts(key, manifest)

    def delivered_up_to(self, sender: int) -> int:
        with self._guarded():
            return self._ledger.highest(sender)

    def give_up(self, sender: int, first: int, last: int) -> None:
        with self._guarded():
            self._ledger.give_up(sender, first, last)

    def refuse(self, refusals: list[Refusal]) -> None:
        with self._guarded():
            self._ledger.refuse(refusals)

    def numbers(self, sender: int, most: int) -> list[tuple[int, int]]:
        with self._guarded():
            return self._ledger.numbers(sender, most)
