"""What the options take for a size, a time, a share and a mode, and what not."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from diode.cli import options
from diode.cli.options import Duration, Mode, Percent, Size
from diode.errors import UsageError
from diode.plan import Settings


def refuses(kind: click.ParamType, text: str) -> str:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    assert caught.value.exit_code == 2
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("0", 0),
        ("1500", 1500),
        (" 1500 ", 1500),
        ("1500B", 1500),
        ("10k", 10_000),
        ("10kB", 10_000),
        ("10K", 10_000),
        ("10 MB", 10_000_000),
        ("4GiB", 4 << 30),
        ("4gi", 4 << 30),
        ("1KiB", 1024),
        ("1Mi", 1 << 20),
        ("2T", 2 * 10**12),
        ("2TiB", 2 << 40),
        ("0.5k", 500),
        ("1.5KiB", 1536),
        ("9007199254740993", (1 << 53) + 1),
        ("0.001k", 1),
    ],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert Size().convert(text, None, None) == bytes_
    assert Size().convert(bytes_, None, None) == bytes_


@pytest.mark.parametrize(
    "text",
    ["", "k", "-1", "+1", "1e3", "0x10", "10X", "10 M M", "1.", ".5", "1,5", "1_000", "nan", "inf",
     "10Mbit", "1k\n2", "٣", "9" * 400],
)  # fmt: skip
def test_what_is_no_size(text: str) -> None:
    message = refuses(Size(), text)
    assert "10M" in message or "more than there can be" in message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2),
        ("2", 2),
        ("2.5", 2.5),
        ("10min", 600),
        ("10m", 600),
        ("1h", 3600),
        (" 1 H ", 3600),
        ("0", 0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)
    assert Duration().convert(seconds, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1w", "1 s s", "1e3", "nan", "soon", "1.s"])
def test_what_is_no_duration(text: str) -> None:
    assert "500ms" in refuses(Duration(), text)


@pytest.mark.parametrize(
    ("text", "share"), [("25%", 0.25), ("0.25", 0.25), (" 100% ", 1), ("0", 0), ("1.5%", 0.015)]
)
def test_shares(text: str, share: float) -> None:
    assert Percent().convert(text, None, None) == pytest.approx(share)
    assert Percent().convert(share * 1.0, None, None) == share


@pytest.mark.parametrize("text", ["", "%", "a lot", "25 percent", "25%%", "1/4"])
def test_what_is_no_share(text: str) -> None:
    assert "25%" in refuses(Percent(), text)


@pytest.mark.parametrize("text", ["-1%", "nan", "inf", "nan%", "10001%", "1e9"])
def test_shares_that_make_no_redundancy(text: str) -> None:
    share = Percent().convert(text, None, None)
    with pytest.raises(UsageError, match="redundancy"):
        options.settings(None, share, None, 1, 0.5, None)


@pytest.mark.parametrize(("text", "mode"), [("0440", 0o440), ("640", 0o640), ("0666", 0o666)])
def test_modes(text: str, mode: int) -> None:
    assert Mode().convert(text, None, None) == mode
    assert Mode().convert(mode, None, None) == mode


@pytest.mark.parametrize(
    "text", ["", "44", "04440", "4440", "0o440", "0777", "0755", "0555", "0441", "0450", "1640",
             "rw", "-440", "0888", "0440\n"],
)  # fmt: skip
def test_what_is_no_mode(text: str) -> None:
    assert "without execute" in refuses(Mode(), text)


def parsed(*arguments: str) -> tuple[int, dict | str]:
    found: dict = {}

    @click.command()
    @options.planning
    @options.impair
    @options.manners
    def command(**given: object) -> None:
        found.update(given)

    result = CliRunner().invoke(command, arguments)
    return result.exit_code, found or result.output


def test_what_is_meant_when_nothing_is_said() -> None:
    assert parsed() == (
        0,
        {
            "code": None,
            "redundancy": None,
            "loss": None,
            "passes": 1,
            "burst": 0.5,
            "symbol_size": None,
            "line": None,
            "impair": None,
            "json_": False,
            "quiet": False,
            "verbose": False,
        },
    )


def test_everything_said() -> None:
    plan = "--code repeat --redundancy 50% --passes 0 --burst 2s --symbol-size 99 --line rs"
    code, given = parsed(*plan.split(), "--impair", "drop=5%", "--json", "-q", "-v")
    assert code == 0
    assert (given["impair"], given["line"]) == ("drop=5%", "rs")
    assert (given["json_"], given["quiet"], given["verbose"]) == (True, True, True)
    wanted = ("code", "redundancy", "loss", "passes", "burst", "symbol_size")
    made = options.settings(*(given[name] for name in wanted))
    assert made == Settings("repeat", 0.5, 0, 2.0, 99)


def test_loss_instead_of_redundancy() -> None:
    code, given = parsed("--loss", "5%")
    assert code == 0 and given["loss"] == 0.05
    assert options.settings(None, None, 0.05, 1, 0.5, None).loss == 0.05
    with pytest.raises(UsageError, match="contradict"):
        options.settings(None, 0.25, 0.05, 1, 0.5, None)


@pytest.mark.parametrize(
    "arguments",
    [
        "--code raptor",
        "--line morse",
        "--passes -1",
        "--passes 1000001",
        "--passes many",
        "--symbol-size 1k",
        "--burst -1s",
        "--redundancy half",
        "--loss some",
    ],
)
def test_bad_values_are_usage_errors(arguments: str) -> None:
    code, said = parsed(*arguments.split())
    assert code == 2
    assert arguments.split(maxsplit=1)[0] in said
