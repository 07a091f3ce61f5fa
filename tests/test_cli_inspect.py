from __future__ import annotations

import os

import pytest
from cli import Shell, make
from faults import need_strace


@pytest.mark.parametrize("line", ["cobs", "rs"])
def test_whole_capture(shell: Shell, line: str) -> None:
    make(shell.folder / "x", 200_000)
    shell.run("send", "x", "--to", "file:cap", "--line", line)
    ran = shell.run("inspect", "cap")
    assert ran.code == 0
    assert "x, 200 kB: complete" in ran.out
    assert " 0 refused" in ran.out
    (thing,) = shell.run("inspect", "cap", "--json").events("object")
    assert thing["blocks_recoverable"] == thing["blocks"]
    assert thing["symbols_lacking"] == 0


def test_short_capture_and_the_rest_of_it(shell: Shell) -> None:
    make(shell.folder / "x", 2_000_000)
    shell.run("send", "x", "--to", "file:cap", "--code", "zfec", "--burst", "0s")
    line = (shell.folder / "cap").read_bytes()
    middle = len(line) // 2
    (shell.folder / "a").write_bytes(line[:middle])
    (shell.folder / "b").write_bytes(line[middle:])
    ran = shell.run("inspect", "a", "--json")
    assert ran.code == 3
    (thing,) = ran.events("object")
    assert 0 < thing["blocks_recoverable"] < thing["blocks"]
    assert thing["symbols_lacking"] > 0
    # What it says of the first half is what the second half must bring.
    assert shell.run("inspect", "a", "b").code == 0
    assert shell.run("recv", "inbox", "--from", "file:a").code == 3
    assert shell.run("recv", "inbox", "--from", "file:b").code == 0


def test_compact_frames_without_a_manifest_are_told_by_alias(shell: Shell) -> None:
    make(shell.folder / "x", 20_000)
    # A rate makes the frames compact.
    shell.run("send", "x", "--to", "file:cap?rate=8M", "--burst", "0s")
    frames = (shell.folder / "cap").read_bytes().split(b"\0")
    compact = [f for f in frames if len(f) > 1 and f[1] == 0x12]
    assert compact
    (shell.folder / "data").write_bytes(b"\0".join(compact) + b"\0")
    ran = shell.run("inspect", "data")
    assert ran.code == 3
    assert f"{len(compact)} data frames without a manifest" in ran.out


def test_every_frame(shell: Shell) -> None:
    make(shell.folder / "x", 3000)
    shell.run("send", "x", "--to", "file:cap")
    ran = shell.run("inspect", "-v", "cap")
    lines = [text for text in ran.out.splitlines() if "block" in text and "symbol" in text]
    (capture,) = shell.run("inspect", "cap", "--json").events("capture")
    assert sum(text.endswith("bytes") for text in lines) == capture["frames"]


def test_standard_input_odd_names_and_void_objects(shell: Shell) -> None:
    make(shell.folder / "x", 1000)
    shell.run("send", "x", "--to", "file:what%3F")
    assert os.path.exists(shell.folder / "what?")
    assert shell.run("inspect", "what?").code == 0
    line = (shell.folder / "what?").read_bytes()
    assert shell.run("inspect", "-", stdin=line).code == 0
    damaged = bytes(b ^ (i % 900 == 0) for i, b in enumerate(line))
    assert shell.run("inspect", "-", "--json", stdin=damaged).events("capture")[0]["rejected"]
    assert shell.run("inspect", "-", stdin=bytes(range(256)) * 50).code == 4


def test_keyed_frames(shell: Shell) -> None:
    """Counted with their key, named without it, told apart from those of another."""
    make(shell.folder / "x", 5_000)
    assert shell.run("keygen", "ours", "--link").code == 0
    assert shell.run("keygen", "theirs", "--link").code == 0
    sent = ("send", "x", "--to", "file:cap", "--link-key", "ours", "--symbol-size", "128")
    assert shell.run(*sent).code == 0
    ran = shell.run("inspect", "cap", "--link-key", "ours", "-v")
    assert ran.code == 0, ran.err
    assert "x, 5 kB: complete" in ran.out
    lines = [text for text in ran.out.splitlines() if " bytes, keyed" in text]
    assert lines and all(text.endswith(", keyed, right tag") for text in lines)

    ran = shell.run("inspect", "cap", "-v")
    assert ran.code == 4
    assert f"{len(lines)} frames not counted: made with a link key" in ran.out
    assert ran.out.count(", keyed\n") == len(lines)
    assert "hint: --link-key" in ran.err

    ran = shell.run("inspect", "cap", "--link-key", "theirs", "-v")
    assert ran.code == 4
    assert f"{len(lines)} frames not counted: keyed, with a wrong tag" in ran.out
    assert ran.out.count(", keyed, wrong tag\n") == len(lines)

    assert shell.run("send", "x", "--to", "file:plain").code == 0
    ran = shell.run("inspect", "plain", "cap", "--link-key", "ours", "--json")
    (capture,) = ran.events("capture")
    assert capture["rejected"]["untagged"] > 0 and capture["frames"] == len(lines)


def test_a_capture_with_sectors_that_cannot_be_read(shell: Shell) -> None:
    """A real process whose reads of the capture fail, twice as a whole and then at one page."""
    need_strace()
    content = make(shell.folder / "x", 100_000)
    sent = shell.run("send", "x", "--to", "file:cap", "--redundancy", "50%", "--symbol-size", "100")
    assert sent.code == 0
    path = (shell.folder / "cap").resolve()
    options = ("-f", "-o", "trace", "-P", str(path), "-e", "inject=read:error=EIO:when=1..2")
    process = shell.start("recv", "inbox", "--from", "file:cap", prefix=("strace", *options))
    ran = shell.finish(process)
    assert ran.code == 0, ran.err
    assert "4.1 kB of cap could not be read" in ran.err
    assert (shell.folder / "inbox/x").read_bytes() == content
