import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import fakemodem
import numpy as np
import pytest
from ptys import batch, noise

from diode.carrier import facts, open_receiving, open_sending
from diode.carrier.pcm import FORMATS
from diode.errors import CarrierError, DestinationError, UsageError

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def made(monkeypatch):
    return fakemodem.install(monkeypatch)


def write(url, *pieces):
    carrier = open_sending(url)
    for piece in pieces:
        carrier.write(batch(piece))
    carrier.drain()
    carrier.close()
    carrier.close()


def read_all(url):
    carrier = open_receiving(url)
    parts = []
    while data := carrier.read(None):
        parts.append(data)
    carrier.close()
    return b"".join(parts)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_round_trip(tmp_path, made, kind, channels):
    url = f"pcm:{tmp_path}/a?format={kind}&channels={channels}&rate=8k&level=-6"
    write(url, noise(1000))
    frames = fakemodem.LEAD + 9000 + fakemodem.TAIL
    assert (tmp_path / "a").stat().st_size == frames * channels * FORMATS[kind].width
    assert read_all(url) == noise(1000)
    assert [modem.sample_rate for modem in made] == [8000, 8000]


@pytest.mark.parametrize("kind", FORMATS)
def test_scale(kind):
    coding = FORMATS[kind]
    samples = np.array([0, 1, -1, 0.5, -0.5, 3, -3], np.float32)
    back = coding.decode(coding.encode(samples).tobytes())
    limited = samples if kind == "f32le" else np.clip(samples, -1, 1)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, limited, atol=1.01 / 2 ** (8 * min(coding.width, 3) - 1))


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("u8", b"\x00", -1),
        ("u8", b"\x80", 0),
        ("s16le", b"\x00\x40", 0.5),
        ("s16be", b"\x40\x00", 0.5),
        ("s24le", b"\x00\x00\x80", -1),
        ("s24le", b"\x00\x00\x40", 0.5),
        ("s32le", b"\x00\x00\x00\xc0", -0.5),
        ("f32le", b"\x00\x00\x80\x3f", 1),
    ],
)
def test_codings(kind, data, value):
    assert FORMATS[kind].decode(data).tolist() == [value]
    wanted = np.array([value], np.float32)
    assert np.abs(FORMATS[kind].decode(FORMATS[kind].encode(wanted).tobytes()) - wanted) < 0.01


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("format=mp3", "format=mp3"),
        ("channels=0", "channels=0"),
        ("rate=100", "rate=100"),
        ("level=3", "level=3"),
    ],
)
def test_values_are_checked_before_opening(tmp_path, query, what):
    for door in (facts, open_sending):
        with pytest.raises(UsageError, match=what) as caught:
            door(f"pcm:{tmp_path}/a?{query}")
        assert caught.value.hint
    assert not (tmp_path / "a").exists()


def test_no_such_channel(tmp_path):
    with pytest.raises(CarrierError, match="2 channels, no channel 3"):
        open_receiving(f"pcm:{tmp_path}/a?channels=2&channel=3")


def test_places_that_do_not_fit(tmp_path):
    for opener in (open_sending, open_receiving):
        with pytest.raises(CarrierError, match="is a directory"):
            opener(f"pcm:{tmp_path}")
    with pytest.raises(CarrierError, match="folder does not exist"):
        open_sending(f"pcm:{tmp_path}/no/a")
    with pytest.raises(CarrierError, match="no such file"):
        open_receiving(f"pcm:{tmp_path}/a")


def test_full_disk():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    carrier = open_sending("pcm:/dev/full")
    with pytest.raises(DestinationError) as caught:
        carrier.write(batch(b"x"))
    assert caught.value.exit_code == 13
    carrier.close()


def test_a_channel_of_its_own(tmp_path):
    both = [fakemodem.FakeModulator(made).modulate(batch(text)) for text, made in spoken()]
    np.stack(both, axis=1).astype("<f4").tofile(tmp_path / "a")
    url = f"pcm:{tmp_path}/a?format=f32le&channels=2"
    assert read_all(url + "&channel=1") == b"left!"
    assert read_all(url + "&channel=2") == b"right"


def spoken():
    return [(b"left!", fakemodem.FakeModem()), (b"right", fakemodem.FakeModem())]


def test_samples_split_anywhere(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    write(f"pcm:{tmp_path}/a?format=s24le&channels=2", b"drip")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    carrier = open_receiving(f"pcm:{tmp_path}/fifo?format=s24le&channels=2")
    assert carrier.read(0) is None
    heard = b""
    for byte in (tmp_path / "a").read_bytes():
        os.write(writer, bytes([byte]))
        heard += carrier.read(0) or b""
    assert heard == b"drip"
    assert carrier.read(0.01) is None
    os.write(writer, b"part")  # no whole frame
    os.close(writer)
    assert carrier.read(1) == b""
    assert carrier.read(None) == b""
    carrier.close()


def test_without_a_timeout_a_read_waits_for_bytes(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    write(f"pcm:{tmp_path}/a", b"x")
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    carrier = open_receiving(f"pcm:{tmp_path}/fifo")
    whole = (tmp_path / "a").read_bytes()
    os.write(writer, whole[:101])
    later = threading.Timer(0.1, os.write, (writer, whole[101:]))
    later.start()
    assert carrier.read(None) == b"x"
    later.join()
    os.close(writer)
    carrier.close()


def test_the_reader_of_a_pipe_leaves(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    carrier = open_sending(f"pcm:{tmp_path}/fifo")
    os.close(reader)
    with pytest.raises(CarrierError, match="reader went away"):
        carrier.write(batch(b"x"))
    carrier.close()


def run(code, *, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, feed=None):
    options = {"input": feed} if feed is not None else {"stdin": stdin}
    program = "import fakemodem, pytest\nfakemodem.install(pytest.MonkeyPatch())\n" + code
    return subprocess.run(
        [sys.executable, "-c", program],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=HERE,
        check=False,
        **options,
    )


def test_real_stdin_and_stdout():
    code = (
        "from diode.carrier import open_receiving, open_sending\n"
        "from diode.frame import Frames\n"
        "source, sink = open_receiving('pcm:-'), open_sending('pcm:-?format=u8')\n"
        "while data := source.read(None): sink.write(Frames.of_pieces([data]))\n"
        "sink.drain(); sink.close(); source.close()\n"
        "print('still open')\n"
    )
    samples = fakemodem.FakeModulator(fakemodem.FakeModem()).modulate(batch(noise(5000)))
    done = run(code, feed=FORMATS["s16le"].encode(samples).tobytes())
    assert done.stderr == b""
    sound, _, rest = done.stdout.rpartition(b"still open")
    demodulator = fakemodem.FakeDemodulator()
    assert demodulator.feed(FORMATS["u8"].decode(sound)) == noise(5000)
    assert rest == b"\n"


def test_terminals():
    master, slave = os.openpty()
    try:
        sending = "from diode.carrier import open_sending as o\nfrom diode.errors import *\n"
        sending += "try: o('pcm:-')\nexcept CarrierError as e: import sys; sys.exit(e.hint)\n"
        assert b"| aplay" in run(sending, stdout=slave).stderr
        hearing = "from diode.carrier import open_receiving as o\no('pcm:-', notice=print).close()"
        assert b"from the terminal" in run(hearing, stdin=slave).stdout
    finally:
        os.close(master)
        os.close(slave)


def test_closed_descriptors():
    code = (
        "import os\nfrom diode.carrier import open_receiving, open_sending\n"
        "from diode.errors import CarrierError\n"
        "os.close(0); os.close(1)\n"
        "for o in (open_receiving, open_sending):\n"
        "    try: o('pcm:-')\n"
        "    except CarrierError as e: os.write(2, str(e).encode())\n"
    )
    assert run(code).stderr == b"standard input is closedstandard output is closed"


def test_sox_reads_and_writes_the_same(tmp_path):
    if shutil.which("sox") is None:
        pytest.skip("sox is not installed (apt install sox)")
    write(f"pcm:{tmp_path}/a?rate=44100", noise(2000))
    raw = ["-t", "raw", "-r", "44100", "-c", "1"]
    in_, out = ["-e", "signed", "-b", "16", tmp_path / "a"], ["-e", "signed", "-b", "24"]
    subprocess.run(["sox", "-D", *raw, *in_, *raw, *out, tmp_path / "b"], check=True)
    assert read_all(f"pcm:{tmp_path}/b?format=s24le&rate=44100") == noise(2000)
    subprocess.run(["sox", "-D", *raw, *in_, tmp_path / "c.wav"], check=True)
    assert read_all(f"wav:{tmp_path}/c.wav") == noise(2000)
