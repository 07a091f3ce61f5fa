from __future__ import annotations

import os

import pytest
from cli import Shell, make


def test_the_issue_of_every_day(shell: Shell) -> None:
    ran = shell.run(
        "plan", "--size", "10M", "--carrier", "serial:?baud=115200",
        "--redundancy", "25%", "--passes", "2", "--burst", "500ms",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    for words in ("time on air", "goodput", "longest outage", "parity", "line coding", "20%"):
        assert words in ran.out


@pytest.mark.parametrize("line", ["cobs", "rs"])
@pytest.mark.parametrize("passes", ["1", "3"])
@pytest.mark.parametrize("size", [0, 1, 200, 40_000, 300_000])
def test_plan_tells_what_send_then_does(shell: Shell, size: int, passes: str, line: str) -> None:
    make(shell.folder / "x", size)
    options = ["--passes", passes, "--line", line, "--burst", "200ms"]
    sent = shell.run("send", "x", "--to", "file:cap", *options)
    assert sent.code == 0
    (plan,) = shell.run("plan", "--size", size, "--carrier", "file:cap", *options, "--json").events(
        "plan"
    )
    planned = sum(plan["line_bytes"].values())
    heartbeats = 2 * 259
    assert os.path.getsize(shell.folder / "cap") == pytest.approx(planned, rel=0.03, abs=heartbeats)
    (capture,) = shell.run("inspect", "cap", "--json").events("capture")
    assert capture["kinds"].get("data", 0) == plan["frames"]
    assert capture["kinds"]["manifest"] == pytest.approx(plan["manifests"], abs=1)


def test_overhead_shares_add_up_and_failure_grows_with_loss(shell: Shell) -> None:
    (plan,) = shell.run(
        "plan", "--size", "1M", "--carrier", "serial:?baud=9600", "--redundancy", "5%", "--json"
    ).events("plan")
    assert plan["line_bytes"]["data"] == 1_000_000
    assert plan["seconds"] == pytest.approx(sum(plan["line_bytes"].values()) / 960, rel=1e-3)
    assert plan["goodput"] == pytest.approx(1e6 / plan["seconds"])
    chances = [plan["failure"][f"{p}%"] for p in (1, 5, 10, 20)]
    assert chances == sorted(chances)
    assert chances[0] < 0.2 < 0.999 < chances[3]


# Keys and several files ---------------------------------------------------------------------


def planned_and_sent(shell: Shell, plan: list, paths: list, options: list) -> tuple[dict, dict]:
    """What was planned, and what a capture of sending that has in it."""
    ran = shell.run("plan", *plan, "--carrier", "file:cap", *options, "--json")
    assert ran.code == 0, ran.out
    (event,) = ran.events("plan")
    sent = shell.run("send", *paths, "--to", "file:cap", *options, "--json")
    assert sent.code == 0, sent.err
    assert len(sent.events("object_sent")) >= event["objects"]
    (capture,) = shell.run("inspect", "cap", "--json").events("capture")
    return event, capture


def agree(event: dict, capture: dict, shell: Shell) -> None:
    assert capture["kinds"].get("data", 0) == event["frames"]
    assert capture["kinds"]["manifest"] == pytest.approx(event["manifests"], abs=1)
    planned = sum(event["line_bytes"].values())
    heartbeats = capture["kinds"]["heartbeat"] * 259
    assert os.path.getsize(shell.folder / "cap") == pytest.approx(planned, rel=0.01, abs=heartbeats)


@pytest.mark.parametrize(
    ("size", "recipients", "symbol"),
    [(0, 3, "--symbol-size=200"), (300, 1, "--symbol-size=1000"), (100_000, 2, "--line=rs")],
)
def test_encrypted_and_signed(shell: Shell, size: int, recipients: int, symbol: str) -> None:
    options = ["--passes", 2, symbol, "--sign", "me"]
    shell.run("keygen", "me")
    for number in range(recipients):
        shell.run("keygen", "--encrypt", f"for{number}")
        options += ["--encrypt-to", f"for{number}.pub"]
    make(shell.folder / "x", size)
    event, capture = planned_and_sent(shell, ["x"], ["x"], options)
    assert event["encrypted"] is True
    agree(event, capture, shell)
    # By size alone: the name is shorter or longer, the rest is the same.
    (guessed,) = shell.run(
        "plan", "--size", size, "--carrier", "file:x", *options, "--json"
    ).events("plan")
    assert guessed["frames"] == event["frames"]


TREES = {
    "small ones": {f"in/{n:03}": 1000 + n for n in range(300)},
    "none small": {f"in/{n}": 600_000 for n in range(3)},
    "mixed": {f"in/{n:02}": (600_000 if n % 17 == 3 else 10 * n) for n in range(40)},
    "one": {"in/x": 5},
    "empty": {"in/a": 0, "in/b": 0},
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("options", [[], ["--no-bundle", "--redundancy", "50%"]])
def test_folders_as_they_are_sent(shell: Shell, tree: str, options: list) -> None:
    for name, size in TREES[tree].items():
        make(shell.folder / name, size)
    event, capture = planned_and_sent(shell, ["in"], ["in"], options)
    assert event["files"] == len(TREES[tree])
    assert event["size"] >= sum(TREES[tree].values())
    assert (event["bundles"] == 0) == ("--no-bundle" in options or tree in ("none small", "one"))
    agree(event, capture, shell)


def test_sizes_and_counts(shell: Shell) -> None:
    names = [f"in/{'n' * 33}{n:04}" for n in range(500)]  # of the length that is reckoned with
    for name in names:
        make(shell.folder / name, 3000)
    make(shell.folder / "zz", 600_000)
    plan = ["--size", "500x3000", "--size", "600k"]
    event, capture = planned_and_sent(shell, plan, ["in", "zz"], ["--redundancy", "30%"])
    assert (event["files"], event["bundles"], event["objects"]) == (501, 1, 2)
    assert capture["kinds"]["data"] == pytest.approx(event["frames"], rel=0.001)
    ran = shell.run("plan", *plan, "--carrier", "serial:?baud=115200")
    assert "501 files, 500 of them in 14 bundles; 2.13 MB in all" in ran.out
    assert "any object fails" in ran.out


def test_what_can_fail_adds_up(shell: Shell) -> None:
    def failing(*sizes: str) -> float:
        arguments = ["plan", "--carrier", "file:x", "--no-bundle", "--redundancy", "30%", "--json"]
        for size in sizes:
            arguments += ["--size", size]
        (event,) = shell.run(*arguments).events("plan")
        return event["failure"]["10%"]

    one, other = failing("20k"), failing("70k")
    assert failing("300x20k") == pytest.approx(1 - (1 - one) ** 300)
    assert failing("20k", "70k") == pytest.approx(1 - (1 - one) * (1 - other))


def test_many_sizes_are_put_together(shell: Shell) -> None:
    exact = ["--size", "400x50050"]
    sizes = [part for n in range(400) for part in ("--size", str(50_000 + n))]
    plans = [
        shell.run("plan", *each, "--no-bundle", "--carrier", "file:x", "--json").events("plan")[0]
        for each in (exact, sizes)
    ]
    assert plans[1]["objects"] == plans[0]["objects"] == 400
    totals = [sum(plan["line_bytes"].values()) for plan in plans]
    assert totals[1] == pytest.approx(totals[0], rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--size", "0x3k"], ["--size", "3kx5"], ["--size", "x3"], ["--size", "99999999x1"], [],
        ["--size", "1M", "--want", "1e-9"], ["--size", "1M", "--encrypt-to", "nobody.pub"],
        ["not-there"],
    ],
)  # fmt: skip
def test_what_cannot_be_planned(shell: Shell, wrong: list) -> None:
    ran = shell.run("plan", *wrong, "--carrier", "file:x")
    assert ran.code in (1, 2, 12, 14)
    assert "hint" in ran.err or "Usage" in ran.err or "not there" in ran.err or ran.err


# Records --------------------------------------------------------------------------------------


def records_plan(shell, *options):
    ran = shell.run("plan", "--json", *options)
    assert ran.code == 0
    return {event["class"]: event for event in ran.events("record_plan")}


def test_records_that_fit(tmp_path):
    shell = Shell(tmp_path)
    line = ("--carrier", "serial:?baud=115200")
    plan = records_plan(shell, "--records", "20/s", "--size", "40", *line)
    assert plan["latest"]["fits"]
    assert plan["every"]["fits"]
    assert 0.03 < plan["latest"]["median_seconds"] < 0.1
    assert plan["latest"]["late_seconds"] < 0.3
    assert plan["latest"]["heard"] == 1.0
    assert plan["every"]["sends"] == 4
    assert plan["every"]["line_share"] == pytest.approx(4 * plan["latest"]["line_share"], rel=0.1)
    lossy = records_plan(shell, "--records", "20/s", "--size", "40", "--loss", "10%", *line)
    assert lossy["every"]["heard"] == 1.0
    assert lossy["every"]["late_seconds"] > plan["every"]["late_seconds"]


def test_records_that_do_not_fit(tmp_path):
    shell = Shell(tmp_path)
    line = ("--carrier", "serial:?baud=9600")
    plan = records_plan(shell, "--records", "100/s", "--topics", "10", *line)
    assert not plan["latest"]["fits"]
    assert 0.05 < plan["latest"]["heard"] < 1
    assert plan["latest"]["median_seconds"] < 5  # the newest of each topic in turn
    ran = shell.run("plan", "--records", "100/s", *line)
    assert "as every: does not fit" in ran.out
    large = records_plan(shell, "--records", "1/min", "--size", "5k", *line)
    assert "5,040 bytes" in large["latest"]["refused"]
    assert not large["every"]["fits"]


@pytest.mark.parametrize(
    "options",
    [
        ("--records", "fast"),
        ("--records", "0/s"),
        ("--records", "1/parsec"),
        ("--topics", "5"),
        ("--records", "1/s", "--size", "3x5"),
    ],
)
def test_records_that_make_no_sense(tmp_path, options):
    ran = Shell(tmp_path).run("plan", *options, "--carrier", "serial:?baud=9600")
    assert ran.code == 2
