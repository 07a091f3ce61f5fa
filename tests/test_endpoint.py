import pytest

from diode import endpoint
from diode.errors import UsageError

PORTS = {"mqtt": 1883}


def test_parts():
    one = endpoint.parse("mqtt://me:a%40b@broker:99/plant/#?qos=1&topic=a/+&topic=b%26c", PORTS)
    assert (one.scheme, one.user, one.password) == ("mqtt", "me", "a@b")
    assert (one.host, one.port, one.path) == ("broker", 99, "plant/#")
    assert one.options == {"qos": ["1"], "topic": ["a/+", "b&c"]}
    assert one.address == "broker:99"
    assert one.secret() == "a@b"


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("mqtt://h", "h", 1883, ""),
        ("mqtt://[::1]:5/t", "::1", 5, "t"),
        ("mqtt://[::1]/t", "::1", 1883, "t"),
        ("tail:/var/log/a b?format=csv", "", None, "/var/log/a b"),
        ("other://h", "h", None, ""),
        ("-?format=json", "", None, ""),
    ],
)
def test_hosts_and_paths(text, host, port, path):
    one = endpoint.parse(text, PORTS)
    assert (one.host, one.port, one.path) == (host, port, path)


def test_a_password_is_not_shown(tmp_path):
    one = endpoint.parse("mqtt://me:secret@broker/x", PORTS)
    assert one.shown == "mqtt://me@broker/x"
    file = tmp_path / "password"
    file.write_text("from a file\nother\n")
    assert endpoint.parse(f"mqtt://me@h?password-file={file}", PORTS).secret() == "from a file"
    with pytest.raises(UsageError, match="cannot be read"):
        endpoint.parse("mqtt://me@h?password-file=/nowhere", PORTS).secret()


@pytest.mark.parametrize("text", ["plant.jsonl", "mqtt://h:port", "mqtt://h:70000"])
def test_what_is_none(text):
    with pytest.raises(UsageError):
        endpoint.parse(text, PORTS)


def test_options():
    one = endpoint.parse("mqtt://h?qos=2&size=10k&time=2s&word=b&twice=1&twice=2&n=x", PORTS)
    assert one.number("qos", 0, 0, 2) == 2
    assert one.number("other", 7, 0, 9) == 7
    assert one.size("size", "1") == 10_000
    assert one.seconds("time", "1s") == 2.0
    assert one.one_of("word", "a", "b") == "b"
    for ask in (
        lambda: one.option("twice"),
        lambda: one.number("n", 0, 0, 9),
        lambda: one.number("qos", 0, 0, 1),
        lambda: one.one_of("word", "x", "y"),
        lambda: one.seconds("word", "1s"),
        lambda: one.seconds("time", "1s", 5, 9),
        lambda: one.size("word", "1"),
    ):
        with pytest.raises(UsageError):
            ask()
    with pytest.raises(UsageError, match="siez") as failed:
        endpoint.parse("mqtt://h?siez=1", PORTS).known("size", "qos")
    assert "size=" in failed.value.hint
