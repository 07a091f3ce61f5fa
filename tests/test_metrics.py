"""Metrics: every number of a health, few series whatever comes, and nothing that can disturb."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shutil
import stat
import subprocess
import urllib.request

import pytest
from healths import NOW, a_health, a_line, a_sender, records_out
from prometheus_client.parser import text_string_to_metric_families

from diode import metrics
from diode.health import Alarm, FlowHealth, Health, LinkState, Loss, Repair, Sending
from diode.metrics.listener import Listener
from diode.metrics.textfile import Textfile
from diode.record_health import RecordsIn, Sink
from diode.service import snapshots
from diode.web import Address

ALERTS = importlib.resources.files("diode.metrics").joinpath("alerts.yml")


def samples(state) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    text = metrics.exposition(state).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def a_sending(**changes) -> Sending:
    known = {
        "time": NOW,
        "started": NOW - 60,
        "sender": "0badcafe",
        "to": ["serial:/dev/ttyUSB0"],
        "running": True,
        "frames": 1234,
        "line_bytes": 99_000,
        "rate": 11_520,
        "highest": 17,
        "sent": 9,
        "failed": 1,
        "queue": [FlowHealth("urgent", 9, 2, 600), FlowHealth('od"d\n', 0, 1, 5)],
        "under_way": [],
        "alarms": [Alarm("disk", NOW, "the queue cannot be written")],
        "carousel": 3,
        "records": records_out(),
    }
    return Sending(**(known | changes))


def test_the_numbers_are_those_of_the_health() -> None:
    found = samples(a_health())
    for key, value in {
        ("diode_frames_total", "heard"): 12_345,
        ("diode_frames_total", "lost"): 67,
        ("diode_frames_total", "idle"): 89,
        ("diode_frames_rejected_total", "check"): 3,
        ("diode_line_bytes_total",): 4_567_890,
        ("diode_noise_bytes_total",): 321,
        ("diode_loss_ratio", "hour"): 0.005,
        ("diode_repair_used_ratio", "worst"): 0.75,
        ("diode_objects_total", "delivered"): 36,
        ("diode_objects_total", "quarantined"): 2,
        ("diode_objects_pending", "unfinished"): 1,
        ("diode_objects_missing",): 5,
        ("diode_link_state", "up"): 1,
        ("diode_link_state", "silent"): 0,
        ("diode_alarm", "gap"): 1,
        ("diode_alarm", "silent"): 0,
        ("diode_disk_free_bytes",): 10**9,
        ("diode_sender_frames_sent_total", "0badcafe"): 99_999,
        ("diode_sender_frames_heard_total", "0badcafe"): 12_345,
        ("diode_sender_queued_objects", "0badcafe"): 4,
        ("diode_told_timestamp_seconds",): NOW,
    }.items():
        assert found[key] == pytest.approx(value), key
    assert found["diode_last_frame_age_seconds",] == pytest.approx(0.4, abs=1e-3)


def test_what_is_not_known_is_left_out() -> None:
    line = a_line(LinkState.UNHEARD, last_heard=None, loss=Loss())
    found = samples(a_health(line, repair=Repair()))
    names = {name for name, *_ in found}
    assert not names & {
        "diode_loss_ratio",
        "diode_repair_used_ratio",
        "diode_last_frame_age_seconds",
    }
    assert found["diode_link_state", "unheard"] == 1


def test_many_made_up_senders_make_few_series() -> None:
    many = [a_sender(sender=f"{n:08x}") for n in range(1000)]
    found = samples(a_health(senders=many))
    assert sum(name == "diode_sender_frames_heard_total" for name, *_ in found) == metrics.SENDERS
    assert ("diode_sender_frames_heard_total", "000003e7") in found  # the one heard last
    assert len(found) < 300


def test_a_sender() -> None:
    found = samples(a_sending())
    assert found["diode_sending_frames_total",] == 1234
    assert found["diode_sending_objects_total", "sent"] == 9
    assert found["diode_sending_queue_objects", "urgent"] == 2
    assert found["diode_sending_queue_bytes", 'od"d\n'] == 5
    assert found["diode_sending_carousel_objects",] == 3
    assert found["diode_alarm", "disk"] == 1
    assert ("diode_sending_rate_bytes_per_second",) not in samples(a_sending(rate=0))


def test_records_of_a_receiver() -> None:
    found = samples(a_health())
    for key, value in {
        ("diode_records_heard_total", "latest"): 1200,
        ("diode_records_heard_total", "every"): 45,
        ("diode_records_known_total",): 678,
        ("diode_records_missing_total",): 3,
        ("diode_records_dropped_total",): 11,
        ("diode_records_unstored",): 1,
        ("diode_records_topics",): 90,
        ("diode_records_age_seconds",): 2,
        ("diode_records_waiting", "mqtt://broker"): 344,
        ("diode_records_taken_total", "file:/srv/records.jsonl"): 1244,
        ("diode_records_sink_away_seconds", "mqtt://broker"): 50,
        ("diode_records_sink_away_seconds", "file:/srv/records.jsonl"): 0,
        ("diode_alarm", "sink_away"): 0,
    }.items():
        assert found[key] == pytest.approx(value), key
    assert "alarms/" not in metrics.exposition(a_health()).decode(), "topics are no labels"


def test_records_of_a_sender() -> None:
    found = samples(a_sending())
    for key, value in {
        ("diode_sending_records_total", "latest"): 1300,
        ("diode_sending_records_total", "every"): 48,
        ("diode_sending_records_replaced_total",): 20,
        ("diode_sending_records_repeated_total",): 700,
        ("diode_sending_records_refused_total",): 2,
        ("diode_sending_records_dropped_total",): 4,
        ("diode_sending_records_waiting",): 5,
        ("diode_sending_records_kept",): 12,
        ("diode_sending_records_spool_bytes",): 6000,
        ("diode_sending_records_quota_bytes",): 64 << 20,
        ("diode_sending_records_taken_total", "mqtt://plc"): 8,
        ("diode_sending_records_source_away_seconds", "mqtt://plc"): 70,
    }.items():
        assert found[key] == value, key


def test_without_records_there_are_no_metrics_of_them() -> None:
    for state in (a_health(records=None), a_sending(records=None)):
        assert not [name for name, *_ in samples(state) if "records" in name]


def test_many_sinks_make_few_series() -> None:
    many = [Sink(f"file:{n}", True, None, 0.0, "", 0, 0) for n in range(1000)]
    found = samples(a_health(records=RecordsIn(sinks=many)))
    assert len(found) < 300


# Prometheus' own view ---------------------------------------------------------------------------


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not there: sudo apt install prometheus")
    return found


@pytest.mark.parametrize("state", [a_health(), a_sending()], ids=["receiver", "sender"])
def test_promtool_finds_nothing_wrong_with_the_metrics(promtool, state) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=metrics.exposition(state),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip(), done.stderr


def test_promtool_accepts_the_alerts(promtool, tmp_path) -> None:
    rules = tmp_path / "alerts.yml"
    rules.write_bytes(ALERTS.read_bytes())
    done = subprocess.run(
        [promtool, "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 rules found" in done.stdout


@pytest.mark.parametrize(
    ("name", "series", "values", "rings"),
    [
        ("DiodeRecordGap", "diode_records_missing_total", "0x5 3x10", True),
        ("DiodeRecordGap", "diode_records_missing_total", "3x15", False),
        ("DiodeRecordsDropped", "diode_records_dropped_total", "0x5 9x10", True),
        ("DiodeRecordsDropped", "diode_sending_records_dropped_total", "0x5 9x10", True),
        ("DiodeSinkAway", 'diode_records_sink_away_seconds{sink="s"}', "61x15", True),
        ("DiodeSinkAway", 'diode_records_sink_away_seconds{sink="s"}', "59x15", False),
        ("DiodeSourceAway", 'diode_sending_records_source_away_seconds{source="s"}', "61x15", True),
    ],
)
def test_prometheus_rings_for_records(
    promtool, tmp_path, name: str, series: str, values: str, rings: bool
) -> None:
    """Held against the rules by Prometheus itself."""
    counted = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    wanted = [{"labels": "{}", "value": 1}] if rings else []
    test = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values}],
                "promql_expr_test": [{"expr": counted, "eval_time": "10m", "exp_samples": wanted}],
            }
        ],
    }
    (tmp_path / "alerts.yml").write_bytes(ALERTS.read_bytes())
    (tmp_path / "test.yml").write_text(json.dumps(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_ask_for_metrics_that_there_are() -> None:
    used = set(re.findall(r"diode_[a-z_]+", ALERTS.read_text()))
    assert used <= {name for state in (a_health(), a_sending()) for name, *_ in samples(state)}


# The file ---------------------------------------------------------------------------------------


def test_the_file_is_replaced_whole_and_may_be_read_by_others(tmp_path) -> None:
    path, told = tmp_path / "diode.prom", []
    file = Textfile(str(path), told.append)
    before = os.umask(0o077)
    try:
        file.write(a_health())
        first = path.stat().st_ino
        file.write(a_sending())
    finally:
        os.umask(before)
    assert path.read_bytes() == metrics.exposition(a_sending())
    assert path.stat().st_ino != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["diode.prom"]
    assert told == []


def test_trouble_is_told_once_and_once_when_it_is_over(tmp_path) -> None:
    folder, told = tmp_path / "gone", []
    file = Textfile(str(folder / "diode.prom"), told.append)
    for _ in range(3):
        file.write(a_health())
    assert len(told) == 1
    assert "No such file" in told[0]
    folder.mkdir()
    file.write(a_health())
    file.write(a_health())
    assert len(told) == 2
    assert told[1].endswith("again")


def test_a_link_in_the_way_is_not_followed(tmp_path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "diode.prom.new").symlink_to(victim)
    Textfile(str(tmp_path / "diode.prom"), lambda _: None).write(a_health())
    assert victim.read_text() == "mine"


# The listener -----------------------------------------------------------------------------------


def test_whoever_asks_gets_what_there_is_now(tmp_path) -> None:
    """In a process of its own, which ends with this one's hold on it."""
    folder = os.open(tmp_path, os.O_RDONLY)

    def look() -> Health | None:
        return snapshots.read(str(tmp_path), snapshots.HEALTH, Health)

    listener = Listener(Address.parse("127.0.0.1:0"), look, lambda: None)
    try:
        url = f"http://{listener.address}/metrics"
        assert urllib.request.urlopen(url, timeout=5).read() == b""
        snapshots.write(folder, snapshots.HEALTH, a_health())
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.read() == metrics.exposition(a_health())
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    finally:
        listener.close()
        os.close(folder)
    assert not os.path.exists(f"/proc/{listener.process}")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)
