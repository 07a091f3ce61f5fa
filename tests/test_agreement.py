"""The terminal, the page, the metrics and --json agree on every number."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
import pytest
from browser import chromium
from cli import Shell
from prometheus_client.parser import text_string_to_metric_families

from diode import metrics
from diode.health import Health
from diode.wording import percent, size


@pytest.fixture
def inbox(shell: Shell) -> Shell:
    """After reception with damage: something came, something is short, something never came."""
    rng = np.random.default_rng(5)
    for number in range(1, 7):
        (shell.folder / f"{number}.bin").write_bytes(rng.bytes(20_000 * number))
        to = "file:lost.cap" if number in (2, 3) else "file:line.cap?append=1"
        assert shell.run("send", f"{number}.bin", "--to", to, "--redundancy", "60%").code == 0
    (shell.folder / "big.bin").write_bytes(rng.bytes(200_000))
    assert shell.run("send", "big.bin", "--to", "file:big.cap").code == 0
    half = (shell.folder / "big.cap").read_bytes()
    with (shell.folder / "line.cap").open("ab") as line:
        line.write(half[: len(half) // 2])
    damage = "drop=4%,seed=3"
    assert shell.run("recv", "inbox", "--from", "file:line.cap", "--impair", damage).code == 3
    return shell


def named(one: dict[str, Any]) -> str:
    return f"{one['sender']}:{one.get('number')}"


def found_at(event: dict[str, Any], path: str) -> float | None:
    """The number at that place of what --json says."""
    if path == "missing_objects":
        return event[path]
    value: Any = event["health"]
    for part in path.split("."):
        if isinstance(value, list):
            (value,) = [
                one
                for one in value
                if part in (one["sender"], f"{one['sender']}:{one.get('number')}")
            ]
        else:
            value = value[part]
    return sum(value.values()) if isinstance(value, dict) else value


def test_every_number_is_the_same_everywhere(inbox: Shell) -> None:
    (event,) = inbox.run("status", "inbox", "--json").events("status")
    health = msgspec.convert(event["health"], Health)
    assert health.line.lost
    assert health.missing_objects == 2
    assert health.unfinished_objects
    assert health.outcomes.delivered
    assert health.repair.worst
    _page_agrees(inbox, event)
    _metrics_agree(event, health)
    _terminal_agrees(inbox, health)


def _page_agrees(shell: Shell, event: dict[str, Any]) -> None:
    process = shell.start("status", "inbox", "--serve", "127.0.0.1:0")
    address = re.search(rb"http://[\d.:]+/", process.stderr.readline())
    assert address is not None
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address.group().decode())
        script = "all => all.map(d => [d.dataset.of, d.value])"
        shown = page.eval_on_selector_all("data[data-of]", script)
        state = page.get_attribute("#state", "data-state")
    assert state == event["health"]["line"]["state"]
    assert len(shown) > 20
    for path, value in shown:
        wanted = found_at(event, path)
        assert value == "" if wanted is None else float(value) == wanted, path
    seen = {path for path, _ in shown}
    assert {"line.frames", "line.lost", "line.loss.hour", "repair.worst", "disk.free"} <= seen
    # What is not on the page is 0.
    for name, value in event["health"]["outcomes"].items():
        assert f"outcomes.{name}" in seen or not value


def _metrics_agree(event: dict[str, Any], health: Health) -> None:
    text = metrics.exposition(health).decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    (sender,) = [one["sender"] for one in event["health"]["senders"]]
    for path, key in {
        "line.frames": ("diode_frames_total", "heard"),
        "line.lost": ("diode_frames_total", "lost"),
        "line.bytes": ("diode_line_bytes_total",),
        "line.noise": ("diode_noise_bytes_total",),
        "line.loss.minute": ("diode_loss_ratio", "minute"),
        "line.loss.day": ("diode_loss_ratio", "day"),
        "repair.last": ("diode_repair_used_ratio", "last"),
        "repair.worst": ("diode_repair_used_ratio", "worst"),
        "outcomes.delivered": ("diode_objects_total", "delivered"),
        "outcomes.known": ("diode_objects_total", "known"),
        "missing_objects": ("diode_objects_missing",),
        "unfinished_objects": ("diode_objects_pending", "unfinished"),
        "disk.free": ("diode_disk_free_bytes",),
        "disk.unfinished": ("diode_unfinished_bytes",),
        f"senders.{sender}.frames": ("diode_sender_frames_heard_total", sender),
        f"senders.{sender}.lost": ("diode_sender_frames_lost_total", sender),
        f"senders.{sender}.sent": ("diode_sender_frames_sent_total", sender),
        f"senders.{sender}.highest": ("diode_sender_highest_number", sender),
    }.items():
        assert found[key] == pytest.approx(found_at(event, path), rel=1e-12), key
    for reason, count in event["health"]["line"]["rejected"].items():
        assert found["diode_frames_rejected_total", reason] == count


def _terminal_agrees(shell: Shell, health: Health) -> None:
    words = " ".join(shell.run("status", "inbox").out.split())
    line, sender = health.line, health.senders[0]
    for shown in (
        line.state.value.upper(),
        f"{line.frames:,} heard",
        f"{line.lost:,} lost",
        f"{percent(line.loss.day)} day",
        f"{percent(health.repair.worst)} at worst",
        f"{health.outcomes.delivered:,} delivered",
        f"{health.missing_objects:,} missing",
        f"{health.unfinished_objects:,} in progress",
        f"{size(health.disk.unfinished)} unfinished",
        f"{health.unfinished[0].symbols_short:,}",
        f"{sender.frames:,}",
        f"{sender.highest:,}",
    ):
        assert shown in words, shown
