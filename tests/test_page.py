"""The status page in a real browser: what it shows, that it follows, that it asks nobody else."""

from __future__ import annotations

import dataclasses
import io
import re
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest
from browser import chromium
from healths import NOW, a_health, a_line, a_sender
from matplotlib import image
from msgspec.structs import replace

from diode import page
from diode.errors import NoState
from diode.health import (
    Alarm,
    Delivery,
    Health,
    Line,
    LinkState,
    Loss,
    Refused,
    Repair,
    Sample,
    Unfinished,
)
from diode.page import plot, view
from diode.page.html import Html, element, joined
from diode.record_health import Dropped, RecordGap, RecordsIn, Sink
from diode.service.reading_health import Reading

HOSTILE = (
    "<script>document.title='taken'</script>\"'&<img src=http://evil.example/x onerror=alert(1)>"
)


@dataclasses.dataclass
class Told:
    """What a server shows: changed by a test whenever it likes."""

    health: Health
    recent: list[Delivery] = dataclasses.field(default_factory=list)
    gone: bool = False

    def load(self) -> Reading:
        if self.gone:
            raise NoState("it is not there")
        return Reading(self.health, self.recent, 0.5)


def up(line: Line | None = None, **changes) -> Health:
    whole = a_sender(missing=[], missing_objects=0)
    known = {"alarms": [], "senders": [whole], "refused": [], "unfinished": []}
    return a_health(line, **(known | changes))


def silent() -> Health:
    line = a_line(LinkState.SILENT, silent_seconds=93.0, silent_since=NOW - 93)
    alarm = Alarm("silent", NOW - 60, "nothing has come for 93 s", "is the sender running?")
    return a_health(line, alarms=[alarm], senders=[])


# HTML -------------------------------------------------------------------------------------------


def test_text_is_escaped_and_markup_is_not() -> None:
    inner = element("b", HOSTILE, data_of=HOSTILE, hidden=True, open=False)
    assert "<script" not in inner.text
    assert "<img" not in inner.text
    assert inner.text.count('"') == 2  # those round the attribute
    assert element("p", inner, "&").text == f"<p>{inner.text}&amp;</p>"
    assert joined(Html("<br>"), "<br>").text == "<br>&lt;br&gt;"


def test_every_name_is_escaped() -> None:
    health = a_health(
        a_line(),
        inbox=HOSTILE,
        listening=[HOSTILE],
        unfinished=[Unfinished(HOSTILE, 1, HOSTILE, 5, NOW, 1, 0, 3, 2, HOSTILE)],
        refused=[Refused(NOW, HOSTILE, 1, HOSTILE, HOSTILE)],
        senders=[a_sender(sender=HOSTILE)],
        alarms=[Alarm(HOSTILE, NOW, HOSTILE, HOSTILE)],
        records=RecordsIn(
            gaps=[RecordGap(NOW, HOSTILE, HOSTILE, 1, 2)],
            dropped_of=[Dropped(HOSTILE, 1)],
            sinks=[Sink(HOSTILE, False, NOW, 1.0, HOSTILE, 0, 0)],
        ),
    )
    came = Delivery(NOW, HOSTILE, 1, HOSTILE, HOSTILE, 5, HOSTILE, signed_by=HOSTILE)
    text = view.page(Reading(health, [came], 0.0))
    assert "<img" not in text
    assert text.count("<script") == 1  # its own
    assert text.count("&lt;script&gt;") >= 15


def test_records_are_shown_where_there_are_any() -> None:
    health = a_health()
    text = view.page(Reading(health, [], 0.0))
    found_in = re.findall(r'<data value="([^"]*)" data-of="(records[^"]*)"', text)
    shown = {of: float(value) for value, of in found_in}
    assert len(shown) >= 11
    for path, value in shown.items():
        found: object = health
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, list) else getattr(found, part)
        assert found == value, path
    for words in ("away for 50 s: there is no broker", "alarms/pump", "7 to 9", "alarms/door"):
        assert words in text
    without = view.page(Reading(replace(health, records=None), [], 0.0))
    assert "ecords" not in without


# The picture ------------------------------------------------------------------------------------


def bars(samples: list[Sample], minutes: int = 60, each: int = 1) -> list[tuple[float, float, str]]:
    """Each bar: where from the left, how high as a share of the picture, and its class."""
    text = plot.loss(samples, minutes=minutes, each=each, title="t").text
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" [^>]*class="(\w+)"', text)
    return [(float(x) / plot.WIDTH, 1 - float(y) / plot.HEIGHT, kind) for x, y, kind in found]


def test_bars_stand_where_and_as_high_as_loss_was() -> None:
    samples = [Sample(NOW - 1800, 90, 10), Sample(NOW - 60, 95, 5), Sample(NOW, 100, 0)]
    (old, recent, now) = bars(samples)
    assert old == pytest.approx((29 / 60, 1.0, "bad"), abs=1e-3) or old[2] == "bad"
    assert recent[1] == pytest.approx(0.5, abs=0.01)
    assert recent[2] == "lossy"
    assert now[0] == pytest.approx(59 / 60)
    assert now[2] == "clean"


def test_minutes_in_which_nothing_was_sent_have_no_bar_and_a_day_is_gathered() -> None:
    assert bars([Sample(NOW, 0, 0)]) == []
    assert bars([]) == []
    rng = np.random.default_rng(1)
    day = [Sample(NOW - 60 * m, 100, int(rng.integers(0, 5))) for m in range(3000, -1, -1)]
    assert len(bars(day, 1440, 10)) == 144


# In the browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as there:
        yield there


@pytest.fixture
def told() -> Told:
    return Told(up())


@pytest.fixture
def address(told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(page, "EACH", 0.1)
    server = page.server("127.0.0.1:0", told.load)
    server.start()
    yield f"http://{server.address}/"
    server.close()


class Tab:
    """A page that is open, and all that it asked for."""

    def __init__(self, browser, address: str, **how) -> None:
        self.context = browser.new_context(**how)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def until(self, script: str) -> None:
        """Wait for that; by hand, since the page forbids what would do it for us."""
        until = time.monotonic() + 15
        while not self.page.evaluate(f"Boolean({script})"):
            assert time.monotonic() < until, script
            self.page.wait_for_timeout(50)

    def picture(self, selector: str) -> bytes:
        """A screenshot of that part; the part itself may be another one in a moment."""
        script = "s => document.querySelector(s).getBoundingClientRect().toJSON()"
        where = self.page.evaluate(script, selector)
        clip = {key: where[key] for key in ("x", "y", "width", "height")}
        return self.page.screenshot(clip=clip, full_page=True)

    @property
    def text(self) -> str:
        return self.page.inner_text("main")


@pytest.fixture
def tab(browser, address: str) -> Iterator[Tab]:
    tab = Tab(browser, address)
    yield tab
    tab.context.close()


def mean(picture: bytes) -> np.ndarray:
    """The mean colour of a screenshot, (red, green, blue) from 0 to 1."""
    return image.imread(io.BytesIO(picture))[:, :, :3].mean(axis=(0, 1))


def test_up_silent_and_missing_are_told_apart_at_a_glance(tab: Tab, told: Told) -> None:
    assert tab.page.inner_text("#state").lower() == "up"
    assert tab.page.title().startswith("up")
    assert tab.page.query_selector("#missing") is None
    green = mean(tab.picture("header"))
    told.health = silent()
    tab.until("document.getElementById('state').dataset.state === 'silent'")
    assert tab.page.title().startswith("silent")
    assert "nothing for" in tab.text
    assert "is the sender running?" in tab.text
    assert tab.page.locator("[role=alert][data-alarm=silent]").count() == 1
    red = mean(tab.picture("header"))
    assert red[0] - red[1] > green[0] - green[1] + 0.02  # it is red, and the other one is not
    told.health = a_health(senders=[a_sender(missing_objects=1)])
    tab.until("document.querySelector('#missing')")
    assert "next step" in tab.page.inner_text("#missing").lower()
    assert 0 < mean(tab.picture("#missing")).mean() < 1


def test_no_request_leaves_its_origin_and_nothing_complains(
    tab: Tab, told: Told, address: str
) -> None:
    told.recent = [Delivery(NOW, "0badcafe", 1, HOSTILE, HOSTILE, 5, "00", signed_by=HOSTILE)]
    tab.until("document.querySelector('#delivered')")
    assert HOSTILE in tab.text.replace("\n", "")
    tab.page.wait_for_timeout(300)
    assert all(url.startswith(address) for url in tab.requests), tab.requests
    assert tab.page.title().startswith("up")
    assert tab.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1100])
def test_it_fits_and_can_be_read(browser, address, told: Told, width: int, scheme: str) -> None:
    name = "a" * 300 + ".tar"
    told.health = a_health(inbox=f"/srv/{name}")
    told.recent = [Delivery(NOW, "0badcafe", 1, name, name, 5, "00")]
    how = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    tab = Tab(browser, address, **how)
    try:
        assert tab.page.evaluate("document.documentElement.scrollWidth") == width
        ground = mean(tab.page.screenshot()).mean()
        assert ground < 0.3 if scheme == "dark" else ground > 0.7
        worst = tab.page.evaluate(CONTRAST)
        assert worst["ratio"] >= 4.5, worst  # WCAG 2.1 AA
    finally:
        tab.context.close()


CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let worst = {ratio: 99};
  for (const element of document.querySelectorAll("main *")) {
    if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (element.closest("svg, meter, progress")) continue;
    let at = element, ground = [0, 0, 0, 0];
    while (at && (ground[3] === 0)) {
      const c = parse(getComputedStyle(at).backgroundColor);
      ground = c.length === 3 ? [...c, 1] : c;
      at = at.parentElement;
    }
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) worst = {ratio, text: element.textContent.slice(0, 60)};
  }
  return worst;
}"""


def test_without_a_script_it_is_all_there(browser, address: str, told: Told) -> None:
    told.health = a_health()
    tab = Tab(browser, address, java_script_enabled=False)
    try:
        assert "12,345" in tab.text
        assert tab.page.locator("noscript").count() == 1
    finally:
        tab.context.close()


def test_it_says_when_it_hears_nothing_and_goes_on_by_itself(tab: Tab, told: Told) -> None:
    told.gone = True
    tab.until("!document.getElementById('stale').hidden")
    told.gone = False
    told.health = up(outcomes=replace(told.health.outcomes, delivered=77))
    tab.until("document.getElementById('stale').hidden")
    tab.until("document.querySelector('[data-of=\"outcomes.delivered\"]').value === '77'")


def test_unknown_figures_are_told_as_such(tab: Tab, told: Told) -> None:
    told.health = up(line=a_line(LinkState.UNHEARD, loss=Loss(), history=[]), repair=Repair())
    tab.until("document.getElementById('state').dataset.state === 'unheard'")
    assert tab.page.locator("meter").count() == 0
    assert "nothing was sent" in tab.text


# Served -----------------------------------------------------------------------------------------


def test_a_server_that_came_back_is_found_again(browser, told: Told, monkeypatch) -> None:
    monkeypatch.setattr(page, "EACH", 0.1)
    first = page.server("127.0.0.1:0", told.load)
    first.start()
    tab = Tab(browser, f"http://{first.address}/")
    try:
        port = first.address.port
        first.close()
        tab.until("!document.getElementById('stale').hidden")
        until = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)):
                    break
            assert time.monotonic() < until
        again = page.server(f"127.0.0.1:{port}", told.load)
        again.start()
        try:
            tab.until("document.getElementById('stale').hidden")
        finally:
            again.close()
    finally:
        tab.context.close()


def test_told_where_it_is_and_that_everybody_may_look(monkeypatch, told: Told) -> None:
    monkeypatch.setattr(page.Server, "run", lambda self: self._inner.server_close())
    said: list[str] = []
    page.serve("127.0.0.1:0", told.load, said.append)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", said[0])
    page.serve("0.0.0.0:0", told.load, said.append)
    assert "no password" in said[-1]
