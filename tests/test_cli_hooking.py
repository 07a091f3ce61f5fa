"""`recv --on-delivery` with real commands: what they are told, how they end, what kills survive."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from cli import Ran, Shell, children, make, wait_until
from faults import CALLS, calls_of, need_strace, run_with
from pair import BytesSource, transmit

from diode.events import Key
from diode.service.hook_journal import Journal

SCRIPT = """#!/bin/sh
{before}
echo "$DIODE_PATH" >> {log}
{after}
"""


def hook(shell: Shell, before: str = "", after: str = "") -> str:
    """A command that notes for which path it was called; how to name it on a command line."""
    path = shell.folder / "a hook"
    log = shlex.quote(str(shell.folder / "log"))
    path.write_text(SCRIPT.format(before=before, log=log, after=after))
    path.chmod(0o755)
    return shlex.quote(str(path))


def called(shell: Shell) -> list[str]:
    """The paths it was called for, below the inbox, in order."""
    log = shell.folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [os.path.relpath(line, shell.folder / "inbox") for line in lines]


def sent(shell: Shell, *names: str, **files: int) -> None:
    for number, (name, size) in enumerate(files.items()):
        make(shell.folder / name, size, number)
    assert shell.run("send", *(names or files), "--to", "file:cap", "--no-bundle").code == 0


def receive(shell: Shell, command: str, *more: str, source: str = "cap") -> Ran:
    return shell.run(
        "recv", "inbox", "--from", f"file:{source}", "--on-delivery", command, "--json", *more
    )


def gone(pid: str) -> bool:
    """Whether that process runs no more; nobody may have asked yet how it ended."""
    try:
        return Path(f"/proc/{pid.strip()}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def owed(shell: Shell) -> int:
    db = sqlite3.connect(shell.folder / "inbox/.diode/hooks.db")
    (count,) = db.execute("SELECT COUNT(*) FROM calls").fetchone()
    db.close()
    return count


# What is told ------------------------------------------------------------------------------------


def test_everything_that_is_known_is_told(shell: Shell) -> None:
    content = make(shell.folder / "x.bin", 3000)
    assert shell.run("keygen", "plant", "--comment", "plant 7").code == 0
    assert shell.run("send", "x.bin", "--to", "file:cap", "--sign", "plant").code == 0
    command = f"/bin/sh -c 'env > {shlex.quote(str(shell.folder / 'env'))}; pwd; cat' 'a word'"
    ran = receive(shell, command, "--once", "--verify", "plant.pub")
    assert ran.code == 0, ran.out + ran.err
    told = dict(line.split("=", 1) for line in (shell.folder / "env").read_text().splitlines())
    (delivered,) = ran.events("object_delivered")
    ours = {name: value for name, value in told.items() if name.startswith("DIODE_")}
    assert ours == {
        "DIODE_EVENT": "delivery",
        "DIODE_NAME": "x.bin",
        "DIODE_PATH": str(shell.folder / "inbox/x.bin"),
        "DIODE_SIZE": "3000",
        "DIODE_SHA256": hashlib.sha256(content).hexdigest(),
        "DIODE_SENDER": f"{delivered['sender']:08x}",
        "DIODE_NUMBER": "1",
        "DIODE_SIGNED_BY": "plant 7",
        "DIODE_SIGNED_BY_KEY": delivered["signed_by_key"],
        "DIODE_BUNDLE": "0",
        "DIODE_SECONDS": ours["DIODE_SECONDS"],
        "DIODE_LOSS": "0.0",
    }
    others = told.keys() - ours.keys()
    assert others <= {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "TZ",
        "PWD",
        "SHLVL",
        "_",
    }
    (ended,) = ran.events("hook")
    assert (ended["kind"], ended["status"], ended["name"]) == ("delivery", 0, "x.bin")
    assert [e["text"] for e in ran.events("hook_output")] == [str(shell.folder)]
    assert owed(shell) == 0


def test_each_file_of_a_bundle_and_no_duplicate(shell: Shell) -> None:
    for number in range(5):
        make(shell.folder / f"d/{number}", 100, number)
    (shell.folder / "d/empty").mkdir()
    assert shell.run("send", "d", "--to", "file:cap").code == 0
    make(shell.folder / "inbox/d/3", 100, 3)
    assert receive(shell, hook(shell)).code == 0
    assert called(shell) == ["d/0", "d/1", "d/2", "d/4", "d/empty"]
    assert receive(shell, hook(shell)).code == 0, "what was delivered before is not called again"
    assert len(called(shell)) == 5


HOSTILE = [
    b"-rf",
    b"--help",
    b"$(touch pwned)",
    b"; touch pwned #",
    b"a\nDIODE_PATH=/etc/passwd",
    b"\xff\xfe\x80",
    b"\xe2\x80\xaegpj.exe",
    b"\x1b]0;title\x07",
    b"'\"`|&<>*?",
    b"x" * 4000,
]


def test_hostile_names_inject_nothing(shell: Shell) -> None:
    sources = [BytesSource(b"content %d" % n, name) for n, name in enumerate(HOSTILE)]
    from diode import frame, line

    frames = frame.Frames.of_pieces(transmit(*sources))
    (shell.folder / "cap").write_bytes(line.encoder("cobs").encode(frames).data.tobytes())
    script = shell.folder / "hook.py"
    script.write_text(
        "import os, sys\n"
        f"with open({str(shell.folder / 'told')!r}, 'ab') as out:\n"
        "    path = os.environb[b'DIODE_PATH']\n"
        "    name = os.environb[b'DIODE_NAME']\n"
        "    number = os.environb[b'DIODE_NUMBER']\n"
        "    out.write(b'%s %r %s\\0' % (number, [len(sys.argv), name], open(path, 'rb').read()))\n"
        "    print(name.decode()); sys.stdout.flush(); os.write(1, b'raw \\x1b[31m \\xff')\n"
    )
    ran = receive(
        shell, f"{shlex.quote(shutil.which('python3') or '')} hook.py", "--names", "exact"
    )
    assert ran.code == 0, ran.out + ran.err
    told = (shell.folder / "told").read_bytes().split(b"\0")[:-1]
    by_number = {int(text.split()[0]): text for text in told}
    assert sorted(by_number) == list(range(1, len(HOSTILE) + 1))
    for number, text in by_number.items():
        assert text.startswith(b"%d [1, b'" % number)
        assert text.endswith(b"content %d" % (number - 1))
        assert text.isascii()
    assert not list(shell.folder.rglob("pwned"))
    assert ran.out.isascii() and "\x1b" not in ran.out
    assert {e["text"] for e in ran.events("hook_output")} >= {"raw \\x1b[31m \\xff"}
    names = [e["name"] for e in ran.events("object_delivered")]
    assert [e["name"] for e in ran.events("hook")] == names


# How commands end --------------------------------------------------------------------------------


def test_a_command_that_fails_is_tried_again(shell: Shell) -> None:
    sent(shell, bad=100, good=200)
    again = 'case "$DIODE_NAME" in bad) [ "$(grep -c bad "$0.tried")" -ge 3 ] || exit 7;; esac'
    ran = receive(shell, hook(shell, 'echo "$DIODE_NAME" >> "$0.tried"', again))
    assert ran.code == 0, ran.out
    statuses = [(e["name"], e["status"], e["attempt"]) for e in ran.events("hook")]
    assert statuses == [("bad", 7, 1), ("good", 0, 1), ("bad", 7, 2), ("bad", 0, 3)]
    assert len([e for e in ran.events("warning") if "status 7" in e["message"]]) == 2
    assert owed(shell) == 0


def test_one_that_always_fails_is_given_up_and_kept(shell: Shell) -> None:
    sent(shell, bad=100)
    ran = receive(shell, "/bin/false")
    assert ran.code == 3
    assert [e["given_up"] for e in ran.events("hook")] == [False] * 4 + [True]
    assert "given up after 5 attempts" in ran.events("warning")[-1]["message"]
    (shell.folder / "nothing").write_bytes(b"")
    later = receive(shell, "/bin/true", source="nothing")
    assert later.events("hook") == []
    assert "1 hook failed in earlier runs; --retry-hooks" in later.events("warning")[0]["message"]
    retried = receive(shell, "/bin/true", "--retry-hooks", source="nothing")
    assert [(e["name"], e["status"]) for e in retried.events("hook")] == [("bad", 0)]
    assert owed(shell) == 0


@pytest.mark.parametrize(
    ("trap", "by"),
    [
        ("", signal.SIGTERM),
        pytest.param("trap '' TERM; ", signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_one_that_takes_too_long_is_ended_with_all_it_started(
    shell: Shell, trap: str, by: signal.Signals
) -> None:
    sent(shell, slow=100)
    pids = shlex.quote(str(shell.folder / "pids"))
    stuck = f"{trap}sleep 300 & echo $! $$ >> {pids}; wait; sleep 300"
    command = hook(shell, f'[ -e "$0.tried" ] || {{ touch "$0.tried"; {stuck}; }}')
    ran = receive(shell, command, "--hook-timeout", "300ms")
    assert ran.code == 0
    first, second = ran.events("hook")
    assert first["timed_out"] and first["status"] == -by
    assert second["status"] == 0
    assert "--hook-timeout" in ran.events("warning")[0]["message"]
    for pid in (shell.folder / "pids").read_text().split():
        assert gone(pid)


def test_output_is_bounded(shell: Shell) -> None:
    sent(shell, x=100)
    flood = "yes 'a line' | head -200000; head -c 3000000 /dev/zero; echo; echo last >&2"
    ran = receive(shell, hook(shell, flood))
    assert ran.code == 0
    said = [e["text"] for e in ran.events("hook_output")]
    assert said[:2] == ["a line"] * 2
    assert len(said) < 500
    assert max(map(len, said)) <= 1000


TRIED = 'echo "$DIODE_NAME" >> "$0.tried"'


def test_status_75_asks_for_another_attempt_without_end(shell: Shell) -> None:
    """Within a run it is no failure; at its end the call is left to the next start."""
    sent(shell, busy=100, good=200)
    ran = receive(shell, hook(shell, TRIED, '[ "$DIODE_NAME" = good ] || exit 75'))
    assert ran.code == 3
    told = [(e["name"], e["attempt"], e["postponed"]) for e in ran.events("hook")]
    busy = [("busy", 1, False)]
    assert told == [*busy, ("good", 1, False), *busy * 3, ("busy", 1, True)]
    (warned,) = (e["message"] for e in ran.events("warning") if "hook" in e["message"])
    assert "wants to be run later (status 75): the next start runs it again" in warned
    assert owed(shell) == 1
    (shell.folder / "nothing").write_bytes(b"")
    later = receive(shell, "/bin/true", source="nothing")
    assert [(e["name"], e["status"]) for e in later.events("hook")] == [("busy", 0)]


def test_in_order_one_that_fails_holds_back_those_behind_it(shell: Shell) -> None:
    sent(shell, a=100, bad=150, good=200)
    again = 'case "$DIODE_NAME" in bad) [ "$(grep -c bad "$0.tried")" -ge 3 ] || exit 7;; esac'
    ran = receive(shell, hook(shell, TRIED, again), "--ordered")
    assert ran.code == 0, ran.out
    tried = (shell.folder / "a hook.tried").read_text().split()
    assert tried == ["a", "bad", "bad", "bad", "good"]


def test_in_order_nothing_is_given_up(shell: Shell) -> None:
    sent(shell, a=100, bad=150, good=200)
    ran = receive(shell, hook(shell, TRIED, '[ "$DIODE_NAME" != bad ]'), "--ordered")
    assert ran.code == 3
    assert [e["given_up"] for e in ran.events("hook")] == [False] * 6
    assert "runs it again, and what is behind it" in ran.events("warning")[-1]["message"]
    assert (shell.folder / "a hook.tried").read_text().split() == ["a", *["bad"] * 5]
    assert owed(shell) == 2
    (shell.folder / "nothing").write_bytes(b"")
    later = receive(shell, "/bin/true", "--ordered", source="nothing")
    assert [e["name"] for e in later.events("hook")] == ["bad", "good"]


def test_an_intention_that_is_not_settled_holds_back_what_is_behind_it(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), ordered=True)
    facts = {"name": "x", "path": "x", "duplicate": False}
    for key in (Key(7, 1), Key(7, 2), Key(9, 5)):
        journal.intend(key, facts)
    journal.settle(Key(7, 2), [(0, facts | {"name": "second"})], waits=False)
    assert journal.next(0) is None
    journal.settle(Key(9, 5), [(0, facts | {"name": "other"})], waits=False)
    other = journal.next(0)
    assert other is not None and other.facts["name"] == "other"
    journal.settle(Key(7, 1), [(1, facts), (2, facts)], waits=False)
    first = journal.next(0, {other.id})
    assert first is not None and first.facts["name"] == "x"
    assert journal.next(0, {other.id, first.id}) is None
    journal.made(first)
    journal.close()


def test_path_as_an_argument_and_the_folder_it_starts_in(shell: Shell) -> None:
    name = "-rf $(touch pwned)"
    make(shell.folder / name, 100)
    (shell.folder / "there").mkdir()
    assert shell.run("send", f"./{name}", "--to", "file:cap").code == 0
    program = "import os, sys; print(os.getcwd(), sys.argv[1:])"
    python = shlex.quote(shutil.which("python3") or "")
    command = f"{python} -c {shlex.quote(program)} -- {{path}} --file={{path}}"
    ran = receive(shell, command, "--hook-folder", "there", "--names", "exact")
    assert ran.code == 0, ran.out
    path = str(shell.folder / "inbox" / name)
    (said,) = (e["text"] for e in ran.events("hook_output"))
    assert said == f"{shell.folder}/there {['--', path, '--file=' + path]}"
    assert not list(shell.folder.rglob("pwned"))
    assert "no folder" in receive(shell, "/bin/true", "--hook-folder", "cap").out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/bin/sh -c 'cat {path}'", "has to be a word of its own"),
        ("/bin/sh -c {path}", "has to be a word of its own"),
        ("{path}", "has to be a word of its own"),
        ("/bin/echo x{path}", "has to be a word of its own"),
        ("nothing-of-that-name x", "is not there"),
        ("./x", "is not executable"),
        ("'unbalanced", "No closing quotation"),
        ("", "names no command"),
    ],
)
def test_a_command_that_cannot_be_run_is_found_at_the_start(
    shell: Shell, command: str, words: str
) -> None:
    (shell.folder / "x").write_text("")
    ran = receive(shell, command, source="none")
    assert ran.code == 2
    assert words in ran.events("error")[0]["message"]
    assert ran.events("error")[0]["hint"]
    assert not (shell.folder / "inbox").exists()


def test_standard_output_has_none(shell: Shell) -> None:
    ran = shell.run("recv", "-", "--from", "file:x", "--on-delivery", "/bin/true")
    assert ran.code == 2
    assert "diode recv - --from URL | PROGRAM" in ran.err
    ran = shell.run("recv", "inbox", "--from", "file:x", "--retry-hooks")
    assert ran.code == 2


# Whatever ends the receiver ----------------------------------------------------------------------


def test_killed_while_the_command_runs(shell: Shell) -> None:
    """The command goes with its receiver, and the next start calls it again."""
    sent(shell, a=100, b=200)
    running = hook(shell, 'echo $$ > "$0.pid"; [ -e "$0.go" ] || sleep 300')
    receiver = shell.start("recv", "inbox", "--from", "file:cap", "--on-delivery", running)
    pid = shell.folder / "a hook.pid"
    wait_until(lambda: pid.exists() and pid.read_text() and (shell.folder / "inbox/b").exists())
    receiver.kill()
    receiver.wait()
    wait_until(lambda: gone(pid.read_text()))
    assert called(shell) == []
    (shell.folder / "a hook.go").touch()
    (shell.folder / "nothing").write_bytes(b"")
    ran = receive(shell, running, source="nothing")
    assert ran.code == 4
    assert called(shell) == ["a", "b"]
    assert owed(shell) == 0


def test_interrupted_it_ends_soon_and_owes_the_call(shell: Shell) -> None:
    sent(shell, a=100)
    running = hook(shell, 'echo $$ > "$0.pid"; [ -e "$0.go" ] || sleep 300')
    receiver = shell.start("recv", "inbox", "--from", "file:cap", "--on-delivery", running)
    pid = shell.folder / "a hook.pid"
    wait_until(lambda: pid.exists() and pid.read_text())
    receiver.send_signal(signal.SIGTERM)
    assert shell.finish(receiver, timeout=10).code == 130
    assert gone(pid.read_text())
    assert owed(shell) == 1


def test_the_process_that_runs_hooks_is_killed(shell: Shell) -> None:
    sent(shell, a=100)
    running = hook(shell, 'echo $$ > "$0.pid"; sleep 2')
    receiver = shell.start(
        "recv", "inbox", "--from", "file:cap", "--on-delivery", running, "--json"
    )
    wait_until((shell.folder / "a hook.pid").exists)
    (process,) = (
        child
        for child in children(receiver.pid)
        if Path(f"/proc/{child}/comm").read_text().strip() == "diode-hooks"
    )
    os.kill(process, signal.SIGKILL)
    ran = shell.finish(receiver)
    assert ran.code == 3
    assert any(
        "the process that runs hooks has ended" in e["message"] for e in ran.events("warning")
    )
    assert owed(shell) == 1


def test_what_was_only_intended_is_settled_by_the_ledger(shell: Shell) -> None:
    """A kill between the ledger's last word and the journal's: here made, since it is so short."""
    sent(shell, a=100, b=200)
    ran = shell.run("recv", "inbox", "--from", "file:cap", "--json")
    facts = {
        "name": "?",
        "size": 0,
        "sha256": "",
        "signed_by": None,
        "signed_by_key": None,
        "bundle": False,
        "seconds": 1.0,
        "loss": 0.0,
    }
    journal = Journal(str(shell.folder / "inbox/.diode"))
    for event in ran.events("object_delivered"):
        key = event["sender"], event["number"]
        journal.intend(key, facts | {"sender": key[0], "number": key[1]})
    journal.intend((key[0], 99), facts)  # never came
    journal.close()
    (shell.folder / "nothing").write_bytes(b"")
    later = receive(shell, hook(shell), source="nothing")
    assert called(shell) == ["a", "b"]
    assert [e["name"] for e in later.events("hook")] == ["a", "b"]
    assert owed(shell) == 0


def at_every(shell: Shell, fault: str, stride: int, first: int) -> int:
    """Faults at the receiver's writes and syncs; the call is made whatever happens."""
    need_strace()
    sent(shell, a=100, b=30_000)
    command = hook(shell)
    arguments = ("recv", "inbox", "--from", "file:cap", "--on-delivery", command, "--json")
    counts, paths = calls_of(shell, *arguments, on="inbox")
    assert any("hooks.db" in path for path in paths)
    met = 0
    for names in CALLS.values():
        for call in names:
            start = 1 + first % min(stride, counts[call] or 1)
            for number in range(start, counts[call] + 1, stride):
                shutil.rmtree(shell.folder / "inbox")
                (shell.folder / "log").unlink(missing_ok=True)
                ran, hit = run_with(
                    shell, *arguments, call=call, number=number, fault=fault, paths=paths
                )
                met += hit
                again = shell.run(*arguments)
                said = f"{fault} at {call} {number}\n{ran.out}{ran.err}\nthen\n{again.out}"
                assert again.code == 0, said
                assert set(called(shell)) == {"a", "b"}, said
                assert owed(shell) == 0, said
    return met


def test_killed_at_some_calls(shell: Shell) -> None:
    assert at_every(shell, "killed", 61, 5) > 2


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["killed", "EIO", "ENOSPC"])
def test_killed_at_every_call(shell: Shell, fault: str) -> None:
    assert at_every(shell, fault, 1, 0) > 20


def test_a_journal_that_is_damaged_is_put_aside(shell: Shell) -> None:
    sent(shell, a=100)
    (shell.folder / "inbox/.diode").mkdir(parents=True, mode=0o700)
    (shell.folder / "inbox/.diode/hooks.db").write_bytes(b"no database" * 1000)
    ran = receive(shell, hook(shell))
    assert ran.code == 0, ran.out
    assert called(shell) == ["a"]
    assert any("hooks.db.corrupt-1" in e["message"] for e in ran.events("warning"))


# Stores ------------------------------------------------------------------------------------------


def into_store(shell: Shell, command: str, *more: str, source: str = "cap") -> Ran:
    pytest.importorskip("fsspec", reason="fsspec is not installed (extra store)")
    url = f"file://{shell.folder / 'store'}"
    arguments = ("--state", "st", "--json", "--from", f"file:{source}", "--on-delivery", command)
    return shell.run("recv", url, *arguments, *more)


def waiting(shell: Shell) -> list[tuple[str, bytes]]:
    db = sqlite3.connect(shell.folder / "st/hooks.db")
    rows = db.execute("SELECT state, path FROM calls ORDER BY id").fetchall()
    db.close()
    return rows


def test_into_a_store_it_is_called_when_the_file_is_there(shell: Shell) -> None:
    sent(shell, a=100, b=200)
    ran = into_store(shell, hook(shell, f"[ -e {shlex.quote(str(shell.folder))}/store/b ]"))
    assert ran.code == 0, ran.out
    at = [e["path"] for e in ran.events("object_delivered")]
    assert (shell.folder / "log").read_text().split() == at
    assert waiting(shell) == []


# Many --------------------------------------------------------------------------------------------


def flood(shell: Shell, count: int) -> None:
    for number in range(count):
        path = shell.folder / f"d/{number:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%d" % number)
    assert shell.run("send", "d", "--to", "file:cap").code == 0
    ran = receive(shell, "/bin/true")
    assert ran.code == 0
    names = [f"d/{number:05}" for number in range(count)]
    assert [e["name"] for e in ran.events("hook")] == names
    assert owed(shell) == 0


def test_a_flood_of_files(shell: Shell) -> None:
    flood(shell, 300)


@pytest.mark.slow
def test_ten_thousand_files(shell: Shell) -> None:
    flood(shell, 10_000)


def test_a_slow_command_holds_up_no_delivery(shell: Shell) -> None:
    sent(shell, a=100, b=200, c=300)
    running = hook(shell, 'until [ -e "$0.go" ]; do sleep 0.05; done')
    receiver = shell.start("recv", "inbox", "--from", "file:cap", "--on-delivery", running)
    wait_until((shell.folder / "inbox/c").exists)
    assert called(shell) == []
    (shell.folder / "a hook.go").touch()
    assert shell.finish(receiver).code == 0
    assert called(shell) == ["a", "b", "c"]
