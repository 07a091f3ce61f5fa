"""Other sound modems, run as their users do, to measure beside ours where they are installed."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 600.0
"""Seconds after which a peer that hangs has failed."""


def _run(command: list[str], **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, timeout=LONGEST, check=False, **options)


@contextmanager
def _wav(samples: np.ndarray, rate: int) -> Iterator[Path]:
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound.wav")
        soundfile.write(path, samples, rate, subtype="FLOAT")
        yield path


@dataclass(frozen=True)
class Minimodem:
    """minimodem (Kamal Mostafa): asynchronous 8N1 FSK without any code."""

    baud: int
    rate: int = 48_000

    @property
    def name(self) -> str:
        return f"minimodem {self.baud}"

    @property
    def installed(self) -> bool:
        return bool(shutil.which("minimodem"))

    def sound_of(self, content: bytes) -> np.ndarray:
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "sound.wav")
            options = ["-8", "-q", "-R", str(self.rate), "-f", str(path), str(self.baud)]
            _run(["minimodem", "--tx", *options], input=content)
            samples, _ = soundfile.read(path, dtype="float32")
        return samples

    def heard(self, samples: np.ndarray) -> bytes:
        with _wav(samples, self.rate) as path:
            options = ["-8", "-q", "-f", str(path), str(self.baud)]
            return _run(["minimodem", "--rx", *options]).stdout

    def delivers(self, content: bytes, samples: np.ndarray) -> bool:
        """What it makes of noise before and behind is not held against it."""
        return content in self.heard(samples)

    def cpu(self, samples: np.ndarray) -> float:
        """CPU seconds for decoding, the start of the process included."""
        with _wav(samples, self.rate) as path:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            _run(["minimodem", "--rx", "-8", "-q", "-f", str(path), str(self.baud)])
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@dataclass(frozen=True)
class Amodem:
    """amodem (Roman Zeyde): OFDM with QAM, a checksum a packet, no code. Raw 16-bit samples.

    AMODEM in the environment: the command, where it is not on the path.
    """

    kbit: int

    @property
    def name(self) -> str:
        return f"amodem {self.kbit}k"

    @property
    def rate(self) -> int:
        return 8000 if self.kbit <= 8 else 16_000 if self.kbit <= 24 else 32_000

    @property
    def _command(self) -> str:
        return os.environ.get("AMODEM", "amodem")

    @property
    def installed(self) -> bool:
        return bool(shutil.which(self._command)) and len(self.sound_of(b"works?")) > 0

    def _through(self, verb: str, data: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in"), Path(folder, "out")
            source.write_bytes(data)
            environment = {**os.environ, "BITRATE": str(self.kbit)}
            command = [self._command, verb, "-q", "-i", str(source), "-o", str(target)]
            _run(command, env=environment)
            return target.read_bytes() if target.exists() else b""

    def sound_of(self, content: bytes) -> np.ndarray:
        return np.frombuffer(self._through("send", content), "<i2").astype(np.float32) / 32768

    def heard(self, samples: np.ndarray) -> bytes:
        # it waits some seconds for more where its last symbol is the end of the file
        padded = np.pad(samples, (0, self.rate))
        whole = np.clip(np.round(padded * 32767), -32768, 32767)
        return self._through("recv", whole.astype("<i2").tobytes())

    def delivers(self, content: bytes, samples: np.ndarray) -> bool:
        return self.heard(samples) == content


PEERS: list[Minimodem | Amodem] = [Minimodem(300), Minimodem(1200), Amodem(1), Amodem(4)]
