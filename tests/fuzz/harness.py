"""What the harnesses share: start-up, corpus, and reading choices from fuzz bytes.

A harness is a module with a `target(data: bytes)` that raises AssertionError, or anything,
when its invariant is broken. `tests/test_fuzz.py` runs the targets over the vectors without
atheris; run as a program a harness fuzzes under libFuzzer, whose arguments it takes:

    python tests/fuzz/fuzz_cobs.py -max_total_time=60
    python tests/fuzz/fuzz_cobs.py crash-…          one input again

The corpus begins with tests/vectors, in a temporary folder that is gone afterwards unless
something was found; then its path is printed.

Atheris never frees what a comparison of two arrays gives (3.0: a loop of `a == 0` alone grows by
len(a) each time). So a long run is made of rounds, each a process of its own that goes on with the
corpus of the one before.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

import vectorfile  # noqa: E402

_IN_CHILD = "DIODE_FUZZ_CHILD"
ROUND = 120
"""Seconds after which a process gives way to the next."""
DEFAULTS = {"max_len": "4096", "timeout": "30", "rss_limit_mb": "3000", "verbosity": "0"}


def instrumented():
    """A context in which modules are imported with coverage, where there is a fuzzer to see it."""
    if _IN_CHILD not in os.environ:
        return contextlib.nullcontext()
    import atheris

    return atheris.instrument_imports(include=["diode"], enable_loader_override=False)


def run(target) -> None:
    """The main program of a harness."""
    if _IN_CHILD in os.environ:
        import atheris

        atheris.Setup(sys.argv, target, enable_python_coverage=True)
        atheris.Fuzz()
        return
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed, or has no wheel for this Python: nothing was fuzzed")
        return
    sys.exit(_fuzz(sys.argv))


def _fuzz(arguments: list[str]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="diode-fuzz-"))
    try:
        return _fuzz_in(folder, arguments)
    finally:
        if not any((folder / "found").iterdir()):
            shutil.rmtree(folder)


def _fuzz_in(folder: Path, arguments: list[str]) -> int:
    found, corpus = folder / "found", folder / "corpus"
    found.mkdir()
    corpus.mkdir()
    for vector in vectorfile.load():
        (corpus / vector.name).write_bytes(vector.data)
    given = dict(a.lstrip("-").partition("=")[::2] for a in arguments[1:] if a.startswith("-"))
    defaults = [f"-{key}={value}" for key, value in DEFAULTS.items() if key not in given]
    inputs = [] if any(not a.startswith("-") for a in arguments[1:]) else [str(corpus)]
    command = [sys.executable, *arguments, *defaults, f"-artifact_prefix={found}/"]
    code = _rounds(command, inputs, given)
    left = sorted(found.iterdir())
    for path in left:
        print(f"found: {path}")
    print(f"{Path(arguments[0]).name}: {'nothing found' if not code else f'exit {code}'}")
    return code


def _rounds(command: list[str], inputs: list[str], given: dict[str, str]) -> int:
    """Fuzz for as long as -max_total_time says, or once; the exit code of the last round."""
    left = float(given.get("max_total_time", 0))
    end = time.monotonic() + left
    while True:
        limit = [f"-max_total_time={max(1, round(min(ROUND, left)))}"] if left else []
        code = subprocess.run(
            [*command, *limit, *inputs], env=os.environ | {_IN_CHILD: "1"}, check=False
        ).returncode
        left = end - time.monotonic()
        if code or left < 1:
            return code


class Choices:
    """Fuzz bytes read as choices; when they have run out every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        """That many bytes, with zeros where there are no more."""
        out = self.data[self.at : self.at + count]
        self.at += count
        return out.ljust(count, b"\0")

    def byte(self) -> int:
        return self.take(1)[0]

    def word(self) -> int:
        return struct.unpack("<I", self.take(4))[0]

    def of(self, *options):
        return options[self.byte() % len(options)]

    def rest(self) -> bytes:
        return self.take(max(0, len(self.data) - self.at))
