import urllib.request

import pytest
from brokers import free_port

from diode import endpoint
from diode.errors import CarrierError
from diode.publish.prometheus import Sink, number
from diode.service.record_process import Reading


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"21.5", 21.5),
        (b" -3 ", -3.0),
        (b"true", 1.0),
        (b'{"Body": 4, "Type": "Int16"}', 4.0),
        (b'{"value": 2.5}', 2.5),
        (b"on", None),
        (b"nan", None),
        (b"1e999", None),
        (b"9" * 5000, None),
        (b"[1]", None),
        (b'{"Body": "x"}', None),
        (b"\xff", None),
        (b"[" * 10_000, None),
    ],
)
def test_numbers(payload, value):
    assert number(payload) == value


def test_gauges():
    port = free_port()
    one = Sink(endpoint.parse(f"prometheus://127.0.0.1:{port}", {}))
    said = []
    one.open(said.append)
    one.publish(
        [
            Reading(0, 'Öl "1"'.encode(), b"21.5", 3_000_000_000, 1, sender=7, heard=4 * 10**9),
            Reading(0, b"text", b"on"),
        ]
    )
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
        text = page.read().decode()
    labels = '{sender="00000007",topic="Öl \\"1\\""}'
    assert f"diode_record{labels} 21.5" in text
    assert f"diode_record_quality{labels} 1.0" in text
    assert f"diode_record_time_seconds{labels} 3.0" in text
    assert f"diode_record_heard_seconds{labels} 4.0" in text
    assert "diode_records_total 2.0" in text
    assert 'topic="text"' not in text
    assert (said[0].warning, said[0].there) == (False, True)
    with pytest.raises(CarrierError):
        Sink(endpoint.parse(f"prometheus://127.0.0.1:{port}", {})).open(print)
    one._server.shutdown()
    one._server.server_close()
