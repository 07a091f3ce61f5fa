"""Files for results: opened first, written last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diode.cli.output import Output, Plot
from diode.errors import DestinationError, UsageError


def test_what_was_there_stays_until_there_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"from the last time, and longer")
    output = Output(str(path))
    assert path.read_bytes() == b"from the last time, and longer"
    output.write(b"new")
    output.close()
    assert path.read_bytes() == b"new"


def test_it_is_known_at_once_that_it_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere/result", tmp_path):
        with pytest.raises(DestinationError, match="cannot be written") as caught:
            Output(str(path))
        assert caught.value.hint


def test_no_room(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DestinationError, match="No space left"):
        Output("/dev/full").write(b"new")


def test_a_pipe_is_written_and_not_cut(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    output = Output(str(tmp_path / "fifo"))
    output.write(b"result")
    assert os.read(reading, 100) == b"result"
    os.close(reading)


@pytest.mark.parametrize(
    ("name", "begins"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml"), ("x", b"\x89PNG")]
)
def test_pictures(tmp_path: Path, name: str, begins: bytes) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    plot = Plot(str(tmp_path / name))
    figure = plot.figure(2, 1)
    figure.subplots().plot([1, 2])
    plot.draw(figure)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_pictures_that_there_are_not(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    with pytest.raises(UsageError) as caught:
        Plot(str(tmp_path / "x.nonsense"))
    assert "out.png" in caught.value.hint
    assert not (tmp_path / "x.nonsense").exists()
