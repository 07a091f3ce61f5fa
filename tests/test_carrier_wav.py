import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fakemodem
import numpy as np
import pytest
import soundfile
from ptys import batch, noise

from diode.carrier import facts, open_receiving, open_sending
from diode.carrier import wav as module
from diode.errors import CarrierError, DestinationError, UsageError
from diode.frame import EMPTY, Frames


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


def read_all(url, **options):
    carrier = open_receiving(url, **options)
    parts = []
    while data := carrier.read(None):
        parts.append(data)
    assert carrier.read(None) == b""
    carrier.close()
    carrier.close()
    return b"".join(parts)


@pytest.mark.parametrize(
    ("name", "query", "kind", "subtype"),
    [
        ("a.wav", "", "WAV", "PCM_16"),
        ("a.wav", "bits=8", "WAV", "PCM_U8"),
        ("a.wav", "bits=24&channels=2", "WAV", "PCM_24"),
        ("a.WAV", "bits=32", "WAV", "PCM_32"),
        ("a.wav", "bits=float", "WAV", "FLOAT"),
        ("a.flac", "bits=24", "FLAC", "PCM_24"),
        ("a.flac", "bits=8", "FLAC", "PCM_S8"),
        ("a.aif", "", "AIFF", "PCM_16"),
        ("a.snd", "", "AU", "PCM_16"),
        ("a.caf", "", "CAF", "PCM_16"),
        ("a.w64", "", "W64", "PCM_16"),
        ("a.rf64", "", "RF64", "PCM_16"),
        ("a.sound", "", "WAV", "PCM_16"),
        ("a", "", "WAV", "PCM_16"),
    ],
)
def test_round_trip(tmp_path, name, query, kind, subtype):
    url = f"wav:{tmp_path / name}?rate=44100&{query}".rstrip("&")
    data = noise(20_000)
    write(url, data[:7], data[7:])
    about = soundfile.info(tmp_path / name)
    assert (about.format, about.subtype, about.samplerate) == (kind, subtype, 44_100)
    assert about.channels == (2 if "channels" in query else 1)
    assert about.frames == fakemodem.LEAD + 9 * len(data) + fakemodem.TAIL
    assert read_all(url) == data


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.opus"])
def test_compressed_formats_are_written_where_libsndfile_does(tmp_path, name):
    if {"a.ogg": "OGG", "a.mp3": "MP3", "a.opus": "OGG"}[name] not in soundfile.available_formats():
        pytest.skip("this libsndfile does not write it")
    write(f"wav:{tmp_path / name}", noise(1000))
    assert soundfile.info(tmp_path / name).duration == pytest.approx(0.194, abs=0.05)
    with pytest.raises(UsageError, match="does not have bits=16") as caught:
        write(f"wav:{tmp_path / name}?bits=16")
    assert "leave bits= out" in caught.value.hint
    open_receiving(f"wav:{tmp_path / name}").close()


def test_level(tmp_path):
    for query, level in [("", -3), ("level=0", 0), ("level=-12dB", -12), ("level=-60", -60)]:
        write(f"wav:{tmp_path / 'a.wav'}?bits=float&{query}".rstrip("&"), b"x")
        samples, _ = soundfile.read(tmp_path / "a.wav")
        assert np.abs(samples).max() == pytest.approx(0.5 * 10 ** (level / 20))


def test_nothing_to_write(tmp_path):
    carrier = open_sending(f"wav:{tmp_path / 'a.wav'}")
    assert carrier.rate is None
    carrier.write(EMPTY)
    carrier.drain()
    carrier.close()
    assert soundfile.info(tmp_path / "a.wav").frames == 0


def test_lead_in_and_tail_once(tmp_path):
    carrier = open_sending(f"wav:{tmp_path / 'a.wav'}")
    carrier.write(batch(b"a"))
    carrier.write(batch(b"b"))
    carrier.drain()
    carrier.drain()
    carrier.close()
    assert soundfile.info(tmp_path / "a.wav").frames == fakemodem.LEAD + 18 + fakemodem.TAIL


def test_sound_is_made_a_bounded_number_of_batches_at_a_time(tmp_path, made):
    carrier = open_sending(f"wav:{tmp_path / 'a.wav'}")
    pieces = Frames.of_rows(np.zeros((8000, 16), np.uint8))
    carrier.write(pieces)
    carrier.close()
    most = int(8 * made[0].rate / 16) * 16
    assert sum(made[0].calls) == 128_000 and max(made[0].calls) == most
    assert made[0].calls[0] % made[0].batch == 0


def test_a_sender_has_no_descriptor_that_can_read(tmp_path):
    import fcntl

    carrier = open_sending(f"wav:{tmp_path / 'a.wav'}")
    mine = [fd for fd in os.listdir("/proc/self/fd") if links_to(fd, tmp_path / "a.wav")]
    assert len(mine) == 1
    assert fcntl.fcntl(int(mine[0]), fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    assert not hasattr(carrier, "read")
    carrier.close()


def links_to(fd, path):
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == str(path)
    except OSError:
        return False


# Refusals of a sender -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("bits=12", "bits=12"),
        ("channels=3", "channels=3"),
        ("channels=1.5", "not a whole number"),
        ("rate=7999", "rate=7999"),
        ("rate=193k", "rate=193k"),
        ("level=1", "level=1"),
        ("level=-61", "level=-61"),
        ("level=loud", "level=loud"),
        ("channel=0", "channel=0"),
        ("baud=0", "baud=0"),
        ("mark=x", "mark=x"),
    ],
)
def test_values_out_of_range_are_named_before_a_file_is_made(tmp_path, query, what):
    url = f"wav:{tmp_path / 'a.wav'}?{query}"
    with pytest.raises(UsageError, match=what) as caught:
        facts(url)
    assert caught.value.hint
    if "channel=" not in query:  # is the receiver's
        with pytest.raises(UsageError):
            open_sending(url)
    assert not (tmp_path / "a.wav").exists()


def test_formats_that_do_not_fit(tmp_path):
    with pytest.raises(UsageError, match="FLAC does not have bits=float") as caught:
        open_sending(f"wav:{tmp_path}/a.flac?bits=float")
    assert "bits=8" in caught.value.hint
    with pytest.raises(UsageError, match="without a header") as caught:
        open_sending(f"wav:{tmp_path}/a.raw")
    assert f"pcm:{tmp_path}/a.raw" in caught.value.hint
    with pytest.raises(UsageError, match="at 44100 Hz cannot be written"):
        open_sending(f"wav:{tmp_path}/a.opus?rate=44100")


def test_places_that_do_not_fit(tmp_path):
    for opener in (open_sending, open_receiving):
        with pytest.raises(CarrierError, match="is a directory") as caught:
            opener(f"wav:{tmp_path}")
        assert caught.value.exit_code == 10 and "wav:" in caught.value.hint
    with pytest.raises(CarrierError, match="folder does not exist") as caught:
        open_sending(f"wav:{tmp_path}/no/a.wav")
    assert caught.value.hint == f"mkdir -p {tmp_path}/no"
    with pytest.raises(CarrierError, match="no such file") as caught:
        open_receiving(f"wav:{tmp_path}/a.wav")
    assert "--to wav:" in caught.value.hint


def test_no_permission(tmp_path):
    target = tmp_path / "a.wav"
    target.touch()
    target.chmod(0)
    root = os.geteuid() == 0
    if root:
        tmp_path.chmod(0o700)
        os.seteuid(65534)
    try:
        for opener in (open_sending, open_receiving):
            with pytest.raises(CarrierError, match="no permission") as caught:
                opener(f"wav:{target}")
            assert "ls -ld" in caught.value.hint
    finally:
        if root:
            os.seteuid(0)


def test_a_pipe_cannot_be_rewound(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(CarrierError, match="rewound") as caught:
        open_sending(f"wav:{tmp_path}/fifo")
    assert f"pcm:{tmp_path}/fifo" in caught.value.hint
    os.close(reader)


def test_full_disk(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DestinationError) as caught:  # the header already
        open_sending("wav:/dev/full")
    assert caught.value.exit_code == 13
    assert os.strerror(errno.ENOSPC) in str(caught.value)


def test_a_disk_that_fills_up(tmp_path):
    import resource

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    carrier = open_sending(f"wav:{tmp_path}/a.wav")

    def fill():
        for _ in range(10):
            carrier.write(batch(noise(1000)))

    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, old[1]))
        with pytest.raises(DestinationError) as caught:
            fill()
        carrier.close()  # rewriting the header needs no room
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.strerror(errno.EFBIG) in str(caught.value)
    assert noise(1000)[:500] in read_all(f"wav:{tmp_path}/a.wav")


def test_no_more_than_a_header_can_say(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 40_000)
    carrier = open_sending(f"wav:{tmp_path}/a.wav")
    carrier.write(batch(noise(2000)))
    with pytest.raises(DestinationError, match="4 GiB") as caught:
        carrier.write(batch(noise(2000)))
    assert "a.flac" in caught.value.hint
    carrier.close()
    assert read_all(f"wav:{tmp_path}/a.wav") == noise(2000)
    write(f"wav:{tmp_path}/a.flac", noise(20_000))


def test_a_killed_sender_leaves_a_file_that_can_be_read(tmp_path):
    program = (
        "import os, fakemodem, pytest, sys\n"
        "fakemodem.install(pytest.MonkeyPatch())\n"
        "from ptys import batch, noise\n"
        "from diode.carrier import open_sending\n"
        "carrier = open_sending(sys.argv[1])\n"
        "carrier.write(batch(noise(5000)))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    url = f"wav:{tmp_path}/a.wav"
    done = subprocess.run(
        [sys.executable, "-c", program, url], cwd=Path(__file__).parent, check=False
    )
    assert done.returncode == -9
    assert read_all(url)[:4900] == noise(5000)[:4900]


# Listening ----------------------------------------------------------------------------------


def fake_samples(data, level=1.0):
    return fakemodem.FakeModulator(fakemodem.FakeModem()).modulate(batch(data)) * level


@pytest.mark.parametrize("rate", [8000, 11_025, 192_000])
def test_any_rate(tmp_path, made, rate):
    soundfile.write(tmp_path / "a.wav", fake_samples(b"hello"), rate)
    assert read_all(f"wav:{tmp_path}/a.wav?rate=48k") == b"hello"
    assert made[0].sample_rate == rate


@pytest.mark.parametrize("rate", [4000, 384_000])
def test_rates_out_of_range(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", fake_samples(b"hello"), rate)
    with pytest.raises(CarrierError, match=f"{rate} samples a second") as caught:
        open_receiving(f"wav:{tmp_path}/a.wav")
    assert "sox" in caught.value.hint


def test_channels(tmp_path):
    left, right = fake_samples(b"left!"), fake_samples(b"right")
    soundfile.write(tmp_path / "a.wav", np.stack([left, right * 0.1], axis=1), 48_000)
    url = f"wav:{tmp_path}/a.wav"
    assert read_all(url + "?channel=1") == b"left!"
    assert read_all(url + "?channel=2") == b"right"
    assert read_all(url) == b"left!"  # the average
    with pytest.raises(CarrierError, match="has 2 channels, no channel 3") as caught:
        open_receiving(url + "?channel=3")
    assert caught.value.hint


def test_what_is_no_number_is_silence(tmp_path):
    samples = np.concatenate([fake_samples(b"one"), np.zeros(9, np.float32), fake_samples(b"two")])
    samples[27:36] = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, np.nan, 0, np.inf]
    soundfile.write(tmp_path / "a.wav", samples, 48_000, subtype="FLOAT")
    assert read_all(f"wav:{tmp_path}/a.wav") == b"onetwo"


def test_memory_is_bounded(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(500_000), 48_000)
    carrier = open_receiving(f"wav:{tmp_path}/a.wav")
    assert carrier.read(None) == b""
    fed = carrier.ear._demodulator.fed
    assert sum(fed) == 500_000 and max(fed) == module.BLOCK
    carrier.close()


def test_a_read_ends_in_time_and_flush_comes_last(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(200_000), 48_000)
    carrier = open_receiving(f"wav:{tmp_path}/a.wav")
    carrier.ear._demodulator.last = b"end"
    assert carrier.read(0) is None
    assert carrier.read(10) == b"end"
    assert carrier.read(0) == b""
    carrier.close()


def test_signal_and_meter(tmp_path):
    write(f"wav:{tmp_path}/a.wav", noise(5000))
    carrier = open_receiving(f"wav:{tmp_path}/a.wav")
    assert carrier.rate is None
    while carrier.read(None):
        pass
    assert carrier.heard.found == 5000
    assert carrier.heard.level_db == pytest.approx(-9, abs=0.5)
    assert not hasattr(carrier, "write")
    carrier.close()
    assert carrier.read(None) == b""


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"RIFF", "not a sound file"),
        (b"\0" * 5000, "not a sound file"),
        (noise(5000), "not a sound file"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not a sound file"),
    ],
)
def test_what_is_no_sound(tmp_path, content, what):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(CarrierError, match=what) as caught:
        open_receiving(f"wav:{tmp_path}/a.wav")
    assert caught.value.exit_code == 10 and caught.value.hint


def test_a_header_and_nothing_else(tmp_path):
    write(f"wav:{tmp_path}/a.wav")
    with pytest.raises(CarrierError, match="holds no sound"):
        open_receiving(f"wav:{tmp_path}/a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.ogg"])
def test_cut_off_anywhere(tmp_path, name):
    write(f"wav:{tmp_path / name}", noise(40_000))
    whole = (tmp_path / name).read_bytes()
    for share in (0.3, 0.7, 0.97):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        said = []
        heard = read_all(f"wav:{tmp_path / name}", notice=said.append)
        if name != "a.ogg":  # which does not keep single samples
            assert heard[:1000] == noise(40_000)[:1000]
            assert len(heard) > 40_000 * share * 0.75
        assert all("ends early" in text for text in said)


def test_damage_in_the_middle(tmp_path):
    write(f"wav:{tmp_path}/a.flac", noise(40_000))
    whole = bytearray((tmp_path / "a.flac").read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 3000] = noise(3000, 7)
    (tmp_path / "a.flac").write_bytes(whole)
    assert noise(40_000)[:10_000] in read_all(f"wav:{tmp_path}/a.flac", notice=lambda _: None)


def test_wav_from_a_pipe(tmp_path):
    write(f"wav:{tmp_path}/a.wav", noise(3000))
    os.mkfifo(tmp_path / "fifo")
    whole = (tmp_path / "a.wav").read_bytes()
    go = threading.Event()

    def play():
        with (tmp_path / "fifo").open("wb", buffering=0) as fifo:
            fifo.write(whole[:10_000])
            go.wait(10)
            fifo.write(whole[10_000:])

    thread = threading.Thread(target=play)
    thread.start()
    carrier = open_receiving(f"wav:{tmp_path}/fifo")
    heard = carrier.read(5)
    assert noise(3000).startswith(heard) and heard
    go.set()
    while part := carrier.read(5):
        heard += part
    thread.join()
    assert heard == noise(3000)
    carrier.close()


def test_a_pipe_with_something_else(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    thread = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(noise(3000),))
    thread.start()
    with pytest.raises(CarrierError, match="brings no WAV"):
        open_receiving(f"wav:{tmp_path}/fifo")
    thread.join()


def test_soundfile_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    for opener in (open_sending, open_receiving):
        with pytest.raises(CarrierError, match="need soundfile") as caught:
            opener(f"wav:{tmp_path}/a.wav")
        assert caught.value.hint == "pip install 'diode-fec[audio]'"
    assert not (tmp_path / "a.wav").exists()


def test_facts_load_no_sound_code():
    program = (
        "import sys; from diode.carrier import facts\n"
        "facts('wav:/nowhere/a.wav?modem=bell202')\n"
        "sys.exit(any(m in sys.modules for m in ('soundfile', 'sounddevice')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
