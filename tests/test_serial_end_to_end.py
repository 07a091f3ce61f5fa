"""Whole transfers over pseudo-terminals: real processes, a line between them that loses things."""

from __future__ import annotations

import signal
import time

from cli import Ran, Shell, make
from ptys import socat_line

from diode.carrier.coupling import Coupling
from diode.carrier.impairment import Impairment


def transfer(shell: Shell, tx: str, rx: str, *options: str) -> tuple[Ran, Ran]:
    """Start both ends on two terminals; what they said."""
    receiver = shell.start("recv", "inbox", "--json", "--idle", "3", "--from", rx)
    shell.listening(receiver)
    sender = shell.start("send", "file", "--to", tx, *options)
    sent = shell.finish(sender)
    return sent, shell.finish(receiver)


def test_a_megabyte_arrives_at_the_first_pass_through_slips_flips_and_an_outage(
    shell: Shell,
) -> None:
    content = make(shell.folder / "file", 1_000_000)
    with socat_line(shell.folder) as (tx, rx):
        sent, received = transfer(
            shell,
            f"serial:{tx}?baud=2000000",
            f"serial:{rx}?baud=2000000",
            "--symbol-size",
            "210",
            "--impair",
            "slip=1e-4,flip=1e-5,burst=300ms/8s,seed=5",
        )
    assert sent.code == 0, sent.err
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    (event,) = received.events("object_delivered")
    assert event["loss"] > 0.04
    assert event["blocks_decoded"] > 0


def test_rs_line_at_a_bit_error_rate_of_5e_3(shell: Shell) -> None:
    content = make(shell.folder / "file", 100_000)
    with socat_line(shell.folder) as (tx, rx):
        sent, received = transfer(
            shell,
            f"serial:{tx}?baud=1000000",
            f"serial:{rx}?baud=1000000",
            "--line",
            "rs",
            "--impair",
            "flip=5e-3,seed=1",
        )
    assert sent.code == 0, sent.err
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/file").read_bytes() == content


def test_late_join_delivers_during_the_second_pass(shell: Shell) -> None:
    content = make(shell.folder / "file", 200_000)
    with Coupling(1_000_000, Impairment.parse("flip=1e-5,seed=2")) as line:
        to = f"serial:{line.tx_path}?baud=1000000"
        sender = shell.start("send", "file", "--to", to, "--passes", "2", "--json")
        while line.bytes_in < 120_000:
            assert sender.poll() is None
            time.sleep(0.02)
        unheard = line.bytes_unheard
        receiver = shell.start(
            "recv", "inbox", "--json", "--idle", "3", "--from", f"serial:{line.rx_path}"
        )
        sent, received = shell.finish(sender), shell.finish(receiver)
    assert unheard > 100_000
    assert sent.events("object_sent")[0]["passes"] == 2
    assert received.code == 0, received.err
    assert (shell.folder / "inbox/file").read_bytes() == content
    assert received.events("object_delivered")[0]["blocks_decoded"] > 0


def test_outage_as_long_as_burst_says_is_survived_in_one_pass(shell: Shell) -> None:
    content = make(shell.folder / "file", 150_000)
    with Coupling(460_800, Impairment.parse("burst=500ms/4s,seed=11")) as line:
        sent, received = transfer(
            shell,
            f"serial:{line.tx_path}?baud=460800",
            f"serial:{line.rx_path}?baud=460800",
            "--burst",
            "500ms",
        )
        outages = line.tally.bytes_burst
    assert sent.code == received.code == 0
    assert (shell.folder / "inbox/file").read_bytes() == content
    assert outages >= 23_040 * 0.9  # one at least fell into the transmission


def test_carousel_goes_on_until_it_is_stopped(shell: Shell) -> None:
    content = make(shell.folder / "file", 30_000)
    with Coupling(1_000_000, Impairment.parse("drop=20%,seed=3")) as line:
        to = f"serial:{line.tx_path}?baud=1000000"
        sender = shell.start("send", "file", "--to", to, "--passes", "0")
        while line.bytes_in < 100_000:  # the third pass at least
            assert sender.poll() is None
            time.sleep(0.02)
        receiver = shell.start("recv", "inbox", "--once", "--from", f"serial:{line.rx_path}")
        assert shell.finish(receiver).code == 0
        assert sender.poll() is None
        sender.send_signal(signal.SIGINT)
        assert shell.finish(sender, timeout=10).code == 130
    assert (shell.folder / "inbox/file").read_bytes() == content
