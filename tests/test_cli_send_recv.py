"""`diode send` and `diode recv` through a capture file or a pipe."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from cli import Shell, make

BLOCK = 204 * 1024 - 8  # a full block on a carrier without a rate


def tree(folder) -> dict[str, object]:
    """Every path below a folder with its content; directories have None."""
    found: dict[str, object] = {}
    for here, folders, files in os.walk(os.fsencode(folder)):
        if b".diode" in folders:
            folders.remove(b".diode")
        for name in folders:
            found[os.path.relpath(os.path.join(here, name), os.fsencode(folder))] = None
        for name in files:
            path = os.path.join(here, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, os.fsencode(folder))] = file.read()
    return found


SIZES = [0, 1, 1015, 1016, 1017, 1023, 1024, 1025, BLOCK - 1, BLOCK, BLOCK + 1, 10_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("impair", [None, "drop=10%,seed=2"])
def test_sizes(shell: Shell, size: int, impair: str | None) -> None:
    content = make(shell.folder / "big.bin", size)
    damage = ["--impair", impair] if impair else []
    sent = shell.run("send", "big.bin", "--to", "file:cap", "--redundancy", "25%", *damage)
    if impair and size < 50_000:
        # A few symbols with a quarter more cannot promise to survive 10 %: their default does.
        sent = shell.run("send", "big.bin", "--to", "file:cap", *damage)
    assert sent.code == 0, sent.err
    received = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert received.code == 0, received.out
    assert (shell.folder / "inbox/big.bin").read_bytes() == content
    (event,) = received.events("object_delivered")
    assert event["sha256"] == hashlib.sha256(content).hexdigest()
    assert (event["name"], event["path"], event["size"]) == ("big.bin", "big.bin", size)
    assert event["signed_by"] is None
    assert 0 <= event["loss"] < 0.3


def resident(arguments: list[str], shell: Shell) -> int:
    """Peak resident kB of a command that has to succeed."""
    program = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, sys.executable, "-m", "diode", *arguments],
        capture_output=True,
        text=True,
        cwd=shell.folder,
        env=shell.environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("impair", [None, "drop=10%,seed=2"])
def test_gigabyte_in_bounded_memory(shell: Shell, impair: str | None) -> None:
    digest, size = hashlib.sha256(), 1_000_000_000
    with (shell.folder / "big.bin").open("wb") as file:
        for seed in range(100):
            piece = make(shell.folder / "piece", size // 100, seed)
            digest.update(piece)
            file.write(piece)
    damage = ["--impair", impair] if impair else []
    options = ["--redundancy", "25%", "-q", *damage]
    sending = resident(["send", "big.bin", "--to", "file:cap", *options], shell)
    receiving = resident(["recv", "inbox", "--from", "file:cap", "-q"], shell)
    print(f"resident: send {sending / 1024:.0f} MiB, recv {receiving / 1024:.0f} MiB")
    assert max(sending, receiving) < 300_000
    with (shell.folder / "inbox/big.bin").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()


def test_capture_with_every_fifth_piece_cut_out_is_completed_by_a_second_one(shell: Shell) -> None:
    content = make(shell.folder / "big.bin", 4_000_000)
    assert (
        shell.run("send", "big.bin", "--to", "file:whole", "--code", "zfec", "--burst", "0s").code
        == 0
    )
    line = (shell.folder / "whole").read_bytes()
    pieces = [line[i : i + 65536] for i in range(0, len(line), 65536)]
    for name, phase in (("cut1", 4), ("cut2", 2)):
        kept = b"".join(p for i, p in enumerate(pieces) if i % 5 != phase)
        (shell.folder / name).write_bytes(kept)
    first = shell.run("recv", "inbox", "--from", "file:cut1", "--json")
    assert first.code == 3
    assert not (shell.folder / "inbox/big.bin").exists()
    (short,) = first.events("object_incomplete")
    assert short["name"] == "big.bin"
    assert 0 < short["blocks_short"] <= short["blocks"]
    alone = shell.run("recv", "other", "--from", "file:cut2")
    assert alone.code == 3  # the second is no better, together they are enough
    assert f"of {short['blocks']} blocks short" in alone.err
    second = shell.run("recv", "inbox", "--from", "file:cut2")
    assert second.code == 0, second.err
    assert (shell.folder / "inbox/big.bin").read_bytes() == content


def test_receiver_killed_in_the_middle_goes_on_with_what_it_had(shell: Shell) -> None:
    content = make(shell.folder / "big.bin", 6_000_000)
    assert shell.run("send", "big.bin", "--to", "file:whole").code == 0
    line = (shell.folder / "whole").read_bytes()
    fifo = shell.folder / "fifo"
    os.mkfifo(fifo)
    process = shell.start("recv", "inbox", "--from", f"file:{fifo}", "--json")
    with fifo.open("wb") as writer:
        shell.listening(process)
        writer.write(line[: len(line) // 2])
        writer.flush()
        time.sleep(0.2)
        for _ in range(3):  # a checkpoint is due once a second while something is heard
            time.sleep(0.6)
            writer.write(line[:100])
            writer.flush()
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    (shell.folder / "rest").write_bytes(line[len(line) // 2 - 300_000 :])
    received = shell.run("recv", "inbox", "--from", "file:rest")
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/big.bin").read_bytes() == content


def test_late_join_delivers_during_the_second_pass(shell: Shell) -> None:
    content = make(shell.folder / "big.bin", 2_000_000)
    assert shell.run("send", "big.bin", "--to", "file:whole", "--passes", "2").code == 0
    line = (shell.folder / "whole").read_bytes()
    (shell.folder / "late").write_bytes(line[len(line) // 4 : len(line) * 9 // 10])
    received = shell.run("recv", "inbox", "--from", "file:late", "--once")
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/big.bin").read_bytes() == content


def test_two_senders_on_one_line(shell: Shell) -> None:
    contents = {}
    for name in ("a", "b"):
        contents[name] = make(shell.folder / name, 700_000, seed=ord(name))
        ran = shell.run("send", name, "--to", f"file:cap.{name}", "--state", f"state.{name}")
        assert ran.code == 0, ran.err
    parts = [(shell.folder / f"cap.{n}").read_bytes().split(b"\0") for n in ("a", "b")]
    mixed = [piece for pair in zip(*parts, strict=False) for piece in pair]
    longer = max(parts, key=len)
    mixed += longer[min(map(len, parts)) :]
    (shell.folder / "cap").write_bytes(b"\0".join(mixed) + b"\0")
    received = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    assert received.code == 0, received.out
    assert len({e["sender"] for e in received.events("object_delivered")}) == 2
    for name, content in contents.items():
        assert (shell.folder / "inbox" / name).read_bytes() == content


def test_directory_arrives_the_same(shell: Shell) -> None:
    top = shell.folder / "tree"
    for number in range(500):
        deep = "/".join(f"level {n}" for n in range(number % 12))
        make(top / deep / f"file {number} äöü 漢字 x{'x' * (number % 100)}", number * 7, number)
    (top / "empty").write_bytes(b"")
    (top / "100%.txt").write_text("percent")
    (top / "a:b*c?").write_text("a shell's trouble")
    (top / "nothing in here/or here").mkdir(parents=True)
    (top / "link").symlink_to("empty")
    os.mkfifo(top / "pipe")
    sent = shell.run("send", "tree", "--to", "file:cap")
    assert sent.code == 0, sent.err
    assert "tree/link: a symbolic link" in sent.err
    assert "tree/pipe: a pipe" in sent.err
    received = shell.run("recv", "inbox", "--from", "file:cap")
    assert received.code == 0, received.err
    (top / "link").unlink()
    (top / "pipe").unlink()
    assert tree(shell.folder / "inbox/tree") == tree(top)
    done = subprocess.run(["diff", "-r", top, shell.folder / "inbox/tree"], check=False)
    assert done.returncode == 0
    delivered = shell.folder / "inbox/tree" / "file 12 äöü 漢字 xxxxxxxxxxxxx"
    assert delivered.stat().st_mode & 0o777 == 0o440
    assert delivered.stat().st_mtime_ns == (top / delivered.name).stat().st_mtime_ns


def test_standard_input_and_output(shell: Shell) -> None:
    content = make(shell.folder / "x", 300_000)
    sent = subprocess.run(
        [sys.executable, "-m", "diode", "send", "-", "--name", "dir/x y", "--to", "-"],
        input=content,
        capture_output=True,
        cwd=shell.folder,
        env=shell.environment,
        check=True,
    )
    back = subprocess.run(
        [sys.executable, "-m", "diode", "recv", "-", "--from", "-"],
        input=sent.stdout,
        capture_output=True,
        cwd=shell.folder,
        env=shell.environment,
        check=True,
    )
    assert back.stdout == content
    received = shell.run("recv", "inbox", "--from", "-", stdin=sent.stdout)
    assert received.out == "dir/x y\n"
    assert (shell.folder / "inbox/dir/x y").read_bytes() == content


def test_incomplete_object_to_standard_output_gives_nothing(shell: Shell) -> None:
    make(shell.folder / "x", 300_000)
    shell.run("send", "x", "--to", "file:cap")
    line = (shell.folder / "cap").read_bytes()
    received = shell.run("recv", "-", "--from", "-", stdin=line[: len(line) // 2])
    assert received.code == 3
    assert received.out == ""


def test_names_taken_already(shell: Shell) -> None:
    first = make(shell.folder / "report.pdf", 5000, 1)
    shell.run("send", "report.pdf", "--to", "file:c1")
    second = make(shell.folder / "report.pdf", 5000, 2)
    shell.run("send", "report.pdf", "--to", "file:c2")
    shell.run("send", "report.pdf", "--to", "file:c3")
    assert shell.run("recv", "inbox", "--from", "file:c1").out == "report.pdf\n"
    assert shell.run("recv", "inbox", "--from", "file:c2").out == "report.2.pdf\n"
    again = shell.run("recv", "inbox", "--from", "file:c3", "--json").events("object_delivered")
    assert [(e["path"], e["duplicate"]) for e in again] == [("report.2.pdf", True)]
    known = shell.run("recv", "inbox", "--from", "file:c1")
    assert known.code == 0
    assert "was delivered before" in known.err
    assert (shell.folder / "inbox/report.pdf").read_bytes() == first
    assert (shell.folder / "inbox/report.2.pdf").read_bytes() == second


def test_same_state_same_bytes(shell: Shell) -> None:
    make(shell.folder / "x", 50_000)
    shell.run("send", "x", "--to", "file:c0")
    state = shell.folder / "state/diode/sender.json"
    before = state.read_bytes()
    shell.run("send", "x", "--to", "file:c1")
    state.write_bytes(before)
    shell.run("send", "x", "--to", "file:c2")
    assert (shell.folder / "c1").read_bytes() == (shell.folder / "c2").read_bytes()
    assert (shell.folder / "c0").read_bytes() != (shell.folder / "c1").read_bytes()


def test_source_that_shrinks_is_made_void(shell: Shell) -> None:
    make(shell.folder / "big.bin", 30_000_000)
    # Without a burst to survive, blocks are read one by one while they are sent.
    process = shell.start("send", "big.bin", "--to", "file:cap?rate=40M", "--burst", "0s")
    cap = shell.folder / "cap"
    while not cap.exists() or cap.stat().st_size < 1_000_000:
        assert process.poll() is None
        time.sleep(0.02)
    os.truncate(shell.folder / "big.bin", 1000)
    sent = shell.finish(process)
    assert sent.code == 3
    assert "not to deliver" in sent.err
    received = shell.run("recv", "inbox", "--from", "file:cap")
    assert received.code == 3
    assert "void" in received.err
    assert tree(shell.folder / "inbox") == {}


def test_interrupted_sender(shell: Shell) -> None:
    make(shell.folder / "big.bin", 3_000_000)
    process = shell.start("send", "big.bin", "--to", "file:cap?rate=1M")
    cap = shell.folder / "cap"
    while not cap.exists() or cap.stat().st_size < 10_000:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert shell.finish(process, timeout=5).code == 130
    assert shell.run("recv", "inbox", "--from", "file:cap").code == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_receiver_keeps_what_it_has(shell: Shell, number: signal.Signals) -> None:
    content = make(shell.folder / "big.bin", 1_000_000)
    shell.run("send", "big.bin", "--to", "file:whole")
    line = (shell.folder / "whole").read_bytes()
    os.mkfifo(shell.folder / "fifo")
    receiver = shell.start("recv", "inbox", "--from", "file:fifo", "--json")
    with (shell.folder / "fifo").open("wb") as writer:
        shell.listening(receiver)
        writer.write(line[: len(line) // 2])
        writer.flush()
        time.sleep(1)
        receiver.send_signal(number)
        ran = shell.finish(receiver, timeout=5)
    assert ran.code == 130
    assert ran.events("object_incomplete")
    (shell.folder / "rest").write_bytes(line[len(line) // 2 - 2000 :])
    assert shell.run("recv", "inbox", "--from", "file:rest").code == 0
    assert (shell.folder / "inbox/big.bin").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["send", "--to", "file:cap"], 2, "Missing argument"),
        (["send", "x", "--to", "cap"], 2, "did you mean file:cap?"),
        (["send", "x", "--to", "file:cap?rat=5"], 2, "did you mean rate"),
        (["send", "x", "--to", "seriell:/dev/x"], 2, "serial"),
        (["send", "x", "--to", "file:cap", "--redundancy", "viel"], 2, "25%"),
        (["send", "x", "--to", "file:cap", "--symbol-size", "5"], 2, "goes from 16"),
        (["send", "x", "--to", "file:cap", "--impair", "drop=200%"], 2, "drop"),
        (["send", "missing", "--to", "file:cap"], 1, "missing: No such file"),
        (["send", "x", "--to", "file:no/such/folder/cap"], 10, "hint"),
        (["send", "x", "--to", "serial:/dev/ttyNONE7"], 10, "hint"),
        (["recv", "inbox", "--from", "file:missing"], 10, "hint"),
        (["recv", "inbox", "--from", "file:/dev/null"], 4, "nothing was heard"),
        (["recv", "x", "--from", "file:/dev/null"], 13, "must be a folder"),
        (["recv", "inbox", "--from", "file:/dev/null", "--mode", "0777"], 2, "without execute"),
        (["inspect", "x"], 4, "no frame"),
        (["plan", "--size", "1M", "--carrier", "serial:?buad=9600"], 2, "did you mean baud"),
    ],
)
def test_errors_have_codes_and_hints(
    shell: Shell, arguments: list[str], code: int, words: str
) -> None:
    make(shell.folder / "x", 1000)
    ran = shell.run(*arguments)
    assert ran.code == code, ran.err
    assert words in ran.err
    as_json = shell.run(*arguments, "--json")
    assert as_json.code == code
    (event,) = as_json.events("error")
    assert event["code"] == code
    assert event["message"]


def test_locks(shell: Shell) -> None:
    make(shell.folder / "x", 1_000_000)
    sender = shell.start("send", "x", "--to", "file:cap?rate=1M")
    while not (shell.folder / "cap").exists():
        time.sleep(0.02)
    second = shell.run("send", "x", "--to", "file:cap2")
    assert second.code == 11
    assert "--state" in second.err
    assert shell.run("send", "x", "--to", "file:cap2", "--state", "mine").code == 0
    sender.kill()
    os.mkfifo(shell.folder / "fifo")
    receiver = shell.start("recv", "inbox", "--from", "file:fifo", "--json")
    with (shell.folder / "fifo").open("wb"):
        shell.listening(receiver)
        while not (shell.folder / "inbox/.diode/lock").exists():
            time.sleep(0.02)
        assert shell.run("recv", "inbox", "--from", "file:cap2").code == 11
        receiver.kill()
        receiver.wait()
    assert shell.run("recv", "inbox", "--from", "file:cap2").code == 0


def test_hostile_name_reaches_no_terminal_and_leaves_the_inbox_alone(shell: Shell) -> None:
    make(shell.folder / "x", 100)
    shell.run("send", "x", "--name", "\x1b[2Kevil\u202e\n.sh", "--to", "file:cap")
    ran = shell.run("recv", "inbox", "--from", "file:cap", "-v")
    assert all(c == "\n" or " " <= c <= "~" for c in ran.out + ran.err), ran.out + ran.err
    (name,) = [n for n in os.listdir(shell.folder / "inbox") if n != ".diode"]
    assert name.isascii()
    assert name.isprintable()
    shell.run("send", "x", "--name", "../../up", "--to", "file:cap")
    shell.run("recv", "inbox", "--from", "file:cap")
    assert not (shell.folder.parent / "up").exists()
    assert not (shell.folder / "up").exists()


def test_limits(shell: Shell) -> None:
    make(shell.folder / "x", 100_000)
    shell.run("send", "x", "--to", "file:cap")
    refused = shell.run("recv", "inbox", "--from", "file:cap", "--max-object", "50k", "--json")
    assert refused.events("frame_rejected")[0]["reason"] == "limit"
    assert tree(shell.folder / "inbox") == {}
    evicted = shell.run("recv", "inbox", "--from", "file:cap", "--quota", "50k")
    assert evicted.code == 3
    assert "quota" in evicted.err
    assert tree(shell.folder / "inbox") == {}


def test_idle_ends_a_silent_line(shell: Shell) -> None:
    os.mkfifo(shell.folder / "fifo")
    receiver = shell.start("recv", "inbox", "--from", "file:fifo", "--idle", "300ms")
    with (shell.folder / "fifo").open("wb"):
        assert shell.finish(receiver, timeout=20).code == 4
