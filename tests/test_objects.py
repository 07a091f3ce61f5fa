"""Manifests, announcements and safe names: hostile bytes in, a verdict out."""

import contextlib
import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair import examples

from diode import frame, objects
from diode.announcements import AnnouncementParts, AnnouncementSymbols
from diode.errors import SourceError, UsageError
from diode.geometry import Geometry
from diode.objects import (
    MAX_BUNDLE,
    Announcement,
    Malformed,
    Manifest,
    Status,
    Type,
    escape,
    safe_parts,
    wire_name,
)

GOOD = Manifest(
    status=0,
    type=0,
    name=b"a/b.txt",
    size=10_000,
    digest=bytes(range(32)),
    code=1,
    k=20,
    n=25,
    symbol_size=64,
    passes=2,
    mtime=1_700_000_000_000_000_000,
)


def but(**fields):
    return msgspec.structs.replace(GOOD, **fields)


# Manifest -----------------------------------------------------------------------------------


def test_a_good_manifest_has_no_problem():
    assert GOOD.problem() == ""
    assert GOOD.geometry == Geometry(10_000, 1, 20, 25, 64, passes=2)
    for fields in (
        {"status": Status.VOID},
        {"type": Type.DIRECTORY, "size": 0},
        {"type": Type.BUNDLE, "size": MAX_BUNDLE},
        {"mtime": None},
        {"mtime": -1},
        {"passes": 0},
        {"size": 2**40},
        {"code": 0, "k": 65_535, "symbol_size": 16_360, "size": 2**61},
    ):
        assert but(**fields).problem() == "", fields


BAD_FIELDS = [
    ("status", {"status": 1}),
    ("status", {"status": 3}),
    ("type", {"type": 3}),
    ("type", {"type": -1}),
    ("name", {"name": b""}),
    ("name", {"name": b"x" * 4097}),
    ("name", {"name": b"a\0b"}),
    ("digest", {"digest": b"short"}),
    ("digest", {"digest": bytes(33)}),
    ("directory", {"type": Type.DIRECTORY, "size": 1}),
    ("bundle", {"type": Type.BUNDLE, "size": MAX_BUNDLE + 1}),
    ("negative", {"passes": -1}),
    ("negative", {"n": -1}),
    ("mtime", {"mtime": 1 << 63}),
    ("mtime", {"mtime": -(1 << 63) - 1}),
    ("code 77", {"code": 77}),
    ("code -1", {"code": -1}),
    ("k = 0", {"k": 0}),
    ("k = 256", {"k": 256}),
    ("k = 65536", {"code": 0, "k": 65_536}),
    ("symbol size 0", {"symbol_size": 0}),
    ("symbol size", {"symbol_size": 16_361}),
    ("hold no data", {"k": 1, "symbol_size": 8}),
    ("size -1", {"size": -1}),
    ("size", {"size": 1 << 63}),
    ("blocks", {"k": 1, "symbol_size": 9, "size": 2**32 + 1}),
]


@pytest.mark.parametrize(("word", "fields"), BAD_FIELDS, ids=[str(f) for _, f in BAD_FIELDS])
def test_problem_names_the_field(word, fields):
    assert word in but(**fields).problem()
    if fields.get("mtime") != -(1 << 63) - 1:  # MessagePack has no such number
        with pytest.raises(Malformed):
            Announcement.parse(Announcement(but(**fields)).serialize())


CONCEALED = but(type=0, name=b"", digest=b"", mtime=None, cipher=1)


def test_a_manifest_that_conceals():
    assert CONCEALED.problem() == ""
    assert CONCEALED.concealed and CONCEALED.encrypted
    assert Announcement.parse(Announcement(CONCEALED).serialize()).manifest == CONCEALED
    whole = but(cipher=1)
    assert whole.problem() == ""
    assert whole.outer == CONCEALED and not whole.concealed
    assert not GOOD.encrypted and not GOOD.concealed
    assert whole.geometry.block_data == GOOD.geometry.block_data - 8
    assert len(GOOD.serialize()) == len(whole.serialize()) - 1


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        ("in the open", {"name": b"x"}),
        ("in the open", {"mtime": 0}),
        ("in the open", {"digest": bytes(32), "name": b"x"}),
        ("cipher 2", {"cipher": 2}),
        ("cipher -1", {"cipher": -1}),
        ("name", {"cipher": 0}),
        ("hold no data", {"k": 1, "symbol_size": 16, "size": 1}),
    ],
    ids=str,
)
def test_a_manifest_that_conceals_and_tells_is_malformed(word, fields):
    manifest = msgspec.structs.replace(CONCEALED, **fields)
    with pytest.raises(Malformed, match=word):
        Announcement.parse(Announcement(manifest).serialize())


# Announcement -------------------------------------------------------------------------------

SECTIONS = ((1, b"signature"), (200, b""), (2, bytes(70)))

manifests = st.builds(
    Manifest,
    status=st.sampled_from([0, 2]),
    type=st.just(0),
    name=st.binary(min_size=1, max_size=200).map(lambda b: b.replace(b"\0", b"0")),
    size=st.integers(0, 2**40),
    digest=st.binary(min_size=32, max_size=32),
    code=st.sampled_from([0, 1]),
    k=st.integers(1, 255),
    n=st.integers(0, 2**32),
    symbol_size=st.integers(9 + 8, 16_360),
    passes=st.integers(0, 2**32),
    mtime=st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
)
sections = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=40)), max_size=4)


@examples(80)
@given(manifests, sections, st.integers(0, 20))
def test_announcement_round_trip(manifest, behind, zeros):
    if manifest.problem():  # more blocks than there are numbers
        return
    announcement = Announcement(manifest, tuple(behind))
    assert Announcement.parse(announcement.serialize() + bytes(zeros)) == announcement


@pytest.mark.parametrize("behind", [(), SECTIONS])
def test_truncations(behind):
    data = Announcement(GOOD, behind).serialize()
    ends = set(
        itertools.accumulate(
            (3 + len(c) for _, c in behind), initial=len(Announcement(GOOD).serialize())
        )
    )
    for length in range(len(data)):
        if length in ends:  # whole up to a section; that some are cut off shows in the tag
            assert Announcement.parse(data[:length]).manifest == GOOD
            continue
        with pytest.raises(Malformed):
            Announcement.parse(data[:length])


@pytest.mark.parametrize("behind", [(), SECTIONS])
@pytest.mark.parametrize("zeros", [0, 1, 5])
def test_appended_bytes(behind, zeros):
    data = Announcement(GOOD, behind).serialize() + bytes(zeros)
    assert Announcement.parse(data + b"\0").manifest == GOOD
    for byte in range(1, 256):
        with pytest.raises(Malformed):
            Announcement.parse(data + bytes([byte]))


@examples(300)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_announcement_or_malformed(data):
    for candidate in (data, len(data).to_bytes(2, "little") + data):
        with contextlib.suppress(Malformed):
            assert isinstance(Announcement.parse(candidate), Announcement)


@examples(300)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_announcement_is_an_announcement_or_malformed(position, change):
    data = bytearray(Announcement(GOOD, SECTIONS).serialize())
    data[position % len(data)] ^= change
    with contextlib.suppress(Malformed):
        assert Announcement.parse(bytes(data)).manifest.problem() == ""


def packed(thing):
    body = msgspec.msgpack.encode(thing)
    return len(body).to_bytes(2, "little") + body


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x91" * 60_000,  # arrays in arrays
        b"\xdd\xff\xff\xff\xff",  # an array that says it has 2^32 - 1 elements
        b"\xc6\xff\xff\xff\xff",  # bytes that say they are 4 GiB
        b"\xcf" + b"\xff" * 8,
        b"",
    ],
)
def test_hostile_messagepack(hostile):
    with pytest.raises(Malformed):
        Announcement.parse(len(hostile).to_bytes(2, "little") + hostile)


def test_later_versions_append_elements():
    values = list(msgspec.structs.astuple(GOOD))
    assert Announcement.parse(packed([*values, "new", {"k": 1}])).manifest == GOOD
    assert values[-1] == 0
    assert Announcement.parse(packed(values[:-1])).manifest == GOOD, "it may be left out"
    with pytest.raises(Malformed):
        Announcement.parse(packed(values[:-2]))
    with pytest.raises(Malformed):
        Announcement.parse(packed([*values[:2], "a str", *values[3:]]))
    with pytest.raises(Malformed):
        Announcement.parse(packed([*values[:3], 1.5, *values[4:]]))


def test_too_long_to_announce():
    with pytest.raises(SourceError):
        Announcement(GOOD, ((1, bytes(13_000)),)).serialize()
    assert len(Announcement(but(name=b"n" * 4096)).serialize()) < objects.MAX_ANNOUNCEMENT


# Its symbols --------------------------------------------------------------------------------


def cut(room, **fields):
    return AnnouncementSymbols.of(Announcement(but(**fields)), room)


@pytest.mark.parametrize("room", [400, 128, 64, 40])
def test_any_sufficient_symbols_give_the_announcement_back(room):
    announcement = cut(room, name=b"n" * 300)
    whole = announcement.block.tobytes()
    assert frame.crc32c(whole) == announcement.tag
    assert Announcement.parse(whole).manifest.name == b"n" * 300
    assert announcement.block.shape[1] <= room
    rng = np.random.default_rng(room)
    for first in (0, 3, 250):
        numbers = announcement.numbers(first, 12 * announcement.count)
        symbols = announcement.symbols(numbers)
        order = rng.permutation(len(numbers))
        parts = AnnouncementParts(announcement.count, announcement.block.shape[1])
        assert parts.memory == 0
        heard = []
        for at in order:
            data = parts.add(int(numbers[at]), symbols[at])
            heard.append(int(numbers[at]))
            if data is not None:
                break
        assert data == whole
        assert len(set(heard)) == announcement.count
        assert parts.memory >= announcement.block.size


def test_symbol_numbers_come_round():
    one = cut(400)
    assert one.count == 1
    assert one.numbers(5, 3).tolist() == [0, 0, 0]
    several = cut(40)
    assert several.numbers(254, 4).tolist() == [254, 255, 0, 1]


def test_a_line_too_narrow_for_an_announcement():
    with pytest.raises(UsageError) as caught:
        cut(16, name=b"n" * 2000)
    assert "--symbol-size" in caught.value.hint


# Names --------------------------------------------------------------------------------------

ORDINARY = [
    "report.pdf",
    "with several spaces in it.txt",
    "12:30 log.txt",
    "Übergröße.txt",
    "naïve 日本語 😀.dat",
    "100%.txt",
    "50% off",
    "50%off.txt",
    "%",
    "a.b-c_d+e=f@g#h~i'j\"k(l)[m]{n}&o;p!q$r^s`t<u>v|w?x*y",
    "a\\b",
    "x" * 255,
    "console.txt",
    "auxiliary",
    "com10",
]


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_names_stay(name):
    assert safe_parts(name.encode()) == [name]
    assert safe_parts(f"dir/{name}".encode()) == ["dir", name]
    assert safe_parts(name.encode(), exact=True) == [name]


HOSTILE = [
    (b"../../etc/cron.d/x", ["%2E%2E", "%2E%2E", "etc", "cron.d", "x"]),
    (b"/etc/passwd", ["etc", "passwd"]),
    (b"//etc///passwd/", ["etc", "passwd"]),
    (b"a/../../b", ["a", "%2E%2E", "%2E%2E", "b"]),
    (b"a/./b", ["a", "b"]),
    (b"C:\\x", ["C:\\x"]),
    (b"\\\\host\\x", ["\\\\host\\x"]),
    (b"a\0b", ["a%00b"]),
    (b"a\nb\rc\td", ["a%0Ab%0Dc%09d"]),
    (b"bad \xff\xfe utf", ["bad %FF%FE utf"]),
    (b"half \xf0\x9f", ["half %F0%9F"]),
    (b"\xed\xa0\x80", ["%ED%A0%80"]),  # an encoded surrogate
    (b"\x1b[2K\x1b[1Gevil.sh", ["%1B[2K%1B[1Gevil.sh"]),
    (b"\x1b]8;;http://x\x07y", ["%1B]8;;http:", "x%07y"]),
    (b"\x1b]52;c;aGk=\x07", ["%1B]52;c;aGk=%07"]),
    ("txt\u202eexe.sh".encode(), ["txt%E2%80%AEexe.sh"]),
    ("\u2066x\u2069".encode(), ["%E2%81%A6x%E2%81%A9"]),
    ("a\u2028b".encode(), ["a%E2%80%A8b"]),
    ("8-bit \u009b2K".encode(), ["8-bit %C2%9B2K"]),
    (b"8-bit \x9b2K", ["8-bit %9B2K"]),
    (b"del\x7f", ["del%7F"]),
    (b".ssh/authorized_keys", ["%2Essh", "authorized_keys"]),
    (b".bashrc", ["%2Ebashrc"]),
    (b"project/.gitignore", ["project", ".gitignore"]),
    (b"-rf", ["%2Drf"]),
    (b"-", ["%2D"]),
    (b"...", ["%2E.%2E"]),
    (b"a/...", ["a", "..%2E"]),
    (b"CON", ["%43ON"]),
    (b"aux.txt", ["%61ux.txt"]),
    (b"dir/lpt9.tar.gz", ["dir", "%6Cpt9.tar.gz"]),
    (b"dot.", ["dot%2E"]),
    (b"space ", ["space%20"]),
    (b" ", ["%20"]),
    (b"", ["unnamed"]),
    (b".", ["unnamed"]),
    (b"/", ["unnamed"]),
    (b"..", ["%2E%2E"]),
    (b"%2E%2E", ["%252E%252E"]),
    (b"a%0Ab", ["a%250Ab"]),
    (b"a%0ab", ["a%0ab"]),
]


@pytest.mark.parametrize(("name", "parts"), HOSTILE, ids=[repr(n) for n, _ in HOSTILE])
def test_hostile_names(name, parts):
    assert safe_parts(name) == parts


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (b"../x", ["%2E%2E", "x"]),
        (b"a\0b", ["a%00b"]),
        (b".ssh/-rf", [".ssh", "-rf"]),
        (b"CON ", ["CON "]),
        (b"\x1b\xff", ["\x1b\udcff"]),
        (b"a%0Ab", ["a%0Ab"]),
    ],
)
def test_exact_keeps_every_byte_but_the_impossible_ones(name, parts):
    assert safe_parts(name, exact=True) == parts


@pytest.mark.parametrize(
    "long", [b"x" * 300, "\u0301".encode() * 255, b"\xff" * 256, b"/".join([b"y" * 400] * 2)]
)
@pytest.mark.parametrize("exact", [False, True])
def test_long_parts_are_cut_and_stay_distinct(long, exact):
    (part, *_), (other, *_) = safe_parts(long, exact=exact), safe_parts(long + b"z", exact=exact)
    if b"/" not in long:
        assert part != other
    for one in (part, other):
        assert 200 < len(one.encode("utf-8", "surrogateescape")) <= 255 or exact


def test_case_and_normal_forms_stay_apart():
    names = ["a", "A", "\u00e9", "e\u0301"]
    assert [safe_parts(n.encode()) for n in names] == [[n] for n in names]


# Bytes of names that are hard on purpose, next to any others.
pieces = st.sampled_from(
    [
        *(b".", b"..", b"/", b"\0", b" ", b"-", b"con", b"\x1b", b"\xff", b"a"),
        *(b"%", b"%2", b"2E", b"E", b"%00", b"41"),
        *("\u202e".encode(), "é".encode(), "\u0301".encode() * 100),
    ]
)
names = st.lists(pieces | st.binary(max_size=5), max_size=8).map(b"".join)


@examples(300)
@given(names, st.booleans())
def test_parts_can_always_be_created(name, exact):
    parts = safe_parts(name, exact=exact)
    assert parts
    for part in parts:
        assert part not in ("", ".", "..")
        assert "/" not in part and "\0" not in part
        raw = part.encode("utf-8", "surrogateescape")
        assert len(raw) <= 255
        if not exact:
            raw.decode("utf-8")
            assert not any(objects._is_unsafe(c) for c in part)
            assert part[-1] not in ". "
    assert exact or parts[0][0] not in ".-"


@examples(300)
@given(st.lists(names, min_size=2, max_size=6, unique=True))
def test_distinct_parts_stay_distinct(several):
    raw = {n.replace(b"/", b"_") for n in several} - {b"", b"."}
    safe = {tuple(safe_parts(n)) for n in raw}
    assert len(safe) == len(raw)


@examples(100)
@given(st.binary(max_size=40) | st.text(max_size=40))
def test_escape_gives_printable_ascii_only(text):
    shown = escape(text)
    assert all(0x20 <= ord(c) <= 0x7E for c in shown)
    if isinstance(text, bytes) and all(0x20 <= b <= 0x7E and b != 0x5C for b in text):
        assert shown == text.decode()


def test_escape():
    assert escape(bytes(range(256)).decode("latin-1")).isascii()
    assert [escape(bytes([b])) for b in (0x7F, 0x1B, 0x5C, 0xFF)] == [
        "\\x7f",
        "\\x1b",
        "\\\\",
        "\\xff",
    ]
    assert escape("é\u202e😀\x9b\ud800\n") == "\\xe9\\u202e\\U0001f600\\x9b\\ud800\\x0a"
    assert escape("plain text, 100%") == "plain text, 100%"


def test_wire_name():
    assert wire_name(["dir", "é", "\udcff"]) == b"dir/\xc3\xa9/\xff"
