"""The bytes in tests/vectors, which stand for firmware-notes/wire-format.md, against the code.

Every vector is decoded and its `expect:` compared; where the header gives the inputs, encoding
them must give exactly these bytes.
"""

import hashlib
import itertools
from collections import Counter

import make_vectors
import msgspec
import numpy as np
import pytest
import vectorfile
from pair import Listener

from diode import block, bundle, code, frame, lettering, line, receiver, record, record_group, stamp
from diode.admission import NoIdentity, Verdict
from diode.announcements import AnnouncementSymbols
from diode.assembly import heartbeat_rows
from diode.cipher import BlockCipher
from diode.envelope import Identity, Recipient, Recipients
from diode.errors import ReceiptError
from diode.events import Key, ObjectAnnounced, ObjectQuarantined, ObjectVoided, RecordsHeard
from diode.frame import Frames, Kind
from diode.identities import Identities
from diode.keyring import Keyring
from diode.line.slots import Slots
from diode.modem import modem
from diode.modem.profile import PROFILES
from diode.objects import Announcement, Malformed, Manifest, Status, safe_parts
from diode.receipt import Receipt, opened
from diode.reception import LaneReception
from diode.seal import PublicKey, SecretKey
from diode.tag import LinkKey, Untagged

VECTORS = vectorfile.load()
LAYERS = {
    "frame",
    "block",
    "code",
    "announcement",
    "cobs",
    "rs",
    "modem",
    "stream",
    "tagged",
    "bundle",
    "receipt",
    "records",
}
EXPECT = {"accept", "deliver", "incomplete", "void", "malformed"}
EXPECT |= {f"reject-{reason}" for reason in ("check", "length", "version", "kind")}
EXPECT |= {"reject-tag", "reject-untagged", "reject-keyed"}


def of(*layers):
    chosen = [v for v in VECTORS if v["layer"] in layers]
    return pytest.mark.parametrize("vector", chosen, ids=lambda v: v.name)


def row(data):
    return np.frombuffer(data, np.uint8)[None].copy()


def array(data):
    return np.frombuffer(data, np.uint8)


def test_the_folder_is_what_make_vectors_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(make_vectors, "FOLDER", tmp_path)
    make_vectors.main()
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in vectorfile.FOLDER.iterdir()}


def test_every_layer_and_expectation_is_covered():
    assert {v["layer"] for v in VECTORS} == LAYERS
    assert {v["expect"] for v in VECTORS} == EXPECT
    assert all({"about", "section"} <= v.header.keys() for v in VECTORS)


# Frames ---------------------------------------------------------------------------------------


def judge(data):
    """What a receiver makes of one datagram (wire 3.5), and the receiver."""
    heard = receiver.Receiver()
    if not frame.MIN_FRAME <= len(data) <= frame.MAX_FRAME:
        return "reject-length", heard
    if not stamp.check_rows(row(data))[0]:
        return "reject-check", heard
    heard.receive([row(data)], 0.0)
    (reason,) = heard.rejected or {""}
    return f"reject-{reason}" if reason else "accept", heard


@of("frame")
def test_frame_is_judged(vector):
    assert judge(vector.data)[0] == vector["expect"]


ACCEPTED = [v for v in VECTORS if v["layer"] == "frame" and v["expect"] == "accept"]
accepted = pytest.mark.parametrize("vector", ACCEPTED, ids=lambda v: v.name)


@accepted
def test_frame_is_parsed(vector):
    rows = row(vector.data)
    if vector.number("kind") == Kind.COMPACT:
        parsed = frame.parse_compact(rows)
        assert parsed.alias[0] == vector.number("alias")
        assert parsed.alias[0] == frame.alias(vector.number("sender"), vector.number("number"))
    else:
        parsed = frame.parse_full(rows)
        assert parsed.kind[0] == vector.number("kind")
        assert parsed.code[0] == vector.number("code")
        assert parsed.sender[0] == vector.number("sender")
        assert parsed.number[0] == vector.number("number")
    assert parsed.sequence[0] == vector.number("sequence")
    if vector.number("kind") != Kind.MANIFEST:
        assert parsed.block[0] == vector.number("block")
    assert parsed.symbol[0] == vector.number("symbol")
    if "payload-hex" in vector:
        assert parsed.payload[0].tobytes() == vector.raw("payload-hex")
    if "payload-sha256" in vector:
        assert hashlib.sha256(parsed.payload[0]).digest() == vector.raw("payload-sha256")


def payload_of(vector):
    """What the header says the payload is, or the payload itself where it gives a digest."""
    kind = vector.number("kind")
    if kind == Kind.MANIFEST:
        return announcement_symbol(vector)
    if kind == Kind.HEARTBEAT:
        body = np.zeros(1, frame.HEARTBEAT)
        body["interval_ms"] = vector.number("interval")
        for field in ("frames", "uptime", "rate", "queue", "pass", "passes"):
            body[field] = vector.number(field)
        return body.tobytes()
    if "payload-hex" in vector:
        return vector.raw("payload-hex")
    return frame.parse_full(row(vector.data)).payload.tobytes()


def announcement_symbol(vector):
    whole, count = vector.raw("announcement"), vector.number("code")
    made = AnnouncementSymbols.of(Announcement.parse(whole), -(-len(whole) // count))
    assert made.count == count
    return made.symbols(made.numbers(vector.number("symbol"), 1)).tobytes()


@pytest.mark.parametrize(
    "vector", [v for v in ACCEPTED if "canonical" not in v], ids=lambda v: v.name
)
def test_frame_is_made(vector):
    body, kind = payload_of(vector), Kind(vector.number("kind"))
    place = {
        "sender": vector.number("sender"),
        "number": vector.number("number"),
        "block": vector.number("block"),
        "symbol": vector.number("symbol"),
    }
    if kind == Kind.MANIFEST:
        made = AnnouncementSymbols.of(Announcement.parse(vector.raw("announcement")), len(body))
        place["block"] = made.tag
    compact = kind == Kind.COMPACT
    rows = frame.blank_rows(1, len(body), compact=compact)
    if compact:
        frame.fill_compact(rows, **place)
    else:
        frame.fill_full(rows, kind, code=vector.number("code"), **place)
    frame.payload(rows, compact=compact)[:] = array(body)
    stamp.stamp(Frames.of_rows(rows), vector.number("sequence"))
    assert rows.tobytes() == vector.data


@pytest.mark.parametrize(
    "vector", [v for v in ACCEPTED if v.number("kind") == Kind.HEARTBEAT], ids=lambda v: v.name
)
def test_heartbeat_is_taken_in(vector):
    reception = judge(vector.data)[1].senders[vector.number("sender")]
    assert reception.sent == vector.number("frames")
    assert reception.rate == vector.number("rate")
    assert reception.interval == vector.number("interval") / 1000
    assert reception.highest_used == vector.number("number")


@pytest.mark.parametrize("vector", [v for v in ACCEPTED if "lanes" in v], ids=lambda v: v.name)
def test_heartbeat_of_a_lane(vector):
    on_lanes = [0] * vector.number("lanes")
    on_lanes[vector.number("lane")] = vector.number("lane-frames")
    line = [vector.number(name) for name in ("frames", "uptime", "interval", "rate")]
    line[0] -= vector.number("lane")  # those on the lanes before it count
    sending = tuple(vector.number(name) for name in ("queue", "pass", "passes"))
    beat, place = frame.Beat(vector.number("code")), vector.number("number")
    rows = heartbeat_rows(
        vector.number("sender"), place, beat, tuple(line), sending, on_lanes=on_lanes
    )
    made = Frames.of_rows(rows[vector.number("lane")].reshape(1, -1).copy())
    stamp.stamp(made, vector.number("sequence"))
    assert made.data.tobytes() == vector.data
    heard = LaneReception()
    heard.heard([row(vector.data)])
    later = rows[vector.number("lane")].reshape(1, -1).copy()
    later[:, frame.HEADER + frame.HEARTBEAT.itemsize] += 10  # of the frames on that lane
    heard.heard([later])
    assert heard.lost == 9


@of("tagged")
def test_tagged(vector):
    tags = LinkKey(vector.raw("link-key-hex")) if "link-key-hex" in vector else Untagged()
    refused = []
    heard = row(vector.data)
    assert stamp.check_rows(heard).all(), "the check is right, with or without the key"
    rest = tags.accepted(heard, lambda reason, count: refused.append((f"reject-{reason}", count)))
    if vector["expect"] != "accept":
        assert refused == [(vector["expect"], 1)]
        assert not len(rest)
        return
    plain = vector.raw("plain-hex")
    assert not refused
    assert rest[0, 1 : -frame.CHECK].tobytes() == plain[1 : -frame.CHECK]
    unnumbered = row(plain)
    short = plain[0] & 0x0F == Kind.COMPACT
    sequence = plain[1] if short else int.from_bytes(plain[2:4], "little")
    made = tags.stamp(Frames.of_rows(unnumbered), sequence)
    assert made.data.tobytes() == vector.data


# Blocks and codes -------------------------------------------------------------------------------


@of("block")
def test_block(vector):
    size = vector.number("k") * vector.number("symbol-size")
    assert len(vector.data) == size
    data = vector.raw("data-hex") if "data-hex" in vector else None
    length = vector.number("size") if data is None else len(data)
    number, cipher = vector.number("block"), vector.number("cipher")
    check = BlockCipher(vector.raw("key-hex")) if cipher else block.CRC
    opened = array(vector.data).copy()
    assert check.open(opened, length, number) == (vector["expect"] == "accept")
    if vector["expect"] != "accept":
        assert opened.tobytes() == vector.data
    if data is not None:
        assert opened[:length].tobytes() == data
        flat = np.full(size, 0xEE, np.uint8)
        flat[:length] = array(data)
        check.close(flat, length, number)
        assert flat.tobytes() == vector.data
        needed = -(-(length + block.CHECKS[cipher]) // vector.number("symbol-size"))
        assert needed == vector.number("source-symbols")


def installed(vector):
    """The code of a vector; skips where it is not installed."""
    by = code.by_id(vector.number("code"))
    if by.lacks:
        pytest.skip(f"{by.lacks} is not installed")
    return by.meant_for(vector.number("most"))


def shares(vector):
    k, size = vector.number("k"), vector.number("symbol-size")
    numbers = np.array(vector["numbers"].split(), np.int64)
    source = array(vector.raw("source-hex")).reshape(k, size)
    return installed(vector), source, numbers, array(vector.data).reshape(-1, size)


@of("code")
def test_symbols_are_made(vector):
    by, source, numbers, symbols = shares(vector)
    assert by.encode(source, numbers).tobytes() == symbols.tobytes()


@of("code")
def test_symbols_give_the_block_back(vector):
    by, source, numbers, symbols = shares(vector)
    k = len(source)
    parity = np.flatnonzero(numbers >= k)[:k]
    missing = np.arange(k)[: len(parity)]
    rows = source.copy()
    rows[missing] = 0
    assert by.fill(rows, missing, numbers[parity], symbols[parity])
    assert (rows == source).all()


# Announcements ------------------------------------------------------------------------------------


def manifest_of(vector):
    numbers = ("size", "code", "k", "n", "symbol-size", "passes")
    size, *others = (vector.number(key) for key in numbers)
    mtime = None if vector["mtime"] == "nil" else vector.number("mtime")
    head = (vector.number("status"), vector.number("type"), vector.raw("name"))
    return Manifest(*head, size, vector.raw("sha256"), *others, mtime, vector.number("cipher"))


def inner_of(vector):
    """An encrypted object's manifest as its sender had it."""
    mtime = None if vector["inner-mtime"] == "nil" else vector.number("inner-mtime")
    return msgspec.structs.replace(
        manifest_of(vector),
        type=vector.number("inner-type"),
        name=vector.raw("inner-name"),
        digest=vector.raw("inner-sha256"),
        mtime=mtime,
    )


def sections_of(vector):
    pairs = [text.split(":") for text in " ".join(vector.all("sections")).split()]
    return tuple((int(kind), bytes.fromhex(content)) for kind, content in pairs)


@of("announcement")
def test_announcement(vector):
    if vector["expect"] == "malformed":
        with pytest.raises(Malformed):
            Announcement.parse(vector.data)
        return
    parsed = Announcement.parse(vector.data)
    assert parsed == Announcement(manifest_of(vector), sections_of(vector))
    assert (parsed.manifest.status == Status.VOID) == (vector["expect"] == "void")
    if "canonical" not in vector:
        assert parsed.serialize() == vector.data
    if "safe-name" in vector:
        assert "/".join(safe_parts(parsed.manifest.name)) == vector["safe-name"]


def opener_of(vector):
    if "identity-hex" not in vector:
        return NoIdentity()
    return Identities([Identity(vector.raw("identity-hex"))])


@of("announcement")
def test_announcement_makes_a_receiver_say_so(vector):
    if vector.number("cipher"):
        return  # what it says depends on the identity: below
    # padding for two symbols would put right what was cut off
    for count in (1,) if vector["expect"] == "malformed" else (1, 2):
        frames = make_vectors.manifest_frames(vector.data, count, list(range(count)))
        heard = receiver.Receiver()
        happened = [type(e).__name__ for f in frames for e in heard.receive([row(f)], 0.0)]
        kind = {"accept": "ObjectAnnounced", "void": "ObjectVoided", "malformed": "FrameRejected"}
        assert kind[vector["expect"]] in happened
        assert bool(heard.rejected) == (vector["expect"] == "malformed")


SIGNED = [v for v in VECTORS if "verdict" in v]


@pytest.mark.parametrize("vector", SIGNED, ids=lambda v: v.name)
def test_announcement_is_judged_by_its_signature(vector):
    key = Key(vector.number("sender"), vector.number("number"))
    ring = Keyring([PublicKey(vector.raw("key-hex"))])
    verdict = ring.judge(key, vector.data + bytes(5), 0.0)
    assert (verdict.refusal or "signed") == vector["verdict"]
    assert verdict.fingerprint in (None, ring.judge(key, vector.data, 0.0).fingerprint)


@pytest.mark.parametrize("vector", [v for v in SIGNED if "seed-hex" in v], ids=lambda v: v.name)
def test_announcement_is_signed(vector):
    secret = SecretKey(vector.raw("seed-hex"))
    assert secret.public.raw == vector.raw("key-hex")
    made = secret.sign(
        vector.number("sender"), vector.number("number"), Announcement(manifest_of(vector))
    )
    assert made.serialize() == vector.data


ENCRYPTED = [v for v in VECTORS if "opening" in v]


@pytest.mark.parametrize("vector", ENCRYPTED, ids=lambda v: v.name)
def test_encrypted_announcement_is_opened_or_not(vector):
    (frame_,) = make_vectors.manifest_frames(vector.data, 1, [0], number=vector.number("number"))
    heard = receiver.Receiver(opener=opener_of(vector))
    happened = heard.receive([row(frame_)], 0.0)
    told = [e for e in happened if isinstance(e, ObjectAnnounced | ObjectVoided)]
    if vector["opening"] != "opened":
        assert not told
        (event,) = [e for e in happened if isinstance(e, ObjectQuarantined)]
        assert event.reason == vector["opening"]
        assert event.manifest == manifest_of(vector)
        assert set(heard.rejected) == {"seal"}
        return
    (event,) = told
    assert event.manifest == inner_of(vector)
    assert isinstance(event, ObjectVoided) == (vector["expect"] == "void")
    assert not heard.rejected


@pytest.mark.parametrize("vector", ENCRYPTED, ids=lambda v: v.name)
def test_encrypted_announcement_gives_the_key_of_its_blocks(vector):
    if vector["opening"] != "opened":
        return
    key = Key(vector.number("sender"), vector.number("number"))
    opened = opener_of(vector).open(key, vector.data + bytes(3), Verdict(), 0.0)
    assert b"".join(opened.signers) == vector.raw("signers")
    flat = np.arange(100, dtype=np.uint8)
    BlockCipher(vector.raw("blocks-key-hex")).close(flat, 70, 5)
    assert opened.check.open(flat, 70, 5)
    assert (flat[:70] == np.arange(70)).all()


@pytest.mark.parametrize(
    "vector", [v for v in ENCRYPTED if "secret-hex" in v], ids=lambda v: v.name
)
def test_encrypted_announcement_is_made(vector):
    readers = [Recipient(bytes.fromhex(text)) for text in vector.all("recipients-hex")]
    sender = Recipients(readers, vector.raw("secret-hex"))
    key = vector.number("sender"), vector.number("number")
    enclosed = sender.enclose(*key, inner_of(vector), vector.raw("signers"))
    assert enclosed.announcement.serialize() == vector.data


# Bundles --------------------------------------------------------------------------------------


@of("bundle")
def test_bundle_is_taken_apart(vector):
    try:
        found = bundle.members(vector.data)
    except Malformed:
        assert vector["expect"] == "malformed"
        return
    assert vector["expect"] == "accept"
    assert vector.all("member") == [
        f"{m.type.value} {'nil' if m.mtime is None else m.mtime} "
        f"{hashlib.sha256(vector.data[m.offset :][: m.size]).hexdigest()} {m.name.hex()}"
        for m in found
    ]
    assert bundle.head(found) == vector.data[: found[0].offset]
    assert bundle.EMPTY + sum(bundle.entry_size(m.name) for m in found) == found[0].offset


# Records ----------------------------------------------------------------------------------------


def told_of(event, one):
    time = "nil" if one.time is None else one.time
    number = f"{event.class_} {event.stream} {one.sequence} {time} {one.quality} {int(one.retain)}"
    return f"{number} {one.repeats} {one.topic.hex()} {one.payload.hex()}".rstrip()


@of("records")
def test_records_are_heard(vector):
    heard, told = receiver.Receiver(records=True), []
    _, frames = heard_frames("cobs", vector.data, 1)
    for piece in frames:
        for event in heard.receive([row(piece)], 0.0):
            if isinstance(event, RecordsHeard):
                told += [told_of(event, one) for one in event.records]
    assert told == vector.all("record")
    assert Counter(heard.rejected) == rejections(vector)


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v["layer"] == "records" and "canonical" not in v],
    ids=lambda v: v.name,
)
def test_records_are_made(vector):
    _, frames = heard_frames("cobs", vector.data, 1)
    source, added = [], []
    for piece in frames:
        parsed = frame.parse_full(row(piece))
        payload = parsed.payload[0].tobytes()
        (added if parsed.code[0] else source).append(payload)
    for payload in source:
        assert record.pack(record.unpacked(payload).records) == [payload]
    if added and len(source) == 4:
        assert [p.tobytes() for p in record_group.parity(source, 0.5).payloads] == added


# Lines --------------------------------------------------------------------------------------------


def rejections(vector):
    return Counter({r: int(n) for r, n in (text.split() for text in vector.all("rejected"))})


def heard_frames(name, data, split):
    decoder = line.decoder(name)
    groups = []
    for first in range(0, len(data), split):
        groups += decoder.feed(data[first : first + split])
    groups += decoder.flush()
    return decoder, [r.tobytes() for rows in groups for r in rows]


@pytest.mark.parametrize("split", [1, 7, 100_000])
@of("cobs", "rs")
def test_line_is_heard(vector, split):
    decoder, found = heard_frames(vector["layer"], vector.data, split)
    if vector["expect"] == "accept":
        assert sorted(f.hex() for f in found) == sorted(vector["frames"].split())
        if "rejected" in vector:
            assert decoder.rejected == rejections(vector)
        return
    assert not found
    reason = vector["expect"].removeprefix("reject-")
    assert reason == "incomplete" or set(decoder.rejected) == {reason}


@of("cobs", "rs")
def test_line_is_made(vector):
    if vector["expect"] != "accept" or "clean" in vector:
        return
    encoder = line.encoder(vector["layer"])
    frames = Frames.of_pieces([bytes.fromhex(f) for f in vector["frames"].split()])
    encoder.encode(frames)  # the first bytes of a stream may have a zero in front
    assert encoder.encode(frames).data.tobytes() == vector.data


# Streams ------------------------------------------------------------------------------------------


def told(text):
    """Key, size, digest and name of an object in a header."""
    key, size, digest, name, *short = text.split()
    sender, number = key.split(":")
    return Key(int(sender, 16), int(number)), int(size), digest, bytes.fromhex(name), short


@pytest.mark.parametrize("before", [b"", b"\x55" * 50], ids=["plain", "garbage"])
@pytest.mark.parametrize("split", [1, 100_000])
@of("stream")
def test_stream(vector, split, before):
    installed(vector)
    listener = Listener(opener=opener_of(vector))
    decoder = line.decoder(vector["line"])
    data = before + vector.data + before
    for first in range(0, len(data), split):
        listener.take(listener.receiver.receive(decoder.feed(data[first : first + split]), 0.0))
    listener.take(listener.receiver.receive(decoder.flush(), 0.0))
    assert listener.delivered.keys() == {told(t)[0] for t in vector.all("deliver")}
    for key, size, digest, name, _ in map(told, vector.all("deliver")):
        got = listener.delivered[key]
        assert (len(got), hashlib.sha256(got).hexdigest()) == (size, digest)
        assert name in [
            e.manifest.name
            for e in listener.events
            if getattr(e, "key", 0) == key and hasattr(e, "manifest")
        ]
    for key, _, _, name, (blocks,) in map(told, vector.all("short")):
        incoming = listener.receiver.objects[key]
        collector = incoming.collector
        assert incoming.manifest.name == name
        assert collector.geometry.blocks - collector.done_count == int(blocks)
    assert [f"{e.key.sender:08x}:{e.key.number}" for e in listener.of(ObjectVoided)] == (
        vector.all("void")
    )
    assert listener.receiver.rejected == rejections(vector)


@of("stream")
def test_stream_is_made_of_its_frames(vector):
    if "clean" in vector:
        return
    decoder = line.decoder(vector["line"])
    # one piece at a time: a decoder groups the frames of one call by their length
    found = [r for byte in vector.data for rows in decoder.feed(bytes([byte])) for r in rows]
    encoder = line.encoder(vector["line"])
    if "slot" in vector:
        encoder = Slots(encoder, len(found[0]))
        assert encoder.size == vector.number("slot")
    assert encoder.encode(Frames.of_pieces(found)).data.tobytes() == vector.data


# Modems ---------------------------------------------------------------------------------------


def words_of(vector):
    """The words of every channel symbol, (symbols, groups), and which symbols are raised."""
    higher = [int(digit) for digit in vector["raised"]]
    words = [int(digit, 16) for digit in vector.data.hex()]
    count = len(higher) * PROFILES[vector["modem"]].groups
    assert len(words) == count + count % 2
    return np.array(words[:count]).reshape(len(higher), -1), np.array(higher)


def tone_numbers(profile, higher):
    """Of every tone in every symbol, (symbols, groups, tones), in multiples of the spacing."""
    tones = profile.first + np.arange(profile.groups * profile.tones)
    return (tones + higher[:, None] / 2).reshape(len(higher), profile.groups, profile.tones)


def sounding(profile):
    """Which tones sound for a word, (16, tones): the combinations in lexical order."""
    chosen = list(itertools.combinations(range(profile.tones), profile.sounding))[:16]
    return np.array([[tone in tones for tone in range(profile.tones)] for tones in chosen])


@of("modem")
def test_modem_sends_these_words(vector):
    profile = PROFILES[vector["modem"]]
    words, higher = words_of(vector)
    pieces = Frames.of_pieces([array(vector.raw("content-hex"))])
    modulator = modem(profile.name).modulator(profile.rate)
    modulator.begin()
    sound = modulator.modulate(pieces)
    length = profile.guard + profile.window
    assert len(sound) == profile.chirp + length * len(words)
    symbols = sound[profile.chirp :].reshape(len(words), length)[:, profile.guard :]
    turns = np.arange(profile.window) / profile.window
    for heard, number, word in zip(symbols, tone_numbers(profile, higher), words, strict=True):
        energy = np.abs(np.exp(-2j * np.pi * number[..., None] * turns) @ heard)
        louder = energy > energy.max() / 2
        assert np.array_equal(louder, sounding(profile)[word])


def frame_sound(profile, words, higher):
    """A frame as the document says it, its phases drawn by lot."""
    time = np.arange(profile.chirp) + 0.5
    low, high = profile.first, profile.first + profile.groups * profile.tones - 1
    begin, end = (low, high) if profile.rising else (high, low)
    turns = (begin * time + (end - begin) * time**2 / 2 / profile.chirp) / profile.window
    ramp = np.minimum(time, time[::-1]) * 20 / profile.chirp
    swell = np.sin(np.pi / 2 * np.minimum(ramp, 1)) ** 2
    level = np.sqrt(profile.groups * profile.sounding)
    sound = [level * swell * np.cos(2 * np.pi * turns)]
    time = np.arange(-profile.guard, profile.window) / profile.window
    random = np.random.default_rng(1)
    for number, word in zip(tone_numbers(profile, higher), words, strict=True):
        tones = number[sounding(profile)[word]][:, None]
        phase = random.random((len(tones), 1))
        sound.append(np.cos(2 * np.pi * (tones * time + phase)).sum(axis=0))
    return 0.1 / level * np.concatenate(sound)


@of("modem")
def test_modem_hears_these_words(vector):
    profile = PROFILES[vector["modem"]]
    demodulator = modem(profile.name).demodulator(profile.rate)
    silence = np.zeros(1000)
    sound = np.concatenate([silence, frame_sound(profile, *words_of(vector)), silence])
    heard = demodulator.feed(sound.astype(np.float32)) + demodulator.flush()
    content = vector.raw("content-hex")
    assert heard == content.ljust(profile.room(vector.number("class")), b"\0")
    assert demodulator.signal.error_rate == 0


# Receipts -------------------------------------------------------------------------------------


def ranges(vector, key):
    return tuple(tuple(map(int, text.split("-"))) for text in vector.all(key))


@of("receipt")
def test_receipt(vector):
    keys = [PublicKey(vector.raw("key-hex"))] if "key-hex" in vector else None
    if vector["expect"] == "malformed":
        with pytest.raises(ReceiptError):
            opened(vector.data, keys)
        return
    numbers = (vector.number(key) for key in ("sender", "ledger", "highest"))
    told = Receipt(*numbers, ranges(vector, "received"), ranges(vector, "closed"))
    assert opened(vector.data, keys) == told
    seed = vector.raw("seed-hex") if "seed-hex" in vector else None
    assert vector.data == (told.signed(SecretKey(seed)) if seed else told.unsigned())
    assert lettering.lines(vector.data) == vector.all("text")
    assert lettering.parse("\n".join(vector.all("text"))) == vector.data
