"""Several lanes as a user has them: processes, sockets and terminals, one of which goes away."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from cli import Shell, children, make, wait_until
from ptys import Pty
from test_carrier_udp import free_port
from test_cli_resume import heard, killed_at, rows, unfinished

from diode.carrier.coupling import Coupling


def ports(count: int, query: str) -> tuple[str, ...]:
    """URLs of udp on this machine."""
    return tuple(f"udp://127.0.0.1:{free_port()}?{query}" for _ in range(count))


def option(name: str, urls: tuple[str, ...]) -> list[str]:
    return [word for url in urls for word in (name, url)]


class Line(Coupling):
    """A serial line whose ends have names of their own: those of terminals are soon another's."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(460_800)
        self._links = folder / f"{name}-tx", folder / f"{name}-rx"
        for link, path in zip(self._links, (self.tx_path, self.rx_path), strict=True):
            link.symlink_to(path)
        self.tx, self.rx = (f"serial:{link}?baud=460800&reopen=600" for link in self._links)

    def cut(self) -> None:
        """The adapters at both ends are pulled out."""
        for link in self._links:
            link.unlink()
        self.stop()


def planned(shell: Shell, size: int, urls: tuple[str, ...]) -> dict:
    """What `diode plan` says."""
    ran = shell.run("plan", "--size", size, "--json", *option("--carrier", urls))
    (plan,) = ran.events("plan")
    return plan


def test_a_lane_of_two_that_dies_in_mid_transfer_costs_nothing(shell: Shell) -> None:
    """At 100 % redundancy. The reading process of one lane is killed when half has come."""
    content = make(shell.folder / "file", 3_000_000)
    urls = ports(2, "rate=10M")
    receiver = shell.start("recv", "inbox", "--json", "--once", *option("--from", urls))
    shell.listening(receiver)
    victim = max(children(receiver.pid))
    sender = shell.start("send", "file", "--redundancy", "100%", "--json", *option("--to", urls))
    for line in iter(sender.stdout.readline, b""):
        if b'"progress"' in line and int(line.split(b'"frames": ')[1].split(b",")[0]) > 1500:
            break
    os.kill(victim, signal.SIGKILL)
    sent, received = shell.finish(sender), shell.finish(receiver)
    assert sent.code == 0, sent.err
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    (warning,) = received.events("warning")
    assert "has failed, the others are listened to" in warning["message"]
    (delivered,) = received.events("object_delivered")
    assert delivered["blocks_decoded"] > 0
    lanes = received.events("link")[-1]["lanes"]
    assert sorted(lane["ended"] for lane in lanes) == [False, True]
    dead, alive = sorted(lanes, key=lambda lane: not lane["ended"])
    assert 0.2 * alive["frames"] < dead["frames"] < 0.9 * alive["frames"]
    each = [(e["frames"], e["missed"]) for e in sent.events("lane_sent")]
    assert len(each) == 2 and all(missed == 0 for _, missed in each)
    assert abs(each[0][0] - each[1][0]) < 0.01 * each[0][0]


def test_lanes_share_by_rate_and_reordering_between_them_is_no_loss(shell: Shell) -> None:
    content = make(shell.folder / "file", 2_000_000)
    fast, slow = ports(1, "rate=40M")[0], ports(1, "rate=10M")[0]
    receiver = shell.start("recv", "inbox", "--json", "--idle", "2", "--from", slow, "--from", fast)
    shell.listening(receiver)
    sent = shell.run("send", "file", "--json", "--to", fast, "--to", slow)
    received = shell.finish(receiver)
    assert (sent.code, received.code) == (0, 0), (sent.err, received.err)
    assert (shell.folder / "inbox/file").read_bytes() == content
    link = received.events("link")[-1]
    few, many = link["lanes"]
    assert (link["lost"], few["lost"], many["lost"]) == (0, 0, 0)
    assert 3.8 < many["frames"] / few["frames"] < 4.2
    assert link["frames"] == many["frames"] + few["frames"]
    assert few["lane"] == f"lane 1 ({slow})"


def test_a_line_of_two_that_is_cut_in_mid_transfer_costs_nothing(shell: Shell) -> None:
    """The terminals of one are gone at both ends; the sender does not wait for its own."""
    content = make(shell.folder / "file", 100_000)
    with Line(shell.folder, "one") as stays, Line(shell.folder, "two") as goes:
        tx, rx = (stays.tx, goes.tx), (stays.rx, goes.rx)
        receiver = shell.start("recv", "inbox", "--json", "--once", *option("--from", rx))
        shell.listening(receiver)
        sender = shell.start("send", "file", "--redundancy", "100%", *option("--to", tx))
        wait_until(lambda: goes.bytes_out > 30_000)
        goes.cut()
        sent, received = shell.finish(sender), shell.finish(receiver)
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    assert received.events("object_delivered")[0]["blocks_decoded"] > 0
    assert sent.code == 3, sent.err
    name = f"lane 2 ({tx[1]})"
    assert sent.err.count(f"{name} is away, the others go on without it") == 1
    assert re.search(rf"{re.escape(name)}: [\d,]+ of [\d,]+ frames were not sent", sent.err)


def test_a_carousel_with_a_lane_away_stops_when_it_is_asked_to(shell: Shell) -> None:
    content = make(shell.folder / "file", 20_000)
    with Line(shell.folder, "one") as stays, Line(shell.folder, "two") as goes:
        to = stays.tx, goes.tx
        sender = shell.start("send", "file", "--passes", "0", *option("--to", to))
        wait_until(lambda: goes.bytes_in > 30_000)
        goes.cut()
        before = stays.bytes_in
        wait_until(lambda: stays.bytes_in > before + 200_000)
        received = shell.run("recv", "inbox", "--once", "--from", stays.rx)
        sender.send_signal(signal.SIGINT)
        sent = shell.finish(sender, timeout=30)
    assert received.code == 0, "one lane of a carousel is enough"
    assert (shell.folder / "inbox/file").read_bytes() == content
    assert sent.code == 130, sent.err
    assert "is away, the others go on without it" in sent.err


def test_a_killed_sender_goes_on_on_both_lanes(shell: Shell, tmp_path: Path) -> None:
    content = make(shell.folder / "x.bin", 150_000)
    with Pty(tmp_path / "one") as one, Pty(tmp_path / "two") as two:
        urls = tuple(f"serial:{pty.link}?baud=230400" for pty in (one, two))
        command = ("send", "x.bin", *option("--to", urls))
        at = killed_at(shell, command, lambda r: r.place is not None and r.place.frames > 150)
        before = [bytes(pty.wait_for(1)) for pty in (one, two)]
        ran = shell.run(*command)
        assert ran.code == 0, ran.err
        assert "going on with what was not finished: 1 object, in pass 1" in ran.err
        assert unfinished(shell) == []
        after = [bytes(pty.heard)[len(b) :] for pty, b in zip((one, two), before, strict=True)]
    # What stood in the kernel when the sender was killed may have been cut short on either line.
    listener = heard(*before, *after)
    assert [v for k, v in listener.delivered.items() if k.number == 1] == [content]
    second = [sum(map(len, rows(part))) for part in after]
    assert abs(second[0] - second[1]) < 20
    assert at.place is not None
    whole = planned(shell, 150_000, urls)
    assert sum(second) <= whole["frames"] + whole["manifests"] - at.place.frames + 50


def test_captures_of_lanes_are_one_by_one_halves_and_together_whole(shell: Shell) -> None:
    content = make(shell.folder / "file", 100_000)
    ran = shell.run("send", "file", "--to", "file:a", "--to", "file:b", "--redundancy", "50%")
    assert ran.code == 0, ran.err
    sizes = [(shell.folder / name).stat().st_size for name in "ab"]
    assert abs(sizes[0] - sizes[1]) < 0.02 * sum(sizes)
    assert shell.run("recv", "half", "--from", "file:a", "--state", "s").code == 3
    rest = shell.run("recv", "half", "--from", "file:b", "--state", "s", "--json")
    assert rest.code == 0, "the other half, in another run"
    whole = shell.run("recv", "whole", "--from", "file:a", "--from", "file:b", "--json")
    assert whole.code == 0, whole.err
    for folder in ("half", "whole"):
        assert (shell.folder / folder / "file").read_bytes() == content
    assert whole.events("link")[-1]["lost"] == 0


def test_what_each_lane_loses_is_told(shell: Shell) -> None:
    make(shell.folder / "file", 300_000)
    assert shell.run("send", "file", "--to", "file:a", "--to", "file:b").code == 0
    lanes = ("--from", "file:a", "--from", "file:b")
    ran = shell.run("recv", "inbox", *lanes, "--json", "--impair", "burst=20kB/100kB,seed=4")
    link = ran.events("link")[-1]
    one, two = (lane["lost"] for lane in link["lanes"])
    assert one > 10 and two > 10
    assert abs(one + two - link["lost"]) <= 2, "what is lost at the very beginning is not known"


def test_lanes_have_different_luck(shell: Shell) -> None:
    """The same SPEC for all, but not the same frames: else the loss would be that of one lane."""
    make(shell.folder / "file", 200_000)
    spec = ("--impair", "burst=20kB/60kB,seed=3", "--redundancy", "0%", "--burst", "0")
    assert shell.run("send", "file", "--to", "file:a", "--to", "file:b", *spec).code == 0
    outages = []
    for name in "ab":
        data = (shell.folder / name).read_bytes()
        outages.append(len(data))
    assert outages[0] != outages[1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("--to", "file:a", "--to", "file:a"), "file:a is given twice"),
        (("--to", "file:a?rate=1M", "--to", "file:b"), "shared out by rate"),
        (("--to", "file:a?rate=1M", "--to", "file:b?rate=1M", "--cbr"), "constant rate has one"),
        (option("--to", tuple(f"file:{n}" for n in range(9))), "9 lanes are more than the 8"),
    ],
)
def test_what_does_not_go_together_is_refused(
    shell: Shell, command: tuple[str, ...], said: str
) -> None:
    make(shell.folder / "file", 100)
    ran = shell.run("send", "file", *command)
    assert ran.code == 2
    assert said in ran.err and "hint:" in ran.err
    assert sorted(p.name for p in shell.folder.iterdir() if p.name != "state") == ["file"]


def test_a_line_is_for_the_lanes_that_carry_bytes(shell: Shell) -> None:
    content = make(shell.folder / "file", 50_000)
    udp = f"udp://127.0.0.1:{free_port()}?rate=1M"
    receiver = shell.start("recv", "inbox", "--json", "--idle", "2", "--from", udp)
    shell.listening(receiver)
    to = ("--to", udp, "--to", "file:capture?rate=1M")
    sent = shell.run("send", "file", *to, "--line", "rs", "--redundancy", "120%")
    assert sent.code == 0, sent.err
    assert shell.finish(receiver).code == 0
    assert (shell.folder / "inbox/file").read_bytes() == content, "half of 220 % of it"
    ran = shell.run("recv", "other", "--from", "file:capture", "--line", "rs")
    assert ran.code == 0, ran.err


def test_plan_knows_several_lanes(shell: Shell) -> None:
    line = "serial:?baud=115200"
    one, two = (planned(shell, 100_000, (line,) * n) for n in (1, 2))
    assert two["seconds"] == pytest.approx(one["seconds"] / 2, rel=0.02)
    assert [lane["share"] for lane in two["lanes"]] == [0.5, 0.5]
    uneven = planned(shell, 10**9, ("udp:?rate=900M", "udp:?rate=100M&mtu=1000"))
    assert uneven["symbol_size"] <= 972 - 24
    assert uneven["lanes"][0]["share"] == pytest.approx(0.9, abs=0.01)
    shown = shell.run("plan", "--size", "1M", "--carrier", line, "--carrier", "udp:?rate=1M")
    assert shown.code == 0 and "lane 1 (serial:any1?baud=115200)" in shown.out
