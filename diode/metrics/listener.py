"""Metrics for a Prometheus that asks: /metrics, where a listener is configured.

It is a process of its own, forked before there are carriers and threads. It listens to the network,
which neither sender nor receiver may, and reads what these leave in their state folder each second,
and no more: so a scrape costs them nothing, and whoever takes it over has nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from diode import child, metrics
from diode.errors import DiodeError
from diode.web import Address, Answer, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.health import Health, Sending

KIND = "text/plain; version=0.0.4; charset=utf-8"
NAME = "diode-metrics"
"""What `ps` and `top` show."""


class Listener:
    """Answers with the metrics as they are when somebody asks."""

    def __init__(
        self,
        address: Address,
        look: Callable[[], Health | Sending | None],
        confine: Callable[[], object],
    ) -> None:
        """Listen at once. look: what is to be shown; confine: gives up all but looking; both are
        called in the process. UsageError where it cannot listen there.
        """
        self._look = look
        server = Server(address, {"/metrics": Answer(KIND, self._metrics)})
        self.address = server.address
        life, self._life = os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            self.process = os.fork()
            if self.process == 0:
                _serve(server, life, confine)
        except OSError as error:
            raise DiodeError(f"no process can be started for metrics: {error.strerror}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(life)
            server.leave()

    def close(self) -> None:
        """End the process."""
        os.close(self._life)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process, 0)

    def _metrics(self) -> bytes:
        state = self._look()
        return b"" if state is None else metrics.exposition(state)


def _serve(server: Server, life: int, confine: Callable[[], object]) -> NoReturn:
    """All that this process ever does."""
    try:
        child.ignore_signals()
        child.begin(NAME, {life, *server.descriptors()})
        child.end_with(life)
        confine()
        server.run()
    finally:
        os._exit(0)
