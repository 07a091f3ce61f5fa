"""A real MQTT broker (mosquitto) and a client to look at it with."""

import collections
import contextlib
import shutil
import socket
import subprocess
import threading
import time

import pytest

NEEDED = "mosquitto is not installed (apt install mosquitto)"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Broker:
    """mosquitto on a port of its own, that keeps its memory or not."""

    def __init__(self, folder, *, keeps=True):
        if shutil.which("mosquitto") is None:
            pytest.skip(NEEDED)
        pytest.importorskip("paho.mqtt.client", reason="pip install 'diode-fec[mqtt]'")
        self.folder, self.port, self.process = folder, free_port(), None
        folder.mkdir(exist_ok=True)
        self.path = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "user root"]
        if keeps:
            lines += ["persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
            lines += ["autosave_on_changes true"]
        self.path.write_text("\n".join([*lines, "max_queued_messages 0", ""]))

    def start(self):
        self.process = subprocess.Popen(
            ["mosquitto", "-c", str(self.path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            assert time.monotonic() < until, "mosquitto did not start"
            time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Client:
    """Publishes, and keeps all that it hears."""

    def __init__(self, broker, topics=("#",), name="", clean=True):
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties
        from paho.mqtt.subscribeoptions import SubscribeOptions

        self.heard, self.count = collections.defaultdict(list), 0
        self.changed = threading.Condition()
        self.retained = {}
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 0 if clean else 600
        self.ready = threading.Event()
        options = SubscribeOptions(qos=1, retainAsPublished=True)

        def connected(client, *_):
            if topics:
                client.subscribe([(topic, options) for topic in topics])
            else:
                self.ready.set()

        self.client.on_connect = connected
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._message
        self.client.max_inflight_messages_set(20)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", broker.port, 15, clean_start=clean, properties=session)
        self.client.loop_start()
        assert self.ready.wait(20)

    def _message(self, _client, _user, message):
        with self.changed:
            self.heard[message.topic].append(message.payload)
            self.count += 1
            if message.retain:
                self.retained[message.topic] = message.payload
            self.changed.notify_all()

    def publish(self, topic, payload, *, retain=False, wait=True):
        info = self.client.publish(topic, payload, 1, retain)
        if wait:
            info.wait_for_publish(20)

    def of(self, topic):
        with self.changed:
            return list(self.heard[topic])

    def last(self, topic):
        with self.changed:
            return (self.heard[topic] or [None])[-1]

    def wait_for(self, condition, seconds=40):
        with self.changed:
            assert self.changed.wait_for(condition, seconds), "it was not heard"

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def retained(broker):
    """What the broker retains now, by topic."""
    client = Client(broker)
    quiet = 0
    before = -1
    while quiet < 3:  # nothing tells that these were all
        time.sleep(0.1)
        quiet = quiet + 1 if client.count == before else 0
        before = client.count
    client.close()
    return client.retained
