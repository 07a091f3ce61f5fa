"""Metrics for a Prometheus that asks: /metrics, where a listener is configured.

It has what was written last, and nothing is asked of whoever wrote it: a scrape costs the receiver
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diode import metrics
from diode.web import Address, Answer, Server

if TYPE_CHECKING:
    from diode.health import Health, Sending

KIND = "text/plain; version=0.0.4; charset=utf-8"


class Listener:
    """Answers with the metrics as of the last `write`, in a thread of its own."""

    def __init__(self, address: Address) -> None:
        """Listens at once. UsageError where it cannot."""
        self._state: Health | Sending | None = None
        self._server = Server(address, {"/metrics": Answer(KIND, self._metrics)})
        self.address = self._server.address

    def start(self) -> None:
        """From now on it answers."""
        self._server.start()

    def write(self, state: Health | Sending) -> None:
        """These are the metrics now."""
        self._state = state

    def close(self) -> None:
        self._server.close()

    def _metrics(self) -> bytes:
        return b"" if self._state is None else metrics.exposition(self._state)
