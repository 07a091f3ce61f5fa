"""Codes on the command line: those to choose, and what happens where one is not installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli import Shell, make

from diode.code import CODES

MODULES = {"leopard": "reed_solomon_leopard", "raptorq": "raptorq"}


def wide(name: str):
    lacks = CODES[name].lacks
    skip = pytest.mark.skipif(bool(lacks), reason=f"{lacks} is not installed")
    return pytest.param(name, marks=skip)


WIDE = pytest.mark.parametrize("name", [wide(n) for n in MODULES])


@pytest.fixture
def without(shell: Shell, monkeypatch):
    """Hides the packages of the wide codes from the commands that follow."""

    def hide() -> None:
        hidden = shell.folder / "hidden"
        hidden.mkdir()
        for module in MODULES.values():
            (hidden / f"{module}.py").write_text("raise ImportError('hidden')\n")
        roots = [str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(roots))

    return hide


@WIDE
@pytest.mark.parametrize("size", [0, 1, 3_000, 2_000_000])
def test_wide_codes_cross(shell: Shell, name: str, size: int) -> None:
    content = make(shell.folder / "x", size)
    damage = ["--impair", "drop=5%,seed=3"] if size > 100_000 else []
    sent = shell.run("send", "x", "--to", "file:cap", "--code", name, "--loss", "10%", *damage)
    assert sent.code == 0, sent.err
    received = shell.run("recv", "inbox", "--from", "file:cap")
    assert received.code == 0, received.err
    assert Path(shell.folder / "inbox/x").read_bytes() == content


@WIDE
def test_a_receiver_without_the_code_says_what_to_install(shell: Shell, name: str, without) -> None:
    make(shell.folder / "x", 300_000)
    small = make(shell.folder / "small", 3_000)
    shell.run("send", "x", "--to", "file:cap", "--code", name)
    shell.run("send", "small", "--to", "file:cap?append=1", "--code", "zfec")
    without()
    words = f"code {name} is not installed here: pip install {CODES[name].package}"
    received = shell.run("recv", "inbox", "--from", "file:cap", "--once", "--json")
    assert received.code == 3 and (shell.folder / "inbox/small").read_bytes() == small
    received = shell.run("recv", "inbox2", "--from", "file:cap", "--json")
    assert received.code == 3
    (event,) = received.events("object_incomplete")
    assert (event["name"], event["reason"], event["message"]) == ("x", "code", words)
    assert received.events("object_quarantined") == []
    assert received.events("link")[-1]["reasons"]["code"] >= 1
    assert (shell.folder / "inbox2/small").read_bytes() == small
    told = shell.run("recv", "inbox3", "--from", "file:cap")
    assert told.code == 3 and told.err.count(words) == 1
    shown = shell.run("inspect", "cap")
    assert shown.code == 0 and name in shown.out


def test_a_sender_without_the_code_says_what_to_install(shell: Shell, without) -> None:
    make(shell.folder / "x", 3_000_000)
    without()
    for name in MODULES:
        sent = shell.run("send", "x", "--to", "file:cap", "--code", name)
        assert sent.code == 2 and f"pip install {CODES[name].package}" in sent.err
        assert not (shell.folder / "cap").exists()
    assert shell.run("send", "x", "--to", "file:cap").code == 0
    (plan,) = shell.run("plan", "--size", "3M", "--carrier", "file:x", "--json").events("plan")
    assert plan["code"] == "zfec"


def test_loss_to_plan_for(shell: Shell) -> None:
    for loss in (1, 5, 10):
        (plan,) = shell.run(
            "plan", "--size", "40M", "--carrier", "file:x", "--loss", f"{loss}%", "--json"
        ).events("plan")
        assert plan["failure"]["1%"] < 1e-4
        if loss > 1:
            assert plan["failure"][f"{loss}%"] < 1e-3
    refused = shell.run(
        "plan", "--size", "1M", "--carrier", "file:x", "--loss", "5%", "--redundancy", "9%"
    )
    assert refused.code == 2 and "contradict" in refused.err
