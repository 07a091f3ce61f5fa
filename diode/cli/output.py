"""Files for results, opened at the beginning and filled at the end.

In between, the process gives up the right to open any (confinement.py). It is also kinder: that a
result cannot be written is better known before a test of an hour than behind it. A file that
is there keeps its content until then; where nothing was found, a new one stays empty.
"""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING

from diode.errors import CarrierError, DestinationError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DPI = 110


class Output:
    """A file that will be written."""

    def __init__(self, path: str) -> None:
        """Raises DestinationError when it cannot be."""
        self.path = path
        try:
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb")
        except OSError as error:
            raise self._refused(error) from error

    def write(self, content: bytes) -> None:
        """This and nothing else is in it. Raises DestinationError."""
        try:
            with self._file as file:
                file.write(content)
                file.flush()
                if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    file.truncate()
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Let go of it. A second call does nothing."""
        self._file.close()

    def _refused(self, error: OSError) -> DestinationError:
        return DestinationError(
            f"{self.path}: cannot be written: {error.strerror}",
            hint="make room there, or name another place",
        )


class Plot(Output):
    """A picture that will be drawn."""

    def __init__(self, path: str) -> None:
        """Raises UsageError for a kind of picture that there is not, CarrierError without
        matplotlib, DestinationError.
        """
        try:
            import matplotlib.font_manager  # looks for fonts, and may write a cache, at first use
            from matplotlib.figure import Figure
        except ImportError as error:
            raise CarrierError(
                "pictures are drawn by matplotlib, which is not installed",
                hint="pip install 'diode-fec[plot]'",
            ) from error
        matplotlib.rcParams["font.size"] = 9
        self._figure = Figure
        self._kind = os.path.splitext(path)[1][1:].lower() or "png"
        known = Figure().canvas.get_supported_filetypes()
        if self._kind not in known:
            raise UsageError(
                f"{path}: there are no pictures of that kind", hint="for example --plot out.png"
            )
        super().__init__(path)

    def figure(self, width: float, height: float) -> Figure:
        """An empty figure of that size, in inches."""
        return self._figure(figsize=(width, height), layout="constrained")

    def draw(self, figure: Figure) -> None:
        """Write the figure. Raises DestinationError."""
        picture = io.BytesIO()
        figure.savefig(picture, format=self._kind, dpi=DPI)
        self.write(picture.getvalue())
