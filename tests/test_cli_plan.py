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
