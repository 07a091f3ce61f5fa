from __future__ import annotations

from pair import content, dropping, transmit

from diode import frame
from diode.events import Key
from diode.inspection import Inspection, Seen, code_name
from diode.plan import Link, Settings


def looked_at(frames: list) -> Inspection:
    inspection = Inspection()
    inspection.take(frame.Frames.of_pieces(frames).rows())
    return inspection


def test_says_what_a_receiver_will_find() -> None:
    frames = transmit(content(30_000), content(0, 2))
    seen = looked_at(frames).resolved()
    first, second = seen[Key(7, 1)], seen[Key(7, 2)]
    assert first.recoverable() == (first.manifest.geometry.blocks, 0)
    assert second.recoverable() == (0, 0)
    assert code_name(first.manifest) == "zfec"
    assert first.repeated == 0


def test_lacking_symbols_are_counted_to_the_last_one() -> None:
    frames = [f for f in transmit(content(500_000), settings=Settings(redundancy=0.0))]
    data = [f for f in frames if f[0] & 15 == frame.Kind.DATA]
    others = [f for f in frames if f[0] & 15 != frame.Kind.DATA]
    for missing in (1, 7, len(data)):
        seen = looked_at(others + data[missing:]).resolved()[Key(7, 1)]
        assert seen.recoverable()[1] == missing


def test_repeats_compact_frames_and_loss() -> None:
    link = Link(rate=11_520, max_frame=222)
    frames = transmit(content(5000), link=link)
    inspection = looked_at(dropping(0.1)(frames) * 2)
    seen = inspection.resolved()[Key(7, 1)]
    assert seen.repeated == seen.data_frames / 2
    assert not inspection.aliases
    assert set(inspection.senders) == {7}


def test_data_alone_has_no_manifest() -> None:
    frames = [f for f in transmit(content(5000)) if f[0] & 15 == frame.Kind.DATA]
    inspection = looked_at(frames)
    seen = inspection.resolved()[Key(7, 1)]
    assert seen.manifest is None
    assert seen.data_frames == len(frames)
    assert Seen().repeated == 0


def test_long_announcement_in_several_symbols() -> None:
    from pair import BytesSource

    link = Link(rate=11_520, max_frame=222)
    frames = transmit(BytesSource(content(100), name=b"n" * 1000), link=link)
    seen = looked_at(dropping(0.3)(frames)).resolved()[Key(7, 1)]
    assert seen.manifest.name == b"n" * 1000


def test_other_versions_are_only_counted() -> None:
    frames = [f.copy() for f in transmit(content(10))]
    for f in frames:
        f[0] = 0x21
    inspection = looked_at(frames)
    assert inspection.versions[2] == len(frames)
    assert not inspection.kinds
