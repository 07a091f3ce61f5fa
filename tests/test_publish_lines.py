import json
import os

import pytest

from diode import endpoint
from diode.errors import DestinationError, UsageError
from diode.publish import publisher
from diode.publish.lines import Sink
from diode.service.record_process import Reading


def sink(text):
    made = Sink(endpoint.parse(text, {}))
    made.open(print)
    return made


def test_a_file_is_rotated(tmp_path):
    path = tmp_path / "log"
    one = sink(f"file:{path}?max=1k&keep=2")
    for number in range(30):
        one.publish([Reading(0, b"t", b"%d" % number)])
    files = sorted(os.listdir(tmp_path))
    assert files == ["log", "log.1", "log.2"]
    numbers = [
        int(json.loads(line)["payload"])
        for name in reversed(files)
        for line in (tmp_path / name).read_text().splitlines()
    ]
    assert numbers == list(range(numbers[0], 30))
    assert all((tmp_path / name).stat().st_size <= 1000 for name in files)


def test_a_line_that_was_cut_off_is_ended(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b'{"topic": "a"')
    sink(f"file:{path}").publish([Reading(0, b"t", b"1")])
    assert len(path.read_text().splitlines()) == 2


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "log").symlink_to("other")
    with pytest.raises(DestinationError):
        sink(f"file:{tmp_path}/log")


def test_what_is_no_sink():
    for text in ("nothing:", "file:/nowhere/x", "-?max=3"):
        with pytest.raises(UsageError):
            publisher(text)
