"""A PulseAudio of its own for a test: one sink that goes nowhere, and its monitor to listen to.

Its sockets and its configuration are in a private folder, and so is the ALSA configuration by
which PortAudio reaches it, so neither a sound card nor a sound server of the machine is touched.
"""

import contextlib
import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ALSA = """\
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.pulse { type pulse }
ctl.pulse { type pulse }
"""


class SoundServer:
    """A running server; `environment` is for processes that play to it and listen to it."""

    def __init__(self, folder, rate=48_000):
        self.folder = folder
        self.folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "run").mkdir(mode=0o700)
        (folder / "asound.conf").write_text(f"<{shared_alsa()}>\n{ALSA}")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PULSE")},
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_SERVER": f"unix:{folder}/socket",
            "PULSE_SINK": "diode",
            "PULSE_SOURCE": "diode.monitor",
        }
        self.environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        self.process = self._start(rate)

    def _start(self, rate):
        modules = [
            f"module-null-sink sink_name=diode rate={rate}",
            f"module-native-protocol-unix socket={self.folder}/socket auth-anonymous=1",
        ]
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--disable-shm=yes", "--realtime=no", "--high-priority=no"]
        for module in modules:
            command += ["-L", module]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def wait(self):
        """Return when it answers."""
        until = time.monotonic() + 15
        while self.ask("info").returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, "PulseAudio does not answer"
            time.sleep(0.05)

    def ask(self, *words):
        """Run pactl."""
        return subprocess.run(
            ["pactl", *words], env=self.environment, capture_output=True, text=True, check=False
        )

    def streams(self, kind):
        """Streams at the moment: `sink-inputs` play, `source-outputs` listen."""
        return self.ask("list", "short", kind).stdout.splitlines()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def shared_alsa():
    """The system's ALSA configuration, on which every other one builds."""
    return "/usr/share/alsa/alsa.conf"


def missing():
    """What a live test needs and the machine does not have; empty when it has everything."""
    if not sys.platform.startswith("linux"):
        return "PulseAudio is for Linux"
    for program, package in [("pulseaudio", "pulseaudio"), ("pactl", "pulseaudio-utils")]:
        if shutil.which(program) is None:
            return f"{program} is not installed (apt install {package})"
    if ctypes.util.find_library("portaudio") is None:
        return "PortAudio is not installed (apt install libportaudio2)"
    if importlib.util.find_spec("sounddevice") is None:
        return "sounddevice is not installed (pip install 'diode-fec[audio]')"
    folders = Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so")
    if next(folders, None) is None:
        return "ALSA cannot reach PulseAudio (apt install libasound2-plugins)"
    return ""


@contextlib.contextmanager
def sound_server(folder):
    """A server for the time of a test; skips where something is missing."""
    if reason := missing():
        pytest.skip(reason)
    server = SoundServer(folder)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
