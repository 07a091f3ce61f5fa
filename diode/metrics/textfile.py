"""Metrics in a file, for node_exporter's textfile collector.

The file is written beside and renamed, since a collector may read it at any moment. Trouble with it
disturbs nothing: it is told once, and once when it is over.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from diode import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from diode.health import Health, Sending

MODE = 0o644
"""Whoever collects it is another user, and it holds no secrets."""


class Textfile:
    """A file that has the metrics as of the last `write`."""

    def __init__(self, path: str, notice: Callable[[str], object]) -> None:
        """notice: is told of trouble."""
        self.path = path
        self._notice = notice
        self._trouble = False

    def write(self, state: Health | Sending) -> None:
        """Put these there. Never raises OSError."""
        new = f"{self.path}.new"  # a collector takes only names that end in .prom
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(new, flags, MODE)
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, MODE)  # whatever the umask
                file.write(metrics.exposition(state))
            os.replace(new, self.path)
        except OSError as error:
            if not self._trouble:
                why = os.strerror(error.errno or 0)
                self._notice(f"metrics cannot be written to {self.path}: {why}")
            self._trouble = True
            with contextlib.suppress(OSError):
                os.unlink(new)
        else:
            if self._trouble:
                self._notice(f"metrics are written to {self.path} again")
            self._trouble = False
