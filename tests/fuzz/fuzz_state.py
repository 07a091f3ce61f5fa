"""A sender's state on a damaged disk: with any bytes in the file of an unfinished run, in
sender.json and in a file that was never finished, the sender starts, and nothing is raised but
an error for the operator; what cannot be read is set aside and told; no number that may have
been used is given out again; what can be gone on with is a run of this sender, and a queue made
of it has each number once; what is written now is found again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from pathlib import Path

import harness

with harness.instrumented():
    import msgspec
    import numpy as np

    from diode.errors import DestinationError, SourceError
    from diode.objects import Manifest
    from diode.service import state
    from diode.service.logbook import SLOT, Entry, Logbook, Reached, Run, Unfinished
    from diode.service.resuming import encoded, queue

SENDER, NUMBER = 7, 20
KEY = "0123456789abcdef"
MANIFESTS = [Manifest(0, 0, b"n%d" % n, 300, bytes(32), 1, 5, 7, 64, 1, None) for n in range(3)]
NAME = f"unfinished-{KEY}"
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Source:
    """Something to send; its content is never asked for here."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest


SOURCES = [(Source(manifest), manifest) for manifest in MANIFESTS]


def checked(text: bytes, length: int = 0) -> bytes:
    """A line as the logbook writes it."""
    return (b"%08x " % zlib.crc32(text) + text).ljust(length - 1)[: length or None] + b"\n"


def value(choices: harness.Choices) -> object:
    return choices.of(0, 1, NUMBER, 3, -1, None, "x", choices.word() << 31, [], {}, 1.5, True)


def run_file(choices: harness.Choices) -> bytes:
    """A file with the right checks and fields that the fuzzer chooses."""
    entries = []
    for _ in range(choices.byte() % 6):
        manifest = choices.of(encoded(MANIFESTS[choices.byte() % 3]), choices.take(40))
        entry: dict[str, object] = {"number": choices.of(1, 2, 3, 4, 5, value(choices))}
        entry |= {"manifest": choices.of(manifest, manifest, value(choices))}
        entry |= {"since": choices.of(1, 1, 2, value(choices)), "void": choices.of(False, True)}
        entries.append(entry)
    run = {"sender": choices.of(SENDER, SENDER, value(choices)), "about": "x", "entries": entries}
    slots = []
    for turn in (1, 2):
        place = {"number_of_pass": choices.of(1, 2, value(choices)), "number": 1, "block": 0}
        reached = {"turn": turn, "frames": choices.of(5, 900, value(choices))}
        reached |= {"place": choices.of(None, {**place, "check": 1, "frames": value(choices)})}
        slots.append(checked(msgspec.json.encode(reached), SLOT)[:SLOT].ljust(SLOT))
    return b"".join(slots) + checked(msgspec.json.encode(run))


def check_queue(found: Unfinished | None) -> None:
    reserved: list[int] = []

    def reserve(count: int) -> int:
        reserved.append(count)
        return NUMBER + 1

    made = queue(found, SOURCES, 2, reserve)
    numbers = [entry.number for entry in made.entries]
    assert len(numbers) == len(set(numbers)), "one number for two objects"
    assert made.sources.keys() <= set(numbers)
    new = [number for number in numbers if number > NUMBER]
    assert reserved == [len(new)]
    sent = [s.manifest for s in made.sources.values() if isinstance(s, Source)]
    assert len(sent) <= len(SOURCES)
    for number in made.withdrawn:
        with contextlib.suppress(SourceError):
            made.sources[number].read(0, np.empty(1, np.uint8))
            raise AssertionError("what is withdrawn has no content")


def check_logbook(folder: Path, content: bytes) -> None:
    (folder / NAME).write_bytes(content)
    (folder / f"{NAME}.new").write_bytes(content[:9])
    told: list[str] = []
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        book = Logbook(descriptor, SENDER, NUMBER, told.append)
        assert not (folder / f"{NAME}.new").exists()
        found = book.find(KEY)
        assert (folder / NAME).exists() == (found is not None)
        assert found is not None or len(told) == 1, "nothing vanishes without a word"
        assert all(text.isprintable() for text in told)
        assert book.frames >= 0
        for unfinished in book.runs:
            assert unfinished.run.sender == SENDER
            assert all(0 < entry.number <= NUMBER for entry in unfinished.run.entries)
        check_queue(found)
        entry = Entry(NUMBER, encoded(MANIFESTS[0]))
        book.begin(KEY, Run(SENDER, "x", [entry]), Reached(frames=9)).close(10, finished=False)
        again = Logbook(descriptor, SENDER, NUMBER, told.append).find(KEY)
        assert again is not None
        assert again.run.entries == [entry] and again.reached.frames == 10
    finally:
        os.close(descriptor)
        for path in folder.iterdir():
            path.unlink()


def check_identity(folder: Path, content: bytes) -> None:
    (folder / "sender.json").write_bytes(content)
    told = state._read(content[: 1 << 16])
    with contextlib.suppress(DestinationError):
        with state.SenderState(str(folder)) as here:
            assert 0 < here.sender <= state.LAST_NUMBER
            assert len(here.secret) == 32
            if told is not None:
                assert (here.sender, here.number) == (told.sender, told.number)
            before = here.number, here.sender
            first = here.reserve(3)
            assert first > before[0] or here.sender != before[1]
        with state.SenderState(str(folder)) as again:
            assert again.number >= first + 2
    for path in folder.iterdir():
        path.unlink()


def target(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name:
        folder = Path(name)
        folder.chmod(0o700)
        check_logbook(folder, data)
        check_logbook(folder, checked(data, SLOT)[:SLOT] * 2 + checked(data))
        check_logbook(folder, run_file(harness.Choices(data)))
        check_identity(folder, data)
        check_identity(folder, b'{"sender":7,"number":' + data)


if __name__ == "__main__":
    harness.run(target)
