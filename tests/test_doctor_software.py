"""Python, libraries, confinement, the clock, services: what the machine itself is like."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli import Shell
from trees import by_name, machine, with_status

from diode import doctor
from diode.doctor import Status, clock, confinement, software, units
from diode.doctor.machine import Machine


def test_this_machine(shell: Shell) -> None:
    ran = shell.run("doctor", "--json", "--state", ".", "--inbox", ".")
    found = {check["name"]: check for check in ran.events("check")}
    assert {"python", "libraries", "zfec engine", "codes", "crc", "landlock", "seccomp"} <= set(
        found
    )
    assert {"clock", "serial ports", "state fsync", "inbox room"} <= set(found)
    assert all(check["mend"] for check in found.values() if check["status"] in ("bad", "hint"))
    bad = {name for name, check in found.items() if check["status"] == "bad"}
    assert ran.code == (3 if bad else 0)
    assert bad <= {"state file system", "inbox file system"}  # where tests run on a tmpfs
    assert found["python"]["status"] == "ok"


def test_the_count_at_the_end(shell: Shell) -> None:
    ran = shell.run("doctor", "-v")
    assert f"{ran.out.count('ok       ')} ok" in ran.err
    assert shell.run("doctor", "--quiet").out == ""


def test_pythons() -> None:
    assert software.python((3, 10, 9)).status == "bad"
    assert software.python((3, 13, 0)).status == "ok"
    assert software.python((3, 99, 0)).status == "unknown"


def test_libraries() -> None:
    needed = dict(
        software._needed(
            [
                "numpy>=2.0",
                "zfec",
                'inotify-simple>=1.3.5; platform_system == "Linux"',
                'winthing>=1; platform_system == "Windows"',
                'soxr>=1.0; extra == "audio"',
            ]
        )
    )
    assert needed.pop("inotify-simple", "1.3.5") == "1.3.5"
    assert needed == {"numpy": "2.0", "zfec": "0"}
    there = {"numpy": "2.1.3", "zfec": "1.6.0.0"}
    assert software.libraries(needed, there.__getitem__).status == "ok"
    old = software.libraries({"numpy": "2.2"}, there.__getitem__)
    assert (old.status, "numpy 2.1.3 is older than 2.2" in old.found) == ("bad", True)
    assert "--upgrade diode-fec" in old.mend
    assert "x is not there" in software.libraries({"x": "1"}, lambda _: "").found
    assert software.libraries({}, lambda _: "").status == "unknown"


def test_what_makes_it_fast() -> None:
    assert software.engine(True).status == "ok"
    assert software.engine(False).mend == "apt install libisal2"
    assert software.codes({"leopard", "raptorq"}).status == "ok"
    slow = software.codes({"leopard"})
    assert (slow.status, "raptorq" in slow.found) == ("hint", True)
    x86 = frozenset({"pclmulqdq", "sse4_2"})
    assert "hardware" in software.crc("x86_64", x86).found
    assert "no pclmulqdq" in software.crc("x86_64", frozenset({"sse4_2"})).found
    assert software.crc("riscv64", x86).status == "unknown"


def test_a_library_that_makes_fsync_do_nothing() -> None:
    assert software.preload("", "").status == "ok"
    for found in (
        software.preload("/usr/lib/libeatmydata.so", ""),
        software.preload("", "/usr/lib/libeatmydata/libeatmydata.so\n"),
    ):
        assert (found.status, "eatmydata" in found.mend) == ("bad", True)


def test_confinement() -> None:
    assert confinement.judge_landlock(99, []).status == "ok"
    off = confinement.judge_landlock(0, ["lockdown", "yama"])
    assert (off.status, "lsm=landlock,lockdown,yama" in off.mend) == ("hint", True)
    assert "5.19" in confinement.judge_landlock(1, ["landlock"]).mend
    assert confinement.judge_seccomp("", True).status == "ok"
    missing = confinement.judge_seccomp("pyseccomp is not installed", True)
    assert (missing.status, "diode-fec[confine]" in missing.mend) == ("hint", True)
    assert confinement.judge_seccomp("", False).status == "hint"


@pytest.mark.parametrize(
    ("now", "synchronised", "status", "found"),
    [
        (1.8e9, True, "ok", "synchronised by chronyd"),
        (1.8e9, False, "hint", "only times in records"),
        (1.8e9, None, "unknown", "2027"),
        (100.0, True, "hint", "1970-01-01"),
        (-5.0, True, "hint", "1970-01-01"),
        (1e300, False, "hint", "cannot be"),
    ],
)
def test_the_clock_is_never_bad(now, synchronised, status, found) -> None:
    check = clock.judge(now, synchronised, "chronyd")
    assert check.status == status
    assert found in check.found


# Services -----------------------------------------------------------------------------------

ASKED = f"systemctl show --all --property={units.PROPERTIES} diode*.service"
RUNS = {
    "Id": "diode-receiver@a.service", "LoadState": "loaded", "ActiveState": "active",
    "SubState": "running", "Result": "success", "NRestarts": "0", "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "found", "mend"),
    [
        ({}, "ok", "runs (running)", ""),
        ({"ActiveState": "failed", "Result": "exit-code"}, "bad", "exit-code", "journalctl -u"),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, "bad", "ending", "journalctl"),
        ({"NRestarts": "17"}, "hint", "17 times", "journalctl"),
        ({"NRestarts": "x" * 99}, "ok", "runs", ""),
        ({"UnitFileState": "disabled"}, "hint", "next start", "systemctl enable"),
        ({"ActiveState": "inactive"}, "hint", "does not run", "systemctl enable --now"),
        ({"LoadState": "bad-setting"}, "bad", "bad-setting", "systemctl status"),
        ({"NeedDaemonReload": "yes"}, "hint", "changed", "systemctl daemon-reload"),
        ({"Id": "diode-sender@dev\\x2da.service"}, "ok", "runs", ""),
    ],
)
def test_a_service(change, status, found, mend) -> None:
    check = units.judge(RUNS | change)
    assert check.status == status
    assert found in check.found
    assert mend in check.mend


def test_services_of_a_machine(tmp_path: Path) -> None:
    systemd = {"/run/systemd/system": None}
    blocks = [
        RUNS,
        RUNS | {"Id": "diode-x.service", "ActiveState": "failed"},
        {"Id": "ssh.service"},
    ]
    said = "\n\n".join("\n".join(f"{k}={v}" for k, v in block.items()) for block in blocks)
    found = units.checks(machine(tmp_path, systemd, {ASKED: said}))
    assert [(c.name, c.status) for c in found] == [
        ("diode-receiver@a.service", Status.OK),
        ("diode-x.service", Status.BAD),
    ]
    (none,) = units.checks(machine(tmp_path, systemd))
    assert (none.status, none.found) == ("ok", "none installed")


def test_services_that_nobody_started(tmp_path: Path) -> None:
    unit = {"/etc/systemd/system/diode-sender@.service": ""}
    (found,) = units.checks(machine(tmp_path, unit))
    assert (found.status, "systemd does not run" in found.found) == ("unknown", True)
    (found,) = units.checks(machine(tmp_path, unit | {"/run/systemd/system": None}))
    assert (found.status, "systemctl enable --now" in found.mend) == ("hint", True)


def test_nothing_is_bad_for_want_of_anything(tmp_path: Path) -> None:
    found = doctor.examine_machine(Machine(str(tmp_path), lambda *_: None))
    assert with_status(found, "bad") == set()
    by_name(found)
